//! Nothing of pods is mounted any more. A mount that can't be unmounted is told, and left with what is in it.

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};

use crate::engine::{Change, Planned, Probe, Result, Step};

use super::mounts::{NAMESPACES, VOLUMES, mounts, of_pods};

pub struct UnmountPodVolumes;

#[async_trait]
impl Step for UnmountPodVolumes {
    /// Mount points, in the order in which they were mounted, and the network namespaces' files.
    type Observed = (Vec<Utf8PathBuf>, Vec<String>);

    fn id(&self) -> &str {
        "unmount-pod-volumes"
    }

    fn title(&self) -> String {
        "Unmount the pods' volumes".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        let mut points = of_pods(probe, &mounts(probe).await?).await?;
        // What the runtime has mounted goes with its pods, whose removal comes first.
        let pods = probe.query(&["crictl", "pods", "-q"]).await?;
        if pods.is_success() && !pods.text().is_empty() {
            let volumes = probe.canonical(Utf8Path::new(VOLUMES)).await?;
            points.retain(|point| point.starts_with(&volumes));
        }
        let mut namespaces = probe.list(Utf8Path::new(NAMESPACES)).await?.unwrap_or_default();
        namespaces.retain(|name| name.starts_with("cni-"));
        Ok((points, namespaces))
    }

    fn diff(&self, (points, namespaces): Self::Observed) -> Planned {
        let unmount = |point: &Utf8PathBuf| Change::Run {
            argv: ["umount", point.as_str()].map(String::from).to_vec(),
            why: format!("unmount {point}"),
            undo: None,
        };
        // What was mounted last may lie upon what was mounted before.
        let gone = namespaces.iter().map(|name| Change::Remove { path: format!("{NAMESPACES}/{name}").into() });
        Planned::of(points.iter().rev().map(unmount).chain(gone).collect())
    }

    /// A volume in use keeps nothing else from going.
    fn is_lenient(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    async fn found(host: FakeHost, points: &[&str]) -> Vec<Utf8PathBuf> {
        let mountinfo: String =
            points.iter().map(|point| format!("36 35 98:0 / {point} rw - tmpfs tmpfs rw\n")).collect();
        let host = host.file("/proc/self/mountinfo", mountinfo);
        of_pods(&host, &mounts(&host).await.unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn mounts_below_the_folder_are_found_and_the_folder_itself_is_not() {
        let points = ["/var/lib/kubelet", "/var/lib/kubelet/pods/a/volume\\040x", "/var/lib/kubelet-of-mine/a"];
        assert_eq!(found(FakeHost::default(), &points).await, ["/var/lib/kubelet/pods/a/volume x"]);
    }

    #[tokio::test]
    async fn only_pods_mounts_of_a_runtime_are_theirs() {
        let points = [
            "/run/netns/cni-1",
            "/run/netns/mine",
            "/run/containerd/io.containerd.runtime.v2.task/k8s.io/1/rootfs",
            "/run/containerd/io.containerd.runtime.v2.task/moby/1/rootfs",
        ];
        assert_eq!(found(FakeHost::default(), &points).await, [points[0], points[2]]);
    }

    #[tokio::test]
    async fn the_kernel_names_mounts_without_links() {
        for (link, target) in
            [("/var/lib/kubelet", "/data/kubelet"), ("/var", "/data/var"), ("/var/lib", "../data/lib")]
        {
            let host = || FakeHost::default().symlink(link, target);
            let real = host().canonical("/var/lib/kubelet".into()).await.unwrap();
            let point = format!("{real}/pods/a/volumes/b");
            assert_eq!(found(host(), &[&point, "/data/other"]).await, [point.as_str()], "{link}");
            let mine = host().file("/etc/fstab", "server:/b /var/lib/kubelet/pods/a/volumes/b nfs defaults 0 0\n");
            assert_eq!(found(mine, &[&point]).await, Vec::<Utf8PathBuf>::new(), "{link}");
        }
    }
}
