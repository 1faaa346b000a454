//! What leads to the API servers: haproxy on workers or control planes, keepalived's virtual address, kube-vip.

use serde_json::json;

use super::host::MIRROR_MARK;
use super::paths;
use super::template::{RenderError, Template, render};
use crate::inventory::{API_PORT, Balance, Cluster, Host, LOOPBACK, Vip};

/// How the configuration files of kboot's begin. Others are their owner's, and never overwritten.
pub const BALANCER_MARK: &str = MIRROR_MARK;

/// kube-vip's release.
const KUBE_VIP: &str = "ghcr.io/kube-vip/kube-vip:v1.0.1";
/// The first control plane's priority, and by how much each further one's is lower: of those that miss the holder, the first asks for
/// the address 80 ms before the next, so that they don't collide.
const PRIORITY: (usize, usize) = (200, 20);

/// `/etc/haproxy/haproxy.cfg`: on a worker for what runs there, on a control plane for all that come by the virtual address.
pub fn haproxy_config(cluster: &Cluster) -> Result<String, RenderError> {
    let bind = match (&cluster.vip, cluster.balance()) {
        (Some(vip), Balance::Keepalived) => format!("*:{}", vip.port()),
        _ => format!("{LOOPBACK}:{API_PORT}"),
    };
    let server = |host: &Host| json!({"name": host.name, "authority": format!("{}:{API_PORT}", host.address)});
    let values = json!({
        "mark": BALANCER_MARK,
        "bind": bind,
        "authority": paths::AUTHORITY,
        "servers": cluster.control_planes().map(server).collect::<Vec<_>>(),
    });
    render(Template::Haproxy, &values)
}

/// `/etc/keepalived/keepalived.conf` of a control plane; the address goes to `interface`.
pub fn keepalived_config(cluster: &Cluster, vip: &Vip, host: &Host, interface: &str) -> Result<String, RenderError> {
    let place = cluster.control_planes().position(|other| other.name == host.name).unwrap_or_default();
    let peers = cluster.control_planes().filter(|other| other.name != host.name);
    let values = json!({
        "mark": BALANCER_MARK,
        "name": host.name,
        "authority": paths::AUTHORITY,
        "port": vip.port(),
        "interface": interface,
        "routerId": vip.router_id(),
        "priority": PRIORITY.0.saturating_sub(place * PRIORITY.1).max(1),
        "address": host.address,
        "peers": peers.map(|other| other.address).collect::<Vec<_>>(),
        "vip": vip.address,
        "bits": bits(vip),
    });
    render(Template::Keepalived, &values)
}

/// kube-vip's static pod on a control plane. `begins_cluster`: the cluster begins, or began, on this host, so it has super-admin.conf.
/// Until the cluster has its roles, nothing else may do anything.
pub fn kube_vip(vip: &Vip, interface: &str, begins_cluster: bool) -> Result<String, RenderError> {
    let values = json!({
        "image": KUBE_VIP,
        "vip": vip.address,
        "port": vip.port(),
        "interface": interface,
        "bits": bits(vip),
        "kubeconfig": if begins_cluster { "/etc/kubernetes/super-admin.conf" } else { "/etc/kubernetes/admin.conf" },
    });
    render(Template::KubeVip, &values)
}

/// The address alone, without a network: no packet of the host's own leaves by it.
fn bits(vip: &Vip) -> u8 {
    if vip.address.is_ipv4() { 32 } else { 128 }
}

/// The control planes as workers that join find them: `n1=10.0.0.1,n2=10.0.0.2`.
pub fn control_planes(cluster: &Cluster) -> String {
    let one = |host: &Host| format!("{}={}", host.name, host.address);
    cluster.control_planes().map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::VipProvider;
    use crate::manifest::fixture;

    fn cluster(provider: Option<VipProvider>) -> Cluster {
        let mut cluster = fixture::cluster();
        let host = cluster.hosts[0].clone();
        for number in [2, 3] {
            let address = format!("10.77.0.1{number}").parse().unwrap();
            cluster.hosts.push(Host { name: format!("c{number}"), address, ..host.clone() });
        }
        let address = "10.77.0.100".parse().unwrap();
        cluster.vip = provider.map(|provider| Vip { address, port: None, interface: None, provider, router_id: None });
        cluster
    }

    fn second(cluster: &Cluster) -> (&Vip, &Host) {
        (cluster.vip.as_ref().unwrap(), cluster.control_planes().nth(1).unwrap())
    }

    #[test]
    fn files_are_as_kept() {
        insta::assert_snapshot!("haproxy_worker", haproxy_config(&cluster(None)).unwrap());
        let cluster = cluster(Some(VipProvider::Keepalived));
        insta::assert_snapshot!("haproxy_control_plane", haproxy_config(&cluster).unwrap());
        let (vip, host) = second(&cluster);
        insta::assert_snapshot!("keepalived", keepalived_config(&cluster, vip, host, "eth0").unwrap());
    }

    #[test]
    fn kube_vip_is_as_kept() {
        let cluster = cluster(Some(VipProvider::KubeVip));
        let vip = cluster.vip.as_ref().unwrap();
        insta::assert_snapshot!("kube_vip", kube_vip(vip, "eth0", false).unwrap());
        assert!(kube_vip(vip, "eth0", true).unwrap().contains("/etc/kubernetes/super-admin.conf"));
    }

    #[test]
    fn a_single_control_plane_has_no_peers_and_the_first_the_highest_priority() {
        let mut cluster = cluster(Some(VipProvider::Keepalived));
        let config = |cluster: &Cluster| {
            let (vip, host) = (cluster.vip.as_ref().unwrap(), cluster.control_planes().next().unwrap());
            keepalived_config(cluster, vip, host, "eth0").unwrap()
        };
        assert!(config(&cluster).contains("\tpriority 200\n"));
        let is_first = |host: &Host| host.address.to_string() == "10.77.0.11";
        cluster.hosts.retain(is_first);
        assert!(!config(&cluster).contains("unicast_peer"));
    }

    #[test]
    fn all_files_are_known_as_kboots() {
        let cluster = cluster(Some(VipProvider::Keepalived));
        let (vip, host) = second(&cluster);
        for text in [haproxy_config(&cluster).unwrap(), keepalived_config(&cluster, vip, host, "eth0").unwrap()] {
            assert!(text.starts_with(BALANCER_MARK) && text.ends_with('\n'), "{text}");
        }
    }
}
