//! Subnets, the cluster's domain, the endpoint.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Findings;
use crate::inventory::advice::{Advice, Field};
use crate::inventory::endpoint::split_endpoint;
use crate::inventory::format;
use crate::inventory::mistake::{Mistake, quote};
use crate::inventory::path::Path;
use crate::inventory::types::Cluster;

/// kubeadm's MaximumBitsForServiceSubnet: the API server keeps one bit for each address.
const MOST_SERVICE_BITS: u8 = 20;
/// The DNS service has the tenth address; a /28 is the smallest subnet that has that many.
const FEWEST_SERVICE_BITS: u8 = 4;
/// kubeadm's PodSubnetNodeMaskMaxDiff: the controller manager hands out at most 2^16 node subnets.
const MOST_NODE_BITS: u8 = 16;

pub fn check(cluster: &Cluster, findings: &mut Findings) {
    let pods = Path::of("network.podSubnet");
    let services = Path::of("network.serviceSubnet");
    let network = &cluster.network;
    if subnet(&pods, network.pod_subnet, findings) {
        pod_subnet(cluster, &pods, findings);
    }
    if subnet(&services, network.service_subnet, findings) {
        service_subnet(&services, network.service_subnet, findings);
    }
    overlaps(cluster, &pods, &services, findings);
    findings.take(&Path::of("network.dnsDomain"), format::subdomain(&network.dns_domain));
    if let Some(endpoint) = &cluster.endpoint {
        check_endpoint(endpoint, findings);
    }
}

/// Whether the subnet is one that further checks make sense of.
fn subnet(path: &Path, subnet: IpNet, findings: &mut Findings) -> bool {
    let IpNet::V4(_) = subnet else {
        findings.add(Mistake::new(path.clone(), "IPv6 is not supported yet").hint("for example `10.244.0.0/16`"));
        return false;
    };
    if subnet != subnet.trunc() {
        let message = format!("{} has bits set beyond its prefix length", quote(&subnet.to_string()));
        findings.add(Mistake::new(path.clone(), message).hint(format!("the subnet is `{}`", subnet.trunc())));
    }
    let address = subnet.addr();
    if address.is_multicast() || address.is_loopback() || address.is_unspecified() {
        findings.add(
            Mistake::new(path.clone(), format!("{} cannot be used for a network", quote(&subnet.to_string())))
                .hint("take a private range, as `10.244.0.0/16`"),
        );
        return false;
    }
    true
}

fn pod_subnet(cluster: &Cluster, path: &Path, findings: &mut Findings) {
    let (length, mask) = (cluster.network.pod_subnet.prefix_len(), cluster.node_mask());
    if length > mask {
        let message = format!("a /{length} is too small: each node takes a /{mask} of it");
        findings.add(Mistake::new(path.clone(), message).hint("for example `10.244.0.0/16`, for 256 nodes"));
        return;
    }
    if mask - length > MOST_NODE_BITS {
        let message = format!("a /{length} is too large: the most is a /{}", mask - MOST_NODE_BITS);
        findings.add(Mistake::new(path.clone(), message));
        return;
    }
    let room = 1_usize << (mask - length);
    let hosts = cluster.hosts.len();
    if hosts > room {
        let nodes = if room == 1 { "node" } else { "nodes" };
        let message = format!("has room for {room} {nodes} (a /{mask} each), but there are {hosts} hosts");
        let needed = mask - u8::try_from(hosts.next_power_of_two().ilog2()).unwrap_or(mask);
        findings.add(Mistake::new(path.clone(), message).hint(format!("it takes at least a /{needed}")));
    }
}

fn service_subnet(path: &Path, subnet: IpNet, findings: &mut Findings) {
    let bits = subnet.max_prefix_len() - subnet.prefix_len();
    if bits > MOST_SERVICE_BITS {
        let message = format!("a /{} is too large: the API server takes at most a /12", subnet.prefix_len());
        let narrower = IpNet::new(subnet.addr(), 12).map(|subnet| format!("for example `{}`", subnet.trunc()));
        findings.add(Mistake::new(path.clone(), message).maybe_hint(narrower.ok()));
    }
    if bits < FEWEST_SERVICE_BITS {
        let message = format!("a /{} is too small: it takes at least a /28", subnet.prefix_len());
        findings.add(Mistake::new(path.clone(), message).hint("the cluster's DNS service has the tenth address"));
    }
}

fn overlaps(cluster: &Cluster, pods: &Path, services: &Path, findings: &mut Findings) {
    let (pod, service) = (cluster.network.pod_subnet, cluster.network.service_subnet);
    if findings.is_intact(pods) && findings.is_intact(services) && overlap(pod, service) {
        let message =
            format!("{} overlaps the service subnet {}", quote(&pod.to_string()), quote(&service.to_string()));
        findings.add(Mistake::new(pods.clone(), message).hint("choose two ranges that share no address"));
    }
    for (index, host) in cluster.hosts.iter().enumerate() {
        let path = Path::of("hosts").index(index).key("address");
        for (subnet, what, field, place) in
            [(pod, "pod", Field::PodSubnet, pods), (service, "service", Field::ServiceSubnet, services)]
        {
            if findings.is_intact(place) && subnet.contains(&host.address) {
                let message = format!("{} lies in the {what} subnet {}", host.address, quote(&subnet.to_string()));
                let hint = Advice::from("set ").field(field).text(" to a range that no host is in");
                findings.add(Mistake::new(path.clone(), message).hint(hint));
            }
        }
    }
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

fn check_endpoint(endpoint: &str, findings: &mut Findings) {
    let path = Path::of("endpoint");
    let Some((host, _)) = split_endpoint(endpoint) else {
        let message = format!("{} is not `host` or `host:port`", quote(endpoint));
        let bare = endpoint.split_once("://").map(|(_, rest)| rest.trim_end_matches('/'));
        let hint = match bare.filter(|bare| split_endpoint(bare).is_some()) {
            Some(bare) => format!("without the scheme: `{bare}`"),
            None => "for example `api.example.com:6443`".into(),
        };
        findings.add(Mistake::new(path, message).hint(hint));
        return;
    };
    findings.take(&path, format::host(host));
    if host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback() || address.is_unspecified()) {
        let message = format!("other hosts cannot reach {}", quote(host));
        findings.add(Mistake::new(path, message).hint("it is the address by which every node reaches the API server"));
    }
}
