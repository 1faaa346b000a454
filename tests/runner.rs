//! The runner of the end-to-end tests, with labs that know no more than what state they are in.

#[path = "e2e/chains.rs"]
mod chains;
#[path = "e2e/report.rs"]
mod report;
#[path = "support/skips.rs"]
mod skips;
#[path = "e2e/suite.rs"]
mod suite;

use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Barrier, Mutex};

use chains::{Start, Test};
use lab::Lab;
use report::Report;
use suite::{Arguments, Choice};

/// What the runner uses of a lab.
mod lab {
    use std::cell::{Cell, RefCell};
    use std::sync::Mutex;

    thread_local! {
        pub static CAN_RUN: Cell<bool> = const { Cell::new(true) };
    }
    /// What was done, by the name of the lab.
    static DONE: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

    pub struct Lab {
        pub name: String,
        state: RefCell<String>,
    }

    impl Lab {
        pub fn check() -> Result<(), String> {
            if CAN_RUN.get() { Ok(()) } else { Err("no kernel for it".into()) }
        }

        pub fn new(name: &str) -> Result<Self, String> {
            Ok(Self { name: name.into(), state: RefCell::new("left by an earlier run".into()) })
        }

        pub fn fresh(&self, hosts: usize, more: &[&str]) -> Result<(), String> {
            self.state.replace(format!("{hosts} bare {}", more.concat()).trim().to_owned());
            Ok(())
        }

        pub fn up_again(&self) -> Result<(), String> {
            panic!("nothing is reused here")
        }

        pub fn cluster_state(&self) -> String {
            format!("the lab is {}", self.state.borrow())
        }

        pub fn take_notes(&self) -> Vec<String> {
            vec![]
        }

        /// A test finds the hosts in the first state and leaves them in the other.
        #[track_caller]
        pub fn goes(&self, from: &str, to: &str) {
            DONE.lock().unwrap().push((self.name.clone(), format!("{from} to {to}")));
            assert_eq!(*self.state.borrow(), from);
            self.state.replace(to.into());
        }
    }

    pub fn is_reused() -> bool {
        false
    }

    /// Each test of the runner has labs of its own: its thread's name is its own.
    pub fn base_name() -> String {
        format!("{}-", std::thread::current().name().unwrap())
    }

    pub fn done() -> Vec<String> {
        let base = base_name();
        let done = DONE.lock().unwrap();
        done.iter().filter(|(lab, _)| lab.starts_with(&base)).map(|(_, what)| what.clone()).collect()
    }

    pub fn down_others(_: &[String]) {}

    pub fn available_gib() -> usize {
        64
    }

    pub fn park_if_interrupted() {}
}

const TESTS: &[Test] = &[
    Test { name: "made", start: Start::bare(3), run: |lab| lab.goes("3 bare", "a cluster") },
    Test { name: "story::begins", start: Start::bare(2), run: |lab| lab.goes("2 bare", "begun") },
    Test { name: "story::goes_on", start: Start::After("story::begins"), run: |lab| lab.goes("begun", "gone on") },
    Test { name: "story::ends", start: Start::After("story::goes_on"), run: |lab| lab.goes("gone on", "ended") },
    Test { name: "shared::a", start: Start::Shared("made"), run: |lab| lab.goes("a cluster", "a cluster") },
    Test { name: "shared::takes_apart", start: Start::Shared("made"), run: |lab| lab.goes("a cluster", "parts") },
    Test {
        name: "shared::mends",
        start: Start::After("shared::takes_apart"),
        run: |lab| lab.goes("parts", "a cluster"),
    },
    Test { name: "shared::b", start: Start::Shared("made"), run: |lab| lab.goes("a cluster", "a cluster") },
    Test {
        name: "other::kind",
        start: Start::Bare { hosts: 1, lab: &["--other"] },
        run: |lab| lab.goes("1 bare --other", "whatever"),
    },
];

const BROKEN: &[Test] = &[
    Test { name: "made", start: Start::bare(3), run: |lab| lab.goes("3 bare", "a cluster") },
    Test { name: "shared::breaks", start: Start::Shared("made"), run: |lab| breaks(lab, "a cluster") },
    Test { name: "shared::a", start: Start::Shared("made"), run: |lab| lab.goes("a cluster", "a cluster") },
    Test { name: "story::begins", start: Start::bare(2), run: |lab| breaks(lab, "2 bare") },
    Test { name: "story::ends", start: Start::After("story::begins"), run: |lab| lab.goes("begun", "ended") },
    Test { name: "never", start: Start::bare(4), run: |lab| breaks(lab, "4 bare") },
    Test { name: "shared::nothing", start: Start::Shared("never"), run: |lab| lab.goes("a cluster", "a cluster") },
];

