//! What is mounted on the host: whose it is.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::baseline::{Baseline, Kind};
use crate::engine::{Probe, Result};
use crate::proc::{self, Mount};

/// Where network namespaces have names.
pub const NAMESPACES: &str = "/run/netns";
/// Where the kubelet mounts volumes.
pub const VOLUMES: &str = "/var/lib/kubelet";
/// Where the runtime mounts root file systems.
const RUNTIME: &str = "/run/containerd";

/// What is mounted, in the order in which it was.
pub async fn mounts(probe: &dyn Probe) -> Result<Vec<Mount>> {
    let table = probe.read(Utf8Path::new("/proc/self/mountinfo")).await?.unwrap_or_default();
    Ok(proc::mounts(&String::from_utf8_lossy(&table)).collect())
}

/// Where the host has mounts of its own: those of before the first run, and those that come with each boot.
pub async fn mounts_of_host(probe: &dyn Probe) -> Result<BTreeSet<Utf8PathBuf>> {
    let baseline = Baseline::load(probe).await?;
    let known =
        baseline.iter().filter_map(|baseline| baseline.things.get(&Kind::Mount)).flat_map(|mounts| mounts.keys());
    let mut found: BTreeSet<Utf8PathBuf> = known.map(|point| proc::unescape(point).into()).collect();
    let fstab = probe.read(Utf8Path::new("/etc/fstab")).await?.unwrap_or_default();
    for line in String::from_utf8_lossy(&fstab).lines().filter(|line| !line.trim_start().starts_with('#')) {
        if let Some(point) = line.split_whitespace().nth(1).filter(|point| point.starts_with('/')) {
            found.insert(probe.canonical(Utf8Path::new(&proc::unescape(point))).await?);
        }
    }
    Ok(found)
}

/// Where pods' volumes, root file systems and network namespaces are mounted. Not the folders of all pods, which may be mounts
/// themselves, nor what is the host's own.
pub(super) async fn of_pods(probe: &dyn Probe, mounts: &[Mount]) -> Result<Vec<Utf8PathBuf>> {
    let volumes = probe.canonical(Utf8Path::new(VOLUMES)).await?;
    let runtime = probe.canonical(Utf8Path::new(RUNTIME)).await?;
    let namespaces = probe.canonical(Utf8Path::new(NAMESPACES)).await?;
    let of_host = mounts_of_host(probe).await?;
    let is_of_pod = |point: &Utf8PathBuf| {
        let is_volume = *point != volumes && point.starts_with(&volumes);
        let is_namespace =
            point.parent() == Some(&namespaces) && point.file_name().is_some_and(|n| n.starts_with("cni-"));
        let is_root = point.strip_prefix(&runtime).is_ok_and(|below| {
            below.starts_with("io.containerd.grpc.v1.cri") || below.components().any(|part| part.as_str() == "k8s.io")
        });
        (is_volume || is_namespace || is_root) && !of_host.contains(point)
    };
    Ok(mounts.iter().map(|mount| mount.point.clone()).filter(is_of_pod).collect())
}
