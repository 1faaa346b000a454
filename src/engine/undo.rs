//! The way back: from what the journal says of a thing, and how it is now, to what takes it back.
//!
//! Pure. Only what kboot changed is taken back, and only to how it was before; what somebody changed since is kept, and said.

use std::collections::BTreeMap;

use super::{Change, FileMode, MarkNode, PackageChange, Run, State, Subject, UnitChange};
use crate::inventory::Taint;

/// A thing that was changed by the runs to be taken back, over all of their changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Touched {
    pub subject: Subject,
    /// Before the first change.
    pub before: State,
    /// After the last one; None where that was cut off.
    pub after: Option<State>,
    /// The first change's text.
    pub text: String,
}

/// What becomes of a thing.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is as it was before.
    Nothing,
    Changes(Vec<Change>),
    /// It stays as it is, and why.
    Kept(String),
}

/// What these runs touched, the last first: the order in which it is taken back.
pub fn touched(runs: &[&Run]) -> Vec<Touched> {
    let mut found: Vec<Touched> = Vec::new();
    let mut places: BTreeMap<Subject, usize> = BTreeMap::new();
    let changes = runs.iter().flat_map(|run| run.changes.iter().map(|made| (run.info.undoes.is_some(), made)));
    for (takes_back, made) in changes {
        for trace in &made.before {
            // What a reset or an undo alone took away is no change that one wants back; but what it put back is not as the
            // run before had left it.
            if takes_back && !places.contains_key(&trace.subject) {
                continue;
            }
            // Each run of a command is something of its own; of other subjects only the ends count.
            let is_single = trace.subject.can_be_observed();
            let place = *places.entry(trace.subject.clone()).or_insert_with(|| {
                found.push(Touched {
                    subject: trace.subject.clone(),
                    before: trace.state.clone(),
                    after: None,
                    text: made.text.clone(),
                });
                found.len() - 1
            });
            let after = made.after.iter().flatten().find(|after| after.subject == trace.subject);
            if is_single {
                found[place].after = after.map(|after| after.state.clone());
            }
        }
    }
    found.reverse();
    found
}

/// What takes a thing back that is `now` so.
pub fn take_back(touched: &Touched, now: &State) -> Verdict {
    let Touched { subject, before, after, .. } = touched;
    if before.is_like(now) {
        return Verdict::Nothing;
    }
    match (subject, before) {
        (Subject::Packages, State::Packages { versions }) => return packages(versions, after.as_ref(), now),
        (Subject::Images | Subject::Entries { .. }, State::Names { .. } | State::Absent) => {
            return names(subject, before, after.as_ref(), now);
        }
        (Subject::Unit { unit }, _) => return self::unit(unit, before, now),
        (Subject::Command { why, undo: Some(undo), .. }, _) => {
            let (argv, why) = (undo.clone(), format!("take back: {why}"));
            return Verdict::Changes(vec![Change::Run { argv, why, undo: None }]);
        }
        _ if !subject.can_be_observed() => return Verdict::Kept("what it did can't be taken back".into()),
        _ => {}
    }
    if let State::Unknown { reason } = before {
        return Verdict::Kept(format!("it is not known how it was before: {reason}"));
    }
    if let State::Unknown { reason } = now {
        return Verdict::Kept(format!("it can't be told how it is: {reason}"));
    }
    // What was in course when a run was cut off may be anything between before and after.
    if let Some(after) = after
        && !was_left(after, now)
    {
        return Verdict::Kept(match now {
            State::Absent => "it was removed since".into(),
            _ => "it was changed since".into(),
        });
    }
    restore(subject, before, now)
}

/// Whether a thing is as kboot left it.
fn was_left(after: &State, now: &State) -> bool {
    match (after, now) {
        // An object's applied fields are compared by the API server; see the step.
        (State::Applied { .. }, State::Object { .. }) => true,
        (after, now) => after.is_like(now),
    }
}

