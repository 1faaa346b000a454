//! How nodes and people get to the API servers: by what is in front of the control planes, or by themselves.
//!
//! Pure functions of the types, as in `cluster`: everybody derives the same from the same inventory.

use std::net::{IpAddr, Ipv6Addr};

use super::types::*;

/// The API server's port.
pub const API_PORT: u16 = 6443;
/// The port of kboot's haproxy on control planes, where the API server has 6443 of every address.
const VIP_PORT: u16 = 8443;
/// Where a worker's own balancer listens; on a control plane the API server itself answers there.
pub const LOOPBACK: &str = "127.0.0.1";

/// Who makes it that a lost control plane is not the cluster's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// Something in front that is its owner's business; or a single control plane, where there is nothing to balance.
    Elsewhere,
    /// haproxy on every control plane, and keepalived that moves an address between them.
    Keepalived,
    /// kube-vip on every control plane.
    KubeVip,
    /// haproxy on every worker.
    Local,
}

/// The annotation of kube-proxy's ConfigMap by which workers that join find the control planes: `n1=10.0.0.1,n2=10.0.0.2`. Whoever has a
/// join token may read it.
pub const CONTROL_PLANES: &str = "kboot/control-planes";

impl Cluster {
    pub fn balance(&self) -> Balance {
        match (&self.vip, &self.endpoint) {
            (Some(Vip { provider: VipProvider::Keepalived, .. }), _) => Balance::Keepalived,
            (Some(Vip { provider: VipProvider::KubeVip, .. }), _) => Balance::KubeVip,
            (None, None) if self.control_planes().nth(1).is_some() => Balance::Local,
            (None, _) => Balance::Elsewhere,
        }
    }

    /// What is in front of the control planes, as `host:port` or as the inventory has it: `endpoint` or `vip`.
    pub fn front(&self) -> Option<String> {
        let vip = self.vip.as_ref().map(|vip| authority(&vip.address.to_string(), vip.port()));
        vip.or_else(|| self.endpoint.clone())
    }

    /// The API server's name or address for people, and for who discovers the cluster; without brackets. What is in front, or else
    /// the first control plane's address.
    pub fn endpoint_host(&self) -> String {
        match self.front().as_deref().and_then(split_endpoint) {
            Some((host, _)) => host.to_owned(),
            None => self.control_planes().next().map(|host| host.address.to_string()).unwrap_or_default(),
        }
    }

    pub fn endpoint_port(&self) -> u16 {
        self.front().as_deref().and_then(split_endpoint).and_then(|(_, port)| port).unwrap_or(API_PORT)
    }

    /// `host:port`, an IPv6 address in brackets.
    pub fn endpoint(&self) -> String {
        authority(&self.endpoint_host(), self.endpoint_port())
    }

    /// The names and addresses beside its own that the API server's certificate is for: the inventory's, and the one by which workers
    /// reach it through their own balancers.
    pub fn api_names(&self) -> Vec<String> {
        let mut names = self.certificates.extra_sans.clone();
        if self.balance() == Balance::Local && !names.iter().any(|name| name == LOOPBACK) {
            names.push(LOOPBACK.into());
        }
        names
    }

    /// Name or address, and port, by which what runs on every node alike, as kube-proxy, reaches an API server.
    pub fn node_endpoint(&self) -> (String, u16) {
        match self.balance() {
            Balance::Local => (LOOPBACK.into(), API_PORT),
            _ => (self.endpoint_host(), self.endpoint_port()),
        }
    }

    /// The API server that this host's kubelet asks, as `https://10.0.0.1:6443`: a control plane's its own, so that it is never newer
    /// than the server during an upgrade.
    pub fn kubelet_server(&self, host: &Host) -> String {
        let (name, port) = match host.is_control_plane() {
            true => (host.address.to_string(), API_PORT),
            false => self.node_endpoint(),
        };
        format!("https://{}", authority(&name, port))
    }

    /// `host:port` by which a control plane's administrator reaches the API: what is in front, or else the host's own server.
    pub fn admin_endpoint(&self, host: &Host) -> String {
        match self.front() {
            Some(_) => self.endpoint(),
            None => authority(&host.address.to_string(), API_PORT),
        }
    }
}

impl Vip {
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.provider {
            VipProvider::Keepalived => VIP_PORT,
            VipProvider::KubeVip => API_PORT,
        })
    }

    /// The virtual router's number, from 1 to 255.
    pub fn router_id(&self) -> u8 {
        let last = match self.address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        };
        self.router_id.unwrap_or(last.max(1))
    }
}

