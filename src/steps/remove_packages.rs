//! The packages and repositories that kboot brought are gone, if that was asked for.

use crate::manifest::paths;
use crate::resource::{Absent, Converge, Removed};

use super::Context;
use super::configure_repositories::{CONTAINERD, KUBERNETES};

pub fn step(context: &Context) -> Converge {
    let step = Converge::new("remove-packages", "Remove packages").deadline(context.install_deadline());
    if !context.inputs.removes_packages {
        return step;
    }
    let files = [
        paths::KUBERNETES_SOURCE,
        paths::KUBERNETES_PREFERENCES,
        paths::CONTAINERD_SOURCE,
        paths::CONTAINERD_PREFERENCES,
        paths::CRICTL_CONFIG,
        paths::MODULES_LOAD,
        paths::SYSCTL,
    ];
    let keyrings = [KUBERNETES, CONTAINERD].map(|name| Absent::new(format!("{}/{name}.gpg", paths::KEYRINGS)));
    let packages = ["kubelet", "kubeadm", "kubectl", "kubernetes-cni", "cri-tools", "containerd.io"];
    step.with(Removed(packages.map(Into::into).to_vec()))
        .with_all(files.map(Absent::new))
        .with_all(keyrings)
        .with(Absent::new("/etc/containerd"))
}
