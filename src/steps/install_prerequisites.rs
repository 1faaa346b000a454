//! The distribution's packages that a node needs, and those by which the other repositories are reached; haproxy and keepalived
//! where this host leads to the API servers.

use crate::resource::{Converge, Installed, Package};

use super::{Context, configure_balancer};

/// From the distribution. kubeadm's preflight checks name most of them; the rest fetch and check packages.
const PACKAGES: [&str; 10] =
    ["ca-certificates", "curl", "gnupg", "iproute2", "conntrack", "ethtool", "iptables", "kmod", "mount", "socat"];

/// A transitional package in newer releases, gone one day.
const OPTIONAL: [&str; 1] = ["apt-transport-https"];

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
    let optional = OPTIONAL.map(|name| Package { is_optional: true, ..Package::any(name) });
    PACKAGES.map(package).into_iter().chain(configure_balancer::packages(context)).chain(optional).collect()
}
