//! The node object that this host's kubelet registers is there.

use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{Evidence, Planned, Probe, Result, Step};
use crate::kube::Connector;

use super::wait_for_certificate::KUBELET_CONF;
use super::{Make, evidence};

pub struct WaitForOwnNode {
    kube: Connector,
    node: String,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> WaitForOwnNode {
    WaitForOwnNode {
        kube: make.services.kube.clone(),
        node: make.context.host.clone(),
        deadline: make.context.ready_deadline(),
    }
}

#[async_trait]
impl Step for WaitForOwnNode {
    type Observed = bool;

    fn id(&self) -> &str {
        "wait-for-own-node"
    }

    fn title(&self) -> String {
        "Wait for the node object".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<bool> {
        let Some(view) = self.kube.view_by(probe, Utf8Path::new(KUBELET_CONF)).await? else { return Ok(false) };
        match view.get("v1", "Node", None, &self.node).await {
            Ok(node) => Ok(node.is_some()),
            Err(failure) if failure.retryable => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn diff(&self, is_registered: bool) -> Planned {
        if is_registered { Planned::Satisfied } else { Planned::after(format!("the node object {}", self.node)) }
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        let hint = "see `journalctl -u kubelet` on the host";
        Evidence { lines: evidence::kubelet(probe).await, hint: Some(hint.into()) }
    }
}
