//! Container runtimes that are there already, and what becomes of them.

use super::{Check, Finding, Subject};
use crate::facts::Runtime;

/// The first containerd that tells the kubelet its cgroup driver.
const CONTAINERD: u32 = 2;

pub fn check(subject: &Subject) -> Vec<Finding> {
    [packages(subject), unpackaged(subject), crio(subject)].into_iter().flatten().collect()
}

/// What apt would do to an installed containerd: the distribution's and Docker's exclude each other.
fn packages(Subject { cluster, facts, .. }: &Subject) -> Option<Finding> {
    let installed = |name: &str| facts.packages.get(name).map(String::as_str);
    let is_old = |version| major(version) < CONTAINERD;
    let warning = |text, hint: &str| Some(Finding::warning(Check::ContainerRuntime, text, hint));
    let error = |text, hint: &str| Some(Finding::error(Check::ContainerRuntime, text, hint));
    let from_distribution = cluster.packages.containerd.distribution;

    if let Some(version) = installed("containerd") {
        if from_distribution {
            let text = format!(
                "the distribution's containerd {version} is older than {CONTAINERD}.0, which the kubelet needs"
            );
            let hint = "leave `packages.containerd.distribution` out: kboot then installs containerd.io from Docker's \
                        repository in its stead";
            return if is_old(version) { error(text, hint) } else { None };
        }
        if let Some(docker) = installed("docker.io") {
            let text = format!(
                "docker.io {docker} would be removed: it needs containerd {version}, which containerd.io replaces"
            );
            return error(text, "move its containers elsewhere and remove it: `apt-get remove docker.io`");
        }
        let text = format!("the distribution's containerd {version} is installed");
        return warning(text, "kboot replaces it by containerd.io; its containers stop");
    }

    let version = installed("containerd.io")?;
    match (installed("docker-ce"), from_distribution) {
        (Some(docker), true) => {
            let text = format!(
                "docker-ce {docker} would be removed: it needs containerd.io, which the distribution's containerd replaces"
            );
            error(text, "leave `packages.containerd.distribution` out, or remove docker-ce first")
        }
        (None, true) => {
            let text = format!("containerd.io {version} is installed");
            warning(
                text,
                "kboot replaces it by the distribution's containerd, as `packages.containerd.distribution` has it",
            )
        }
        (Some(_), false) => {
            let text = "Docker uses the same containerd as Kubernetes will".into();
            warning(
                text,
                "kboot configures and restarts that containerd; Docker's own containers take up memory that the \
                           scheduler knows nothing of",
            )
        }
        (None, false) if is_old(version) => {
            let text = format!("containerd.io {version} is older than {CONTAINERD}.0");
            warning(text, "kboot upgrades it")
        }
        (None, false) => None,
    }
}

fn unpackaged(Subject { facts, .. }: &Subject) -> Option<Finding> {
    let is_packaged = ["containerd", "containerd.io"].iter().any(|name| facts.packages.contains_key(*name));
    let hint = "remove it and its unit, if it is not in use: what is in /usr/local and /etc/systemd/system hides what \
                packages bring";
    (facts.has_executable("containerd") && !is_packaged)
        .then(|| Finding::warning(Check::ContainerRuntime, "there is a containerd that no package brought", hint))
}

fn crio(Subject { facts, .. }: &Subject) -> Option<Finding> {
    let hint = "Kubernetes will use containerd; stop CRI-O if nothing needs it (`systemctl disable --now crio`) and remove \
                its files from /etc/cni/net.d, or pods get its network";
    facts.runtimes.contains(&Runtime::CriO).then(|| Finding::warning(Check::ContainerRuntime, "CRI-O runs here", hint))
}

/// `2` of `2.3.7-1~debian.12~bookworm`, and 0 of what is no version.
fn major(version: &str) -> u32 {
    let upstream = version.split_once(':').map_or(version, |(_, upstream)| upstream);
    let digits = upstream.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests;
