//! A cluster that a host belongs to already: this one is fine, any other is an error.

use super::{Check, Finding, Subject, list};
use crate::facts::NodeState;

const RESET: &str = "if nothing there is needed any more, run `kboot reset` on the host, which takes all of it away, then \
                     run the same command again";

/// Devices that pod networks make.
const PREFIXES: [&str; 6] = ["cni0", "flannel", "weave", "cali", "cilium", "kube-"];

pub fn check(subject: &Subject, all: &[Subject]) -> Vec<Finding> {
    let foreign = |text| Finding::error(Check::ExistingCluster, text, RESET);
    let error = role(subject).map(foreign).or_else(|| server(subject, all));
    let error = error.or_else(|| authority(subject, all).or_else(|| data(subject)).map(foreign));
    error.or_else(|| leftovers(subject)).into_iter().collect()
}

/// Whether a pod network made this device.
pub fn is_pod_network(device: &str) -> bool {
    PREFIXES.iter().any(|prefix| device.starts_with(prefix))
}

fn role(Subject { cluster, host, facts, .. }: &Subject) -> Option<String> {
    let node = &facts.node;
    if host.is_etcd() {
        let is_node = node.has_kubelet_conf || node.has_manifest("kube-apiserver");
        return is_node.then(|| "the host is a node of a cluster, but the inventory has it for etcd alone".into());
    }
    if node.runs_etcd_alone() {
        let role = if host.is_control_plane() { "control plane" } else { "worker" };
        return Some(format!("the host runs etcd and is no node, but the inventory has it as a {role}"));
    }
    if !host.is_control_plane() {
        let text = format!("the host runs a control plane ({}), but the inventory has it as a worker", evidence(node));
        return node.is_control_plane().then_some(text);
    }
    // Its kubelet was told to ask a host that is to be none.
    let server = host_of(node.server.as_deref()?);
    let other = cluster.workers().find(|other| other.name != host.name && other.address.to_string() == server)?;
    let name = &other.name;
    let text = format!("the host is a worker of the cluster of {name}, but the inventory has it as a control plane");
    (!node.is_control_plane()).then_some(text)
}

/// The kubelet's server may be the endpoint, any control plane (as kubeadm has it for control planes' own kubelets), or
/// something on the host that leads there.
fn server(Subject { cluster, facts, .. }: &Subject, all: &[Subject]) -> Option<Finding> {
    let url = facts.node.server.as_deref()?;
    let endpoints = all.iter().filter_map(|other| other.facts.node.immutable.endpoint.as_deref());
    let server = host_of(url);
    let is_control_plane = cluster.control_planes().any(|host| host.address.to_string() == server);
    let is_local = ["127.0.0.1", "::1", "localhost"].contains(&server);
    // An endpoint that the inventory has no more is told as such.
    let is_former = endpoints.map(host_of).any(|known| known == server);
    let is_own = is_control_plane || is_local || is_former || server == cluster.endpoint_host();
    if is_own {
        return None;
    }
    let mut control_planes = all.iter().filter(|other| other.host.is_control_plane()).map(|other| &other.facts.node.ca);
    if control_planes.any(|known| known.iter().any(|digest| facts.node.ca.contains(digest))) {
        // A move was cut off.
        let text = format!("the node asks the API server at {url}, and the inventory has none there");
        return Some(Finding::error(
            Check::ClusterEndpoint,
            text,
            "`kboot endpoint move` with this inventory moves the node",
        ));
    }
    let text = format!("the host is a node of another cluster, whose API server is {url}");
    Some(Finding::error(Check::ExistingCluster, text, RESET))
}

/// A node's CA is the control plane's; it is not if the control plane was made anew.
fn authority(subject: &Subject, all: &[Subject]) -> Option<String> {
    let mut control_planes = all.iter().filter(|other| other.host.is_control_plane());
    let first = control_planes.clone().find(|other| !other.facts.node.ca.is_empty()).or(control_planes.next())?;
    let (own, reference) = (&subject.facts.node, &first.facts.node);
    let name = &first.host.name;
    if first.facts.uid != 0 || name == &subject.host.name {
        return None;
    }
    if reference.ca.is_empty() {
        return own
            .has_kubelet_conf
            .then(|| format!("the host is a node of a cluster, but {name} has no control plane"));
    }
    let is_foreign = !own.ca.is_empty() && !own.ca.iter().any(|digest| reference.ca.contains(digest));
    is_foreign
        .then(|| format!("the host trusts another certificate authority than {name}'s: it belonged to another cluster"))
}

/// etcd can't have data before its static pod is there, unless it is from earlier.
fn data(Subject { cluster, host, facts }: &Subject) -> Option<String> {
    // A cluster that does not keep its state here has no use for it, whoever's it is.
    let is_of_use = if cluster.has_etcd_hosts() { host.is_etcd() } else { cluster.external_etcd().is_none() };
    let is_left = facts.node.has_etcd_data && !facts.node.has_manifest("etcd") && is_of_use;
    is_left.then(|| "/var/lib/etcd holds an earlier cluster's data".into())
}

/// A bridge that has its address from an earlier cluster keeps the next one's pods from starting.
fn leftovers(Subject { facts, .. }: &Subject) -> Option<Finding> {
    let devices: Vec<_> =
        facts.interfaces.iter().map(|interface| &interface.name).filter(|name| is_pod_network(name)).collect();
    let text = format!("the host still has an earlier cluster's network: {}", list(&devices));
    (!facts.node.is_member() && !devices.is_empty()).then(|| Finding::warning(Check::ExistingCluster, text, RESET))
}

fn evidence(node: &NodeState) -> String {
    let manifests = node.manifests.iter().map(|file| format!("/etc/kubernetes/manifests/{file}"));
    list(manifests.chain(node.has_etcd_data.then(|| "/var/lib/etcd/member".into())))
}

/// `10.0.0.1` of `https://10.0.0.1:6443/x`, an IPv6 address without brackets.
fn host_of(url: &str) -> &str {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
