//! containerd, kubelet, kubeadm, kubectl and crictl, in one transaction.

use crate::manifest::paths;
use crate::resource::{CandidateAtLeast, Converge, Installed, Package};

use super::Context;

pub fn step(context: &Context) -> Converge {
    let version = format!("{}-*", context.cluster.version_number());
    let kubelet = Package::version("kubelet", &version).brings(&[paths::MANIFESTS]);
    let mut packages = vec![kubelet, Package::version("kubeadm", &version), Package::version("kubectl", &version)];
    packages.push(Package::any("cri-tools"));
    let mut sources = vec![paths::KUBERNETES_SOURCE.into()];
    let mut step = Converge::new("install-packages", "Install containerd and Kubernetes' packages")
        .deadline(context.install_deadline());
    if context.cluster.packages.containerd.distribution {
        step = step.with(CandidateAtLeast {
            package: "containerd",
            major: 2,
            reason: "the kubelet asks the runtime for its cgroup driver, which containerd tells from 2.0 on",
            hint: "leave out `packages.containerd.distribution` to take containerd.io from Docker's repository",
        });
        packages.push(Package::any("containerd"));
    } else {
        packages.push(Package::version("containerd.io", "2.*"));
        sources.push(paths::CONTAINERD_SOURCE.into());
    }
    step.with(Installed { packages, sources, refresh_all: false })
}
