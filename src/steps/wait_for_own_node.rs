//! The node object that this host's kubelet registers is there. One that was there before is Ready, too, so that a rolling change
//! takes the next host only when this one is back.

use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;
use serde_json::Value;

use crate::engine::hint::UnitWord;
use crate::engine::{Evidence, Hint, Planned, Probe, Result, Step};
use crate::kube::{Connector, node};

use super::wait_for_certificate::KUBELET_CONF;
use super::{Make, evidence, node_address};

pub struct WaitForOwnNode {
    kube: Connector,
    node: String,
    /// Whether this was a node before this run. A new one gets Ready once the pod network is there, which comes later.
    is_old: bool,
    /// The address that it has moved to, if nodes move.
    address: Option<String>,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> WaitForOwnNode {
    WaitForOwnNode {
        kube: make.services.kube.clone(),
        node: make.context.host.clone(),
        is_old: make.context.facts.node.is_member(),
        address: make.context.host().ok().and_then(|host| node_address::moved(make.context, host)),
        deadline: make.context.ready_deadline(),
    }
}

#[async_trait]
impl Step for WaitForOwnNode {
    /// None where it is not there, or nobody answers.
    type Observed = Option<Value>;

    fn id(&self) -> &str {
        "wait-for-own-node"
    }

    fn title(&self) -> String {
        "Wait for the node object".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Option<Value>> {
        let Some(view) = self.kube.view_by(probe, Utf8Path::new(KUBELET_CONF)).await? else { return Ok(None) };
        match view.get("v1", "Node", None, &self.node).await {
            Err(failure) if failure.retryable => Ok(None),
            other => other,
        }
    }

    fn diff(&self, node: Option<Value>) -> Planned {
        match node {
            None => Planned::after(format!("the node object {}", self.node)),
            Some(node) if self.is_old && !is_ready(&node) => {
                Planned::after(format!("the node {} to be Ready", self.node))
            }
            Some(node) => match &self.address {
                Some(address) if node::internal_address(&node) != Some(address) => {
                    Planned::after(format!("the node {} to be known by {address}", self.node))
                }
                _ => Planned::Satisfied,
            },
        }
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        Evidence {
            lines: evidence::kubelet(probe).await,
            hint: Some(Hint::UnitJournal { unit: UnitWord::of("kubelet") }),
        }
    }
}

/// Whether it is Ready, or would be but for the pod network, which is no matter of the host's.
fn is_ready(node: &Value) -> bool {
    node::readiness(node).is_some_and(|ready| {
        let message = ready["message"].as_str().unwrap_or_default();
        ready["status"] == "True" || (ready["status"] == "False" && message.contains("NetworkPluginNotReady"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn step(is_old: bool) -> WaitForOwnNode {
        let (kube, deadline) = (Connector::default(), Duration::from_secs(1));
        WaitForOwnNode { kube, node: "n2".into(), is_old, address: None, deadline }
    }

    fn node(status: &str, message: &str) -> Option<Value> {
        Some(json!({"status": {"conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "Ready", "status": status, "message": message},
        ]}}))
    }

    #[test]
    fn a_new_node_need_only_be_there() {
        assert_eq!(step(false).diff(None), Planned::after("the node object n2"));
        assert_eq!(step(false).diff(node("False", "starting")), Planned::Satisfied);
    }

    #[test]
    fn one_that_moves_must_be_known_by_its_address() {
        let step = WaitForOwnNode { address: Some("10.0.0.22".into()), ..step(true) };
        let mut moved = node("True", "").unwrap();
        let waits = Planned::after("the node n2 to be known by 10.0.0.22");
        assert_eq!(step.diff(Some(moved.clone())), waits);
        moved["status"]["addresses"] = json!([{"type": "InternalIP", "address": "10.0.0.2"}]);
        assert_eq!(step.diff(Some(moved.clone())), waits);
        moved["status"]["addresses"] = json!([{"type": "InternalIP", "address": "10.0.0.22"}]);
        assert_eq!(step.diff(Some(moved)), Planned::Satisfied);
    }

    #[test]
    fn one_that_was_there_must_be_ready_as_far_as_it_can() {
        let waits = Planned::after("the node n2 to be Ready");
        let network = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:x";
        for (node, planned) in [
            (node("True", ""), Planned::Satisfied),
            (node("False", network), Planned::Satisfied),
            (node("False", "PLEG is not healthy"), waits.clone()),
            (node("Unknown", network), waits.clone()),
            (Some(json!({})), waits),
            (None, Planned::after("the node object n2")),
        ] {
            assert_eq!(step(true).diff(node), planned);
        }
    }
}
