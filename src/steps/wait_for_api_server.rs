//! This host's own API server answers that its start-up hooks have run, and so does the one that the cluster's endpoint leads to.

use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{AnyStep, Evidence, Hint, Planned, Probe, Result};
use crate::kube::{Connector, View};
use crate::manifest::StaticPod;

use super::held_back::HeldBack;
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
    held: HeldBack,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> WaitForApiServer {
    let (cluster, host) = (&make.context.cluster, make.context.host().ok());
    WaitForApiServer {
        kube: make.services.kube.clone(),
        own: host.map(|host| cluster.kubelet_server(host)).unwrap_or_default(),
        endpoint: host.map(|host| cluster.admin_endpoint(host)).unwrap_or_default(),
        majority: (!make.context.inputs.is_dry_run).then(|| LostMajority::new(make.context)),
        is_hopeless: make.context.inputs.is_dry_run && make.context.inputs.recovery_start.is_some(),
        held: HeldBack::default(),
        deadline: make.context.ready_deadline(),
    }
}

#[async_trait]
impl AnyStep for WaitForApiServer {
    fn id(&self) -> &str {
        "wait-for-api-server"
    }

    fn title(&self) -> String {
        "Wait for the API server".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let waits = |endpoint: &str| Planned::after(format!("the API server at {endpoint}"));
        if self.is_hopeless {
            return Ok(waits(&self.own));
        }
        let own = self.kube.view_by(probe, Utf8Path::new(OWN)).await?;
        if !is_ready(own).await {
            if let Some(majority) = &self.majority {
                majority.check(probe).await?;
            }
            return Ok(match self.held.release(probe, &[StaticPod::Etcd, StaticPod::ApiServer]).await? {
                Some(restart) => Planned::Changes(vec![restart]),
                None => waits(&self.own),
            });
        }
        let is_endpoint_ready = is_ready(self.kube.view(probe).await?).await;
        Ok(if is_endpoint_ready { Planned::Satisfied } else { waits(&self.endpoint) })
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        let mut lines = evidence::containers(probe, &["kube-apiserver", "etcd"]).await;
        lines.extend(evidence::kubelet(probe).await);
        Evidence { lines, hint: Some(Hint::StaticPods) }
    }
}

/// RBAC's own roles are written by a start-up hook, and what is applied next refers to them.
async fn is_ready(view: Option<View>) -> bool {
    match view {
        Some(view) => view.raw("/readyz").await.is_ok(),
        None => false,
    }
}
