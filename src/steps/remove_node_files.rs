//! What the kubelet, the runtime, pods and package tools made by themselves, and nobody's undoing covers, is gone.
//!
//! Where the host's baseline is known, what was not there before goes, and what was empty is emptied. Where it is not, only
//! what belongs to nodes alone goes. What an installed package owns stays in any case, and so does what others have mounted.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};

use crate::baseline::{Baseline, Kind, PathState};
use crate::engine::{Change, FileKind, FileMode, Metadata, Planned, Probe, Remark, Result, Step};
use crate::resource::DpkgStatus;

use super::mounts::mounts_of_host;
use super::protected::{Minding, Protected};
use super::{Context, etcd_member};

/// Folders that nothing but a node's parts write into.
const OF_NODES: [&str; 12] = [
    "/etc/cni",
    "/etc/kubernetes",
    "/opt/cni",
    "/run/flannel",
    "/run/kboot",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    etcd_member::FOLDER,
    "/var/lib/kubelet",
    "/var/lib/weave",
    "/var/log/containers",
    "/var/log/pods",
];
/// The container runtime's, which may serve others as well: they go when no package of it is left.
const OF_RUNTIME: [&str; 5] =
    ["/etc/containerd", "/opt/containerd", "/run/containerd", "/run/nri", "/var/lib/containerd"];
/// haproxy's, which go when its package is not left.
const OF_BALANCER: [&str; 4] = ["/run/haproxy", "/run/haproxy-master.sock", "/run/haproxy.pid", "/var/lib/haproxy"];
const BALANCER: &str = "haproxy";
/// Where the runtime has a folder for each container that runs, below one for each namespace.
const TASKS: &str = "/run/containerd/io.containerd.runtime.v2.task";
const RUNTIMES: [&str; 2] = ["containerd.io", "containerd"];
/// What comes about by the way, and is no loss: they go where the baseline shows that they were not there.
const BY_THE_WAY: [&str; 11] = [
    "/etc/systemd/system/containerd.service.d",
    "/etc/systemd/system/haproxy.service.d",
    "/etc/systemd/system/keepalived.service.d",
    "/etc/systemd/system/kubelet.service.d",
    "/run/netns",
    "/run/xtables.lock",
    "/usr/lib/modules",
    "/var/cache/apt/archives/partial",
    "/var/cache/apt/pkgcache.bin",
    "/var/cache/apt/srcpkgcache.bin",
    "/var/cache/ldconfig/aux-cache",
];
/// Where apt keeps what it can fetch again.
const CACHES: [&str; 2] = ["/var/cache/apt/archives", "/var/lib/apt/lists"];

pub struct RemoveNodeFiles {
    keeps_packages: bool,
}

pub fn step(context: &Context) -> RemoveNodeFiles {
    RemoveNodeFiles { keeps_packages: context.inputs.keeps_packages() }
}

pub struct Observed {
    baseline: Option<Baseline>,
    present: BTreeMap<&'static str, Found>,
    /// Links of before that are gone, each with its target: dpkg removes a link to a folder that a purged package has.
    lost: Vec<(&'static str, Utf8PathBuf)>,
    caches: Vec<Utf8PathBuf>,
    /// Paths that belong to installed packages.
    owned: BTreeSet<String>,
    has_runtime: bool,
    has_balancer: bool,
    /// The runtime's namespaces in which somebody else's containers run.
    namespaces: Vec<String>,
}

/// What is at a path.
pub struct Found {
    metadata: Metadata,
    is_empty: bool,
    /// What removes it, and what only empties it.
    removal: Vec<Change>,
    emptying: Vec<Change>,
}

#[async_trait]
impl Step for RemoveNodeFiles {
    type Observed = Observed;

    fn id(&self) -> &str {
        "remove-node-files"
    }

