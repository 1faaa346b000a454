//! The inventory's labels on the nodes that have registered.

use async_trait::async_trait;

use crate::engine::{Planned, Probe, Result};
use crate::kube::Connector;
use crate::resource::{AnyResource, Converge, Node};

use super::Make;

pub fn step(make: &Make<'_>) -> Converge {
    let nodes = make.context.cluster.hosts.iter().filter(|host| !host.labels.is_empty()).map(|host| Registered {
        name: host.name.clone(),
        labels: host.labels.clone().into_iter().collect(),
        is_joining: make.context.inputs.joining.contains(&host.name),
        kube: make.services.kube.clone(),
    });
    Converge::new("label-nodes", "Label the nodes").deadline(make.context.ready_deadline()).with_all(nodes)
}

/// Labels for a node if it is there: a host that failed to join has none to be labelled.
struct Registered {
    name: String,
    labels: Vec<(String, String)>,
    is_joining: bool,
    kube: Connector,
}

#[async_trait]
impl AnyResource for Registered {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let Some(view) = self.kube.view(probe).await? else { return Ok(Planned::after("the API server")) };
        match view.get("v1", "Node", None, &self.name).await {
            Ok(None) if self.is_joining => Ok(Planned::after(format!("the node {}", self.name))),
            Ok(None) => Ok(Planned::Satisfied),
            Err(failure) if failure.retryable => Ok(Planned::after("the API server")),
            Err(failure) => Err(failure),
            Ok(Some(_)) => {
                let (kube, name, labels) = (self.kube.clone(), self.name.clone(), self.labels.clone());
                AnyResource::plan(&Node { kube, name, labels, taints: Vec::new() }, probe).await
            }
        }
    }
}
