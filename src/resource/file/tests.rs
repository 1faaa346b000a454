//! Files on a real disk, in a temporary folder, changed by the runner as on any host.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;
use crate::engine::{AnyStep, Cancel, Drift, Journal, Mode, Outcome, PlannedHost, Report, Runner, Sink};
use crate::kube::Connector;
use crate::resource::{Converge, LocalHost};

/// What is at a path before.
#[derive(Debug, Clone)]
enum Initial {
    Nothing,
    File(Vec<u8>, u32),
    Directory(u32, Vec<String>),
    LinkToNothing,
    /// To a file with this content.
    LinkToFile(Vec<u8>),
}

#[derive(Debug, Clone)]
enum Wanted {
    Text(String, u32),
    Bytes(Vec<u8>, u32),
    Secret(String),
    Absent,
    Directory(u32),
    Edited,
}

/// Few words, so that what is wanted is often there already.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["", "swap\n", "# swap\n", "ä\n", "a\nswap\n"]
}

fn mode() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0o600), Just(0o644), Just(0o755), Just(0o700)]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![text().prop_map(String::into_bytes), Just(vec![0xff, 0, 10])]
}

fn initial() -> impl Strategy<Value = Initial> {
    let names = proptest::collection::vec("[a-c]", 0..3);
    prop_oneof![
        Just(Initial::Nothing),
        (bytes(), mode()).prop_map(|(bytes, mode)| Initial::File(bytes, mode)),
        (mode(), names).prop_map(|(mode, names)| Initial::Directory(mode | 0o700, names)),
        Just(Initial::LinkToNothing),
        bytes().prop_map(Initial::LinkToFile),
    ]
}

fn wanted() -> impl Strategy<Value = Wanted> {
    prop_oneof![
        (text(), mode()).prop_map(|(text, mode)| Wanted::Text(text, mode)),
        (bytes(), mode()).prop_map(|(bytes, mode)| Wanted::Bytes(bytes, mode)),
        text().prop_map(Wanted::Secret),
        Just(Wanted::Absent),
        mode().prop_map(|mode| Wanted::Directory(mode | 0o700)),
        Just(Wanted::Edited),
    ]
}

impl Initial {
    fn make(&self, path: &Utf8Path) {
        let folder = path.parent().unwrap();
        match self {
            Initial::Nothing => {}
            Initial::File(bytes, mode) => {
                fs::write(path, bytes).unwrap();
                set_mode(path, FileMode(*mode)).unwrap();
            }
            Initial::Directory(mode, names) => {
                fs::create_dir(path).unwrap();
                for name in names {
                    fs::write(path.join(name), "").unwrap();
                }
                set_mode(path, FileMode(*mode)).unwrap();
            }
            Initial::LinkToNothing => std::os::unix::fs::symlink(folder.join("nothing"), path).unwrap(),
            Initial::LinkToFile(bytes) => {
                fs::write(folder.join("target"), bytes).unwrap();
                std::os::unix::fs::symlink(folder.join("target"), path).unwrap();
            }
        }
    }
}

fn comment_out(text: &str) -> String {
    text.lines().map(|line| if line == "swap" { "# swap\n".into() } else { format!("{line}\n") }).collect()
}

impl Wanted {
    fn step(&self, path: &Utf8Path) -> Converge {
        let step = Converge::new("files", "Write files");
        match self.clone() {
            Wanted::Text(text, mode) => step.with(File::text(path, text).mode(FileMode(mode))),
            Wanted::Bytes(bytes, mode) => step.with(File::bytes(path, bytes).mode(FileMode(mode))),
            Wanted::Secret(text) => step.with(File::secret(path, text)),
            Wanted::Absent => step.with(Absent::new(path)),
            Wanted::Directory(mode) => step.with(Directory::new(path, FileMode(mode))),
            Wanted::Edited => step.with(Edited::new(path, comment_out)),
        }
    }

    /// What can't be brought about without destroying what nobody said is kboot's.
    fn is_refused(&self, initial: &Initial) -> bool {
        match (self, initial) {
            (Wanted::Text(..) | Wanted::Bytes(..) | Wanted::Secret(_) | Wanted::Edited, Initial::Directory(..)) => true,
            (Wanted::Directory(_), initial) => !matches!(initial, Initial::Nothing | Initial::Directory(..)),
            // Only text can be edited, and only in its own place.
            (Wanted::Edited, Initial::File(bytes, _)) => String::from_utf8(bytes.clone()).is_err(),
            (Wanted::Edited, Initial::LinkToFile(bytes)) => {
                String::from_utf8(bytes.clone()).map_or(true, |text| comment_out(&text) != text)
            }
            _ => false,
        }
    }

