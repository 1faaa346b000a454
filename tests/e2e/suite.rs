//! Runs chains of tests on several labs side by side, and says how it went as `cargo test` does.
//!
//! libtest-mimic was looked at: its trials are independent of each other and of the thread that runs them. It has no place for a lab that a
//! worker keeps, for an order within a chain, for a cluster that several tests share, or for a line with a test's time and lab.
//! nextest runs a process for each test, and has neither chains nor fixtures that outlive one.

use std::cell::RefCell;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::chains::{Chain, Queue, Start, Test, chains, find, with_what_they_need};
use crate::lab::{self, Lab};
use crate::report::Report;

/// How a run is called for: the test harness's own arguments, as far as they make sense here.
#[derive(Default)]
pub struct Arguments {
    pub filters: Vec<String>,
    pub skipped: Vec<String>,
    pub is_exact: bool,
    pub only_list: bool,
    pub runs_ignored: bool,
    /// Runs those of the full suite as well.
    pub is_full: bool,
    /// Another order, to show that it does not matter.
    pub shuffle_seed: Option<u64>,
    /// How many labs, where that is not for the machine to say.
    pub labs: Option<usize>,
    /// Tests that can't run here are a failure.
    pub is_required: bool,
}

impl Arguments {
    pub fn read(words: impl IntoIterator<Item = String>, labs: Option<&str>) -> Result<Self, String> {
        let labs = labs.map(|labs| labs.parse().map_err(|_| format!("KBOOT_E2E_LABS={labs} is no number")));
        let mut read = Self { labs: labs.transpose()?, ..Self::default() };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--ignored" | "--include-ignored" => read.runs_ignored = true,
                "--full" => read.is_full = true,
                "--list" => read.only_list = true,
                "--exact" => read.is_exact = true,
                "--skip" => read.skipped.extend(words.next()),
                "--shuffle-seed" => {
                    let seed = words.next().and_then(|seed| seed.parse().ok());
                    read.shuffle_seed = Some(seed.ok_or("--shuffle-seed takes a number")?);
                }
                // How its output is to look, which is for those who format it.
                "--test-threads" | "--format" | "--color" | "--logfile" => drop(words.next()),
                word if word.starts_with('-') => {}
                _ => read.filters.push(word),
            }
        }
        Ok(read)
    }

    fn matches(&self, name: &str) -> bool {
        let is_like = |filter: &String| if self.is_exact { name == filter } else { name.contains(filter) };
        (self.filters.is_empty() || self.filters.iter().any(is_like)) && !self.skipped.iter().any(is_like)
    }

    fn names(&self, name: &str) -> bool {
        self.filters.iter().any(|filter| filter == name)
    }
}

/// What is to be run, and what is not.
pub struct Choice<'a> {
    all: Vec<&'a Test>,
    pub chosen: Vec<&'a Test>,
    /// With what shows the same in the shorter suite.
    ignored: Vec<(&'a Test, &'static str)>,
}

impl<'a> Choice<'a> {
    /// `full` names the tests that only the full suite runs, each with why it can be left out.
    pub fn new(groups: &[&'a [Test]], full: &[(&str, &'static str)], arguments: &Arguments) -> Self {
        let all: Vec<&Test> = groups.iter().flat_map(|group| group.iter()).collect();
        for (name, _) in full {
            find(&all, name);
        }
        let matching = all.iter().copied().filter(|test| arguments.matches(test.name));
        let why = |test: &Test| full.iter().find(|(name, _)| *name == test.name).map(|(_, why)| *why);
        let is_left_out = |test: &Test| why(test).is_some() && !arguments.is_full && !arguments.names(test.name);
        let (ignored, mut chosen): (Vec<_>, Vec<_>) = matching.partition(|test| is_left_out(test));
        // What an earlier run kept stands for what they need.
        if !lab::is_reused() {
            chosen = with_what_they_need(&all, &chosen);
        }
        let ignored = ignored
            .into_iter()
            .filter(|test| !chosen.iter().any(|chosen| chosen.name == test.name))
            .map(|test| (test, why(test).unwrap_or_default()))
            .collect();
        Self { all, chosen, ignored }
    }

    fn filtered(&self) -> usize {
        self.all.len() - self.chosen.len() - self.ignored.len()
    }
}

