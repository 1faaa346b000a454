//! Playbooks as files.

use serde::{Deserialize, Serialize};

use super::MaxUnavailable;
use crate::engine::Item;
use crate::inventory::Host;

/// A list of phases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Playbook {
    pub name: String,
    pub description: String,
    pub phases: Vec<Phase>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    pub name: String,
    /// For a person: what the phase is for.
    pub description: String,
    pub hosts: Selector,
    /// Phases that must have ended on the other hosts.
    #[serde(default)]
    pub after: Vec<String>,
    /// How many hosts that belong to the cluster already take it at a time. Default: all.
    #[serde(default, rename = "maxUnavailable", skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<MaxUnavailable>,
    pub steps: Vec<Item>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selector {
    All,
    ControlPlane,
    /// Those that are no control plane.
    Worker,
    /// Those that a reset takes out of the cluster.
    Leaving,
    /// Control planes that a reset leaves in the cluster.
    Staying,
}

impl Selector {
    /// `leaving` are the names of the hosts that a reset takes out of the cluster.
    pub fn matches(self, host: &Host, leaving: &[String]) -> bool {
        let is_leaving = leaving.contains(&host.name);
        match self {
            Selector::All => true,
            Selector::ControlPlane => host.is_control_plane(),
            Selector::Worker => !host.is_control_plane(),
            Selector::Leaving => is_leaving,
            Selector::Staying => host.is_control_plane() && !is_leaving,
        }
    }
}

/// The playbooks in the binary, by their names.
pub const BUILTIN: [(&str, &str); 5] = [
    ("up", include_str!("../../playbooks/up.yaml")),
    ("init", include_str!("../../playbooks/init.yaml")),
    ("join", include_str!("../../playbooks/join.yaml")),
    ("reset", include_str!("../../playbooks/reset.yaml")),
    ("undo", include_str!("../../playbooks/undo.yaml")),
];

/// A playbook of the binary's own.
pub fn builtin(name: &str) -> Playbook {
    let (_, text) = BUILTIN.iter().find(|(known, _)| *known == name).expect("only built-in names are asked for");
    serde_yaml::from_str(text).expect("built-in playbooks are tested")
}

impl Playbook {
    /// The names of all steps, in their order.
    pub fn steps(&self) -> Vec<&str> {
        fn walk<'a>(items: &'a [Item], names: &mut Vec<&'a str>) {
            for item in items {
                match item {
                    Item::Step(name) => names.push(name),
                    Item::Parallel { parallel } => parallel.iter().for_each(|branch| walk(branch, names)),
                }
            }
        }
        let mut names = Vec::new();
        for phase in &self.phases {
            walk(&phase.steps, &mut names);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{HostSsh, Role};

    fn host(name: &str) -> Host {
        Host {
            name: name.into(),
            address: std::net::IpAddr::from([127, 0, 0, 1]),
            roles: Vec::new(),
            labels: Default::default(),
            taints: None,
            ssh: HostSsh::default(),
        }
    }

    #[test]
    fn built_in_playbooks_name_only_steps_and_phases_that_exist() {
        for (name, _) in BUILTIN {
            let playbook = builtin(name);
            assert_eq!(playbook.name, name);
            for step in playbook.steps() {
                assert!(crate::steps::names().any(|known| known == step), "{name}: no step {step}");
            }
            for (i, phase) in playbook.phases.iter().enumerate() {
                for other in &phase.after {
                    assert!(playbook.phases[..i].iter().any(|p| p.name == *other), "{name}: {other} must come before");
                }
            }
        }
    }

    #[test]
    fn who_leaves_and_who_stays_is_told_apart() {
        let cluster: Vec<Host> = [("n1", Role::ControlPlane), ("n2", Role::ControlPlane), ("n3", Role::Worker)]
            .map(|(name, role)| crate::inventory::Host { roles: vec![role], ..host(name) })
            .into();
        let leaving = ["n2".to_string(), "n3".to_string()];
        let chosen = |selector: Selector| -> Vec<&str> {
            cluster.iter().filter(|host| selector.matches(host, &leaving)).map(|host| host.name.as_str()).collect()
        };
        assert_eq!(chosen(Selector::Leaving), ["n2", "n3"]);
        assert_eq!(chosen(Selector::Staying), ["n1"]);
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
}
