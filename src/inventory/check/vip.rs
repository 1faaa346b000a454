//! The address that control planes hold among themselves.

use std::net::IpAddr;

use super::Findings;
use crate::inventory::endpoint::API_PORT;
use crate::inventory::mistake::{Mistake, quote};
use crate::inventory::path::Path;
use crate::inventory::types::{Cluster, Vip, VipProvider};

/// What else a control plane listens on: kubelet, controller manager, scheduler, etcd's two.
const TAKEN: [(u16, &str); 5] = [
    (10250, "the kubelet"),
    (10257, "the controller manager"),
    (10259, "the scheduler"),
    (2379, "etcd"),
    (2380, "etcd"),
];

pub fn check(cluster: &Cluster, findings: &mut Findings) {
    let Some(vip) = &cluster.vip else { return };
    let path = Path::of("vip");
    if cluster.endpoint.is_some() {
        let message = "there is an `endpoint` as well";
        let hint = "keep `vip` to have kboot set an address up, or `endpoint` if you have something in front yourself";
        findings.add(Mistake::new(path.clone(), message).hint(hint).about_key());
    }
    address(cluster, vip, &path.key("address"), findings);
    port(vip, &path.key("port"), findings);
    if let Some(name) = &vip.interface {
        interface(name, &path.key("interface"), findings);
    }
    if vip.provider == VipProvider::KubeVip && vip.router_id.is_some() {
        let message = "kube-vip knows no virtual routers";
        findings.add(Mistake::new(path.key("routerId"), message).hint("leave it out; it is keepalived's").about_key());
    }
}

fn address(cluster: &Cluster, vip: &Vip, path: &Path, findings: &mut Findings) {
    let quoted = quote(&vip.address.to_string());
    let IpAddr::V4(address) = vip.address else {
        findings.add(Mistake::new(path.clone(), "IPv6 is not supported yet"));
        return;
    };
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast() {
        let message = format!("other hosts cannot reach {quoted}");
        findings.add(Mistake::new(path.clone(), message).hint("take a free address of the control planes' network"));
        return;
    }
    for (index, host) in cluster.hosts.iter().enumerate() {
        let own = Path::of("hosts").index(index).key("address");
        if host.address == vip.address && findings.is_intact(&own) {
            let message = format!("{quoted} is the address of host {}", quote(&host.name));
            findings
                .add(Mistake::new(path.clone(), message).hint("it must be free: it moves between the control planes"));
        }
    }
    let network = &cluster.network;
    for (field, what, subnet) in
        [("podSubnet", "pod", network.pod_subnet), ("serviceSubnet", "service", network.service_subnet)]
    {
        if findings.is_intact(&Path::of("network").key(field)) && subnet.contains(&vip.address) {
            let message = format!("{quoted} lies in the {what} subnet {}", quote(&subnet.to_string()));
            findings
                .add(Mistake::new(path.clone(), message).hint("take a free address of the control planes' network"));
        }
    }
}

fn port(vip: &Vip, path: &Path, findings: &mut Findings) {
    let (mistake, hint) = match (vip.provider, vip.port) {
        (_, None) => return,
        (VipProvider::Keepalived, Some(API_PORT)) => (
            format!("the API server has `{API_PORT}` of every address of a control plane"),
            "leave it out for 8443, or take another".to_string(),
        ),
        (VipProvider::KubeVip, Some(port)) if port != API_PORT => (
            format!("kube-vip leads to the API server's own port, not to `{port}`"),
            format!("leave it out: it is {API_PORT} then"),
        ),
        (_, Some(port)) => match TAKEN.iter().find(|(taken, _)| *taken == port) {
            Some((_, owner)) => {
                (format!("`{port}` is {owner}'s port"), "leave it out for 8443, or take another".into())
            }
            None => return,
        },
    };
    findings.add(Mistake::new(path.clone(), mistake).hint(hint));
}

/// By the kernel's rule: dev_valid_name in net/core/dev.c.
fn interface(name: &str, path: &Path, findings: &mut Findings) {
    let is_odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(is_odd) {
        let message = format!("{} is not the name of a network interface", quote(name));
        findings.add(Mistake::new(path.clone(), message).hint("for example `eth0`; `ip link` lists them on a host"));
    }
}
