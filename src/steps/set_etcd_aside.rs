//! A control plane that a recovery of etcd goes on without, and that can be reached: its etcd and its API server end, and its data
//! are put aside. So there is no second cluster, and the host joins the new one like any other.

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{AnyStep, Change, Planned, Probe, Result};
use crate::manifest::{StaticPod, paths};
use crate::resource;

use super::Make;
use super::etcd_member::{ASIDE, DATA, FOLDER};
use super::recover_etcd::{set_kubelet, stop_etcd};
use super::start_kubelet::UNIT;

pub struct SetEtcdAside {
    /// Where the data go.
    place: String,
}

pub fn step(make: &Make<'_>) -> SetEtcdAside {
    let at =
        make.context.inputs.recovery_start.as_ref().map(|recovery_start| recovery_start.at.clone()).unwrap_or_default();
    SetEtcdAside { place: format!("{FOLDER}/{ASIDE}{at}") }
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
        if running.is_success() && !running.text().is_empty() {
            changes.push(stop_etcd());
        }
        if probe.list(Utf8Path::new(DATA)).await?.is_some() {
            let line = format!("[ ! -e {DATA} ] || mv -T {DATA} {}", self.place);
            changes.push(Change::shell(format!("put {DATA} aside, as {}", self.place), line));
        }
        // A kubelet that has not seen yet that the manifests are gone would start etcd again, with new data.
        let kubelet = resource::unit_runs(probe, UNIT).await?;
        if !changes.is_empty() && kubelet == Some(true) {
            changes.insert(0, set_kubelet(false));
        }
        if kubelet.is_some() && (!changes.is_empty() || kubelet == Some(false)) {
            changes.push(set_kubelet(true));
        }
        Ok(Planned::of(changes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    const PS: &str = "crictl ps -q --name ^(etcd|kube-apiserver)$";
    const KUBELET: &str = "systemctl show kubelet.service --property=LoadState,ActiveState,UnitFileState";
    const ASIDE: &str = "put /var/lib/etcd/member aside, as /var/lib/etcd/before-recovery-1";
    const START: &str = "kubelet.service: start";

    async fn shown(containers: &str, kubelet: &str, files: &[&str]) -> Vec<String> {
        let host = FakeHost::default().answer(PS, 0, containers).answer(KUBELET, 0, kubelet);
        let host = files.iter().fold(host, |host, path| host.file(path, ""));
        let step = SetEtcdAside { place: "/var/lib/etcd/before-recovery-1".into() };
        let changes = step.plan(&host).await.unwrap().into_changes();
        changes.iter().map(|change| change.to_string().split(" (`").next().unwrap().into()).collect()
    }

    #[tokio::test]
    async fn the_data_go_while_nobody_could_use_them() {
        let files = [
            "/etc/kubernetes/manifests/etcd.yaml",
            "/etc/kubernetes/manifests/kube-apiserver.yaml",
            "/var/lib/etcd/member/snap/db",
        ];
        let all = [
            "kubelet.service: stop",
            "remove /etc/kubernetes/manifests/etcd.yaml",
            "remove /etc/kubernetes/manifests/kube-apiserver.yaml",
            "stop the API server and etcd",
            ASIDE,
            START,
        ];
        assert_eq!(shown("a1\n", "LoadState=loaded\nActiveState=active\n", &files).await, all);
    }

    #[tokio::test]
    async fn a_run_that_was_killed_is_ended() {
        let stopped = "LoadState=loaded\nActiveState=inactive\n";
        assert_eq!(shown("", stopped, &["/var/lib/etcd/member/snap/db"]).await, [ASIDE, START]);
        assert_eq!(shown("", stopped, &[]).await, [START]);
        assert_eq!(shown("", "LoadState=loaded\nActiveState=active\n", &[]).await, Vec::<String>::new());
        assert_eq!(shown("", "LoadState=not-found\nActiveState=inactive\n", &[]).await, Vec::<String>::new());
    }
}
