//! `kboot adopt`: from a cluster that kubeadm made to the inventory that says the same.
//!
//! [`survey`] looks at a host, in the agent; all else is pure. [`adopt`] takes what the named hosts are and have, and writes the
//! inventory: the cluster's ConfigMaps by the same way as kubeadm's files (`cluster`), then what hosts have otherwise, which kboot's own
//! rendering is held against (`pods`, `kubelet`, `addons`), where packages and images come from (`sources`), and the nodes
//! (`members`). What an inventory can't say becomes a note, in the file and beside it. It knows nothing of SSH or of flags.

mod addons;
mod cluster;
mod kubelet;
mod members;
mod pods;
mod sources;
mod survey;
mod write;

use std::collections::BTreeMap;

use camino::Utf8Path;
use time::OffsetDateTime;

use crate::agree::Said;
use crate::engine::{Failure, Result};
use crate::facts::Facts;
use crate::inventory::{self, Cluster, Host, HostSsh};

pub use survey::{Survey, survey};

/// A host that was named, and what was found there.
#[derive(Debug, Clone)]
pub struct Named {
    /// As it was named: `root@10.0.0.11`.
    pub target: String,
    /// Where SSH answers.
    pub address: String,
    pub user: String,
    pub port: u16,
    pub facts: Facts,
    pub survey: Survey,
}

/// How hosts were reached, for all of them.
#[derive(Debug, Clone, Default)]
pub struct Reached {
    pub identity_file: Option<String>,
    pub known_hosts: Option<String>,
}

#[derive(Debug)]
pub struct Adopted {
    /// The inventory's text.
    pub inventory: String,
    /// What it can't say, or what a person should know.
    pub notes: Vec<String>,
    /// Files that it names, which belong beside it.
    pub keys: BTreeMap<String, Vec<u8>>,
}

/// What is being put together.
struct Draft<'a> {
    named: &'a [Named],
    /// By the names of their nodes.
    nodes: BTreeMap<String, &'a Named>,
    cluster: Cluster,
    notes: Vec<String>,
    keys: BTreeMap<String, Vec<u8>>,
}

impl Draft<'_> {
    /// Says something once.
    fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// What hosts say of something that is one for all of them.
    fn said<T>(&self, word: impl Fn(&Named) -> Option<T>) -> Vec<Said<T>> {
        let is_control_plane = |named: &Named| {
            let mut names = self.nodes.iter().filter(|(_, node)| node.target == named.target).map(|(name, _)| name);
            names.any(|name| self.cluster.host(name).is_some_and(Host::is_control_plane))
        };
        let one = |named: &Named| {
            Some(Said { host: named.target.clone(), is_control_plane: is_control_plane(named), word: word(named)? })
        };
        self.named.iter().filter_map(one).collect()
    }

    /// What the cluster itself says.
    fn leader(&self) -> &Survey {
        let leader = self.named.iter().find(|named| named.survey.objects.is_some());
        &leader.expect("members::check has seen to it").survey
    }
}

/// Writes the inventory of the cluster that these hosts are nodes of. A failure tells why that can't be.
pub fn adopt(named: &[Named], reached: &Reached, now: OffsetDateTime) -> Result<Adopted> {
    let nodes = members::check(named)?;
    let (read, notes) = cluster::read(named)?;
    let mut draft = Draft { named, nodes, cluster: read, notes, keys: BTreeMap::new() };
    members::hosts(&mut draft)?;
    ssh(&mut draft, reached);
    addons::network(&mut draft);
    addons::dns(&mut draft)?;
    addons::kube_proxy(&mut draft);
    sources::packages(&mut draft);
    sources::runtime(&mut draft)?;
    pods::settings(&mut draft)?;
    pods::names(&mut draft);
    kubelet::settings(&mut draft)?;
    let inventory = write::inventory(&draft, now);
    let read = inventory::parse(&inventory, Utf8Path::new("the inventory")).map_err(|mistakes| {
        Failure::new("the cluster is one that kboot can't look after")
            .evidence(mistakes.to_string().lines().map(String::from).collect::<Vec<_>>())
    })?;
    if read != draft.cluster {
        return Err(Failure::new(
            "the inventory reads as another cluster than the one that was found: this is a mistake of kboot's",
        ));
    }
    let Draft { notes, keys, .. } = draft;
    Ok(Adopted { inventory, notes, keys })
}

/// How hosts are reached: what most have in common, and of each what differs.
fn ssh(draft: &mut Draft<'_>, reached: &Reached) {
    let count = |user: &str, port: u16| {
        draft.named.iter().filter(|named| (named.user.as_str(), named.port) == (user, port)).count()
    };
    let common = draft.named.iter().rev().max_by_key(|named| count(&named.user, named.port));
    let Some((user, port)) = common.map(|named| (named.user.clone(), named.port)) else { return };
    for host in &mut draft.cluster.hosts {
        let Some(named) = draft.nodes.get(&host.name) else { continue };
        host.ssh = HostSsh {
            address: (named.address != host.address.to_string()).then(|| named.address.clone()),
            user: (named.user != user).then(|| named.user.clone()),
            port: (named.port != port).then_some(named.port),
            ..HostSsh::default()
        };
    }
    let ssh = &mut draft.cluster.ssh;
    (ssh.user, ssh.port) = (user, port);
    ssh.identity_file.clone_from(&reached.identity_file);
    if let Some(file) = &reached.known_hosts {
        ssh.known_hosts.clone_from(file);
    }
}

#[cfg(test)]
mod tests;
