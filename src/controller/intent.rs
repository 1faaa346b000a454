//! What a run is for. It decides which hosts take part, which must be there, and what the run needs from outside.

use crate::plan::SavedPlan;
use crate::steps::{Undo, UndoScope};

pub enum Intent<'a> {
    /// The hosts become what the playbook says.
    Converge,
    /// The same, exactly as this plan lists it. If the hosts differ from what the plan saw, nothing is changed.
    Apply(&'a SavedPlan),
    /// This machine joins a cluster that is elsewhere. What it needs of the cluster's files is on the hosts.
    Join,
    MoveEndpoint(EndpointMove),
    /// These hosts leave the cluster and get back their state from before kboot. The other hosts only help.
    Reset {
        leaving: &'a [String],
        keeps_packages: bool,
    },
    /// The run of this id is reverted. These hosts became nodes in it, and leave the cluster.
    Undo {
        run: String,
        leaving: &'a [String],
    },
    /// etcd continues with the survivor's data. The other control planes are given up.
    Recover {
        survivor: &'a str,
        given_up: &'a [String],
    },
}

/// A cluster moves to another endpoint in two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointMove {
    /// The new endpoint is added, and clients move to it. The old one stays until all use the new one.
    AddNew,
    RemoveOld,
}

impl<'a> Intent<'a> {
    /// The changes to revert.
    pub fn undo(&self) -> Option<Undo> {
        match self {
            Self::Reset { keeps_packages, .. } => Some(Undo { scope: UndoScope::All, keeps_packages: *keeps_packages }),
            Self::Undo { run, .. } => Some(Undo { scope: UndoScope::Run(run.clone()), keeps_packages: false }),
            Self::Converge | Self::Apply(_) | Self::Join | Self::MoveEndpoint(_) | Self::Recover { .. } => None,
        }
    }

    /// Whether the run takes changes back and starts no cluster.
    pub fn reverts(&self) -> bool {
        matches!(self, Self::Reset { .. } | Self::Undo { .. })
    }

    pub fn saved_plan(&self) -> Option<&'a SavedPlan> {
        match self {
            Self::Apply(saved) => Some(saved),
            Self::Converge
            | Self::Join
            | Self::MoveEndpoint(_)
            | Self::Reset { .. }
            | Self::Undo { .. }
            | Self::Recover { .. } => None,
        }
    }

    /// The hosts that are not part of the cluster after the run.
    pub fn leaving(&self) -> &'a [String] {
        match self {
            Self::Reset { leaving, .. } | Self::Undo { leaving, .. } => leaving,
            Self::Recover { given_up, .. } => given_up,
            Self::Converge | Self::Apply(_) | Self::Join | Self::MoveEndpoint(_) => &[],
        }
    }

    /// Whether this process reads the client files that the cluster names for an external etcd.
    pub fn reads_etcd_files(&self) -> bool {
        match self {
            Self::Converge | Self::Apply(_) | Self::MoveEndpoint(_) | Self::Recover { .. } => true,
            Self::Join | Self::Reset { .. } | Self::Undo { .. } => false,
        }
    }

    pub fn is_endpoint_move(&self, stage: EndpointMove) -> bool {
        matches!(self, Self::MoveEndpoint(of) if *of == stage)
    }

    /// Whether a host only helps others to leave. A reset also works without it.
    pub fn is_helper(&self, host: &str) -> bool {
        matches!(self, Self::Reset { leaving, .. } if !leaving.is_empty() && !leaving.iter().any(|name| name == host))
    }

    /// Whether nothing of kboot stays on a host. A control plane that is given up keeps the agent: its data may be needed.
    pub fn clears(&self, host: &str) -> bool {
        self.reverts() && self.leaving().iter().any(|name| name == host)
    }

    /// The control plane with whose data a recovery continues.
    pub fn survivor(&self) -> Option<&'a str> {
        match self {
            Self::Recover { survivor, .. } => Some(survivor),
            Self::Converge
            | Self::Apply(_)
            | Self::Join
            | Self::MoveEndpoint(_)
            | Self::Reset { .. }
            | Self::Undo { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reset_has_helpers_and_only_those_who_stay_help() {
        let leaving = ["n2".to_string()];
        let reset = Intent::Reset { leaving: &leaving, keeps_packages: false };
        assert!(reset.is_helper("n1") && !reset.is_helper("n2"));
        assert!(!Intent::Reset { leaving: &[], keeps_packages: false }.is_helper("n1"));
        assert!(!Intent::Undo { run: "a".into(), leaving: &leaving }.is_helper("n1"));
        assert!(!Intent::Recover { survivor: "n1", given_up: &leaving }.is_helper("n1"));
    }

    #[test]
    fn the_agent_goes_with_a_host_that_leaves_and_stays_with_one_that_is_given_up() {
        let leaving = ["n2".to_string()];
        let undo = Intent::Undo { run: "a".into(), leaving: &leaving };
        assert!(undo.clears("n2") && !undo.clears("n1"));
        assert!(!Intent::Recover { survivor: "n1", given_up: &leaving }.clears("n2"));
    }

    #[test]
    fn a_reset_reverts_every_run_and_an_undo_one() {
        let reset = Intent::Reset { leaving: &[], keeps_packages: true };
        assert_eq!(reset.undo(), Some(Undo { scope: UndoScope::All, keeps_packages: true }));
        let undo = Intent::Undo { run: "r1".into(), leaving: &[] };
        assert_eq!(undo.undo(), Some(Undo { scope: UndoScope::Run("r1".into()), keeps_packages: false }));
        assert_eq!(Intent::Converge.undo(), None);
    }
}
