//! What made the machine a node is gone: certificates, manifests, kubeconfigs, etcd's data, the kubelet's and the pod network's
//! state. What was there before the first run stays, and so does what others have mounted.

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{AnyStep, Journal, Planned, Probe, Remark, Result, Subject};
use crate::manifest::{StaticPod, paths};

use super::protected::{Minding, Protected};
use super::start_kubelet::UNIT;
use super::{Context, etcd_member, recover_etcd};

/// What goes whole.
const WHOLE: [&str; 13] = [
    "/etc/kubernetes/admin.conf",
    "/etc/kubernetes/super-admin.conf",
    "/etc/kubernetes/kubelet.conf",
    "/etc/kubernetes/bootstrap-kubelet.conf",
    "/etc/kubernetes/controller-manager.conf",
    "/etc/kubernetes/scheduler.conf",
    "/etc/kubernetes/pki",
    "/var/lib/cni",
    "/run/flannel",
    "/var/lib/weave",
    "/var/lib/calico",
    "/var/log/pods",
    "/var/log/containers",
];
const KUBELET: &str = "/var/lib/kubelet";
/// Folders that packages own, or that may be links or mount points: they stay, and what is in them goes.
const EMPTIED: [&str; 3] = ["/etc/kubernetes/manifests", KUBELET, "/etc/cni/net.d"];
/// What the pod networks' installers put beside the packages' own.
const PLUGINS: [&str; 4] = ["flannel", "weave-net", "weave-ipam", "weave-plugin-latest"];
/// What the kubelet makes in its folder by itself: it is the node's even where there was one before.
const OF_KUBELET: [&str; 12] = [
    "actuated_pods_state",
    "allocated_pods_state",
    "checkpoints",
    "cpu_manager_state",
    "device-plugins",
    "dra_manager_state",
    "memory_manager_state",
    "pki",
    "plugins",
    "plugins_registry",
    "pod-resources",
    "pods",
];

pub struct RemoveClusterState {
    is_dry_run: bool,
    /// Whether etcd runs here, as far as its manifest tells.
    has_member: bool,
    /// What etcd has here is somebody else's.
    keeps_etcd: bool,
    keeps_packages: bool,
}

pub fn step(context: &Context) -> RemoveClusterState {
    RemoveClusterState {
        is_dry_run: context.inputs.is_dry_run,
        has_member: context.facts.node.has_manifest("etcd"),
        keeps_etcd: context.has_foreign_etcd(),
        keeps_packages: context.inputs.keeps_packages(),
    }
}

#[async_trait]
impl AnyStep for RemoveClusterState {
    fn id(&self) -> &str {
        "remove-cluster-state"
    }

    fn title(&self) -> String {
        "Remove the node's state".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let protected = Protected::of(probe, self.is_dry_run).await?;
        let mut changes = Vec::new();
        for path in WHOLE {
            changes.extend(protected.removal(probe, Utf8Path::new(path), Minding::All).await?);
        }
        for folder in EMPTIED.map(Utf8Path::new) {
            let mut names = probe.list(folder).await?.unwrap_or_default();
            // Packages keep their empty directories by such files, as `.kubelet-keep`.
            names.retain(|name| !(name.starts_with('.') && name.ends_with("-keep")) && name != "lost+found");
            let minding = |name: &str| match folder == KUBELET && OF_KUBELET.contains(&name) {
                true => Minding::Mounts,
                false => Minding::All,
            };
            changes.extend(protected.emptying(probe, folder, names, minding).await?);
        }
        if self.is_member(probe).await? {
            let names = etcd_member::data(probe).await?;
            let folder = Utf8Path::new(etcd_member::FOLDER);
            changes.extend(protected.emptying(probe, folder, names, |_| Minding::All).await?);
        }
        for name in PLUGINS {
            changes.extend(protected.removal(probe, &Utf8Path::new("/opt/cni/bin").join(name), Minding::All).await?);
        }
        // What was noted of services' starts. A runtime that stays runs on with what was noted of it.
        let notes = match self.keeps_packages {
            true => format!("/run/kboot/started/{UNIT}"),
            false => "/run/kboot".into(),
        };
        changes.extend(protected.removal(probe, Utf8Path::new(&notes), Minding::Mounts).await?);
        Ok(Planned::of(changes))
    }

    async fn remarks(&self, probe: &dyn Probe) -> Result<Vec<Remark>> {
        let protected = Protected::of(probe, self.is_dry_run).await?;
        let mut remarks = protected.spared(probe, &WHOLE, &EMPTIED).await?;
        let is_there = probe.stat(Utf8Path::new(etcd_member::DATA)).await?.is_some();
        if is_there && !self.keeps_etcd && !self.is_member(probe).await? {
            let why = "neither a manifest nor kboot's journal says that a member of this cluster was here";
            remarks.push(Remark::Warning(format!("{} stays: {why}", etcd_member::DATA)));
        }
        if !self.keeps_packages {
            let names = probe.list(Utf8Path::new(recover_etcd::FOLDER)).await?.unwrap_or_default();
            let copies = names.iter().filter(|name| name.starts_with(recover_etcd::COPY));
            remarks.extend(copies.map(|name| {
                let path = Utf8Path::new(recover_etcd::FOLDER).join(name);
                Remark::Warning(format!("{path} goes at the end: a copy of etcd's data, made by `kboot recover`"))
            }));
        }
        Ok(remarks)
    }
}

