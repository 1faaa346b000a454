//! What a run says, in libtest's words: a line for each test as it ends, the failures, and the counts.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How much of a failure is told at once.
const FIRST_LINES: usize = 4;

pub struct Report(Mutex<State>);

struct State {
    out: Box<dyn Write + Send>,
    started: Instant,
    passed: usize,
    ignored: usize,
    filtered: usize,
    /// It failed as a whole.
    is_spoilt: bool,
    failed: BTreeMap<&'static str, String>,
}

impl Report {
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        let (started, failed) = (Instant::now(), BTreeMap::new());
        Self(Mutex::new(State { out, started, passed: 0, ignored: 0, filtered: 0, is_spoilt: false, failed }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|lock| lock.into_inner())
    }

    pub fn say(&self, text: &str) {
        self.state().say(text);
    }

    pub fn filtered(&self, count: usize) {
        self.state().filtered = count;
    }

    pub fn ignored(&self, name: &str, why: &str) {
        let mut state = self.state();
        state.ignored += 1;
        state.say(&format!("test {name} ... ignored, {why}\n"));
    }

    /// So many, for one reason that is told once.
    pub fn ignored_all(&self, count: usize) {
        self.state().ignored += count;
    }

    /// Whatever becomes of the tests, this run is a failure.
    pub fn spoil(&self) {
        self.state().is_spoilt = true;
    }

    /// A test has ended on a lab, and said this of itself.
    pub fn ended(&self, name: &'static str, lab: &str, took: Duration, result: Result<(), String>, notes: &[String]) {
        let mut state = self.state();
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        let notes: String = notes.iter().map(|note| format!("    {note}\n")).collect();
        state.say(&format!("test {name} ... {word} ({:.1} s, {lab})\n{notes}", took.as_secs_f64()));
        match result {
            Ok(()) => state.passed += 1,
            Err(why) => {
                // The whole of it comes at the end, which may be far.
                let first: String = why.lines().take(FIRST_LINES).map(|line| format!("    {line}\n")).collect();
                state.say(&first);
                state.failed.insert(name, format!("---- {name} on {lab} ----\n{}\n", why.trim_end()));
            }
        }
    }

    pub fn has_failed(&self, name: &str) -> bool {
        self.state().failed.contains_key(name)
    }

    /// The failures and the counts; whether all is well.
    pub fn end(&self) -> bool {
        let mut state = self.state();
        let failed = state.failed.len();
        let is_good = failed == 0 && !state.is_spoilt;
        if failed > 0 {
            let texts: Vec<&str> = state.failed.values().map(String::as_str).collect();
            let names: String = state.failed.keys().map(|name| format!("    {name}\n")).collect();
            let text = format!("\nfailures:\n\n{}\n\nfailures:\n{names}", texts.join("\n"));
            state.say(&text);
        }
        let text = format!(
            "\ntest result: {}. {} passed; {failed} failed; {} ignored; 0 measured; {} filtered out; finished in {:.2}s\n\n",
            if is_good { "ok" } else { "FAILED" },
            state.passed,
            state.ignored,
            state.filtered,
            state.started.elapsed().as_secs_f64()
        );
        state.say(&text);
        is_good
    }
}

impl State {
    fn say(&mut self, text: &str) {
        // Nobody may be listening any more; the exit code tells as well.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}