fn breaks(lab: &Lab, from: &str) {
    lab.goes(from, "broken");
    panic!("the kettle is {}", "empty");
}

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs them as a command line says; whether that was a success, and all that was said.
fn run(tests: &[Test], full: &[(&str, &'static str)], words: &str, labs: usize) -> (bool, String) {
    let words = words.split_whitespace().map(String::from);
    let arguments = Arguments::read(words, Some(&labs.to_string())).unwrap();
    told(tests, full, &arguments)
}

fn told(tests: &[Test], full: &[(&str, &'static str)], arguments: &Arguments) -> (bool, String) {
    let said = Said::default();
    let report = Report::new(Box::new(said.clone()));
    let is_good = suite::main(&Choice::new(&[tests], full, arguments), arguments, &report);
    let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
    (is_good, said)
}

#[track_caller]
fn counts(said: &str, counts: &str) {
    assert!(said.contains(&format!("test result: {counts}; 0 measured")), "{said}");
}

#[test]
fn in_any_order_on_any_number_of_labs_each_finds_what_it_declares() {
    for seed in 0..30 {
        for labs in 1..4 {
            let (is_good, said) = run(TESTS, &[], &format!("--ignored --shuffle-seed {seed}"), labs);
            assert!(is_good, "{said}");
            counts(&said, "ok. 9 passed; 0 failed; 0 ignored");
        }
    }
}

#[test]
fn one_lab_makes_a_cluster_once_for_all_that_share_it() {
    let (is_good, said) = run(TESTS, &[], "--ignored", 1);
    assert!(is_good, "{said}");
    assert_eq!(lab::done().iter().filter(|done| *done == "3 bare to a cluster").count(), 1, "{said}");
}

#[test]
fn a_filter_brings_what_its_tests_start_from() {
    let (is_good, said) = run(TESTS, &[], "--ignored goes_on shared::b", 2);
    assert!(is_good, "{said}");
    counts(&said, "ok. 4 passed; 0 failed; 0 ignored");
    assert!(said.contains("5 filtered out"), "{said}");
    for name in ["made", "shared::b", "story::begins", "story::goes_on"] {
        assert!(said.contains(&format!("test {name} ... ok (")), "{said}");
    }
}

#[test]
fn a_part_of_a_chain_comes_last_and_leaves_no_cluster_for_others() {
    const fn taken_apart(name: &'static str) -> Test {
        Test { name, start: Start::Shared("made"), run: |lab| lab.goes("a cluster", "parts") }
    }
    const fn mended(name: &'static str, before: &'static str) -> Test {
        Test { name, start: Start::After(before), run: |lab| lab.goes("parts", "a cluster") }
    }
    const TWO: &[Test] = &[
        Test { name: "made", start: Start::bare(3), run: |lab| lab.goes("3 bare", "a cluster") },
        taken_apart("one::parts"),
        mended("one::mends", "one::parts"),
        taken_apart("two::parts"),
        mended("two::mends", "two::parts"),
        Test { name: "whole", start: Start::Shared("made"), run: |lab| lab.goes("a cluster", "a cluster") },
    ];
    let (is_good, said) = run(TWO, &[], "--ignored ::parts whole", 1);
    assert!(is_good, "{said}");
    let [make, keep, spoil] = ["3 bare to a cluster", "a cluster to a cluster", "a cluster to parts"];
    assert_eq!(lab::done(), [make, keep, spoil, make, spoil], "{said}");
}

#[test]
fn a_failure_spoils_nothing_for_the_others() {
    for labs in 1..4 {
        let (is_good, said) = run(BROKEN, &[], "--ignored", labs);
        assert!(!is_good, "{said}");
        counts(&said, "FAILED. 2 passed; 5 failed; 0 ignored");
        for line in [
            "test shared::a ... ok (",
            "test shared::breaks ... FAILED (",
            "\nfailures:\n\n---- never on ",
            "tests/runner.rs:",
            ": the kettle is empty\n\nthe lab is ",
            "not tried: it starts from what story::begins leaves",
            "not tried: it starts from what never leaves",
            "\nfailures:\n    never\n    shared::breaks\n    shared::nothing\n    story::begins\n    story::ends\n",
        ] {
            assert!(said.contains(line), "it does not say {line:?}\n{said}");
        }
    }
}

#[test]
fn what_only_the_full_suite_has_is_ignored_and_said_to_be() {
    let full = [("shared::b", "shared::a shows the same"), ("story::begins", "nobody needs it")];
    let (is_good, said) = run(TESTS, &full, "--ignored shared:: begins", 2);
    assert!(is_good, "{said}");
    counts(&said, "ok. 4 passed; 0 failed; 2 ignored");
    assert!(said.contains("test shared::b ... ignored, shared::a shows the same; `--full` runs it\n"), "{said}");
    // Asked for by its whole name, for all, or by what goes on from there it runs.
    for words in ["shared::b shared:: story::begins", "--full shared:: begins", "--full shared:: goes_on"] {
        let (is_good, said) = run(TESTS, &full, &format!("--ignored {words}"), 2);
        assert!(is_good && said.contains("test shared::b ... ok"), "{said}");
        assert!(said.contains(" 0 ignored") && said.contains("test story::begins ... ok"), "{said}");
    }
    let (is_good, said) = run(TESTS, &full, "--ignored story::", 2);
    assert!(is_good, "{said}");
    counts(&said, "ok. 3 passed; 0 failed; 0 ignored");
}

#[test]
fn where_no_lab_can_be_nothing_has_passed_and_nothing_that_is_required_is_a_success() {
    lab::CAN_RUN.set(false);
    for (is_required, is_success) in [(false, true), (true, false)] {
        let arguments = Arguments { is_required, runs_ignored: true, ..Arguments::default() };
        let (is_good, said) = told(TESTS, &[], &arguments);
        assert_eq!(is_good, is_success, "{said}");
        let word = if is_success { "ok" } else { "FAILED" };
        counts(&said, &format!("{word}. 0 passed; 0 failed; 9 ignored"));
        assert!(said.contains("none of 9 end-to-end tests can run here: no kernel for it"), "{said}");
    }
}

/// It runs itself as one that can't run, with and without what says that it must.
#[test]
fn a_test_that_can_t_run_fails_where_it_must_run() {
    if std::env::var_os("KBOOT_TEST_CANNOT_RUN").is_some() {
        return skips::skip("there is no moon");
    }
    for (name, value, is_success) in
        [("CI", "true", false), ("KBOOT_E2E_REQUIRED", "1", false), ("CI", "false", true), ("CI", "", true)]
    {
        let mut again = Command::new("/proc/self/exe");
        again.args(["--exact", "--nocapture", "a_test_that_can_t_run_fails_where_it_must_run"]);
        again.env("KBOOT_TEST_CANNOT_RUN", "1").env_remove("CI").env_remove("KBOOT_E2E_REQUIRED").env(name, value);
        let output = again.output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.success(), is_success, "{name}={value}\n{said}");
        assert!(said.contains("there is no moon"), "{said}");
    }
}

#[test]
fn without_being_asked_for_none_is_run() {
    let (is_good, said) = run(TESTS, &[], "", 2);
    assert!(is_good && lab::done().is_empty(), "{said}");
    counts(&said, "ok. 0 passed; 0 failed; 9 ignored");
    let (is_good, said) = run(TESTS, &[], "--list shared::", 2);
    assert!(is_good && said.contains("shared::a: test\n") && !said.contains("story"), "{said}");
}

#[test]
fn labs_work_side_by_side() {
    static BOTH: Barrier = Barrier::new(2);
    const MEET: fn(&Lab) = |_| {
        BOTH.wait();
    };
    const PAIR: &[Test] = &[
        Test { name: "one", start: Start::bare(1), run: MEET },
        Test { name: "two", start: Start::bare(1), run: MEET },
    ];
    let (is_good, said) = run(PAIR, &[], "--ignored", 2);
    assert!(is_good, "{said}");
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for (words, labs) in [("--shuffle-seed", None), ("--shuffle-seed x", None), ("", Some("many"))] {
        assert!(Arguments::read(words.split_whitespace().map(String::from), labs).is_err(), "{words} {labs:?}");
    }
}