    fn title(&self) -> String {
        "Remove what the node's parts left".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Observed> {
        let protected = Protected::of(probe, false).await?;
        let of_host = mounts_of_host(probe).await?;
        let mut present = BTreeMap::new();
        let mut lost = Vec::new();
        for path in OF_NODES.into_iter().chain(OF_RUNTIME).chain(OF_BALANCER).chain(BY_THE_WAY) {
            let folder = Utf8Path::new(path);
            let Some(metadata) = probe.stat(folder).await? else {
                let target = protected.baseline().and_then(|before| before.link(path));
                lost.extend(target.map(|target| (path, target.into())));
                continue;
            };
            // An administrator moved the folder: none of the node's parts makes such a link.
            if metadata.kind == FileKind::Symlink {
                continue;
            }
            let names = match metadata.kind {
                FileKind::Directory => probe.list(folder).await?.unwrap_or_default(),
                _ => Vec::new(),
            };
            let is_empty = names.is_empty();
            let real = probe.canonical(folder).await?;
            let is_of_others = protected.is_mounted(&real) && !of_host.contains(&real);
            let mut found = Found { metadata, is_empty, removal: Vec::new(), emptying: Vec::new() };
            if path == etcd_member::FOLDER {
                // Its member's data are gone; all else in it is somebody's.
                if is_empty && !protected.is_mounted(&real) {
                    found.removal.push(Change::RemoveEmptyDirectory { path: path.into() });
                }
            } else if !is_of_others {
                found.removal = protected.removal(probe, folder, Minding::All).await?;
                found.emptying = protected.emptying(probe, folder, names, |_| Minding::All).await?;
            }
            present.insert(path, found);
        }
        let mut caches = Vec::new();
        for folder in CACHES {
            let names = probe.list(Utf8Path::new(folder)).await?.unwrap_or_default();
            caches.extend(names.iter().map(|name| Utf8Path::new(folder).join(name)));
        }
        let status = DpkgStatus::read(probe).await?;
        Ok(Observed {
            baseline: protected.baseline().cloned(),
            namespaces: busy_namespaces(probe).await?,
            owned: owned(probe, present.keys().copied()).await?,
            has_balancer: status.package(BALANCER).is_some(),
            has_runtime: RUNTIMES.iter().any(|name| status.package(name).is_some()),
            present,
            lost,
            caches,
        })
    }

    fn diff(&self, observed: Observed) -> Planned {
        let link =
            |(path, target): &(&str, Utf8PathBuf)| Change::MakeLink { path: (*path).into(), target: target.clone() };
        let mut changes: Vec<Change> = observed.lost.iter().map(link).collect();
        for (path, found) in &observed.present {
            changes.extend(match observed.owned.contains(*path) {
                true => attributes(path, found, observed.baseline.as_ref()),
                false => self.at(path, found, &observed),
            });
        }
        if let (Some(before), false) = (&observed.baseline, self.keeps_packages) {
            let is_new = |path: &&Utf8PathBuf| before.state(Kind::Entry, path.as_str()).is_none();
            changes.extend(observed.caches.iter().filter(is_new).map(|path| Change::Remove { path: path.clone() }));
        }
        Planned::of(changes)
    }

    async fn remarks(&self, probe: &dyn Probe) -> Result<Vec<Remark>> {
        let status = DpkgStatus::read(probe).await?;
        // It runs on, and its files with it.
        if RUNTIMES.iter().any(|name| status.package(name).is_some()) {
            return Ok(Vec::new());
        }
        let busy = busy_namespaces(probe).await?;
        if busy.is_empty() {
            // A mount of the host's own is emptied, and stays as it was before.
            let of_host = mounts_of_host(probe).await?;
            let (mut whole, mut emptied) = (Vec::new(), Vec::new());
            for path in OF_RUNTIME {
                let real = probe.canonical(Utf8Path::new(path)).await?;
                if of_host.contains(&real) { &mut emptied } else { &mut whole }.push(path);
            }
            return Protected::of(probe, false).await?.spared(probe, &whole, &emptied).await;
        }
        let text = format!(
            "/run/containerd and /var/lib/containerd stay: containers of others run there, in the namespaces {}",
            busy.join(", ")
        );
        Ok(vec![Remark::Warning(text)])
    }
}

impl RemoveNodeFiles {
    fn at(&self, path: &str, found: &Found, observed: &Observed) -> Vec<Change> {
        let is_of_runtime = OF_RUNTIME.contains(&path);
        let is_by_the_way = BY_THE_WAY.contains(&path);
        let is_of_balancer = OF_BALANCER.contains(&path);
        let has_runtime = observed.has_runtime || !observed.namespaces.is_empty();
        if is_of_runtime && has_runtime || is_of_balancer && observed.has_balancer {
            return Vec::new();
        }
        let (gone, emptied) = (found.removal.clone(), found.emptying.clone());
        let Some(baseline) = &observed.baseline else {
            return if is_by_the_way || is_of_runtime || is_of_balancer { Vec::new() } else { gone };
        };
        let kind = if path.starts_with("/etc/") { Kind::File } else { Kind::Entry };
        match baseline.path(kind, path) {
            // Somebody may have put something of their own there since.
            None if is_by_the_way && !found.is_empty => Vec::new(),
            None if is_by_the_way && self.keeps_packages => Vec::new(),
            None => gone,
            Some(before) => {
                let mut changes = if before.is_empty() { emptied } else { Vec::new() };
                changes.extend(attributes(path, found, Some(baseline)));
                changes
            }
        }
    }
}

/// The runtime's namespaces, but for Kubernetes' own, in which containers run.
async fn busy_namespaces(probe: &dyn Probe) -> Result<Vec<String>> {
    let mut busy = Vec::new();
    for name in probe.list(Utf8Path::new(TASKS)).await?.unwrap_or_default() {
        let tasks = probe.list(&Utf8Path::new(TASKS).join(&name)).await?.unwrap_or_default();
        if name != "k8s.io" && !tasks.is_empty() {
            busy.push(name);
        }
    }
    Ok(busy)
}

/// Puts back a directory's mode and owner.
fn attributes(path: &str, found: &Found, baseline: Option<&Baseline>) -> Vec<Change> {
    let kind = if path.starts_with("/etc/") { Kind::File } else { Kind::Entry };
    let Some(before) = baseline.and_then(|baseline| baseline.path(kind, path)) else { return Vec::new() };
    let Metadata { kind: FileKind::Directory, mode: mode_now, uid: uid_now, gid: gid_now, .. } = found.metadata else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    let PathState { mode, uid, gid, .. } = before;
    if mode != mode_now {
        changes.push(Change::SetMode { path: path.into(), mode: FileMode(mode) });
    }
    if (uid, gid) != (uid_now, gid_now) {
        changes.push(Change::SetOwner { path: path.into(), uid, gid });
    }
    changes
}

/// Those of these paths that installed packages own.
async fn owned(probe: &dyn Probe, paths: impl Iterator<Item = &'static str>) -> Result<BTreeSet<String>> {
    const INFO: &str = "/var/lib/dpkg/info";
    let wanted: BTreeSet<&str> = paths.collect();
    let mut found = BTreeSet::new();
    for name in probe.list(Utf8Path::new(INFO)).await?.unwrap_or_default() {
        if !name.ends_with(".list") {
            continue;
        }
        let list = probe.read(&Utf8Path::new(INFO).join(&name)).await?.unwrap_or_default();
        for line in list.split(|byte| *byte == b'\n') {
            if let Some(path) = std::str::from_utf8(line).ok().filter(|line| wanted.contains(line)) {
                found.insert(path.to_string());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    const ALL: RemoveNodeFiles = RemoveNodeFiles { keeps_packages: false };

    fn baseline(things: &[(Kind, &str, &str)]) -> Vec<u8> {
        let mut baseline = Baseline::default();
        for (kind, name, state) in things {
            baseline.things.entry(*kind).or_default().insert(name.to_string(), state.to_string());
        }
        baseline.to_bytes()
    }

    async fn changes(step: &RemoveNodeFiles, host: &FakeHost) -> Vec<String> {
        match step.diff(step.observe(host).await.unwrap()) {
            Planned::Changes(changes) => changes.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn host() -> FakeHost {
        FakeHost::default().file("/proc/self/mountinfo", "36 35 98:0 / /var/lib/weave rw - ext4 /dev/sda rw\n")
    }

    #[tokio::test]
    async fn what_was_not_there_goes_and_what_was_empty_is_emptied() {
        let before = baseline(&[
            (Kind::Entry, "/var/lib/etcd", "directory 0755 0:0 empty"),
            (Kind::Entry, "/opt/cni", "directory 0644 0:0"),
            (Kind::Entry, "/var/cache/apt/archives/partial", "directory 0644 42:0"),
            (Kind::Entry, "/var/lib/apt/lists/old", "file 0644 0:0"),
        ]);
        let host = host()
            .file("/var/lib/kboot/baseline.json", before)
            .file("/var/lib/etcd/snapshot.db", "somebody's")
            .file("/var/lib/weave/mine", "somebody's")
            .file("/opt/cni/bin", "somebody's")
            .file("/var/log/pods/a", "x")
            .file("/run/netns/somebodys", "x")
            .file("/var/cache/apt/archives/partial/x", "x")
            .file("/var/lib/dpkg/info/apt.list", "/var/cache/apt/archives/partial\n")
            .file("/var/lib/apt/lists/new", "x")
            .file("/var/lib/apt/lists/old", "x");
        assert_eq!(
            changes(&ALL, &host).await,
            [
                "give /var/cache/apt/archives/partial to user 42 and group 0",
                "set the mode of /var/lib/etcd to 0755",
                "remove /var/log/pods",
                "remove /var/lib/apt/lists/new",
            ]
        );
    }

    #[tokio::test]
    async fn without_a_baseline_only_what_is_a_nodes_goes_and_a_mount_point_stays() {
        let host = host()
            .file("/var/lib/etcd/member", "somebody's")
            .file("/var/lib/weave/mine", "somebody's")
            .file("/var/log/pods/a", "x")
            .symlink("/var/lib/kubelet", "/data/kubelet")
            .file("/run/containerd/x", "x")
            .file("/usr/lib/modules/x", "x")
            .file("/etc/kubernetes/manifests/.keep", "")
            .file("/var/lib/dpkg/info/kubelet.list", "/etc\n/etc/kubernetes\n");
        assert_eq!(changes(&ALL, &host).await, ["remove /var/log/pods"]);
    }

    #[tokio::test]
    async fn a_balancers_files_go_with_its_package() {
        let left = || host().file("/var/lib/kboot/baseline.json", baseline(&[])).file("/var/lib/haproxy/dev/log", "");
        assert_eq!(changes(&ALL, &left()).await, ["remove /var/lib/haproxy"]);
        let status = "Package: haproxy\nStatus: install ok installed\nVersion: 2\n";
        let there = left().file("/var/lib/dpkg/status", status);
        assert_eq!(ALL.diff(ALL.observe(&there).await.unwrap()), Planned::Satisfied);
    }

    #[tokio::test]
    async fn a_runtimes_files_stay_while_others_have_containers() {
        let host = |tasks: &str| {
            host()
                .file("/var/lib/kboot/baseline.json", baseline(&[]))
                .file(&format!("{TASKS}/{tasks}/config.json"), "")
                .file("/var/lib/containerd/x", "")
        };
        let gone = ["remove /run/containerd", "remove /var/lib/containerd"];
        assert_eq!(changes(&ALL, &host("k8s.io/1a")).await, gone);
        let others = host("default/web");
        assert_eq!(ALL.diff(ALL.observe(&others).await.unwrap()), Planned::Satisfied);
        let [Remark::Warning(told)] = &Step::remarks(&ALL, &others).await.unwrap()[..] else {
            panic!("nothing is told")
        };
        assert!(told.ends_with("in the namespaces default"), "{told}");
    }

    #[tokio::test]
    async fn a_runtimes_files_stay_with_its_package() {
        let status = "Package: containerd.io\nStatus: install ok installed\nVersion: 2\n";
        let host = host()
            .file("/var/lib/kboot/baseline.json", baseline(&[]))
            .file("/var/lib/dpkg/status", status)
            .file("/run/containerd/x", "x")
            .file("/var/log/pods/a", "x");
        assert_eq!(changes(&ALL, &host).await, ["remove /var/log/pods"]);
    }
}
