//! The API server answers that it is alive and its start-up hooks have run.

use std::time::Duration;

use async_trait::async_trait;

use crate::engine::{Evidence, Planned, Probe, Result, Step};
use crate::kube::Connector;

use super::{Make, evidence};

pub struct WaitForApiServer {
    kube: Connector,
    endpoint: String,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> WaitForApiServer {
    WaitForApiServer {
        kube: make.services.kube.clone(),
        endpoint: make.context.host().map(|host| make.context.cluster.admin_endpoint(host)).unwrap_or_default(),
        deadline: make.context.ready_deadline(),
    }
}

#[async_trait]
impl Step for WaitForApiServer {
    type Observed = bool;

    fn id(&self) -> &str {
        "wait-for-api-server"
    }

    fn title(&self) -> String {
        "Wait for the API server".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<bool> {
        let Some(view) = self.kube.view(probe).await? else { return Ok(false) };
        // RBAC's own roles are written by a start-up hook, and what is applied next refers to them.
        Ok(view.raw("/readyz").await.is_ok())
    }

    fn diff(&self, is_ready: bool) -> Planned {
        if is_ready { Planned::Satisfied } else { Planned::after(format!("the API server at {}", self.endpoint)) }
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        let mut lines = evidence::containers(probe, &["kube-apiserver", "etcd"]).await;
        lines.extend(evidence::kubelet(probe).await);
        let hint = "see `crictl ps -a`, `crictl logs ID` and `journalctl -u kubelet` on the host";
        Evidence { lines, hint: Some(hint.into()) }
    }
}
