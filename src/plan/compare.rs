//! Whether hosts are still as a plan saw them: it is made anew and compared.

use std::collections::{BTreeMap, BTreeSet};

use super::{Hosts, PhasePlan};
use crate::engine::{Change, PlannedStep};

/// What moved since `saved` was made, host by host, each in a line; nothing where all is as it was, and nothing where all that was
/// planned is done. `begun` are hosts on which the plan was begun and cut off: there it is enough that nothing else is to be done.
pub fn moved(saved: &Hosts, now: &Hosts, begun: &BTreeSet<String>) -> BTreeMap<String, Vec<String>> {
    if now.values().flatten().all(|phase| phase.steps.is_empty()) {
        return BTreeMap::new();
    }
    let hosts: BTreeSet<&String> = saved.keys().chain(now.keys()).collect();
    let of = |plan: &Hosts, host: &String| plan.get(host).cloned().unwrap_or_default();
    let lines = |host: &&String| {
        let comparison = Comparison { is_begun: begun.contains(*host), lines: Vec::new(), done: Vec::new() };
        comparison.host(&of(saved, host), &of(now, host))
    };
    hosts.iter().map(|host| ((*host).clone(), lines(host))).filter(|(_, lines)| !lines.is_empty()).collect()
}

struct Comparison {
    is_begun: bool,
    lines: Vec<String>,
    /// What was planned and is not to be done any more.
    done: Vec<String>,
}

/// How many of those are told one by one.
const MOST_DONE: usize = 5;

/// A phase's name and a step's.
type Place<'a> = (&'a str, &'a str);

impl Comparison {
    fn host(mut self, saved: &[PhasePlan], now: &[PhasePlan]) -> Vec<String> {
        let (saved, now) = (by_step(saved), by_step(now));
        let places: BTreeSet<&Place<'_>> = saved.keys().chain(now.keys()).collect();
        for place in places {
            self.step(place, saved.get(place), now.get(place));
        }
        self.lines.extend(summed_up(self.done));
        self.lines
    }

    fn step(&mut self, (phase, step): &Place<'_>, saved: Option<&PlannedStep>, now: Option<&PlannedStep>) {
        let nothing = PlannedStep { step: (*step).into(), changes: Vec::new(), after: None };
        let (saved, now) = (saved.unwrap_or(&nothing), now.unwrap_or(&nothing));
        let lines = &mut self.lines;
        let mut say = |text: String| lines.push(format!("{phase}, {step}: {text}"));
        let is_open = saved.after.is_some() && self.is_begun;
        for change in now.changes.iter().filter(|_| !is_open) {
            match saved.changes.iter().find(|planned| change.keeps_to(planned)) {
                Some(planned) if self.is_begun || (change.starts_as(planned) && planned.keeps_to(change)) => {}
                Some(_) => say(format!("not as the plan saw it: {}", subjects(change))),
                None => say(format!("not in the plan: {change}")),
            }
        }
        for planned in saved.changes.iter().filter(|_| !self.is_begun) {
            let is_touched = |change: &Change| change.keeps_to(planned) || planned.keeps_to(change);
            if !now.changes.iter().any(is_touched) {
                self.done.push(format!("{phase}, {step}: no longer to be done: {planned}"));
            }
        }
        match (&saved.after, &now.after) {
            (None, Some(what)) => say(format!("waits for {what}, as it did not when the plan was made")),
            (Some(what), None) if !self.is_begun => {
                self.done.push(format!("{phase}, {step}: waits no longer for {what}"));
            }
            _ => {}
        }
    }
}

/// Where most of a plan is done already, what is done is not what one looks for.
fn summed_up(mut done: Vec<String>) -> Vec<String> {
    let more = done.len().saturating_sub(MOST_DONE);
    if more > 1 {
        done.truncate(MOST_DONE);
        done.push(format!("and {more} more things that are no longer to be done"));
    }
    done
}

/// By phase and step; a step that stands twice in a phase counts as one.
fn by_step(phases: &[PhasePlan]) -> BTreeMap<Place<'_>, PlannedStep> {
    let mut steps: BTreeMap<Place<'_>, PlannedStep> = BTreeMap::new();
    for phase in phases {
        for planned in &phase.steps {
            let known = steps.entry((&phase.phase, &planned.step));
            let known = known.or_insert_with(|| PlannedStep { changes: Vec::new(), after: None, ..planned.clone() });
            known.changes.extend(planned.changes.iter().cloned());
            known.after = known.after.take().or_else(|| planned.after.clone());
        }
    }
    steps
}

/// What a change touches, in words.
fn subjects(change: &Change) -> String {
    let subjects: Vec<String> = change.touches().iter().map(|touch| touch.subject.to_string()).collect();
    subjects.join(", ")
}
