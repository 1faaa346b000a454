//! The kill matrix: kboot, or its agent, is killed at every change that makes a control plane of a bare host and a worker join
//! it; what the next run makes of that is looked at. Killed is this checkout's debug build, which has a hook for it.
//!
//! `cargo test --profile matrix --test matrix -- --ignored [PART…]` runs the cases whose name contains each PART (all of them if there
//! is none), in several labs at once, and writes what came of them to docs/kill-matrix.md. A case that has a result is not run again.
//!
//! - `--lanes N`: so many labs at once (3). A lab takes about 2 GiB of memory.
//! - `--fresh`: forget the results that are there.
//! - `--table`: only write the page, `--list`: only print the cases that have no result yet.
//! - `KBOOT_MATRIX_DIR`: where results and the output of failed cases are kept (target/kboot-matrix).

#[path = "../e2e/agreement.rs"]
mod agreement;
#[path = "../e2e/command.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use more of it")]
mod command;
#[path = "../e2e/events.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use more of it")]
mod events;
#[path = "../e2e/lab.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use more of it")]
mod lab;
#[path = "../support/skips.rs"]
#[expect(dead_code, reason = "shared with the tests of one program, which use more of it")]
mod skips;
#[path = "../e2e/whole.rs"]
#[expect(dead_code, reason = "shared with the end-to-end tests, which use more of it")]
mod whole;

mod case;
mod good;
mod lane;
mod objects;
mod results;
mod scene;
mod table;

use std::io::Write as _;
use std::process::{Child, Command, ExitCode};

use lab::Lab;
use results::Results;

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let results = Results::open();
    if !arguments.runs_ignored && !arguments.only_table && !arguments.only_list {
        table::check();
        say("\nrunning 1 test: the page; the kill matrix takes hosts and hours: `make test-matrix`\n");
        say("\ntest result: ok. 1 passed; 0 failed; 1 ignored; 0 filtered out\n\n");
        return ExitCode::SUCCESS;
    }
    if arguments.is_lane {
        return lane::run(&results, &arguments.parts);
    }
    if arguments.only_list {
        results.missing(&arguments.parts).iter().for_each(|case| say(&format!("{}\n", case.name())));
        return ExitCode::SUCCESS;
    }
    if !arguments.only_table {
        if let Err(why) = Lab::check() {
            say(&format!("the kill matrix can't run here: {why}\n"));
            return if skips::are_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
        if arguments.is_fresh {
            results.forget();
        }
        results.unclaim();
        run_lanes(&arguments);
    }
    table::write(&results);
    let (good, bad) = results.counts();
    let word = if bad == 0 && good > 0 { "ok" } else { "FAILED" };
    say(&format!("\ntest result: {word}. {good} passed; {bad} failed; see docs/kill-matrix.md\n\n"));
    if word == "ok" { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// A process a lab: which one it is goes by the environment, as for any other user of the testbed.
fn run_lanes(arguments: &Arguments) {
    let mut children: Vec<Child> = (1..=arguments.lanes)
        .map(|lane| {
            let name = std::env::var("KBOOT_LAB").unwrap_or_else(|_| "matrix".into());
            let mut command = Command::new(std::env::current_exe().expect("this program runs"));
            command.args(["--ignored", "--lane"]).args(&arguments.parts);
            command.env("KBOOT_LAB", format!("{name}{lane}")).env("KBOOT_BIN", env!("CARGO_BIN_EXE_kboot"));
            command.spawn().expect("this program can be started again")
        })
        .collect();
    for child in &mut children {
        child.wait().expect("it is ours");
    }
}

#[derive(Default)]
struct Arguments {
    parts: Vec<String>,
    lanes: usize,
    runs_ignored: bool,
    is_lane: bool,
    is_fresh: bool,
    only_table: bool,
    only_list: bool,
}

impl Arguments {
    fn read() -> Self {
        let mut read = Self { lanes: 3, ..Self::default() };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--ignored" | "--include-ignored" => read.runs_ignored = true,
                "--lane" => read.is_lane = true,
                "--fresh" => read.is_fresh = true,
                "--table" => read.only_table = true,
                "--list" => read.only_list = true,
                "--lanes" => {
                    let number = words.next().and_then(|word| word.parse().ok());
                    read.lanes =
                        number.filter(|lanes| (1..=9).contains(lanes)).expect("--lanes takes a number, 1 to 9");
                }
                "--test-threads" | "--format" | "--color" | "--logfile" => drop(words.next()),
                word if word.starts_with('-') => {}
                _ => read.parts.push(word),
            }
        }
        read
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
