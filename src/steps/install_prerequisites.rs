//! The distribution's packages that a node needs, and those by which the other repositories are reached; haproxy and keepalived
//! where this host leads to the API servers.

use crate::resource::{Converge, Installed, Package};

use super::{Context, configure_balancer};

/// From the distribution. kubeadm's preflight checks name most of them; with ca-certificates apt, containerd and kboot know who
/// answers over TLS. apt speaks HTTPS and verifies signatures by itself.
const PACKAGES: [&str; 8] =
    ["ca-certificates", "iproute2", "conntrack", "ethtool", "iptables", "kmod", "mount", "socat"];

/// The folders that the control plane's pods mount where they are there.
const CERTIFICATES: [&str; 3] =
    ["/etc/ca-certificates", "/usr/local/share/ca-certificates", "/usr/share/ca-certificates"];

fn package(name: &str) -> Package {
    let package = Package::any(name);
    if name == "ca-certificates" { package.brings(&CERTIFICATES) } else { package }
}

pub fn step(context: &Context) -> Converge {
    let packages = packages(context);
    Converge::new("install-prerequisites", "Install prerequisites")
        .deadline(context.install_deadline())
        .with(Installed { packages, sources: Vec::new(), refresh_all: true, lock: context.package_lock() })
}

/// Whatever version of these a host has is the host's own matter.
pub(super) fn packages(context: &Context) -> Vec<Package> {
    PACKAGES.map(package).into_iter().chain(configure_balancer::packages(context)).collect()
}