/// `host:port`, an IPv6 address in brackets.
pub(super) fn authority(host: &str, port: u16) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`; a bare IPv6 address is a host. None if it is neither.
pub(super) fn split_endpoint(text: &str) -> Option<(&str, Option<u16>)> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some((text, None));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return None;
    }
    match port {
        None => Some((host, None)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => match port.parse() {
            Ok(0) | Err(_) => None,
            Ok(port) => Some((host, Some(port))),
        },
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(control_planes: usize) -> Cluster {
        let host = |number: usize, role: &str| -> Host {
            let value = serde_json::json!({"name": format!("n{number}"), "address": format!("10.0.0.{number}"), "roles": [role]});
            serde_json::from_value(value).unwrap()
        };
        let mut cluster = Cluster::single(host(9, "worker"));
        cluster.hosts.extend((1..=control_planes).map(|number| host(number, "control-plane")));
        cluster
    }

    fn vip(cluster: Cluster, provider: VipProvider) -> Cluster {
        let address = "10.0.0.100".parse().unwrap();
        Cluster { vip: Some(Vip { address, port: None, interface: None, provider, router_id: None }), ..cluster }
    }

    /// The endpoint, kube-proxy's, a worker's kubelet's, the second control plane's kubelet's and administrator's.
    fn servers(cluster: &Cluster) -> [String; 5] {
        let (worker, second) = (cluster.host("n9").unwrap(), cluster.host("n2").unwrap_or(&cluster.hosts[1]));
        let (name, port) = cluster.node_endpoint();
        [
            cluster.endpoint(),
            format!("{name}:{port}"),
            cluster.kubelet_server(worker),
            cluster.kubelet_server(second),
            cluster.admin_endpoint(second),
        ]
    }

    #[test]
    fn a_single_control_plane_is_asked_by_its_address() {
        let cluster = cluster(1);
        let own = "10.0.0.1:6443";
        assert_eq!(cluster.balance(), Balance::Elsewhere);
        assert_eq!(servers(&cluster), [own, own, &format!("https://{own}"), &format!("https://{own}"), own]);
    }

    #[test]
    fn several_are_balanced_on_each_worker() {
        let cluster = cluster(3);
        assert_eq!(cluster.balance(), Balance::Local);
        let (local, own) = ("127.0.0.1:6443", "10.0.0.2:6443");
        assert_eq!(
            servers(&cluster),
            ["10.0.0.1:6443", local, &format!("https://{local}"), &format!("https://{own}"), own]
        );
    }

    #[test]
    fn what_is_in_front_is_asked_but_by_control_planes_kubelets() {
        let own = "https://10.0.0.2:6443".to_string();
        for (cluster, front, balance) in [
            (vip(cluster(3), VipProvider::Keepalived), "10.0.0.100:8443", Balance::Keepalived),
            (vip(cluster(3), VipProvider::KubeVip), "10.0.0.100:6443", Balance::KubeVip),
            (Cluster { endpoint: Some("api.test:443".into()), ..cluster(3) }, "api.test:443", Balance::Elsewhere),
        ] {
            assert_eq!(cluster.balance(), balance);
            assert_eq!(servers(&cluster), [front, front, &format!("https://{front}"), &own, front]);
        }
    }

    #[test]
    fn an_endpoint_takes_every_usual_form() {
        let mut cluster = cluster(1);
        for (endpoint, host, port, both) in [
            ("api.example.com", "api.example.com", 6443, "api.example.com:6443"),
            ("api.example.com:443", "api.example.com", 443, "api.example.com:443"),
            ("[fd00::1]:443", "fd00::1", 443, "[fd00::1]:443"),
            ("fd00::1", "fd00::1", 6443, "[fd00::1]:6443"),
        ] {
            cluster.endpoint = Some(endpoint.into());
            assert_eq!(cluster.endpoint_host(), host);
            assert_eq!(cluster.endpoint_port(), port);
            assert_eq!(cluster.endpoint(), both);
        }
        for text in ["", ":6443", "a:b", "a:0", "a:65536", "a:+1", "[fd00::1", "[fd00::1]6443", "[a]:1", "a:1:2"] {
            assert_eq!(split_endpoint(text), None, "{text}");
        }
    }

    #[test]
    fn a_router_s_number_is_the_address_s_last_part() {
        let mut vip = vip(cluster(1), VipProvider::Keepalived).vip.unwrap();
        assert_eq!(vip.router_id(), 100);
        vip.address = "10.0.1.0".parse().unwrap();
        assert_eq!(vip.router_id(), 1);
        vip.router_id = Some(7);
        assert_eq!(vip.router_id(), 7);
    }
}