/// Runs what was chosen and says how it went; whether it went well.
pub fn main(choice: &Choice, arguments: &Arguments, report: &Report) -> bool {
    report.filtered(choice.filtered());
    if arguments.only_list {
        choice.chosen.iter().for_each(|test| report.say(&format!("{}: test\n", test.name)));
        return true;
    }
    let count = choice.chosen.len();
    if !arguments.runs_ignored {
        report.say(&format!("\nrunning {count} tests, of which all take hosts: `-- --ignored` runs them\n"));
        report.ignored_all(count + choice.ignored.len());
        return report.end();
    }
    if let Err(why) = Lab::check() {
        report.ignored_all(count + choice.ignored.len());
        report.say(&format!("\nnone of {count} end-to-end tests can run here: {why}\n"));
        if arguments.is_required {
            report.spoil();
        }
        return report.end();
    }
    let mut chains = chains(&choice.all, &choice.chosen);
    if let Some(seed) = arguments.shuffle_seed {
        shuffle(&mut chains, seed);
    }
    let labs = labs_for(chains.len(), arguments.labs);
    let names: Vec<String> = (1..=labs).map(|number| format!("{}{number}", lab::base_name())).collect();
    let labs: Result<Vec<Lab>, String> = names.iter().map(|name| Lab::new(name)).collect();
    let labs = match labs {
        Ok(labs) => labs,
        Err(why) => {
            report.say(&format!("\nthere is no lab to run on: {why}\n"));
            report.spoil();
            return report.end();
        }
    };
    lab::down_others(&names);
    report.say(&format!("\nrunning {count} tests in {} chains on {}\n", chains.len(), names.join(", ")));
    choice.ignored.iter().for_each(|(test, why)| report.ignored(test.name, &format!("{why}; `--full` runs it")));
    keep_panics();
    let queue = Queue::new(chains);
    std::thread::scope(|scope| {
        for (number, lab) in labs.into_iter().enumerate() {
            let worker = Worker { number, lab, all: &choice.all, queue: &queue, report };
            scope.spawn(move || worker.run());
        }
    });
    report.end()
}

fn shuffle(chains: &mut [Chain], seed: u64) {
    // splitmix64: an order is all that is wanted of it.
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    chains.sort_by_cached_key(|_| next());
}

/// As many as the machine can bear: a lab keeps a core busy, and with five hosts it takes six GiB. With more labs than cores, components
/// miss their deadlines on a slow machine.
fn labs_for(chains: usize, asked: Option<usize>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let able = cores.min(lab::available_gib() / 6);
    let wanted = if lab::is_reused() { 1 } else { asked.unwrap_or(able) };
    wanted.min(chains).max(1)
}

/// A lab and the thread that runs chains on it.
struct Worker<'a> {
    number: usize,
    lab: Lab,
    all: &'a [&'a Test],
    queue: &'a Queue<'a>,
    report: &'a Report,
}

impl Worker<'_> {
    fn run(self) {
        IS_WORKER.set(true);
        while let Some((chain, is_there)) = self.queue.next(self.number) {
            let is_good = self.chain(&chain, is_there);
            let first = chain.tests[0].name;
            if !is_good {
                for dropped in self.queue.drop_those_of(first) {
                    self.not_tried(&dropped, &format!("not tried: it starts from what {first} leaves"));
                }
            }
            let made = match chain.start() {
                Start::Shared(maker) => Some(maker),
                Start::Bare { .. } | Start::After(_) => Some(first),
            };
            self.queue.done(self.number, made.filter(|_| is_good && chain.is_whole));
        }
    }

    fn not_tried(&self, chain: &Chain, why: &str) {
        for test in &chain.tests {
            self.report.ended(test.name, &self.lab.name, Duration::ZERO, Err(why.into()), &[]);
        }
    }

    /// Runs its tests one after the other; whether all went well.
    fn chain(&self, chain: &Chain, is_there: bool) -> bool {
        if let Err(why) = self.prepare(chain.start(), is_there) {
            self.not_tried(chain, &format!("what it starts from did not come about: {why}"));
            return false;
        }
        let mut is_good = true;
        for test in &chain.tests {
            lab::park_if_interrupted();
            let since = Instant::now();
            let result = match test.start {
                Start::After(before) if self.report.has_failed(before) => {
                    Err(format!("not tried: it starts from what {before} leaves"))
                }
                Start::Bare { .. } | Start::Shared(_) | Start::After(_) => self.attempt(test),
            };
            lab::park_if_interrupted();
            is_good &= result.is_ok();
            self.report.ended(test.name, &self.lab.name, since.elapsed(), result, &self.lab.take_notes());
        }
        is_good
    }

    fn attempt(&self, test: &Test) -> Result<(), String> {
        catch_unwind(AssertUnwindSafe(|| (test.run)(&self.lab))).map_err(|_| {
            let why = LAST_PANIC.take();
            let state = self.lab.cluster_state();
            LAST_PANIC.take();
            format!("{why}\n{state}")
        })
    }

    fn prepare(&self, start: Start, is_there: bool) -> Result<(), String> {
        lab::park_if_interrupted();
        if lab::is_reused() {
            return self.lab.up_again();
        }
        match start {
            Start::Bare { hosts, lab } => self.lab.fresh(hosts, lab),
            Start::Shared(_) if is_there => Ok(()),
            Start::Shared(maker) => {
                let maker = find(self.all, maker);
                let since = Instant::now();
                self.prepare(maker.start, false)?;
                self.attempt(maker)?;
                let (name, lab, took) = (maker.name, &self.lab.name, since.elapsed().as_secs_f64());
                self.report.say(&format!("     {name} once more ({took:.1} s, {lab})\n"));
                Ok(())
            }
            Start::After(name) => Err(format!("{name} was not run")),
        }
    }
}

thread_local! {
    static IS_WORKER: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A panic's text and place belong to its test, not between the lines.
fn keep_panics() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !IS_WORKER.get() {
            return others(panic);
        }
        let text = panic.payload_as_str().unwrap_or("a panic without a text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        LAST_PANIC.with_borrow_mut(|told| told.push_str(&format!("{place}: {text}\n")));
    }));
}
