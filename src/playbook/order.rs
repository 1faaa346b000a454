//! The order of phases: hooks in their places, and waits that can end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::Phase;
use super::source::{Findings, Source};
use crate::inventory::reading::{did_you_mean, quote};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

impl Side {
    pub fn word(self) -> &'static str {
        match self {
            Side::Before => "before",
            Side::After => "after",
        }
    }
}

/// How many hooks follow a phase already, by its name.
#[derive(Default)]
pub struct Hooked(BTreeMap<String, usize>);

impl Hooked {
    /// Puts a hook beside its phase, which must be there. Hooks of one side keep the order in which they are written.
    ///
    /// Hosts walk the list from top to bottom, so on each host the hook has its place by itself. Where the two are for other hosts,
    /// one also waits for the other; and who waits for a phase waits for what follows it, too.
    pub fn insert(&mut self, phases: &mut Vec<Phase>, mut hook: Phase, side: Side, target: &str) {
        let Some(at) = phases.iter().position(|phase| phase.name == target) else { return };
        let has_other_hosts = phases[at].hosts != hook.hosts;
        match side {
            Side::Before => {
                if has_other_hosts {
                    phases[at].after.push(hook.name.clone());
                }
                phases.insert(at, hook);
            }
            Side::After => {
                for phase in phases.iter_mut().filter(|phase| phase.after.iter().any(|name| name == target)) {
                    phase.after.push(hook.name.clone());
                }
                if has_other_hosts {
                    hook.after.push(target.into());
                }
                let count = self.0.entry(target.into()).or_default();
                *count += 1;
                phases.insert(at + *count, hook);
            }
        }
    }
}

/// A name that no phase has.
pub fn free_name(wanted: &str, phases: &[Phase]) -> String {
    let is_free = |name: &String| !phases.iter().any(|phase| phase.name == *name);
    let numbered = (2..).map(|number| format!("{wanted}-{number}"));
    std::iter::once(wanted.to_string()).chain(numbered).find(is_free).expect("there are more numbers than phases")
}

/// The hint for a phase's name that is none.
pub fn meant(name: &str, names: &[&str]) -> String {
    did_you_mean(name, names).unwrap_or_else(|| format!("the phases are {}", names.join(", ")))
}

/// Every phase that is waited for must come before the one that waits.
pub fn check(phases: &[Phase], source: &Arc<Source>, findings: &mut Findings) {
    let names: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
    for (at, phase) in phases.iter().enumerate().filter(|(_, phase)| Arc::ptr_eq(&phase.place.source, source)) {
        for (index, name) in phase.after.iter().enumerate() {
            let place = phase.place.key("after").index(index);
            match names.iter().position(|known| known == name) {
                Some(found) if found < at => {}
                None => {
                    findings.add(&place, format!("there is no phase {}", quote(name)), Some(meant(name, &names)));
                }
                Some(_) => match circle(phases, &phase.name, name) {
                    Some(circle) => {
                        let message = format!("waits for itself: {}", circle.join(" after "));
                        findings.add(&place, message, Some("take one of these out of an `after`".into()));
                    }
                    None => {
                        let hint = format!("hosts take phases from top to bottom: put {} above this one", quote(name));
                        findings.add(&place, format!("{} comes later", quote(name)), Some(hint));
                    }
                },
            }
        }
    }
}

/// The way back from `next` to `start` by `after`, with `start` at both ends.
fn circle<'a>(phases: &'a [Phase], start: &'a str, next: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![start, next]];
    while let Some(way) = ways.pop() {
        let last = *way.last()?;
        if last == start {
            return Some(way);
        }
        let further = phases.iter().filter(|phase| phase.name == last).flat_map(|phase| &phase.after);
        for name in further.map(String::as_str).filter(|name| *name == start || !way.contains(name)) {
            ways.push(way.iter().copied().chain([name]).collect());
        }
    }
    None
}
