//! The kubelet says that it is well: its configuration was not refused.

use std::time::Duration;

use async_trait::async_trait;

use crate::engine::{Evidence, Failure, Planned, Probe, Result, Step};
use crate::kube::health;

use super::start_kubelet::UNIT;
use super::{Context, evidence};

/// Where the kubelet answers, whatever the inventory says.
const HEALTH: &str = "http://127.0.0.1:10248/healthz";
/// systemd has started it anew this often: it does not come up any more.
const RESTARTS: u32 = 2;

pub struct WaitForKubelet {
    /// Whether this was a node before this run. One that is new is waited for by what it does: its certificate, its node, its pods.
    is_old: bool,
    deadline: Duration,
}

pub fn step(context: &Context) -> WaitForKubelet {
    WaitForKubelet { is_old: context.facts.node.is_member(), deadline: context.ready_deadline() }
}

#[async_trait]
impl Step for WaitForKubelet {
    /// Whether it is well.
    type Observed = bool;

    fn id(&self) -> &str {
        "wait-for-kubelet"
    }

    fn title(&self) -> String {
        "Wait for the kubelet".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<bool> {
        if !self.is_old || health::ask(HEALTH).await.is_ok() {
            return Ok(true);
        }
        let shown = probe.query(&["systemctl", "show", UNIT, "--property=NRestarts"]).await?;
        let restarts: u32 = shown.text().trim_start_matches("NRestarts=").parse().unwrap_or_default();
        if restarts < RESTARTS {
            return Ok(false);
        }
        Err(Failure::new(format!("the kubelet does not stay up: systemd has started it anew {restarts} times"))
            .evidence(evidence::kubelet(probe).await)
            .hint(
                "see what `kubelet.config` in the inventory says; put back what was there before, and run the same command \
                 again",
            ))
    }

    fn diff(&self, is_well: bool) -> Planned {
        if is_well { Planned::Satisfied } else { Planned::after("the kubelet to be well") }
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        let hint = "see `journalctl -u kubelet` on the host";
        Evidence { lines: evidence::kubelet(probe).await, hint: Some(hint.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_until_the_kubelet_is_well() {
        let step = WaitForKubelet { is_old: true, deadline: Duration::from_secs(1) };
        assert_eq!(step.diff(true), Planned::Satisfied);
        assert_eq!(step.diff(false), Planned::after("the kubelet to be well"));
    }

    #[tokio::test]
    async fn a_new_node_s_kubelet_is_not_asked() {
        let step = WaitForKubelet { is_old: false, deadline: Duration::from_secs(1) };
        assert!(step.observe(&crate::engine::fake::FakeHost::default()).await.unwrap());
    }
}
