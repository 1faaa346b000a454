//! dpkg's own record of what is installed. Pure.

use std::collections::BTreeMap;

/// The packages whose versions are facts: runtimes, Kubernetes' own, and what decides how a host is set up.
pub const OF_INTEREST: [&str; 18] = [
    "containerd",
    "containerd.io",
    "runc",
    "docker.io",
    "docker-ce",
    "cri-o",
    "cri-dockerd",
    "podman",
    "podman-docker",
    "kubelet",
    "kubeadm",
    "kubectl",
    "kubernetes-cni",
    "cri-tools",
    "iptables",
    "conntrack",
    "socat",
    "systemd",
];

/// What /var/lib/dpkg/status tells.
#[derive(Debug, Default, PartialEq)]
pub struct Status {
    /// Packages of interest that are installed, with their versions.
    pub packages: BTreeMap<String, String>,
    /// The architecture that dpkg itself was built for.
    pub architecture: Option<String>,
}

/// Reads /var/lib/dpkg/status. A package counts as installed also when it is on hold, but not when it is half there.
pub fn status(text: &str) -> Status {
    let mut status = Status::default();
    for stanza in text.split("\n\n") {
        let Some(name) = field(stanza, "Package") else { continue };
        if !field(stanza, "Status").is_some_and(|state| state.ends_with(" installed")) {
            continue;
        }
        if name == "dpkg" {
            status.architecture = field(stanza, "Architecture").map(String::from);
        }
        if let Some(version) = field(stanza, "Version").filter(|_| OF_INTEREST.contains(&name)) {
            status.packages.insert(name.into(), version.into());
        }
    }
    status
}

fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dpkg_has() {
        let text = "\
Package: containerd.io
Status: install ok installed
Architecture: amd64
Version: 2.3.7-1~debian.12~bookworm
Description: An open and reliable container runtime
 Package: kubectl

Package: kubelet
Status: hold ok installed
Version: 1.37.2-1.1

Package: kubeadm
Status: install ok half-configured
Version: 1.37.2-1.1

Package: socat
Status: deinstall ok config-files
Version: 1.7.4.4-2

Package: conntrack
Status: install ok not-installed

Package: adduser
Status: install ok installed
Version: 3.134

Package: dpkg
Essential: yes
Status: install ok installed
Architecture: amd64
Version: 1.21.22
";
        let status = status(text);
        let expected = [("containerd.io", "2.3.7-1~debian.12~bookworm"), ("kubelet", "1.37.2-1.1")];
        assert_eq!(status.packages, expected.map(|(name, version)| (name.into(), version.into())).into());
        assert_eq!(status.architecture.as_deref(), Some("amd64"));
        assert_eq!(super::status(""), Status::default());
    }
}
