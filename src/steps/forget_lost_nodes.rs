//! The Nodes of control planes that a recovery of etcd went on without, and that nobody reaches: they are gone.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use crate::engine::{AnyStep, Change, Evidence, Hint, Planned, Probe, Result};
use crate::facts::Recovery;
use crate::kube::Connector;

use super::{Make, evidence};

pub struct ForgetLostNodes {
    kube: Connector,
    /// Those that are there, or no control planes.
    staying: BTreeSet<String>,
    /// Then the API server is not there yet, and does not say so soon.
    is_dry_run: bool,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> ForgetLostNodes {
    let context = make.context;
    let reached =
        context.inputs.recovery_start.as_ref().map(|recovery_start| recovery_start.reached.clone()).unwrap_or_default();
    let workers = context.cluster.workers().map(|host| host.name.clone());
    ForgetLostNodes {
        kube: make.services.kube.clone(),
        staying: reached.into_iter().chain(workers).chain([context.host.clone()]).collect(),
        is_dry_run: context.inputs.is_dry_run,
        deadline: context.ready_deadline(),
    }
}

#[async_trait]
impl AnyStep for ForgetLostNodes {
    fn id(&self) -> &str {
        "forget-lost-nodes"
    }

    fn title(&self) -> String {
        "Forget the nodes that are lost".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        if self.is_dry_run {
            return Ok(Planned::after("the API server"));
        }
        let given_up = Recovery::read(probe).await?.unwrap_or_default().given_up;
        let lost: BTreeSet<String> = given_up.into_iter().map(|one| one.name).collect();
        let Some(view) = self.kube.view(probe).await? else { return Ok(Planned::after("the API server")) };
        let mut changes = Vec::new();
        for name in lost.difference(&self.staying) {
            match view.get("v1", "Node", None, name).await {
                Ok(Some(_)) => changes.push(Change::delete_node(name)),
                Ok(None) => {}
                Err(failure) if failure.retryable => return Ok(Planned::after("an answer of the API server")),
                Err(failure) => return Err(failure),
            }
        }
        Ok(Planned::of(changes))
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        let lines = evidence::containers(probe, &["kube-apiserver", "etcd"]).await;
        Evidence { lines, hint: Some(Hint::DeleteNode) }
    }
}
