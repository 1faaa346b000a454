//! Why a host differs from what is wanted: what was applied last, against what is wanted now.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::{Cause, Change, Outcome, Run, State, Subject};

/// What kboot applied last on a host, as its journal has it.
#[derive(Debug, Clone, Default)]
pub struct LastApplied {
    /// By [`Change::wants`]' names.
    wants: BTreeMap<String, String>,
    states: BTreeMap<Subject, State>,
    /// Whether the last run that ended well wanted just what this one wants.
    is_same_wish: bool,
    /// The folders in which a change was cut off.
    cut_off: BTreeSet<Utf8PathBuf>,
}

impl LastApplied {
    /// `wanted` is the digest of all that this run wants.
    pub fn of(runs: &[Run], wanted: &str) -> Self {
        let mut last = Self::default();
        for run in runs {
            for made in &run.changes {
                last.wants.extend(made.wants.clone());
                if made.after.is_none() {
                    last.cut_off.extend(made.before.iter().filter_map(|trace| folder(&trace.subject)));
                }
                for trace in made.after.iter().flatten() {
                    last.states.insert(trace.subject.clone(), trace.state.clone());
                }
            }
            match run.outcome {
                Some(Outcome::Unchanged | Outcome::Changed) if run.info.undoes.is_none() => {
                    last.is_same_wish = run.info.wanted == wanted;
                }
                // After a run that failed or was cut off, or an undo, the host is not as any wish was.
                _ => last.is_same_wish = false,
            }
        }
        last
    }

    #[cfg(test)]
    pub(super) fn wants(&self) -> &BTreeMap<String, String> {
        &self.wants
    }

    /// Whether the last run that ended well wanted just what this one wants.
    pub fn is_same_wish(&self) -> bool {
        self.is_same_wish
    }

    /// The folders in which a change was cut off: a temporary file of it may still be there.
    pub fn cut_off(&self) -> impl Iterator<Item = &Utf8Path> {
        self.cut_off.iter().map(Utf8PathBuf::as_path)
    }

    /// Why this change is proposed; `live` is how the things that it touches are now, where that could be told.
    pub fn cause(&self, change: &Change, live: &[(Subject, State)]) -> Option<Cause> {
        let wants = change.wants();
        if wants.is_empty() {
            return None;
        }
        if self.is_same_wish {
            return Some(Cause::Drift);
        }
        let known: Vec<bool> = wants.iter().filter_map(|(name, value)| Some(self.wants.get(name)? == value)).collect();
        if known.is_empty() {
            return Some(Cause::New);
        }
        if known.iter().all(|is_same| *is_same) {
            return Some(Cause::Drift);
        }
        let has_moved =
            live.iter().any(|(subject, now)| self.states.get(subject).is_some_and(|left| has_moved(left, now)));
        Some(if has_moved { Cause::Both } else { Cause::Inventory })
    }
}

fn folder(subject: &Subject) -> Option<Utf8PathBuf> {
    let Subject::Path { path } = subject else { return None };
    path.parent().map(Utf8Path::to_owned)
}

/// Of an object it can't be told without asking the API server; the rest is compared.
fn has_moved(left: &State, now: &State) -> bool {
    match (left, now) {
        (State::Applied { .. } | State::Object { .. } | State::Unknown { .. } | State::Packages { .. }, _)
        | (_, State::Unknown { .. }) => false,
        (left, now) => !left.is_like(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Content, FileMode, Made, RunInfo, Trace};

    fn write(after: &str) -> Change {
        let after = Content::Text(after.into());
        Change::WriteFile { path: "/etc/x".into(), mode: FileMode::PUBLIC, before: None, after }
    }

    fn file(text: &str) -> State {
        State::file(0o644, 0, 0, text.into())
    }

    fn run(wanted: &str, text: &str, outcome: Option<Outcome>) -> Run {
        let subject = Subject::path("/etc/x");
        let made = Made {
            at: 0,
            step: "s".into(),
            id: None,
            text: String::new(),
            before: vec![Trace { subject: subject.clone(), state: State::Absent }],
            wants: write(text).wants(),
            after: Some(vec![Trace { subject, state: file(text).without_content() }]),
            failure: None,
        };
        let info = RunInfo { wanted: wanted.into(), ..RunInfo::default() };
        Run { info, at: 0, changes: vec![made], outcome }
    }

    fn cause(runs: &[Run], wanted: &str, change: &Change, now: &str) -> Option<Cause> {
        LastApplied::of(runs, wanted).cause(change, &[(Subject::path("/etc/x"), file(now))])
    }

    #[test]
    fn who_moved_is_told_apart() {
        let applied = [run("inventory 1", "a", Some(Outcome::Changed))];
        assert_eq!(cause(&[], "inventory 1", &write("a"), "z"), Some(Cause::New));
        assert_eq!(cause(&applied, "inventory 2", &write("b"), "a"), Some(Cause::Inventory));
        assert_eq!(cause(&applied, "inventory 2", &write("a"), "z"), Some(Cause::Drift));
        assert_eq!(cause(&applied, "inventory 2", &write("b"), "z"), Some(Cause::Both));
    }

    #[test]
    fn with_the_same_wish_as_last_time_the_host_has_moved_even_where_kboot_found_it_right() {
        let sysctl = Change::SetSysctl { key: "k".into(), before: "0".into(), after: "1".into() };
        let applied = [run("inventory 1", "a", Some(Outcome::Changed))];
        assert_eq!(cause(&applied, "inventory 1", &sysctl, "a"), Some(Cause::Drift));
        assert_eq!(cause(&applied, "inventory 2", &sysctl, "a"), Some(Cause::New));
        // A run that was cut off says nothing of what it did not come to.
        let cut = [run("inventory 1", "a", None)];
        assert_eq!(cause(&cut, "inventory 1", &sysctl, "a"), Some(Cause::New));
    }

    #[test]
    fn a_restart_has_no_cause_of_its_own() {
        let change = crate::engine::UnitChange { restart: Some("x changed".into()), ..Default::default() };
        assert_eq!(LastApplied::default().cause(&Change::SetUnit(change), &[]), None);
    }

    #[test]
    fn only_folders_of_changes_that_were_cut_off_are_looked_at_for_what_they_left() {
        let mut cut = run("1", "x", None);
        assert_eq!(LastApplied::of(std::slice::from_ref(&cut), "1").cut_off().count(), 0);
        cut.changes[0].after = None;
        assert_eq!(LastApplied::of(&[cut], "1").cut_off().collect::<Vec<_>>(), ["/etc"]);
    }
}