impl RemoveClusterState {
    /// Whether a member of this cluster is, or was, on the host: by the manifest, or by the journal of who wrote or removed it.
    async fn is_member(&self, probe: &dyn Probe) -> Result<bool> {
        if self.keeps_etcd || self.has_member {
            return Ok(!self.keeps_etcd);
        }
        let manifest = Subject::path(paths::static_pod(StaticPod::Etcd));
        let journal = probe.read(Utf8Path::new(Journal::PATH)).await?.unwrap_or_default();
        let runs = Journal::runs(&journal)?;
        let mut traces = runs.iter().flat_map(|run| &run.changes).flat_map(|made| &made.before);
        Ok(traces.any(|trace| trace.subject == manifest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::{self, Baseline, Kind};
    use crate::engine::fake::FakeHost;
    use crate::engine::{Entry, Record, State, Trace};

    fn step(has_member: bool) -> RemoveClusterState {
        RemoveClusterState { is_dry_run: false, has_member, keeps_etcd: false, keeps_packages: false }
    }

    async fn changes(step: &RemoveClusterState, host: &FakeHost) -> Vec<String> {
        step.plan(host).await.unwrap().into_changes().iter().map(ToString::to_string).collect()
    }

    fn of_etcd() -> FakeHost {
        FakeHost::default()
            .file("/var/lib/etcd/member/db", "")
            .file("/var/lib/etcd/before-recovery-20261123-041500/db", "")
            .file("/var/lib/etcd/snapshot.db", "")
            .file("/var/lib/etcd/default/member/db", "")
    }

    #[tokio::test]
    async fn of_etcd_s_folder_only_this_cluster_s_member_goes() {
        let gone = ["remove /var/lib/etcd/before-recovery-20261123-041500", "remove /var/lib/etcd/member"];
        assert_eq!(changes(&step(true), &of_etcd()).await, gone);
        // A worker beside somebody else's etcd that happens not to run.
        assert_eq!(changes(&step(false), &of_etcd()).await, Vec::<String>::new());
        assert_eq!(step(false).remarks(&of_etcd()).await.unwrap().len(), 1);
        // A reset that was cut off after it had removed the manifest.
        let state = State::file(0o600, 0, 0, b"x".to_vec());
        let before = vec![Trace { subject: Subject::path("/etc/kubernetes/manifests/etcd.yaml"), state }];
        let (step_name, text) = ("remove-cluster-state".into(), "remove it".into());
        let entry = Entry::Intent { change: 0, step: step_name, id: None, text, before, wants: Default::default() };
        let record = serde_json::to_string(&Record { version: 3, run: "1".into(), at: 1, entry }).unwrap();
        assert_eq!(changes(&step(false), &of_etcd().file(Journal::PATH, record)).await, gone);
        assert_eq!(
            changes(&RemoveClusterState { keeps_etcd: true, ..step(true) }, &of_etcd()).await,
            Vec::<String>::new()
        );
    }

    #[tokio::test]
    async fn copies_that_go_with_kboot_s_folder_are_named_first() {
        let host = FakeHost::default().file("/var/lib/kboot/etcd-before-recovery-1/snap/db", "");
        let [Remark::Warning(told)] = &step(true).remarks(&host).await.unwrap()[..] else { panic!("nothing is told") };
        assert!(told.starts_with("/var/lib/kboot/etcd-before-recovery-1 goes"), "{told}");
        let kept = RemoveClusterState { keeps_packages: true, ..step(true) };
        assert_eq!(kept.remarks(&host).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_kubelet_s_folder_keeps_what_an_administrator_had_put_there() {
        let mut before = Baseline::default();
        for name in ["config.json", "seccomp", "pki"] {
            before.insert(Kind::Entry, format!("/var/lib/kubelet/{name}"), "directory 0755 0:0");
        }
        let host = FakeHost::default()
            .file(baseline::PATH, before.to_bytes())
            .file("/var/lib/kubelet/.kubelet-keep", "")
            .file("/var/lib/kubelet/config.json", "")
            .file("/var/lib/kubelet/config.yaml", "")
            .file("/var/lib/kubelet/pki/kubelet.key", "")
            .file("/var/lib/kubelet/seccomp/mine", "");
        let gone = ["remove /var/lib/kubelet/config.yaml", "remove /var/lib/kubelet/pki"];
        assert_eq!(changes(&step(false), &host).await, gone);
    }
}
