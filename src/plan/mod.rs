//! A plan as a file: what `kboot plan` found, for somebody to read and for `kboot apply` to carry out, that and nothing else.
//!
//! Pure but for the time, which is given. It may use the engine's data, the inventory's and the playbook's; it must not know of hosts'
//! connections nor of files' places. Nothing secret is in a plan: its changes are redacted.

mod compare;
mod seal;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::{Change, Drift, Event, Kind, PlannedStep, sha256};
use crate::inventory::{self, Cluster};
use crate::lock::InUse;
use crate::playbook::Playbook;

pub use compare::moved;
pub use seal::PlanError;

/// The format's version.
const VERSION: u32 = 1;

/// A plan in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SavedPlan {
    /// Of this format.
    version: u32,
    /// The version of the kboot that made it.
    kboot: String,
    /// SHA-256 of the file with zeros in the place of this.
    seal: String,
    /// When it was made, RFC 3339.
    pub made: String,
    /// The inventory's file.
    pub inventory: String,
    /// SHA-256 of what the inventory said, every default filled in.
    pub inventory_digest: String,
    /// Preflight checks whose errors count as warnings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_preflight: Vec<String>,
    /// What becomes of what somebody changed on the hosts.
    pub drift: Drift,
    /// The lock file that it keeps to, and whether to that alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<InUse>,
    /// What the inventory said, every default filled in, paths absolute.
    pub cluster: Cluster,
    /// As `kboot playbook show` prints it.
    pub playbook: String,
    pub hosts: Hosts,
}

/// What is planned for each host, by its name: of each phase the steps that have something to do, in their order.
pub type Hosts = BTreeMap<String, Vec<PhasePlan>>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhasePlan {
    pub phase: String,
    pub steps: Vec<PlannedStep>,
}

impl SavedPlan {
    pub fn new(cluster: &Cluster, playbook: &Playbook, hosts: Hosts, inventory: &str, made: String) -> Self {
        Self {
            version: VERSION,
            kboot: env!("CARGO_PKG_VERSION").into(),
            seal: String::new(),
            made,
            inventory: inventory.into(),
            inventory_digest: digest_of(cluster),
            ignore_preflight: Vec::new(),
            drift: Drift::Repair,
            lock: None,
            cluster: cluster.clone(),
            playbook: playbook.to_yaml(),
            hosts,
        }
    }

    /// Names this very plan, for journals.
    pub fn id(&self) -> &str {
        &self.seal
    }

    pub fn changes(&self) -> usize {
        self.hosts.values().flatten().flat_map(|phase| &phase.steps).map(|step| step.changes.len()).sum()
    }
}

/// By which an inventory that has changed since is known.
pub fn digest_of(cluster: &Cluster) -> String {
    sha256(inventory::print(cluster).as_bytes())
}

/// What a host may do in a phase; nothing where nothing is planned.
pub fn planned_steps(hosts: &Hosts, host: &str, phase: &str) -> Vec<PlannedStep> {
    let phases = hosts.get(host).map(Vec::as_slice).unwrap_or_default();
    phases.iter().filter(|planned| planned.phase == phase).flat_map(|planned| planned.steps.clone()).collect()
}

/// Adds what an event says of a plan.
pub fn collect(hosts: &mut Hosts, event: &Event) {
    let Kind::Planned { changes, after } = &event.kind else { return };
    let phases = hosts.entry(event.host.clone()).or_default();
    let at = phases.iter().position(|planned| planned.phase == event.phase).unwrap_or_else(|| {
        phases.push(PhasePlan { phase: event.phase.clone(), steps: Vec::new() });
        phases.len() - 1
    });
    let changes: Vec<Change> = changes.iter().map(|proposed| proposed.change.redacted()).collect();
    phases[at].steps.push(PlannedStep { step: event.step.clone(), changes, after: after.clone() });
}

#[cfg(test)]
mod tests;
