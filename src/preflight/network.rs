//! Ports, the host's address, and subnets.

use ipnet::IpNet;

use super::{Check, Finding, Subject, list, membership::is_pod_network};
use crate::facts::{Facts, Listener, PORTS};
use crate::inventory::Cluster;

/// The kernel keeps this much of a process' name.
const COMM: usize = 15;

pub fn check(subject: &Subject) -> Vec<Finding> {
    let mut findings = ports(subject);
    findings.extend(address(subject));
    findings.extend(subnets(subject));
    findings
}

/// Pods' and services' subnets must be two.
pub fn own_subnets(cluster: &Cluster) -> Vec<Finding> {
    let (pods, services) = (cluster.network.pod_subnet, cluster.network.service_subnet);
    let text = format!("the pod subnet {pods} and the service subnet {services} overlap");
    let hint = "choose `network.podSubnet` and `network.serviceSubnet` apart, as 10.244.0.0/16 and 10.96.0.0/12";
    overlap(pods, services).then(|| Finding::error(Check::SubnetOverlap, text, hint)).into_iter().collect()
}

fn ports(Subject { cluster, host, facts }: &Subject) -> Vec<Finding> {
    let is_wanted = |port: u16| {
        let is_used = match owner(port) {
            "etcd" => cluster.is_member(host),
            // One that belongs to no cluster listens for nobody.
            "kubelet" => !host.is_etcd(),
            _ => host.is_control_plane(),
        };
        PORTS.contains(&port) && is_used
    };
    let taken = facts.listening.iter().filter(|listener| is_wanted(listener.port) && !is_own(listener, facts));
    taken
        .map(|Listener { port, process }| {
            let by = process.as_deref().unwrap_or("an unknown process");
            let hint = match by {
                other if ["k3s", "k0s", "kubelite", "rke2"].iter().any(|name| other.starts_with(name)) => {
                    "another Kubernetes distribution runs here: uninstall it first".into()
                }
                _ => format!(
                    "{} needs it: stop what listens there (`ss -ltnp 'sport = :{port}'` shows it)",
                    owner(*port)
                ),
            };
            Finding::error(Check::Port(*port), format!("port {port} is taken by {by}"), hint)
        })
        .collect()
}

/// Whether a port is held by the very component that it is for, on a host that has been set up before. A distribution's
/// own etcd, say, is none of it.
fn is_own(Listener { port, process }: &Listener, facts: &Facts) -> bool {
    let owner = owner(*port);
    let is_named = process.as_deref().is_none_or(|name| name == &owner[..owner.len().min(COMM)]);
    let is_set_up = match owner {
        "kubelet" => facts.packages.contains_key("kubelet") || facts.node.is_member(),
        component => facts.node.has_manifest(component),
    };
    is_named && is_set_up
}

/// The component that a port is for.
fn owner(port: u16) -> &'static str {
    match port {
        6443 => "kube-apiserver",
        10250 => "kubelet",
        10257 => "kube-controller-manager",
        10259 => "kube-scheduler",
        _ => "etcd",
    }
}

fn address(Subject { host, facts, .. }: &Subject) -> Option<Finding> {
    if facts.addresses().any(|address| address == host.address) {
        return None;
    }
    let is_useful = |address: &std::net::IpAddr| {
        let is_link_local = match address {
            std::net::IpAddr::V4(address) => address.is_link_local(),
            std::net::IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        !address.is_loopback() && !is_link_local
    };
    let own = list(facts.addresses().filter(is_useful));
    let text = match own.as_str() {
        "" => format!("{} is not an address of this host, which has none", host.address),
        own => format!("{} is not an address of this host, which has {own}", host.address),
    };
    let hint = "put an address of its own, by which the other hosts reach it, in `address`; where SSH answers elsewhere, as \
                behind NAT, put that in `ssh.address`";
    Some(Finding::error(Check::HostAddress, text, hint))
}

/// Subnets of the cluster that hosts have another use for. On a node, what lies within them is the cluster's own. What is
/// routed away by a wider route is a warning only: the cluster's narrower ones go first, but hosts beyond become unreachable.
fn subnets(Subject { cluster, facts, .. }: &Subject) -> Vec<Finding> {
    let mut findings = Vec::new();
    let subnets = [("podSubnet", cluster.network.pod_subnet), ("serviceSubnet", cluster.network.service_subnet)];
    for (field, subnet) in subnets {
        let hint = format!("choose another `network.{field}`: hosts and pods could not reach what is there");
        let errors = clashes(subnet, facts);
        if !errors.is_empty() {
            let text = format!("{field} {subnet} overlaps with {}", list(errors));
            findings.push(Finding::error(Check::SubnetOverlap, text, hint.clone()));
        }
        let is_wider = |route: &&crate::facts::Route| {
            route.destination.contains(&subnet)
                && route.destination != subnet
                && !is_connected(&route.destination, facts)
        };
        let wider: Vec<_> = facts.routes.iter().filter(is_wider).map(describe).collect();
        if !wider.is_empty() {
            let text = format!("{field} {subnet} is part of {}", list(wider));
            findings.push(Finding::warning(Check::SubnetOverlap, text, hint));
        }
    }
    findings
}

fn clashes(subnet: IpNet, facts: &Facts) -> Vec<String> {
    let is_member = facts.node.is_member();
    let is_foreign = |device: &str, network: &IpNet| {
        let is_clusters = is_pod_network(device) || is_member && subnet.contains(network);
        overlap(*network, subnet) && !is_clusters
    };
    let networks = facts.interfaces.iter().flat_map(|interface| {
        let networks = interface.addresses.iter().map(IpNet::trunc);
        networks
            .filter(|network| is_foreign(&interface.name, network))
            .map(|network| format!("{}'s network {network}", interface.name))
    });
    let unplaced = facts.unplaced_addresses.iter().filter(|address| !is_member && subnet.contains(*address));
    let routes = facts.routes.iter().filter(|route| {
        let network = &route.destination;
        is_foreign(&route.device, network) && subnet.contains(network) && !is_connected(network, facts)
    });
    networks.chain(unplaced.map(|address| format!("the address {address}"))).chain(routes.map(describe)).collect()
}

fn describe(route: &crate::facts::Route) -> String {
    format!("the route to {} by {}", route.destination, route.device)
}

/// Whether a route is but an interface's own network.
fn is_connected(network: &IpNet, facts: &Facts) -> bool {
    facts.interfaces.iter().flat_map(|interface| &interface.addresses).any(|address| address.trunc() == *network)
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

#[cfg(test)]
mod tests;
