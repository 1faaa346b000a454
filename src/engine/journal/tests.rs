//! A journal that is cut, shortened and read again.

use super::*;
use crate::engine::{State, Subject};

fn journal_in(folder: &tempfile::TempDir) -> Utf8PathBuf {
    Utf8PathBuf::try_from(folder.path().join("a/journal.jsonl")).unwrap()
}

fn load(module: &str) -> Change {
    Change::LoadModule { module: module.into() }
}

fn absent(subject: Subject) -> Vec<Trace> {
    vec![Trace { subject, state: State::Absent }]
}

fn module(name: &str) -> Subject {
    Subject::Module { module: name.into() }
}

fn info(command: &str) -> RunInfo {
    RunInfo { id: command.into(), command: command.into(), ..RunInfo::default() }
}

fn write(path: &Utf8Path, run: &str, modules: &[&str]) {
    let journal = Journal::open(path, info(run)).unwrap();
    for name in modules {
        let number = journal.intent("load-modules", &load(name), absent(module(name))).unwrap();
        journal.done(number, vec![Trace { subject: module(name), state: State::Present }]).unwrap();
    }
    journal.end(Outcome::Changed, false).unwrap();
}

fn read(path: &Utf8Path) -> Vec<Run> {
    Journal::runs(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_run_is_read_back_with_what_was_there_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let path = journal_in(&folder);
    write(&path, "up", &["overlay"]);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let runs = read(&path);
    assert_eq!((runs.len(), runs[0].outcome), (1, Some(Outcome::Changed)));
    let made = &runs[0].changes[0];
    assert_eq!((made.text.as_str(), made.step.as_str()), ("load the kernel module overlay", "load-modules"));
    assert_eq!(made.before, absent(module("overlay")));
    assert_eq!(made.after.as_ref().unwrap()[0].state, State::Present);
}

#[test]
fn a_run_that_changes_nothing_leaves_no_trace_unless_it_is_news() {
    let folder = tempfile::tempdir().unwrap();
    let path = journal_in(&folder);
    Journal::open(&path, info("up")).unwrap().end(Outcome::Unchanged, false).unwrap();
    assert!(read(&path).is_empty());
    Journal::open(&path, info("up")).unwrap().end(Outcome::Unchanged, true).unwrap();
    assert_eq!(read(&path)[0].outcome, Some(Outcome::Unchanged));
}

#[test]
fn cut_at_any_byte_it_is_still_readable_and_can_be_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = journal_in(&folder);
    write(&path, "one", &["overlay", "br_netfilter"]);
    let whole = fs::read(&path).unwrap();
    let all = read(&path);
    for cut in 0..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
        let records = Journal::parse(&fs::read(&path).unwrap()).unwrap().len();
        assert!(records == lines || records == lines + 1, "cut at {cut}");
        // What is written next is not swallowed by the torn line.
        write(&path, "two", &["ip_vs"]);
        let runs = read(&path);
        let two = runs.last().unwrap();
        assert_eq!((two.info.command.as_str(), two.changes.len(), two.outcome), ("two", 1, Some(Outcome::Changed)));
        if let Some(one) = runs.iter().find(|run| run.info.command == "one") {
            for (made, whole) in one.changes.iter().zip(&all[0].changes) {
                assert_eq!((&made.text, &made.before), (&whole.text, &whole.before), "cut at {cut}");
            }
        }
    }
}

#[test]
fn shortened_it_keeps_the_last_runs_whole_and_the_first_state_of_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = journal_in(&folder);
    write(&path, "first", &["overlay", "br_netfilter"]);
    for run in 0..50 {
        write(&path, &format!("run {run:02}"), &["overlay"]);
    }
    let records = Journal::parse(&fs::read(&path).unwrap()).unwrap();
    let bytes = shortened(&records, 4000);
    assert!(bytes.len() < 20_000, "{}", bytes.len());
    let (before, after) = (runs(records), Journal::runs(&bytes).unwrap());
    assert_eq!(after[0].changes, before[0].changes, "the first states");
    assert_eq!(after.last(), before.last());
    assert!(after[1].changes.is_empty(), "neither a first state nor a last wish is in it");
    assert_eq!(crate::engine::LastApplied::of(&before, "").wants(), crate::engine::LastApplied::of(&after, "").wants());
}

#[test]
fn a_newer_journal_and_an_unknown_record_are_refused_and_a_torn_line_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = journal_in(&folder);
    write(&path, "one", &["overlay"]);
    let whole = fs::read(&path).unwrap();
    let with = |line: &str| Journal::runs(&[&whole, line.as_bytes(), b"\n"].concat());
    assert_eq!(with("{\"version\":3,\"run\":\"one\",\"at").unwrap().len(), 1);
    assert_eq!(with("{\"version\":1,\"run\":\"zero\",\"text\":\"x\"}").unwrap().len(), 1);
    for (line, why, hint) in [
        (
            "{\"version\":4,\"seal\":1}",
            "the journal is of format 4, and this kboot reads formats up to 3",
            Hint::RunNewerKboot,
        ),
        (
            "{\"version\":3,\"run\":\"one\",\"at\":1,\"record\":\"seal\"}",
            "unknown variant `seal`",
            Hint::RestoreJournal,
        ),
        ("{\"a\":1}", "this is no record of kboot's journal", Hint::RestoreJournal),
    ] {
        let failure = with(line).unwrap_err();
        assert!(failure.cause.starts_with("line 5 of /var/lib/kboot/journal.jsonl: "), "{failure}");
        assert!(failure.cause.contains(why), "{failure}");
        assert_eq!(failure.hint, Some(hint));
    }
}
