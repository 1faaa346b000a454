//! Nothing of pods is mounted any more, so that removing the kubelet's folder can't reach into a volume.

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{Change, Planned, Probe, Result, Step};
use crate::proc;

/// Where network namespaces have names.
const NAMESPACES: &str = "/run/netns";

pub struct UnmountPodVolumes;

#[async_trait]
impl Step for UnmountPodVolumes {
    /// Mount points, in the order in which they were mounted, and the network namespaces' files.
    type Observed = (Vec<String>, Vec<String>);

    fn id(&self) -> &str {
        "unmount-pod-volumes"
    }

    fn title(&self) -> String {
        "Unmount the pods' volumes".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        let mounts = probe.read_text(Utf8Path::new("/proc/self/mountinfo")).await?.unwrap_or_default();
        let mut mounts = of_pods(&mounts);
        // What the runtime has mounted goes with its pods, whose removal comes first.
        let pods = probe.query(&["crictl", "pods", "-q"]).await?;
        if pods.is_success() && !pods.text().is_empty() {
            mounts.retain(|point| point.starts_with(VOLUMES));
        }
        let mut namespaces = probe.list(Utf8Path::new(NAMESPACES)).await?.unwrap_or_default();
        namespaces.retain(|name| name.starts_with("cni-"));
        Ok((mounts, namespaces))
    }

    fn diff(&self, (mounts, namespaces): Self::Observed) -> Planned {
        let unmount = |path: &String| Change::Run {
            argv: ["umount", path.as_str()].map(String::from).to_vec(),
            why: format!("unmount {path}"),
            undo: None,
        };
        // What was mounted last may lie upon what was mounted before.
        let gone = namespaces.iter().map(|name| Change::Remove { path: format!("{NAMESPACES}/{name}").into() });
        Planned::of(mounts.iter().rev().map(unmount).chain(gone).collect())
    }
}

const VOLUMES: &str = "/var/lib/kubelet/";

/// Where pods' volumes, root file systems and network namespaces are mounted, and no folder that is a mount itself.
fn of_pods(mountinfo: &str) -> Vec<String> {
    let is_of_pod = |point: &String| {
        point.starts_with(VOLUMES)
            || point.starts_with("/run/netns/cni-")
            || point.starts_with("/run/containerd/io.containerd.grpc.v1.cri/")
            || (point.starts_with("/run/containerd/") && point.contains("/k8s.io/"))
    };
    proc::mount_points(mountinfo).filter(is_of_pod).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_the_folder_are_found_and_the_folder_itself_is_not() {
        let mountinfo = "36 35 98:0 / /var/lib/kubelet rw - ext4 /dev/sda rw\n37 36 0:45 / /var/lib/kubelet/pods/a/volume\\040x rw - tmpfs tmpfs rw\n";
        assert_eq!(of_pods(mountinfo), ["/var/lib/kubelet/pods/a/volume x"]);
    }

    #[test]
    fn only_pods_mounts_of_a_runtime_are_theirs() {
        let points = [
            "/run/netns/cni-1",
            "/run/netns/mine",
            "/run/containerd/io.containerd.runtime.v2.task/k8s.io/1/rootfs",
            "/run/containerd/io.containerd.runtime.v2.task/moby/1/rootfs",
        ];
        let mountinfo: String = points.map(|point| format!("36 35 98:0 / {point} rw - nsfs nsfs rw\n")).concat();
        assert_eq!(of_pods(&mountinfo), [points[0], points[2]]);
    }
}
