//! Settings that a cluster keeps for its life, or that only a move changes: an inventory that has others now is refused, rather than done by
//! halves or passed over.

use std::net::IpAddr;

use super::{Check, Finding, Subject};
use crate::engine::hint::{HostWord, ValueWord};
use crate::inventory::{Cluster, Cni};

pub fn check(subject: &Subject) -> Vec<Finding> {
    let node = &subject.facts.node;
    let mut findings = Vec::new();
    if node.has_kubelet_conf {
        findings.extend(name(subject));
    }
    if node.has_kubelet_conf || subject.host.is_etcd() && node.has_etcd_data {
        findings.extend(address(subject));
    }
    // Without data in etcd there is no cluster yet that could keep anything.
    if (node.has_etcd_data || node.uses_etcd_elsewhere()) && subject.host.is_control_plane() {
        findings.extend(etcd(subject));
        findings.extend(cluster(subject, findings.is_empty()));
        findings.extend(network(subject));
    }
    findings
}

fn name(Subject { host, facts, .. }: &Subject) -> Option<Finding> {
    let node = facts.node.immutable.node_name.as_ref()?;
    let text = format!("the host is the cluster's node {node}, and the inventory calls it {}", host.name);
    let known = HostWord::of(node);
    let hint = format!("a node keeps its name: put `name: {known}` back, or run `kboot reset` on the host first");
    (*node != host.name).then(|| Finding::error(Check::ClusterSettings, text, hint))
}

fn address(Subject { cluster, host, facts }: &Subject) -> Option<Finding> {
    let known: IpAddr = facts.node.immutable.address.as_ref()?.parse().ok()?;
    let own = cluster.control_plane.api_server.extra_args.get("advertise-address").filter(|_| host.is_control_plane());
    if known == host.address || own.and_then(|text| text.parse().ok()) == Some(known) {
        return None;
    }
    if host.is_etcd() {
        let text = format!("etcd's member has the address {known}, and {} in the inventory", host.address);
        let hint = format!(
            "an etcd host keeps its address: put `address: {known}` back, or run `kboot reset` on the host first"
        );
        return Some(Finding::error(Check::ClusterSettings, text, hint));
    }
    let text = format!("the node's address is {known} in the cluster, and {} in the inventory", host.address);
    let hint = format!(
        "`kboot endpoint move` with this inventory moves the node, which certificates, etcd and the pod network know by its address; \
         or put `address: {known}` back"
    );
    Some(Finding::error(Check::NodeAddress, text, hint))
}

fn cluster(Subject { cluster, facts, .. }: &Subject, has_own_address: bool) -> Vec<Finding> {
    let immutable = &facts.node.immutable;
    let flags = &cluster.control_plane;
    let flag = |component: &crate::inventory::Component, name: &str, otherwise: String| {
        component.extra_args.get(name).cloned().unwrap_or(otherwise)
    };
    let network = &cluster.network;
    let services = flag(&flags.api_server, "service-cluster-ip-range", network.service_subnet.to_string());
    let pods = flag(&flags.controller_manager, "cluster-cidr", network.pod_subnet.to_string());
    let mut findings = Vec::new();
    for (field, known, wanted) in [
        ("network.podSubnet", &immutable.pod_subnet, pods),
        ("network.serviceSubnet", &immutable.service_subnet, services),
        ("network.dnsDomain", &immutable.dns_domain, network.dns_domain.clone()),
    ] {
        findings.extend(kept(field, known.as_deref(), &wanted));
    }
    // With nothing in front each control plane's administrators ask its own API server; a host that moved has told its address.
    let known = immutable.endpoint.as_deref();
    let is_of_control_plane = cluster.control_planes().any(|host| known == Some(&cluster.admin_endpoint(host)));
    if !is_of_control_plane && (has_own_address || cluster.front().is_some()) {
        findings.extend(moved(known, &cluster.endpoint()));
    }
    findings.extend(version(cluster, immutable.version.as_deref()));
    findings
}

