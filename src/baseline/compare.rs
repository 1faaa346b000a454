//! What is different between two looks at one host.

use serde::{Deserialize, Serialize};

use super::{Baseline, Detail, Kind, PathState, filter};
use crate::engine::FileKind;

/// A thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub kind: Kind,
    pub name: String,
    /// None where it was not there.
    pub before: Option<String>,
    /// None where it is not there any more.
    pub now: Option<String>,
}

/// Why a difference of this kind and name says nothing about what was left behind: it comes about on any host that runs.
struct Rule {
    kind: Kind,
    holds: fn(&Difference) -> bool,
}

/// What Kubernetes, its runtime and its networks keep below /run.
const OF_PODS: [&str; 7] = ["calico", "containerd", "flannel", "netns", "nri", "weave", "xtables.lock"];

const RULES: [Rule; 12] = [
    // Logs tell what was done, and it was done. Those of pods are no logs of the host.
    Rule {
        kind: Kind::Entry,
        holds: |d| {
            d.name.starts_with("/var/log/") && !matches!(d.name.as_str(), "/var/log/pods" | "/var/log/containers")
        },
    },
    // What is below /run is made anew at each boot, and by each service that starts.
    Rule { kind: Kind::Entry, holds: |d| d.name.strip_prefix("/run/").is_some_and(|name| !OF_PODS.contains(&name)) },
    // A folder that programs write into is empty at one time and not at another; what is left in it shows by itself.
    Rule { kind: Kind::Entry, holds: |d| is_same_directory(d) && !is_of_nodes(&d.name) },
    // Such folders tell by themselves whether something is left in them; what was in them before tells whose it is.
    Rule { kind: Kind::Entry, holds: |d| d.before.is_none() && is_in_folder_of_nodes(&d.name) },
    // kboot's own: it goes last.
    Rule { kind: Kind::Entry, holds: |d| d.name == "/var/lib/kboot" },
    // The linker's cache, made anew whenever a package comes or goes.
    Rule { kind: Kind::File, holds: |d| d.name == "/etc/ld.so.cache" },
    // The copies of the user database before its last change, that a package's user came or went.
    Rule {
        kind: Kind::File,
        holds: |d| matches!(d.name.as_str(), "/etc/passwd-" | "/etc/group-" | "/etc/shadow-" | "/etc/gshadow-"),
    },
    // A parameter that is new or gone comes and goes with its module or link.
    Rule { kind: Kind::Sysctl, holds: |d| d.before.is_none() || d.now.is_none() },
    // The kernel's own views of itself.
    Rule { kind: Kind::Mount, holds: |d| d.name.starts_with("/proc/") },
    // Older baselines do not say where links lead.
    Rule { kind: Kind::Entry, holds: is_same_link },
    // The name servers come with the network.
    Rule { kind: Kind::File, holds: |d| d.name == "/etc/resolv.conf" },
    // dpkg's notes on what it once removed: no package is there.
    Rule {
        kind: Kind::Package,
        holds: |d| d.before.is_none() && d.now.as_deref().is_some_and(|now| now.ends_with(" config-files")),
    },
];

impl Difference {
    /// How a path was, and how it is.
    pub(super) fn paths(&self) -> [Option<PathState>; 2] {
        [&self.before, &self.now].map(|state| state.as_deref()?.parse().ok())
    }

    /// Whether only a node's parts leave such a thing, so that another reset may take it away.
    pub fn is_of_a_node(&self) -> bool {
        const PACKAGES: [&str; 6] = ["containerd.io", "cri-tools", "kubeadm", "kubectl", "kubelet", "kubernetes-cni"];
        const LINKS: [&str; 2] = ["cni0", "flannel"];
        if self.now.is_none() {
            return false;
        }
        match self.kind {
            Kind::Package => PACKAGES.contains(&self.name.as_str()),
            Kind::Entry => is_of_nodes(&self.name),
            Kind::Rule => filter::is_of_node(&self.name),
            Kind::Link | Kind::Route => LINKS.iter().any(|sign| self.name.contains(sign)),
            Kind::Mount => self.name.starts_with("/var/lib/kubelet/") || self.name.contains("k8s.io"),
            Kind::Cgroup => true,
            Kind::File | Kind::Sysctl | Kind::Module | Kind::Socket | Kind::User | Kind::Group | Kind::Unit => false,
        }
    }
}

/// The same directory, but for what is in it.
fn is_same_directory(difference: &Difference) -> bool {
    let [before, now] = difference.paths();
    before.is_some_and(|before| {
        before.kind == FileKind::Directory && now.is_some_and(|now| now.without_detail() == before.without_detail())
    })
}

/// The same link, of which was not known before where it leads.
fn is_same_link(difference: &Difference) -> bool {
    let [before, now] = difference.paths();
    before.is_some_and(|before| {
        before.kind == FileKind::Symlink
            && before.detail == Detail::None
            && now.is_some_and(|now| now.without_detail() == before)
    })
}

/// Folders that only nodes write into: what was empty must be so again.
pub(super) fn is_of_nodes(path: &str) -> bool {
    ["/var/lib/cni", "/var/lib/containerd", "/var/lib/etcd", "/var/lib/kubelet", "/var/log/pods", "/var/log/containers"]
        .contains(&path)
}

