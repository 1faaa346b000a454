//! Every node of the inventory that has registered is Ready, but for those of hosts that have failed.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::engine::{Evidence, Hint, Planned, Probe, Result, Step};
use crate::inventory::{Cni, Host};
use crate::kube::{Connector, node};

use super::{Make, evidence, node_address};

pub struct WaitForNodes {
    kube: Connector,
    /// Each with the address that it has moved to, if nodes move.
    nodes: BTreeMap<String, Option<String>>,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> WaitForNodes {
    let (cluster, failed) = (&make.context.cluster, &make.context.inputs.failed);
    // Without a pod network no node gets ready, and it is its owner's to bring one.
    let nodes = match cluster.network.cni {
        Cni::None => BTreeMap::new(),
        Cni::Flannel | Cni::Weave => {
            let node = |host: &Host| (host.name.clone(), node_address::moved(make.context, host));
            cluster.nodes().filter(|host| !failed.contains(&host.name)).map(node).collect()
        }
    };
    WaitForNodes { kube: make.services.kube.clone(), nodes, deadline: make.context.ready_deadline() }
}

#[async_trait]
impl Step for WaitForNodes {
    /// The nodes that are not ready, each with the reason that it gives; None where the API does not answer.
    type Observed = Option<Vec<(String, String)>>;

    fn id(&self) -> &str {
        "wait-for-nodes"
    }

    fn title(&self) -> String {
        "Wait until every node is Ready".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        if self.nodes.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let Some(view) = self.kube.view(probe).await? else { return Ok(None) };
        match view.list("v1", "Node", None, "").await {
            Ok(nodes) => Ok(Some(nodes.iter().filter_map(|node| self.unready(node)).collect())),
            Err(failure) if failure.retryable => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn diff(&self, unready: Self::Observed) -> Planned {
        match unready {
            None => Planned::after("an answer of the API server"),
            Some(unready) if unready.is_empty() => Planned::Satisfied,
            Some(unready) => {
                let names: Vec<&str> = unready.iter().map(|(name, _)| name.as_str()).collect();
                Planned::after(format!("{} to be Ready", names.join(", ")))
            }
        }
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        let unready = self.observe(probe).await.ok().flatten().unwrap_or_default();
        let mut lines: Vec<String> = unready.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        lines.extend(evidence::pods(&self.kube, probe).await);
        lines.extend(evidence::kubelet(probe).await);
        Evidence { lines, hint: Some(Hint::Nodes) }
    }
}

impl WaitForNodes {
    fn unready(&self, node: &Value) -> Option<(String, String)> {
        let name = node["metadata"]["name"].as_str()?;
        let moved = self.nodes.get(name)?;
        match node::readiness(node) {
            Some(condition) if condition["status"] == "True" => {
                let known = node::internal_address(node).unwrap_or_default();
                let address = moved.as_ref().filter(|address| *address != known)?;
                Some((name.into(), format!("it is known by {known} still, and not by {address}")))
            }
            Some(condition) => Some((name.into(), condition["message"].as_str().unwrap_or_default().into())),
            None => Some((name.into(), "it has not reported its state yet".into())),
        }
    }
}
