//! Runs the tests in order and says how it went, as `cargo test` does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use crate::lab::{self, Lab};

pub struct Test {
    pub name: &'static str,
    /// The test that leaves behind what this one starts from.
    pub needs: Option<&'static str>,
    pub run: fn(&Lab),
}

pub fn main(groups: &[&[Test]]) -> ExitCode {
    let tests: Vec<&Test> = groups.iter().flat_map(|group| group.iter()).collect();
    let arguments = Arguments::read();
    let chosen = arguments.choose(&tests);
    if arguments.only_list {
        chosen.iter().for_each(|test| say(&format!("{}: test\n", test.name)));
        return ExitCode::SUCCESS;
    }
    if !arguments.runs_ignored {
        say(&format!("\nrunning {} tests, of which all take hosts: `-- --ignored` runs them\n", chosen.len()));
        say(&format!("\ntest result: ok. 0 passed; 0 failed; {} ignored; 0 filtered out\n\n", chosen.len()));
        return ExitCode::SUCCESS;
    }
    if let Err(why) = Lab::check() {
        say(&format!("skipped all {} end-to-end tests: {why}\n", chosen.len()));
        return ExitCode::SUCCESS;
    }
    run(&chosen, tests.len())
}

fn run(tests: &[&Test], all: usize) -> ExitCode {
    let started = Instant::now();
    let lab = match Lab::up() {
        Ok(lab) => lab,
        Err(why) => {
            say(&format!("the lab did not come up: {why}\n"));
            return ExitCode::FAILURE;
        }
    };
    say(&format!("\nrunning {} tests (the lab is up after {:.1} s)\n", tests.len(), started.elapsed().as_secs_f64()));
    keep_panics();
    let mut failed = BTreeMap::new();
    for test in tests {
        lab::park_if_interrupted();
        say(&format!("test {} ... ", test.name));
        let since = Instant::now();
        let result = match test.needs.filter(|need| failed.contains_key(need)) {
            Some(need) => Err(format!("not tried: it needs {need}")),
            None => catch_unwind(AssertUnwindSafe(|| (test.run)(&lab))).map_err(|_| taken_panic()),
        };
        let took = since.elapsed().as_secs_f64();
        lab::park_if_interrupted();
        match result {
            Ok(()) => say(&format!("ok ({took:.1} s)\n")),
            Err(why) => {
                say(&format!("FAILED ({took:.1} s)\n{}\n", indented(&why)));
                failed.insert(test.name, why);
            }
        }
    }
    drop(lab);
    if !failed.is_empty() {
        let names: Vec<String> = failed.keys().map(|name| format!("    {name}\n")).collect();
        say(&format!("\nfailures:\n{}", names.concat()));
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    say(&format!(
        "\ntest result: {word}. {} passed; {} failed; 0 ignored; {} filtered out; finished in {:.1}s\n\n",
        tests.len() - failed.len(),
        failed.len(),
        all - tests.len(),
        started.elapsed().as_secs_f64()
    ));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

struct Arguments {
    filters: Vec<String>,
    skipped: Vec<String>,
    is_exact: bool,
    only_list: bool,
    runs_ignored: bool,
}

impl Arguments {
    /// The test harness's own, as far as they make sense here; the others are for those who format its output.
    fn read() -> Self {
        let mut read =
            Self { filters: vec![], skipped: vec![], is_exact: false, only_list: false, runs_ignored: false };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--ignored" | "--include-ignored" => read.runs_ignored = true,
                "--list" => read.only_list = true,
                "--exact" => read.is_exact = true,
                "--skip" => read.skipped.extend(words.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" => drop(words.next()),
                word if word.starts_with('-') => {}
                _ => read.filters.push(word),
            }
        }
        read
    }

    /// Those that match, each with what it needs, in order.
    fn choose<'a>(&self, tests: &[&'a Test]) -> Vec<&'a Test> {
        let is_like = |name: &str, filter: &String| if self.is_exact { name == filter } else { name.contains(filter) };
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for test in tests {
            let matches = self.filters.is_empty() || self.filters.iter().any(|filter| is_like(test.name, filter));
            if matches && !self.skipped.iter().any(|filter| is_like(test.name, filter)) {
                let mut next = Some(test.name);
                while let Some(name) = next {
                    names.insert(name);
                    let needed = tests.iter().find(|test| test.name == name);
                    let needs = needed.unwrap_or_else(|| panic!("there is no test {name}")).needs;
                    next = needs.filter(|_| !lab::is_reused());
                }
            }
        }
        tests.iter().copied().filter(|test| names.contains(test.name)).collect()
    }
}

static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// A panic's text and place belong under its test, not between the lines.
fn keep_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("a panic without a text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let told = format!("{place}: {text}\n");
        LAST_PANIC.lock().unwrap_or_else(|lock| lock.into_inner()).push_str(&told);
    }));
}

fn taken_panic() -> String {
    std::mem::take(&mut *LAST_PANIC.lock().unwrap_or_else(|lock| lock.into_inner()))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

pub fn say(text: &str) {
    let mut out = std::io::stdout();
    // Nobody may be listening any more; the exit code tells as well.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
