//! containerd, kubelet, kubeadm, kubectl and crictl, in one transaction.

use crate::engine::Hint;
use crate::manifest::paths;
use crate::resource::{CandidateAtLeast, Converge, Installed, Package};

use super::Context;

/// What kubelet brings along. Only a lock names it: without one, its version is the repository's matter.
const ALONG: &str = "kubernetes-cni";

pub fn step(context: &Context) -> Converge {
    let mut sources = vec![paths::KUBERNETES_SOURCE.into()];
    let mut step = Converge::new("install-packages", "Install containerd and Kubernetes' packages")
        .deadline(context.install_deadline());
    if context.cluster.packages.containerd.distribution {
        step = step.with(CandidateAtLeast {
            package: "containerd",
            major: 2,
            reason: "the kubelet asks the runtime for its cgroup driver, which containerd tells from 2.0 on",
            hint: Hint::UseDockerRepository,
        });
    } else {
        sources.push(paths::CONTAINERD_SOURCE.into());
    }
    let pins = context.pins();
    let packages = packages(context).into_iter().filter_map(|package| {
        let pin = pins.and_then(|pins| pins.get(&package.name));
        match pin.filter(|pin| package.is_met_by(&pin.version)) {
            // Not merely one that fits: the very one.
            Some(pin) => Some(Package { version: Some(pin.version.clone()), ..package }),
            None => (package.name != ALONG).then_some(package),
        }
    });
    step.with(Installed { packages: packages.collect(), sources, refresh_all: false, lock: context.package_lock() })
}

/// What of these packages the inventory leaves open, and what kubelet brings along.
pub(super) fn packages(context: &Context) -> Vec<Package> {
    let version = format!("{}-*", context.cluster.version_number());
    let [kubelet, kubeadm, kubectl] = ["kubelet", "kubeadm", "kubectl"].map(|name| Package::version(name, &version));
    let kubernetes = [kubelet.brings(&[paths::MANIFESTS]), kubeadm, kubectl];
    let runtime = match context.cluster.packages.containerd.distribution {
        true => Package::any("containerd"),
        false => Package::version("containerd.io", "2.*"),
    };
    kubernetes.into_iter().chain([Package::any("cri-tools"), runtime, Package::any(ALONG)]).collect()
}
