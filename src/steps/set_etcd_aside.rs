//! A control plane that a recovery of etcd goes on without, and that can be reached: its etcd and its API server end, and its data
//! are put aside. So there is no second cluster, and the host joins the new one like any other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{AnyStep, Change, Evidence, Planned, Probe, Result};
use crate::manifest::{StaticPod, paths};

use super::etcd_member::DATA;
use super::recover_etcd::stop_etcd;
use super::{Make, evidence};

pub struct SetEtcdAside {
    /// Where the data go.
    place: String,
    is_rehearsal: bool,
    deadline: Duration,
    was_stopped: AtomicBool,
}

pub fn step(make: &Make<'_>) -> SetEtcdAside {
    let context = make.context;
    let at = context.inputs.rescue.as_ref().map(|rescue| rescue.at.clone()).unwrap_or_default();
    SetEtcdAside {
        place: format!("/var/lib/etcd/before-recovery-{at}"),
        is_rehearsal: context.inputs.is_rehearsal,
        deadline: context.ready_deadline(),
        was_stopped: AtomicBool::new(false),
    }
}

#[async_trait]
impl AnyStep for SetEtcdAside {
    fn id(&self) -> &str {
        "set-etcd-aside"
    }

    fn title(&self) -> String {
        "Put etcd's former data aside".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let mut changes = Vec::new();
        for pod in [StaticPod::Etcd, StaticPod::ApiServer] {
            let path = paths::static_pod(pod);
            if probe.stat(Utf8Path::new(&path)).await?.is_some() {
                changes.push(Change::Remove { path: path.into() });
            }
        }
        let running = probe.query(&["crictl", "ps", "-q", "--name", "^(etcd|kube-apiserver)$"]).await?;
        let runs = running.is_success() && !running.text().is_empty();
        if runs && !self.was_stopped.swap(!self.is_rehearsal, Ordering::Relaxed) {
            changes.push(stop_etcd());
        }
        if !self.is_rehearsal && !changes.is_empty() {
            return Ok(Planned::Changes(changes));
        }
        if runs && !self.is_rehearsal {
            return Ok(Planned::after("etcd and the API server to end"));
        }
        if probe.list(Utf8Path::new(DATA)).await?.is_some() {
            changes.push(self.set_aside());
        }
        Ok(Planned::of(changes))
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        let hint = "see `crictl ps -a` and `journalctl -u kubelet` on the host";
        Evidence { lines: evidence::containers(probe, &["etcd", "kube-apiserver"]).await, hint: Some(hint.into()) }
    }
}

impl SetEtcdAside {
    fn set_aside(&self) -> Change {
        let script = format!("[ ! -e {DATA} ] || mv -T {DATA} {}", self.place);
        Change::shell(format!("put {DATA} aside, as {}", self.place), script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    const PS: &str = "crictl ps -q --name ^(etcd|kube-apiserver)$";

    fn step(is_rehearsal: bool) -> SetEtcdAside {
        SetEtcdAside {
            place: "/var/lib/etcd/before-recovery-1".into(),
            is_rehearsal,
            deadline: Duration::ZERO,
            was_stopped: AtomicBool::new(false),
        }
    }

    async fn shown(step: &SetEtcdAside, host: &FakeHost) -> Vec<String> {
        match step.plan(host).await.unwrap() {
            Planned::After { what } => vec![format!("after {what}")],
            planned => {
                planned.into_changes().iter().map(|c| c.to_string().split(" (`").next().unwrap().into()).collect()
            }
        }
    }

    fn running() -> FakeHost {
        FakeHost::default()
            .answer(PS, 0, "a1\n")
            .file("/etc/kubernetes/manifests/etcd.yaml", "")
            .file("/etc/kubernetes/manifests/kube-apiserver.yaml", "")
            .file("/var/lib/etcd/member/snap/db", "")
    }

    const ASIDE: &str = "put /var/lib/etcd/member aside, as /var/lib/etcd/before-recovery-1";

    #[tokio::test]
    async fn the_data_go_only_once_nothing_uses_them() {
        let (step, host) = (step(false), running());
        let stopped = [
            "remove /etc/kubernetes/manifests/etcd.yaml",
            "remove /etc/kubernetes/manifests/kube-apiserver.yaml",
            "stop the API server and etcd",
        ];
        assert_eq!(shown(&step, &host).await, stopped);
        let ending = FakeHost::default().answer(PS, 0, "a1").file("/var/lib/etcd/member/snap/db", "");
        assert_eq!(shown(&step, &ending).await, ["after etcd and the API server to end"]);
        let ended = FakeHost::default().answer(PS, 0, "").file("/var/lib/etcd/member/snap/db", "");
        assert_eq!(shown(&step, &ended).await, [ASIDE]);
        assert_eq!(shown(&step, &FakeHost::default().answer(PS, 127, "")).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_plan_has_all_of_it() {
        let all = shown(&step(true), &running()).await;
        assert_eq!((all.len(), all[3].as_str()), (4, ASIDE));
    }
}
