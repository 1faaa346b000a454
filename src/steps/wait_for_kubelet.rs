//! The kubelet says that it is well: its configuration was not refused.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use crate::engine::hint::UnitWord;
use crate::engine::{Evidence, Failure, Hint, Planned, Probe, Result, Step};
use crate::kube::health::{self, Health};

use super::start_kubelet::UNIT;
use super::{Context, evidence};

/// Where the kubelet answers, whatever the inventory says.
const HEALTH: &str = "http://127.0.0.1:10248/healthz";
/// systemd has started it anew this often while it was waited for: it does not come up any more.
const RESTARTS: u32 = 2;

pub struct WaitForKubelet {
    /// Whether this was a node before this run. One that is new is waited for by what it does: its certificate, its node, its pods.
    is_old: bool,
    /// systemd's count of restarts when the wait began: what was before may have been mended since.
    counted: Mutex<Option<u32>>,
    deadline: Duration,
}

pub fn step(context: &Context) -> WaitForKubelet {
    WaitForKubelet {
        is_old: context.facts.node.is_member(),
        counted: Mutex::default(),
        deadline: context.ready_deadline(),
    }
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
        if !self.is_old || health::ask(HEALTH).await == Health::Well {
            return Ok(true);
        }
        let shown = probe.query(&["systemctl", "show", UNIT, "--property=NRestarts"]).await?;
        let restarts = self.since_it_began(shown.text().trim_start_matches("NRestarts=").parse().unwrap_or_default());
        if restarts < RESTARTS {
            return Ok(false);
        }
        Err(Failure::new(format!("the kubelet does not stay up: systemd has started it anew {restarts} times"))
            .evidence(evidence::kubelet(probe).await)
            .hint(Hint::KubeletSettings))
    }

    fn diff(&self, is_well: bool) -> Planned {
        if is_well { Planned::Satisfied } else { Planned::after("the kubelet to be well") }
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

impl WaitForKubelet {
    /// A count that has gone back was reset by a start on purpose, and begins again.
    fn since_it_began(&self, count: u32) -> u32 {
        let mut counted = self.counted.lock().expect("no panic while held");
        let began = counted.map_or(count, |began| began.min(count));
        *counted = Some(began);
        count - began
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    fn step(is_old: bool) -> WaitForKubelet {
        WaitForKubelet { is_old, counted: Mutex::default(), deadline: Duration::from_secs(1) }
    }

    #[tokio::test]
    async fn restarts_from_before_the_wait_do_not_count() {
        let journal = "journalctl -u kubelet.service -n 300 --no-pager -o cat";
        let host = |restarts: u32| {
            FakeHost::default()
                .answer("systemctl show kubelet.service --property=NRestarts", 0, &format!("NRestarts={restarts}\n"))
                .answer(journal, 0, "")
        };
        let step = step(true);
        // It is mended, and systemd is about to start it once more.
        for restarts in [28, 29] {
            assert!(!step.observe(&host(restarts)).await.unwrap(), "{restarts}");
        }
        let failure = step.observe(&host(30)).await.unwrap_err();
        assert_eq!(failure.cause, "the kubelet does not stay up: systemd has started it anew 2 times");
        // Started on purpose, it is counted from nothing.
        for restarts in [0, 1] {
            assert!(!step.observe(&host(restarts)).await.unwrap(), "{restarts}");
        }
        step.observe(&host(2)).await.unwrap_err();
    }

    #[test]
    fn it_waits_until_the_kubelet_is_well() {
        let step = step(true);
        assert_eq!(step.diff(true), Planned::Satisfied);
        assert_eq!(step.diff(false), Planned::after("the kubelet to be well"));
    }

    #[tokio::test]
    async fn a_new_node_s_kubelet_is_not_asked() {
        assert!(step(false).observe(&FakeHost::default()).await.unwrap());
    }
}