    /// Looks for itself, with nothing of what is tested.
    fn holds(&self, path: &Utf8Path) -> bool {
        let metadata = std::fs::symlink_metadata(path).ok();
        let is_file = |content: &[u8], mode: u32| {
            let right = metadata.as_ref().is_some_and(|m| m.is_file() && m.mode() & 0o7777 == mode);
            right && std::fs::read(path).unwrap() == content
        };
        match self {
            Wanted::Text(text, mode) => is_file(text.as_bytes(), *mode),
            Wanted::Bytes(bytes, mode) => is_file(bytes, *mode),
            Wanted::Secret(text) => is_file(text.as_bytes(), 0o600),
            Wanted::Absent => metadata.is_none(),
            Wanted::Directory(mode) => metadata.is_some_and(|m| m.is_dir() && m.mode() & 0o7777 == *mode),
            Wanted::Edited => {
                std::fs::read_to_string(path).map_or(true, |text| !text.lines().any(|line| line == "swap"))
            }
        }
    }
}

/// Everything below a folder: kind, mode and content.
fn tree(folder: &Utf8Path) -> Vec<(String, u32, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in folder.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            found.extend(tree(&path));
        }
        let content = if metadata.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        found.push((path.into_string(), metadata.mode(), content));
    }
    found.sort();
    found
}

async fn run(step: &dyn AnyStep, mode: Mode) -> Result<Report> {
    let (sender, _events) = mpsc::unbounded_channel();
    let host = Arc::new(LocalHost::new(Connector::default()));
    let runner = Runner {
        host,
        mode,
        journal: Arc::new(Journal::none()),
        last: Arc::default(),
        drift: Drift::Repair,
        cancel: Cancel::default(),
        planned_host: PlannedHost::default(),
    };
    runner.run(step, &Sink::new("n1", sender)).await
}

proptest! {
    #[test]
    fn applying_brings_about_what_is_wanted_and_then_nothing_is_left_to_do(initial in initial(), wanted in wanted()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let path = folder.join("path");
        initial.make(&path);
        let step = wanted.step(&path);
        let before = tree(folder);
        let planned = runtime.block_on(run(&step, Mode::Plan));
        prop_assert_eq!(tree(folder), before.clone(), "a plan touches nothing");
        let applied = runtime.block_on(run(&step, Mode::Apply));
        if wanted.is_refused(&initial) {
            prop_assert!(planned.is_err() && applied.is_err(), "{planned:?} {applied:?}");
            prop_assert_eq!(tree(folder), before, "what is refused is left alone");
            return Ok(());
        }
        let (planned, applied) = (planned.unwrap(), applied.unwrap());
        prop_assert!(wanted.holds(&path), "{:?}", tree(folder));
        prop_assert_eq!(applied.changes, planned.changes);
        if planned.outcome == Outcome::Unchanged {
            prop_assert_eq!(tree(folder), before);
        } else {
            prop_assert_eq!(planned.outcome, Outcome::WouldChange);
            prop_assert_eq!(applied.outcome, Outcome::Changed);
        }
        let after = tree(folder);
        for mode in [Mode::Plan, Mode::Apply] {
            let again = runtime.block_on(run(&step, mode)).unwrap();
            prop_assert_eq!(again, Report { outcome: Outcome::Unchanged, changes: 0 });
        }
        prop_assert_eq!(tree(folder), after);
    }
}

#[tokio::test]
async fn a_file_gets_the_directories_above_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(folder.path()).unwrap().join("a/b/c");
    let step = Converge::new("files", "Write files").with(File::secret(&path, "x"));
    assert_eq!(run(&step, Mode::Apply).await.unwrap(), Report { outcome: Outcome::Changed, changes: 1 });
    let mode = |path: &Utf8Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o755));
}

#[tokio::test]
async fn what_a_link_leads_to_is_not_written_through_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(folder.path()).unwrap();
    let path = folder.join("path");
    Initial::LinkToFile(b"theirs".to_vec()).make(&path);
    let step = Converge::new("files", "Write files").with(File::text(&path, "ours"));
    run(&step, Mode::Apply).await.unwrap();
    assert_eq!(fs::read_to_string(folder.join("target")).unwrap(), "theirs");
    assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
}

#[test]
fn temporary_files_of_killed_writes_are_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(folder.path()).unwrap();
    let mut killed = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder).unwrap();
    std::io::Write::write_all(&mut killed, b"a key").unwrap();
    killed.keep().unwrap();
    std::os::unix::fs::symlink("elsewhere", folder.join(".kboot-Abc123")).unwrap();
    for name in [".kboot-keep.conf", "kboot-Abc123", ".other"] {
        fs::write(folder.join(name), "theirs").unwrap();
    }
    fs::create_dir(folder.join(".kboot-folder")).unwrap();
    remove_temporaries(folder).unwrap();
    let mut left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".kboot-folder", ".kboot-keep.conf", ".other", "kboot-Abc123"]);
    remove_temporaries(&folder.join("missing")).unwrap();
}
