//! Kills this very process at a chosen change, so that tests can show that the next run goes on from there.
//!
//! Only builds with debug assertions can: of a release build these functions are no part. A file says where, a line each:
//!
//! ```text
//! after-intent CHANGE     once this change's intent is in the journal, before it is made
//! after-act CHANGE        once it is made, before the journal says so
//! every                   at both points of each change, once each
//! ```
//!
//! CHANGE is the change's id, as events have it, or its beginning and a `*`. A line that was heard becomes `reached …`, so that the next run gets
//! further, and whoever wrote it can see that it was heard. On a host the file is [`ON_HOST`]. A controller is told of it by
//! `KBOOT_FAULT`; its ids begin with the host's name, and its points are the events that tell of a change's begin and end.

use std::sync::{Mutex, PoisonError};

use camino::Utf8Path;
use fs_err as fs;

use super::{Change, Event, Kind};

/// The file that an agent heeds.
const ON_HOST: &str = "/run/kboot.fault";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    AfterIntent,
    AfterAct,
}

impl Point {
    fn name(self) -> &'static str {
        match self {
            Self::AfterIntent => "after-intent",
            Self::AfterAct => "after-act",
        }
    }
}

/// The agent is at this point of a change.
pub(super) fn at(point: Point, change: &Change) {
    if is_heard(Utf8Path::new(ON_HOST), point, change.id().as_str()) {
        die();
    }
}

/// The controller hears of this.
pub fn at_event(event: &Event) {
    let (point, change) = match &event.kind {
        Kind::ChangeStarted { change } => (Point::AfterIntent, change),
        Kind::ChangeFinished { change, .. } => (Point::AfterAct, change),
        _ => return,
    };
    let Some(path) = std::env::var("KBOOT_FAULT").ok().filter(|path| !path.is_empty()) else { return };
    if is_heard(Utf8Path::new(&path), point, &format!("{}: {}", event.host, change.id())) {
        die();
    }
}

/// Whether the file asks for an end here. It then says that it was heard.
fn is_heard(path: &Utf8Path, point: Point, change: &str) -> bool {
    // Changes overlap, and each of them may be asked for.
    static FILE: Mutex<()> = Mutex::new(());
    let _alone = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(text) = fs::read_to_string(path) else { return false };
    heard(&text, point, change).is_some_and(|text| fs::write(path, text).is_ok())
}

/// The file's text once it was heard.
fn heard(text: &str, point: Point, change: &str) -> Option<String> {
    let asked = format!("{} {}", point.name(), without_chance(change));
    let reached = format!("reached {asked}");
    let mut lines: Vec<&str> = text.lines().collect();
    let is_meant = |line: &str| line == asked || line.strip_suffix('*').is_some_and(|start| asked.starts_with(start));
    if let Some(line) = lines.iter_mut().find(|line| is_meant(line)) {
        *line = &reached;
    } else if lines.contains(&"every") && !lines.contains(&reached.as_str()) {
        lines.push(&reached);
    } else {
        return None;
    }
    Some(lines.join("\n") + "\n")
}

/// A change of the next run must be known for the same: a token's name differs in each.
fn without_chance(change: &str) -> String {
    const TOKEN: &str = "bootstrap-token-";
    let line = change.replace('\n', " ");
    match line.split_once(TOKEN) {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
            format!("{before}{TOKEN}*{rest}")
        }
        None => line,
    }
}

/// The end that nothing can be done about: no destructor runs, nothing is flushed.
fn die() -> ! {
    use rustix::process::{Signal, getpid, kill_process};
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_met_once_and_only_at_its_point() {
        let asked = "after-act load the kernel module overlay\n";
        assert_eq!(heard(asked, Point::AfterIntent, "load the kernel module overlay"), None);
        assert_eq!(heard(asked, Point::AfterAct, "load the kernel module"), None);
        let then = heard(asked, Point::AfterAct, "load the kernel module overlay").unwrap();
        assert_eq!(then, "reached after-act load the kernel module overlay\n");
        assert_eq!(heard(&then, Point::AfterAct, "load the kernel module overlay"), None);
        let begun = heard("after-act load the*\n", Point::AfterAct, "load the kernel module overlay").unwrap();
        assert_eq!(begun, then);
    }

    #[test]
    fn every_point_is_met_once_whatever_its_token() {
        let mut text = "every\n".to_string();
        for (point, change) in [
            (Point::AfterIntent, "create Secret kube-system/bootstrap-token-abc123"),
            (Point::AfterAct, "create Secret kube-system/bootstrap-token-def456"),
        ] {
            text = heard(&text, point, change).unwrap();
            assert_eq!(heard(&text, point, "create Secret kube-system/bootstrap-token-zzzzzz"), None);
        }
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.ends_with("reached after-act create Secret kube-system/bootstrap-token-*\n"));
    }

    #[test]
    fn without_a_file_nothing_is_met() {
        assert!(!is_heard(Utf8Path::new("/nonexistent/kboot.fault"), Point::AfterAct, "anything"));
    }
}
