//! CoreDNS' pods, once the pod network carries them. A pod that is placed on a node before its network works fails there, and the
//! kubelet tries it again only ten seconds later or more.

use std::time::Duration;

use async_trait::async_trait;

use crate::engine::{AnyStep, Change, Evidence, Planned, Probe, Result};
use crate::inventory::Cni;
use crate::kube::Connector;
use crate::manifest;
use crate::resource::{AnyResource, Objects};

use super::wait_for_addons::{self, Workloads};
use super::{Make, unrendered};

pub struct ApplyDns {
    kube: Connector,
    deployment: Objects,
    /// What must be available before it can start.
    network: Workloads,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> Result<ApplyDns> {
    let cluster = &make.context.cluster;
    let kube = make.services.kube.clone();
    let mut objects = manifest::coredns(cluster).map_err(unrendered)?;
    objects.retain(|object| object["kind"] == "Deployment");
    let network = match cluster.network.cni {
        // Its owner brings a network later; until then the pods wait unplaced, for no node is Ready.
        Cni::None => Vec::new(),
        Cni::Flannel | Cni::Weave => wait_for_addons::on_nodes(cluster),
    };
    let network = Workloads::new(network, make.context.inputs.failed.clone());
    let deployment = Objects { kube: kube.clone(), objects };
    Ok(ApplyDns { kube, deployment, network, deadline: make.context.ready_deadline() })
}

#[async_trait]
impl AnyStep for ApplyDns {
    fn id(&self) -> &str {
        "apply-dns"
    }

    fn title(&self) -> String {
        "Start CoreDNS".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let planned = AnyResource::plan(&self.deployment, probe).await?;
        if !starts_pods(&planned) {
            return Ok(planned);
        }
        Ok(match self.network.plan(&self.kube, probe).await? {
            Planned::Satisfied => planned,
            waits => waits,
        })
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        wait_for_addons::evidence(&self.kube, probe).await
    }
}

/// Whether the deployment is a new one. One that is there is brought up to date at any time.
fn starts_pods(planned: &Planned) -> bool {
    let is_new = |change: &Change| matches!(change, Change::ApplyObject { before: None, .. });
    matches!(planned, Planned::Changes(changes) if changes.iter().any(is_new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_new_deployment_waits_for_the_network() {
        let planned = |before| Planned::Changes(vec![Change::ApplyObject { object: json!({}), before }]);
        assert!(starts_pods(&planned(None)));
        assert!(!starts_pods(&planned(Some(json!({})))));
        assert!(!starts_pods(&Planned::Satisfied));
        assert!(!starts_pods(&Planned::after("the API server")));
    }
}
