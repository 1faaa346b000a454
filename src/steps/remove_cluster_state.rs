//! What made the machine a node is gone: certificates, manifests, kubeconfigs, etcd's data, the kubelet's and the pod network's state.

use crate::resource::{Absent, Converge, Emptied};

use super::start_kubelet::UNIT;
use super::{Context, etcd_member};

pub fn step(context: &Context) -> Converge {
    let files = [
        "admin.conf",
        "super-admin.conf",
        "kubelet.conf",
        "bootstrap-kubelet.conf",
        "controller-manager.conf",
        "scheduler.conf",
    ];
    // What was noted of services' starts. A runtime that stays runs on with what was noted of it.
    let notes = match context.inputs.keeps_packages() {
        true => format!("/run/kboot/started/{UNIT}"),
        false => "/run/kboot".into(),
    };
    // What the pod networks' installers put beside the packages' own.
    let plugins = ["flannel", "weave-net", "weave-ipam", "weave-plugin-latest"];
    Converge::new("remove-cluster-state", "Remove the node's state")
        .with_all(files.map(|file| Absent::new(format!("/etc/kubernetes/{file}"))))
        .with(Absent::new("/etc/kubernetes/pki"))
        // Folders that packages own, or that may be mount points, stay.
        .with_all(
            ["/etc/kubernetes/manifests", "/var/lib/kubelet", etcd_member::FOLDER, "/etc/cni/net.d"]
                .into_iter()
                // Somebody else's state is not the node's.
                .filter(|path| *path != etcd_member::FOLDER || !context.has_foreign_etcd())
                .map(Emptied::new),
        )
        .with_all(
            [
                "/var/lib/cni",
                "/run/flannel",
                "/var/lib/weave",
                "/var/lib/calico",
                "/var/log/pods",
                "/var/log/containers",
            ]
            .map(Absent::new),
        )
        .with_all(plugins.map(|name| Absent::new(format!("/opt/cni/bin/{name}"))))
        .with(Absent::new(notes))
}
