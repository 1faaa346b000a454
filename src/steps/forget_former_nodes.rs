//! Nodes of hosts that come back as new ones: what the cluster still has of a former self would pass for the new one's state, its
//! being Ready first of all.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;

use crate::engine::{AnyStep, Change, Evidence, Hint, Planned, Probe, Result};
use crate::kube::{Connector, node};

use super::Make;

/// How long a node of this name at another address is listened for. A kubelet renews its lease every 10 s.
const SILENCE: Duration = Duration::from_secs(15);

pub struct ForgetFormerNodes {
    kube: Connector,
    /// The hosts that are no nodes yet, with the addresses that theirs will have.
    joining: Vec<(String, String)>,
    /// When each node's lease was seen to change last, and what it said.
    leases: Mutex<BTreeMap<String, (Value, Instant)>>,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> ForgetFormerNodes {
    let context = make.context;
    let inputs = &context.inputs;
    let joins = |name: &String| inputs.bare.contains(name) && !inputs.failed.contains(name) && *name != context.host;
    let joining = context.cluster.hosts.iter().filter(|host| joins(&host.name));
    ForgetFormerNodes {
        kube: make.services.kube.clone(),
        joining: joining.map(|host| (host.name.clone(), host.address.to_string())).collect(),
        leases: Mutex::default(),
        deadline: SILENCE * 4,
    }
}

#[async_trait]
impl AnyStep for ForgetFormerNodes {
    fn id(&self) -> &str {
        "forget-former-nodes"
    }

    fn title(&self) -> String {
        "Forget what hosts that join were before".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        if self.joining.is_empty() {
            return Ok(Planned::Satisfied);
        }
        let Some(view) = self.kube.view(probe).await? else { return Ok(Planned::Satisfied) };
        let mut changes = Vec::new();
        for (name, address) in &self.joining {
            let node = match view.get("v1", "Node", None, name).await {
                Err(failure) if failure.retryable => return Ok(Planned::after("an answer of the API server")),
                node => node?,
            };
            let Some(node) = node else { continue };
            let lease = view.get("coordination.k8s.io/v1", "Lease", Some("kube-node-lease"), name).await?;
            let is_elsewhere = node::internal_address(&node).is_some_and(|known| known != address);
            if is_elsewhere && self.was_heard(name, lease.map(|lease| lease["spec"]["renewTime"].clone())) {
                return Ok(Planned::after(format!("the node {name} at another address to fall silent")));
            }
            changes.push(Change::delete_node(name));
        }
        Ok(Planned::of(changes))
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, _probe: &dyn Probe) -> Evidence {
        let names: Vec<&str> = self.joining.iter().map(|(name, _)| name.as_str()).collect();
        Evidence { lines: vec![format!("to join: {}", names.join(", "))], hint: Some(Hint::RenameNode) }
    }
}

impl ForgetFormerNodes {
    /// Whether the lease has changed a short while ago. The first look counts as a change.
    fn was_heard(&self, name: &str, renewed: Option<Value>) -> bool {
        let Some(renewed) = renewed else { return false };
        let mut leases = self.leases.lock().expect("no panic while held");
        let seen = leases.entry(name.into()).or_insert_with(|| (renewed.clone(), Instant::now()));
        if seen.0 != renewed {
            *seen = (renewed, Instant::now());
        }
        seen.1.elapsed() < SILENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_lease_that_nobody_renews_is_silent_in_time() {
        let step = ForgetFormerNodes {
            kube: Connector::default(),
            joining: Vec::new(),
            leases: Mutex::default(),
            deadline: SILENCE,
        };
        assert!(!step.was_heard("n2", None));
        assert!(step.was_heard("n2", Some(json!("t1"))));
        let past = Instant::now() - SILENCE;
        step.leases.lock().unwrap().insert("n2".into(), (json!("t1"), past));
        assert!(!step.was_heard("n2", Some(json!("t1"))));
        assert!(step.was_heard("n2", Some(json!("t2"))));
    }
}