/// Folders that a node's parts make, whoever writes into them later.
pub(super) fn is_made_by_nodes(path: &str) -> bool {
    const OTHERS: [&str; 6] =
        ["/etc/cni", "/etc/cni/net.d", "/etc/kubernetes", "/opt/cni", "/opt/cni/bin", "/usr/libexec/kubernetes"];
    is_of_nodes(path) || OTHERS.contains(&path)
}

fn is_in_folder_of_nodes(path: &str) -> bool {
    ["/opt/cni/bin/", "/var/lib/cni/", "/var/lib/etcd/", "/var/lib/kubelet/"]
        .iter()
        .any(|folder| path.starts_with(folder))
}

impl Baseline {
    /// What is different now. Pure.
    pub fn compare(&self, now: &Baseline) -> Vec<Difference> {
        let mut found = Vec::new();
        let kinds: std::collections::BTreeSet<Kind> = self.things.keys().chain(now.things.keys()).copied().collect();
        for kind in kinds {
            let names =
                [self, now].into_iter().filter_map(|look| look.things.get(&kind)).flat_map(|things| things.keys());
            let names: std::collections::BTreeSet<&String> = names.collect();
            for name in names {
                let state = |look: &Baseline| look.state(kind, name).map(String::from);
                let difference = Difference { kind, name: name.clone(), before: state(self), now: state(now) };
                let is_same = difference.before == difference.now;
                if !is_same && !RULES.iter().any(|rule| rule.kind == kind && (rule.holds)(&difference)) {
                    found.push(difference);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(things: &[(Kind, &str, &str)]) -> Baseline {
        let mut look = Baseline::default();
        for (kind, name, state) in things {
            look.insert(*kind, *name, *state);
        }
        look
    }

    fn names(before: &[(Kind, &str, &str)], now: &[(Kind, &str, &str)]) -> Vec<String> {
        let found = look(before).compare(&look(now));
        found.iter().map(|d| format!("{}: {:?} -> {:?}", d.name, d.before, d.now)).collect()
    }

    #[test]
    fn what_is_new_changed_or_gone_is_found() {
        let before =
            [(Kind::Package, "dpkg", "1"), (Kind::File, "/etc/fstab", "a"), (Kind::Sysctl, "kernel/panic", "0")];
        let now = [(Kind::File, "/etc/fstab", "b"), (Kind::File, "/etc/new", "c"), (Kind::Sysctl, "kernel/panic", "0")];
        assert_eq!(
            names(&before, &now),
            ["/etc/fstab: Some(\"a\") -> Some(\"b\")", "/etc/new: None -> Some(\"c\")", "dpkg: Some(\"1\") -> None"]
        );
        assert_eq!(names(&before, &before), Vec::<String>::new());
    }

    #[test]
    fn what_changes_on_any_host_is_not_left_behind_by_anybody() {
        let directory = "directory 0755 0:0";
        let moved = [
            (Kind::Entry, "/var/log/dpkg.log", "file 0644 0:0"),
            (Kind::Entry, "/run/motd", "file 0644 0:0"),
            (Kind::Entry, "/var/lib/kboot", directory),
            (Kind::Sysctl, "net/bridge/bridge-nf-call-iptables", "1"),
            (Kind::Package, "curl", "7 deinstall ok config-files"),
        ];
        assert_eq!(names(&[], &moved), Vec::<String>::new());
        let left = [(Kind::Entry, "/var/log/pods", directory), (Kind::Entry, "/run/containerd", directory)];
        assert_eq!(names(&[], &left).len(), 2);
    }

    #[test]
    fn of_what_is_in_a_nodes_folder_only_what_is_gone_is_told() {
        let file = |name| (Kind::Entry, name, "file 0600 0:0");
        assert_eq!(
            names(&[], &[file("/var/lib/kubelet/config.yaml"), file("/var/lib/etcd/member")]),
            Vec::<String>::new()
        );
        assert_eq!(names(&[file("/var/lib/etcd/snapshot.db")], &[]).len(), 1);
    }

    #[test]
    fn a_nodes_folder_that_was_empty_must_be_so_again() {
        let empty = "directory 0755 0:0 empty";
        let full = "directory 0755 0:0";
        assert_eq!(names(&[(Kind::Entry, "/var/lib/etcd", empty)], &[(Kind::Entry, "/var/lib/etcd", full)]).len(), 1);
        assert_eq!(names(&[(Kind::Entry, "/var/lib/misc", empty)], &[(Kind::Entry, "/var/lib/misc", full)]).len(), 0);
        let link = |to: &'static str| [(Kind::Entry, "/var/lib/kubelet", to)];
        assert_eq!(names(&link("link 0777 0:0"), &link("link 0777 0:0 -> /data/kubelet")).len(), 0);
        assert_eq!(names(&link("link 0777 0:0 -> /data"), &link("link 0777 0:0 -> /data/kubelet")).len(), 1);
        let closed = "directory 0700 0:0 empty";
        assert_eq!(names(&[(Kind::Entry, "/var/lib/misc", empty)], &[(Kind::Entry, "/var/lib/misc", closed)]).len(), 1);
    }
}