fn restore(subject: &Subject, before: &State, now: &State) -> Verdict {
    let one = |change| Verdict::Changes(vec![change]);
    match (subject, before) {
        (Subject::Path { path }, State::Absent) => match now {
            State::Directory { is_empty: true, .. } => one(Change::RemoveEmptyDirectory { path: path.clone() }),
            State::Directory { .. } => Verdict::Kept("it is not empty".into()),
            _ => one(Change::Remove { path: path.clone() }),
        },
        (Subject::Path { path }, State::File { mode, uid, gid, content, digest }) => {
            let has_content = matches!(now, State::File { digest: now, .. } if now == digest);
            let mut changes = Vec::new();
            if !has_content {
                let Some(content) = content else {
                    return Verdict::Kept("its earlier content was secret or too large to be kept".into());
                };
                let before = match now {
                    State::File { content, .. } => content.clone(),
                    _ => None,
                };
                if matches!(now, State::Directory { .. }) {
                    return Verdict::Kept("a directory is there now".into());
                }
                let (path, after) = (path.clone(), content.clone());
                changes.push(Change::WriteFile { path, mode: FileMode(*mode), before, after });
            }
            let is_new = !matches!(now, State::File { .. });
            if has_content && !matches!(now, State::File { mode: now, .. } if now == mode) {
                changes.push(Change::SetMode { path: path.clone(), mode: FileMode(*mode) });
            }
            let owner = match now {
                State::File { uid, gid, .. } if !is_new => (*uid, *gid),
                _ => (0, 0),
            };
            if owner != (*uid, *gid) {
                changes.push(Change::SetOwner { path: path.clone(), uid: *uid, gid: *gid });
            }
            Verdict::Changes(changes)
        }
        (Subject::Path { path }, State::Directory { mode, uid, gid, is_empty }) => match now {
            State::Absent if !is_empty => Verdict::Kept("what was in it was not kept".into()),
            State::Absent => {
                let mut changes = vec![Change::MakeDirectory { path: path.clone(), mode: FileMode(*mode) }];
                if (*uid, *gid) != (0, 0) {
                    changes.push(Change::SetOwner { path: path.clone(), uid: *uid, gid: *gid });
                }
                Verdict::Changes(changes)
            }
            State::Directory { mode: now, .. } if now != mode => {
                one(Change::SetMode { path: path.clone(), mode: FileMode(*mode) })
            }
            State::Directory { .. } => one(Change::SetOwner { path: path.clone(), uid: *uid, gid: *gid }),
            _ => Verdict::Kept("something else is there now".into()),
        },
        (Subject::Path { path }, State::Link { target }) => match now {
            State::Directory { .. } => Verdict::Kept("a directory is there now".into()),
            _ => one(Change::MakeLink { path: path.clone(), target: target.clone() }),
        },
        (Subject::Hold { package }, was) => {
            one(Change::HoldPackages { packages: vec![package.clone()], hold: matches!(was, State::Present) })
        }
        (Subject::Sysctl { key }, State::Value { value }) => {
            let State::Value { value: now } = now else { return Verdict::Kept("the kernel has it no more".into()) };
            one(Change::SetSysctl { key: key.clone(), before: now.clone(), after: value.clone() })
        }
        (Subject::Sysctl { .. }, State::Absent) => Verdict::Kept("the kernel had it not before".into()),
        (Subject::Module { module }, State::Absent) => one(Change::UnloadModule { module: module.clone() }),
        (Subject::Module { module }, _) => one(Change::LoadModule { module: module.clone() }),
        (Subject::Swap { device }, State::Absent) => one(Change::SwapOff { device: device.clone() }),
        (Subject::Swap { device }, _) => one(Change::SwapOn { device: device.clone() }),
        (Subject::Label { node, key }, State::Value { value }) => {
            one(mark(node, |marks| marks.labels.push((key.clone(), value.clone()))))
        }
        (Subject::Label { node, key }, _) => one(mark(node, |marks| marks.unlabel.push(key.clone()))),
        (Subject::Taint { node, key, effect }, was) => {
            let value = |state: &State| match state {
                State::Value { value } => value.clone(),
                _ => String::new(),
            };
            let taint = |state| Taint { key: key.clone(), value: value(state), effect: effect.clone() };
            one(match was {
                State::Absent => mark(node, |marks| marks.untaint.push(taint(now))),
                _ => mark(node, |marks| marks.taints.push(taint(was))),
            })
        }
        (Subject::Object { api_version, kind, namespace, name }, State::Absent) => one(Change::DeleteObject {
            api_version: api_version.clone(),
            kind: kind.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
        }),
        (Subject::Object { kind, .. }, State::Object { .. }) if kind == "Secret" => {
            Verdict::Kept("its earlier content was secret and was not kept".into())
        }
        (Subject::Object { .. }, State::Object { object }) => {
            let before = match now {
                State::Object { object } => Some(object.clone()),
                _ => None,
            };
            one(Change::ApplyObject { object: object.clone(), before })
        }
        _ => Verdict::Kept("it is not known how it was before".into()),
    }
}

