//! A part of a playbook: the phases and steps that a run is to have, or to leave out, by their names.

use super::draft::Draft;
use super::model::{Phase, Playbook};
use crate::engine::Item;
use crate::inventory::reading::did_you_mean;
use crate::steps::hand_overs;

/// Steps that wait for what others apply: where that is left out, nobody waits for it.
const WAITS: [(&str, &str); 2] = [("apply-addons", "wait-for-addons"), ("apply-dns", "wait-for-addons")];

/// Why there is no such part.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    #[error("there is no phase and no step {name} in `{playbook}`")]
    Unknown { name: String, playbook: String, nearest: Option<String> },
    #[error("{taker} needs what {giver} gives")]
    Needed { giver: &'static str, taker: &'static str },
    #[error("nothing is left to be run")]
    Empty,
}

impl PartError {
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { nearest: Some(hint), .. } => hint.clone(),
            Self::Unknown { playbook, .. } => format!("`kboot phase list {playbook}` lists them"),
            Self::Needed { giver, taker } => format!("leave out both {giver} and {taker}, or neither"),
            Self::Empty => "every phase is left out".into(),
        }
    }
}

impl Playbook {
    /// Only these phases and steps, all if none is named, and without those. A step's name means it in every phase, `phase/step` in one.
    /// Steps that the chosen ones get something from, which other hosts have, stay.
    pub fn part(mut self, only: &[String], without: &[String]) -> Result<Self, PartError> {
        for name in only.iter().chain(without) {
            if !self.leaves().any(|(phase, leaf)| means(name, phase, leaf)) {
                return Err(self.unknown(name));
            }
        }
        let is_named = |names: &[String], phase: &str, leaf: &str| names.iter().any(|name| means(name, phase, leaf));
        let is_left_out =
            |step: &str| self.leaves().any(|(phase, leaf)| leaf == step && is_named(without, phase, leaf));
        let makers = WAITS.iter().filter(|(maker, _)| only.is_empty() && is_left_out(maker));
        let unawaited: Vec<&str> = makers.map(|(_, wait)| *wait).collect();
        let is_kept = |phase: &str, leaf: &str| {
            (only.is_empty() || is_named(only, phase, leaf))
                && !is_named(without, phase, leaf)
                && !unawaited.contains(&leaf)
        };
        let mut given = Vec::new();
        // Steps that hand on what steps of other hosts can't do without.
        for (giver, taker) in hand_overs() {
            let is_there = |step: &str| self.leaves().any(|(_, leaf)| leaf == step);
            let is_taken = self.leaves().any(|(phase, leaf)| leaf == taker && is_kept(phase, leaf));
            if is_taken && is_there(giver) {
                if is_left_out(giver) {
                    return Err(PartError::Needed { giver, taker });
                }
                given.push(giver);
            }
        }
        let mut gone: Vec<(String, Vec<String>)> = Vec::new();
        self.phases.retain_mut(|phase| {
            let name = phase.name.clone();
            phase.steps = kept(&phase.steps, &|leaf| given.contains(&leaf) || is_kept(&name, leaf));
            // Who waits for a phase that is not run waits for what that one would have waited for.
            let waits = std::mem::take(&mut phase.after);
            for wait in waits {
                match gone.iter().find(|(name, _)| *name == wait) {
                    Some((_, theirs)) => phase.after.extend(theirs.iter().cloned()),
                    None => phase.after.push(wait),
                }
            }
            phase.after.sort();
            phase.after.dedup();
            if phase.steps.is_empty() {
                gone.push((name, phase.after.clone()));
            }
            !phase.steps.is_empty()
        });
        if self.phases.is_empty() { Err(PartError::Empty) } else { Ok(self) }
    }

    /// The names of all phases, steps and tasks.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.leaves().flat_map(|(phase, leaf)| [phase, leaf]).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// All steps and tasks by name, each with its phase.
    fn leaves(&self) -> impl Iterator<Item = (&str, &str)> {
        let of = |phase| Phase::leaves(phase).map(|leaf| (phase.name.as_str(), name_of(leaf)));
        self.phases.iter().flat_map(of)
    }

    fn unknown(&self, name: &str) -> PartError {
        let nearest = did_you_mean(name, &self.names());
        PartError::Unknown { name: name.into(), playbook: self.name.clone(), nearest }
    }
}

