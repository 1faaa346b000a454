//! A playbook that can be run: all phases in their order, what it extends and its hooks in their places.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::MaxUnavailable;
use super::draft::Draft;
use super::source::Place;
use super::written::{self, Group, Hosts};
use crate::engine::Item;
use crate::inventory::Host;
use crate::steps::{Inputs, Secret, gives, needs};

/// A list of phases.
#[derive(Debug, Clone)]
pub struct Playbook {
    pub name: String,
    pub description: String,
    /// What templates get as `vars`, unless the inventory says otherwise.
    pub vars: BTreeMap<String, Value>,
    /// What replaces even the inventory's.
    pub overrides: BTreeMap<String, Value>,
    pub phases: Vec<Phase>,
}

#[derive(Debug, Clone)]
pub struct Phase {
    pub name: String,
    /// For a person: what the phase is for.
    pub description: String,
    pub hosts: Selector,
    /// Phases that must have ended on the other hosts.
    pub after: Vec<String>,
    /// How many hosts that belong to the cluster already take it at a time. Default: all.
    pub max_unavailable: Option<MaxUnavailable>,
    pub steps: Vec<Item<Draft>>,
    /// Where it is written.
    pub(super) place: Place,
}

impl Phase {
    /// The secrets that its steps use.
    pub fn needs(&self) -> BTreeSet<Secret> {
        self.step_names().flat_map(needs).copied().collect()
    }

    /// The secrets that its steps give to other hosts.
    pub fn gives(&self) -> BTreeSet<Secret> {
        self.step_names().flat_map(gives).copied().collect()
    }

    /// The names of its built-in steps.
    fn step_names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().flat_map(Item::leaves).filter_map(|item| match item {
            Item::Step(name) => Some(name.as_str()),
            Item::Task(_) | Item::Parallel(_) => None,
        })
    }
}

/// The hosts that a phase is for.
pub type Selector = Hosts;

impl Hosts {
    /// Who plays which part in a run is in its inputs.
    pub fn matches(&self, host: &Host, inputs: &Inputs) -> bool {
        let is_leaving = inputs.leaving.contains(&host.name);
        let is_new = inputs.joining.contains(&host.name);
        self.may_match(host)
            && match self {
                Hosts::Group(Group::Leader) => inputs.leader.as_ref() == Some(&host.name),
                Hosts::Group(Group::EtcdLeader) => inputs.etcd_leader.as_ref() == Some(&host.name),
                Hosts::Group(Group::EstablishedControlPlane | Group::EstablishedEtcd) => !is_new,
                Hosts::Group(Group::JoiningControlPlane | Group::JoiningEtcd) => is_new,
                Hosts::Group(Group::Leaving) => is_leaving,
                Hosts::Group(Group::All | Group::ControlPlane | Group::Worker | Group::Etcd) | Hosts::Names(_) => true,
            }
    }

    /// Whether there is a run in which it matches.
    pub(super) fn may_match(&self, host: &Host) -> bool {
        match self {
            Hosts::Group(Group::All | Group::Leaving) => true,
            Hosts::Group(
                Group::ControlPlane | Group::Leader | Group::EstablishedControlPlane | Group::JoiningControlPlane,
            ) => host.is_control_plane(),
            Hosts::Group(Group::Worker) => host.is_worker(),
            Hosts::Group(Group::Etcd | Group::EtcdLeader | Group::EstablishedEtcd | Group::JoiningEtcd) => {
                host.is_etcd()
            }
            Hosts::Names(names) => names.contains(&host.name),
        }
    }
}

/// The playbooks in the binary, by their names.
pub const BUILTIN: [(&str, &str); 6] = [
    ("up", include_str!("../../playbooks/up.yaml")),
    ("init", include_str!("../../playbooks/init.yaml")),
    ("join", include_str!("../../playbooks/join.yaml")),
    ("recover", include_str!("../../playbooks/recover.yaml")),
    ("reset", include_str!("../../playbooks/reset.yaml")),
    ("undo", include_str!("../../playbooks/undo.yaml")),
];

impl Playbook {
    /// The names of all built-in steps in it, in their order.
    pub fn steps(&self) -> Vec<&str> {
        self.phases.iter().flat_map(Phase::step_names).collect()
    }

    /// How many steps and tasks there are.
    pub fn size(&self) -> usize {
        self.phases.iter().flat_map(|phase| &phase.steps).map(|item| item.leaves().len()).sum()
    }

    /// All that its runs depend on beside the inventory: equal for two playbooks that want the same.
    pub fn essence(&self) -> impl serde::Serialize {
        let drafts = self.phases.iter().flat_map(|phase| &phase.steps).flat_map(Item::leaves);
        let files = drafts.filter_map(|item| match item {
            Item::Task(draft) => draft.file().map(<[u8]>::to_vec),
            Item::Step(_) | Item::Parallel(_) => None,
        });
        (self.to_yaml(), self.overrides.clone(), files.collect::<Vec<_>>())
    }

    /// As a playbook that extends nothing and has no hooks, for they are in their places.
    pub fn to_yaml(&self) -> String {
        let phase = |phase: &Phase| written::Phase {
            name: phase.name.clone(),
            description: phase.description.clone(),
            hosts: phase.hosts.clone(),
            after: phase.after.clone(),
            max_unavailable: phase.max_unavailable.as_ref().map(MaxUnavailable::written),
            steps: phase.steps.iter().map(write).collect(),
        };
        let document = written::Document {
            name: self.name.clone(),
            description: self.description.clone(),
            extends: None,
            vars: self.vars.clone(),
            hooks: Vec::new(),
            phases: self.phases.iter().map(phase).collect(),
        };
        serde_yaml::to_string(&document).expect("the types have string keys only, and writing to memory does not fail")
    }
}

fn write(item: &Item<Draft>) -> written::Step {
    match item {
        Item::Step(name) => written::Step::Name(name.clone()),
        Item::Task(draft) => written::Step::Task(Box::new(draft.task.clone())),
        Item::Parallel(branches) => {
            let branches = branches.iter().map(|branch| branch.iter().map(write).collect()).collect();
            written::Step::Task(Box::new(written::Task { parallel: Some(branches), ..written::Task::default() }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::builtin;

    #[test]
    fn built_in_playbooks_name_only_steps_and_phases_that_exist() {
        for (name, _) in BUILTIN {
            let playbook = builtin(name);
            assert_eq!(playbook.name, name);
            assert!(playbook.phases.iter().all(|phase| !phase.description.is_empty()), "{name}");
        }
    }

    #[test]
    fn every_step_is_in_a_playbook() {
        let used: Vec<String> = BUILTIN
            .iter()
            .flat_map(|(name, _)| builtin(name).steps().into_iter().map(String::from).collect::<Vec<_>>())
            .collect();
        for name in crate::steps::names() {
            assert!(used.iter().any(|step| step == name), "{name} is in no playbook");
        }
    }

    #[test]
    fn what_is_shown_of_a_playbook_is_a_playbook() {
        for (name, _) in BUILTIN {
            let playbook = builtin(name);
            let shown = super::super::load::parse(&playbook.to_yaml(), "shown.yaml".into()).unwrap();
            assert_eq!(shown.to_yaml(), playbook.to_yaml());
        }
    }
}
