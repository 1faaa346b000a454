//! This host's own API server answers that its start-up hooks have run, and so does the one that the cluster's endpoint leads to.

use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{Evidence, Planned, Probe, Result, Step};
use crate::kube::{Connector, View};

use super::lost_majority::LostMajority;
use super::{Make, evidence};

/// Leads to the API server of the host, whatever the cluster's endpoint is.
const OWN: &str = "/etc/kubernetes/controller-manager.conf";

pub struct WaitForApiServer {
    kube: Connector,
    own: String,
    endpoint: String,
    /// None in a plan, where nothing is waited for.
    majority: Option<LostMajority>,
    /// Whether it can't be there yet, and would not say so soon.
    is_hopeless: bool,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> WaitForApiServer {
    let (cluster, host) = (&make.context.cluster, make.context.host().ok());
    WaitForApiServer {
        kube: make.services.kube.clone(),
        own: host.map(|host| cluster.kubelet_server(host)).unwrap_or_default(),
        endpoint: host.map(|host| cluster.admin_endpoint(host)).unwrap_or_default(),
        majority: (!make.context.inputs.is_rehearsal).then(|| LostMajority::new(make.context)),
        is_hopeless: make.context.inputs.is_rehearsal && make.context.inputs.rescue.is_some(),
        deadline: make.context.ready_deadline(),
    }
}

#[async_trait]
impl Step for WaitForApiServer {
    /// Whether its own is ready, and whether that of the endpoint is.
    type Observed = (bool, bool);

    fn id(&self) -> &str {
        "wait-for-api-server"
    }

    fn title(&self) -> String {
        "Wait for the API server".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<(bool, bool)> {
        if self.is_hopeless {
            return Ok((false, false));
        }
        let own = self.kube.view_by(probe, Utf8Path::new(OWN)).await?;
        if !is_ready(own).await {
            if let Some(majority) = &self.majority {
                majority.check(probe).await?;
            }
            return Ok((false, false));
        }
        Ok((true, is_ready(self.kube.view(probe).await?).await))
    }

    fn diff(&self, ready: (bool, bool)) -> Planned {
        match ready {
            (true, true) => Planned::Satisfied,
            (true, false) => Planned::after(format!("the API server at {}", self.endpoint)),
            (false, _) => Planned::after(format!("the API server at {}", self.own)),
        }
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

/// RBAC's own roles are written by a start-up hook, and what is applied next refers to them.
async fn is_ready(view: Option<View>) -> bool {
    match view {
        Some(view) => view.raw("/readyz").await.is_ok(),
        None => false,
    }
}