fn kept(field: &str, known: Option<&str>, wanted: &str) -> Option<Finding> {
    let known = known.filter(|known| *known != wanted)?;
    let text = format!("the cluster was made with `{field}: {known}`, and the inventory has {wanted}");
    let known = ValueWord::of(known);
    let hint = format!(
        "it can't be changed while the cluster lives: put `{field}: {known}` back; or, if nothing in the cluster is needed any \
         more, make it anew: `kboot reset`, then `kboot up`"
    );
    Some(Finding::error(Check::ClusterSettings, text, hint))
}

/// Where the state is can't be changed by an edit: it would stay where it was.
fn etcd(Subject { cluster, facts, .. }: &Subject) -> Option<Finding> {
    let node = &facts.node;
    let servers = node.immutable.etcd_servers.as_deref().unwrap_or_default();
    let endpoints = cluster.etcd_endpoints();
    let has_any = |endpoints: &[String]| endpoints.iter().any(|url| servers.split(',').any(|known| known == url));
    let (text, back) = match (cluster.has_etcd_hosts(), endpoints) {
        (is_role, Some(_)) if node.has_manifest("etcd") => {
            let what = if is_role { "hosts with the role `etcd`" } else { "`etcd.external`" };
            let text =
                format!("the cluster's state is in the etcd on its control planes, and the inventory has {what}");
            (text, if is_role { "take these hosts out again" } else { "take `etcd` out again" })
        }
        (true, Some(endpoints)) if node.uses_etcd_elsewhere() && !has_any(&endpoints) => (
            format!(
                "the cluster's state is in the etcd at {servers}, and the inventory has none of it as hosts of its etcd"
            ),
            "keep at least one of them, and replace the others one after the other",
        ),
        (_, None) if node.uses_etcd_elsewhere() => (
            format!("the cluster's state is in the etcd at {servers}, and the inventory has no `etcd.external`"),
            "put `etcd.external`, or the hosts with the role `etcd`, back",
        ),
        _ => return None,
    };
    Some(Finding::error(Check::ClusterSettings, text, stays(back)))
}

fn stays(back: &str) -> String {
    format!(
        "the state does not move by itself, and the control plane would begin anew with nothing: {back}; or, if nothing in the cluster \
         is needed any more, make it anew: `kboot reset`, then `kboot up`"
    )
}

fn moved(known: Option<&str>, wanted: &str) -> Option<Finding> {
    let known = known.filter(|known| *known != wanted)?;
    let text = format!("the cluster's endpoint is {known}, and the inventory has {wanted}");
    let hint = "`kboot endpoint move` with this inventory moves the cluster; or put `endpoint` or `vip` back as it was";
    Some(Finding::error(Check::ClusterEndpoint, text, hint))
}

fn version(cluster: &Cluster, known: Option<&str>) -> Option<Finding> {
    let wanted = cluster.kubernetes.version.as_str();
    let known = known.filter(|known| *known != wanted)?;
    let text = format!("the cluster runs Kubernetes {known}, and the inventory has {wanted}");
    let known = ValueWord::of(known);
    let hint = format!(
        "this kboot moves no cluster to another version: put `kubernetes.version: {known}` back, in the inventory"
    );
    Some(Finding::error(Check::ClusterSettings, text, hint))
}

/// What each pod network calls its configuration.
const NETWORKS: [(&str, &str); 4] =
    [("flannel", "flannel"), ("weave", "Weave Net"), ("calico", "Calico"), ("cilium", "Cilium")];

fn network(Subject { cluster, facts, .. }: &Subject) -> Option<Finding> {
    let wanted = match cluster.network.cni {
        Cni::Flannel => "flannel",
        Cni::Weave => "weave",
        // Whatever is there is its owner's.
        Cni::None => return None,
    };
    let names = &facts.node.immutable.networks;
    let has = |part: &str| names.iter().any(|name| name.contains(part));
    if has(wanted) {
        return None;
    }
    let (part, title) = NETWORKS.iter().find(|(part, _)| has(part))?;
    let text = format!("the cluster's pod network is {title}, and the inventory has `network.cni: {wanted}`");
    let own = if ["flannel", "weave"].contains(part) { part } else { &"none" };
    let hint = format!(
        "pods keep the network that they were started with: put `network.cni: {own}` back; or, if nothing in the cluster is \
         needed any more, make it anew: `kboot reset`, then `kboot up`"
    );
    Some(Finding::error(Check::ClusterSettings, text, hint))
}

#[cfg(test)]
mod tests;