fn mark(node: &str, set: impl FnOnce(&mut MarkNode)) -> Change {
    let mut marks = MarkNode { node: node.into(), ..MarkNode::default() };
    set(&mut marks);
    Change::MarkNode(marks)
}

/// Packages that came go, and those that were another version are that again. What others installed since stays.
fn packages(before: &BTreeMap<String, String>, after: Option<&State>, now: &State) -> Verdict {
    let State::Packages { versions: now } = now else {
        return Verdict::Kept("it can't be told which packages are installed".into());
    };
    let left = match after {
        Some(State::Packages { versions }) => Some(versions),
        _ => None,
    };
    let is_left = |name: &String, version: &String| left.is_none_or(|left| left.get(name) == Some(version));
    let came = now.iter().filter(|(name, version)| !before.contains_key(*name) && is_left(name, version));
    let came: Vec<String> = came.map(|(name, _)| name.clone()).collect();
    let mut others: Vec<PackageChange> = Vec::new();
    for (name, version) in before {
        let is_other = match now.get(name) {
            Some(now) => now != version && is_left(name, now),
            None => left.is_none_or(|left| !left.contains_key(name)),
        };
        if is_other {
            let (from, to) = (now.get(name).cloned(), Some(version.clone()));
            others.push(PackageChange { name: name.clone(), from, to, candidate: None, brings: Vec::new() });
        }
    }
    let mut changes = Vec::new();
    if !came.is_empty() {
        changes.push(Change::RemovePackages { packages: came });
    }
    if !others.is_empty() {
        changes.push(Change::InstallPackages { packages: others, lock: None });
    }
    if changes.is_empty() { Verdict::Nothing } else { Verdict::Changes(changes) }
}

/// Of a list of names: those that came with kboot's change go.
fn names(subject: &Subject, before: &State, after: Option<&State>, now: &State) -> Verdict {
    let names = |state: &State| match state {
        State::Names { names } => names.clone(),
        _ => Default::default(),
    };
    let (before, now) = (names(before), names(now));
    let left = after.map_or_else(|| now.clone(), names);
    let came: Vec<String> = now.into_iter().filter(|name| !before.contains(name) && left.contains(name)).collect();
    if came.is_empty() {
        return Verdict::Nothing;
    }
    Verdict::Changes(match subject {
        Subject::Entries { folder } => {
            came.into_iter().map(|name| Change::Remove { path: folder.join(name) }).collect()
        }
        _ => vec![Change::RemoveImages { images: came }],
    })
}

/// A unit is enabled and runs as before, or not, as before.
fn unit(unit: &str, before: &State, now: &State) -> Verdict {
    let (was_enabled, was_active) = match before {
        State::Unit { is_enabled, is_active } => (*is_enabled, *is_active),
        // It came with a package, and goes with it.
        _ => (false, false),
    };
    let State::Unit { is_enabled, is_active } = now else { return Verdict::Nothing };
    let change = UnitChange {
        unit: unit.into(),
        enable: (was_enabled != *is_enabled).then_some(was_enabled),
        start: (was_active != *is_active).then_some(was_active),
        ..UnitChange::default()
    };
    if change.enable.is_none() && change.start.is_none() {
        return Verdict::Nothing;
    }
    Verdict::Changes(vec![Change::SetUnit(change)])
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod property;