impl Phase {
    fn leaves(&self) -> impl Iterator<Item = &Item<Draft>> {
        self.steps.iter().flat_map(Item::leaves)
    }
}

fn means(name: &str, phase: &str, leaf: &str) -> bool {
    match name.split_once('/') {
        Some((of, step)) => of == phase && step == leaf,
        None => name == phase || name == leaf,
    }
}

fn name_of(item: &Item<Draft>) -> &str {
    match item {
        Item::Step(name) => name,
        Item::Task(draft) => draft.task.name.as_deref().unwrap_or_default(),
        Item::Parallel(_) => "",
    }
}

fn kept(items: &[Item<Draft>], is_kept: &dyn Fn(&str) -> bool) -> Vec<Item<Draft>> {
    let one = |item: &Item<Draft>| match item {
        Item::Parallel(branches) => {
            let branches: Vec<_> =
                branches.iter().map(|branch| kept(branch, is_kept)).filter(|branch| !branch.is_empty()).collect();
            (!branches.is_empty()).then_some(Item::Parallel(branches))
        }
        leaf => is_kept(name_of(leaf)).then(|| leaf.clone()),
    };
    items.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::builtin;
    use super::*;

    fn part(playbook: &str, only: &[&str], without: &[&str]) -> Result<Playbook, PartError> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect::<Vec<_>>();
        builtin(playbook).part(&names(only), &names(without))
    }

    fn steps(playbook: &Playbook) -> Vec<String> {
        playbook.leaves().map(|(phase, leaf)| format!("{phase}/{leaf}")).collect()
    }

    #[test]
    fn a_phase_or_a_step_alone() {
        let named = |only: &[&str]| steps(&part("init", only, &[]).unwrap());
        assert_eq!(
            named(&["cluster/apply-dns", "write-kubeconfigs"]),
            ["control-plane/write-kubeconfigs", "cluster/apply-dns"]
        );
        assert_eq!(named(&["ready"]), ["ready/label-nodes", "ready/wait-for-nodes", "ready/wait-for-addons"]);
        assert_eq!(named(&[]), steps(&builtin("init")));
    }

    #[test]
    fn what_is_left_out_is_not_there_and_the_rest_is() {
        let left = part("init", &[], &["ready", "apply-dns"]).unwrap();
        let all = steps(&builtin("init"));
        let expected: Vec<_> = all.iter().filter(|s| !s.starts_with("ready/") && *s != "cluster/apply-dns").collect();
        assert_eq!(steps(&left).iter().collect::<Vec<_>>(), expected);
        // Nobody waits for what is not applied.
        let left = part("init", &[], &["apply-dns"]).unwrap();
        assert!(!steps(&left).contains(&"ready/wait-for-addons".to_string()));
    }

    #[test]
    fn who_waited_for_a_phase_that_is_left_out_waits_for_those_before_it() {
        let playbook = part("up", &[], &["balancer", "join-control-plane"]).unwrap();
        let after = |name: &str| playbook.phases.iter().find(|phase| phase.name == name).unwrap().after.clone();
        assert_eq!(after("addons"), ["bootstrap"]);
        assert_eq!(after("ready"), ["bootstrap", "join"]);
    }

    #[test]
    fn what_other_hosts_need_of_a_step_stays() {
        let playbook = part("up", &["balancer"], &[]).unwrap();
        assert_eq!(
            steps(&playbook),
            ["bootstrap/issue-join-token", "balancer/write-bootstrap-kubeconfig", "balancer/configure-balancer"]
        );
        let error = part("up", &[], &["share-authorities"]).unwrap_err();
        assert_eq!(error, PartError::Needed { giver: "share-authorities", taker: "write-authorities" });
        assert!(part("up", &[], &["share-authorities", "join-control-plane"]).is_ok());
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let error = part("init", &["issue-certificate"], &[]).unwrap_err();
        assert_eq!(error.to_string(), "there is no phase and no step issue-certificate in `init`");
        assert_eq!(error.hint(), "did you mean `issue-certificates`?");
        let error = part("init", &[], &["ready/apply-dns"]).unwrap_err();
        assert!(matches!(error, PartError::Unknown { .. }), "{error}");
        assert_eq!(part("undo", &["undo"], &["undo-changes"]).unwrap_err(), PartError::Empty);
    }
}
