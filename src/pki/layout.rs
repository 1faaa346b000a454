//! Which certificates a control plane has: kubeadm's list (`phases/certs/certlist.go` in 1.37), as data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{CertificateRequest, PkiError, Usage};
use crate::inventory::{API_PORT, Certificates, Cluster, Host};

/// The stem of the service accounts' key pair: `sa.key` and `sa.pub`, with no certificate.
pub const SERVICE_ACCOUNT: &str = "sa";

/// What a control-plane node's certificates and kubeconfigs depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayoutParams {
    /// The name in kubeconfigs.
    pub cluster_name: String,
    pub node_name: String,
    /// Where this node's API server and etcd listen.
    pub advertise_address: IpAddr,
    /// The API server's port on this node.
    pub bind_port: u16,
    /// `host` or `host:port` of the control plane, if it is not this node's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    pub service_subnet: IpNet,
    pub dns_domain: String,
    /// Algorithm, validity and the user's own names.
    pub certificates: Certificates,
}

/// One certificate and key of the layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The path under /etc/kubernetes/pki without its ending, as `etcd/server`.
    pub stem: &'static str,
    /// The stem of the authority that signs it; none for an authority.
    pub issuer: Option<&'static str>,
    pub request: CertificateRequest,
}

impl Entry {
    /// Relative to /etc/kubernetes/pki.
    pub fn cert_path(&self) -> String {
        format!("{}.crt", self.stem)
    }

    /// Relative to /etc/kubernetes/pki.
    pub fn key_path(&self) -> String {
        format!("{}.key", self.stem)
    }
}

impl LayoutParams {
    /// Of a control plane in an inventory.
    pub fn of(cluster: &Cluster, host: &Host) -> Self {
        Self {
            cluster_name: cluster.name.clone(),
            node_name: host.name.clone(),
            advertise_address: host.address,
            bind_port: API_PORT,
            endpoint: cluster.front(),
            service_subnet: cluster.network.service_subnet,
            dns_domain: cluster.network.dns_domain.clone(),
            certificates: Certificates { extra_sans: cluster.api_names(), ..cluster.certificates.clone() },
        }
    }

    /// `https://` and the control plane's endpoint: what people and other nodes use.
    pub fn server(&self) -> Result<String, PkiError> {
        match &self.endpoint {
            Some(endpoint) => endpoint_url(endpoint, self.bind_port),
            None => Ok(self.local_server()),
        }
    }

    /// `https://` and this node's own API server.
    pub fn local_server(&self) -> String {
        url(&self.advertise_address.to_string(), self.bind_port)
    }
}

/// All certificates of a control plane with its own etcd; each authority comes before what it signs.
///
/// Fails on an endpoint or an extra SAN that is neither an IP address nor a DNS name.
pub fn cluster_certificates(params: &LayoutParams) -> Result<Vec<Entry>, PkiError> {
    let Certificates { encryption_algorithm: algorithm, ca_validity, validity, .. } = params.certificates;
    let authority = |stem, name| Entry {
        stem,
        issuer: None,
        request: CertificateRequest::authority(name, ca_validity.hours(), algorithm),
    };
    let signed = |stem, issuer, name: &str, usages, names: Names| Entry {
        stem,
        issuer: Some(issuer),
        request: CertificateRequest {
            dns_names: names.dns,
            ip_addresses: names.addresses,
            ..CertificateRequest::leaf(name, usages, validity.hours(), algorithm)
        },
    };
    let client = |stem, issuer, name| signed(stem, issuer, name, vec![Usage::Client], Names::default());
    // etcd's gateway dials its own listener with the server certificate, so that must serve clients too.
    let both = || vec![Usage::Server, Usage::Client];
    let node = params.node_name.as_str();

    Ok(vec![
        authority("ca", "kubernetes"),
        signed("apiserver", "ca", "kube-apiserver", vec![Usage::Server], api_server_names(params)?),
        client("apiserver-kubelet-client", "ca", "kube-apiserver-kubelet-client"),
        authority("front-proxy-ca", "front-proxy-ca"),
        client("front-proxy-client", "front-proxy-ca", "front-proxy-client"),
        authority("etcd/ca", "etcd-ca"),
        signed("etcd/server", "etcd/ca", node, both(), etcd_names(params)),
        signed("etcd/peer", "etcd/ca", node, both(), etcd_names(params)),
        client("etcd/healthcheck-client", "etcd/ca", "kube-etcd-healthcheck-client"),
        client("apiserver-etcd-client", "etcd/ca", "kube-apiserver-etcd-client"),
    ])
}

/// `https://host:port` of an endpoint written `host`, `host:port`, `address` or `[address]:port`.
pub fn endpoint_url(endpoint: &str, default_port: u16) -> Result<String, PkiError> {
    let (host, port) = split_endpoint(endpoint)?;
    Ok(url(host, port.unwrap_or(default_port)))
}

fn url(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("https://[{host}]:{port}"),
        false => format!("https://{host}:{port}"),
    }
}

fn split_endpoint(endpoint: &str) -> Result<(&str, Option<u16>), PkiError> {
    let fail = |reason| PkiError::Endpoint { value: endpoint.into(), reason };
    let (host, port) = if endpoint.parse::<Ipv6Addr>().is_ok() {
        (endpoint, None)
    } else if let Some(bracketed) = endpoint.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or_else(|| fail("the bracket is not closed"))?;
        host.parse::<Ipv6Addr>().map_err(|_| fail("there is no IPv6 address in the brackets"))?;
        match rest {
            "" => (host, None),
            rest => (host, Some(rest.strip_prefix(':').ok_or_else(|| fail("a colon must follow the bracket"))?)),
        }
    } else {
        endpoint.split_once(':').map_or((endpoint, None), |(host, port)| (host, Some(port)))
    };
    let is_dotted_number = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if host.parse::<IpAddr>().is_err() && (is_dotted_number || !is_dns_name(host)) {
        return Err(fail("the host is neither an IP address nor a DNS name"));
    }
    let port = port.map(|port| {
        // `parse` alone would take "+1".
        let number = port.parse().ok().filter(|number| *number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()));
        number.ok_or_else(|| fail("the port is no number from 1 to 65535"))
    });
    Ok((host, port.transpose()?))
}

#[derive(Default)]
struct Names {
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Names {
    /// kubeadm's order, which makes two runs alike: DNS names sorted, addresses as they came, nothing twice.
    fn new(mut dns: Vec<String>, given: Vec<IpAddr>) -> Self {
        dns.sort();
        dns.dedup();
        let mut addresses = Vec::with_capacity(given.len());
        for address in given {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Self { dns, addresses }
    }
}

fn api_server_names(params: &LayoutParams) -> Result<Names, PkiError> {
    let mut dns: Vec<String> = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(String::from).into();
    dns.push(params.node_name.clone());
    dns.push(format!("kubernetes.default.svc.{}", params.dns_domain));
    let mut addresses = vec![first_address(&params.service_subnet), params.advertise_address];
    let endpoint = params.endpoint.as_deref().map(split_endpoint).transpose()?;
    let extra = params.certificates.extra_sans.iter().map(String::as_str);
    for san in endpoint.map(|(host, _)| host).into_iter().chain(extra) {
        match san.parse() {
            Ok(address) => addresses.push(address),
            Err(_) if is_dns_name(san.strip_prefix("*.").unwrap_or(san)) => dns.push(san.into()),
            Err(_) => return Err(PkiError::San { value: san.into() }),
        }
    }
    Ok(Names::new(dns, addresses))
}

fn etcd_names(params: &LayoutParams) -> Names {
    let dns = vec![params.node_name.clone(), "localhost".into()];
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    Names::new(dns, [params.advertise_address].into_iter().chain(loopback).collect())
}

/// The address of the service `kubernetes`: the first after the subnet's own.
fn first_address(subnet: &IpNet) -> IpAddr {
    match subnet.network() {
        IpAddr::V4(network) => Ipv4Addr::from_bits(network.to_bits().saturating_add(1)).into(),
        IpAddr::V6(network) => Ipv6Addr::from_bits(network.to_bits().saturating_add(1)).into(),
    }
}

/// RFC 1123's subdomain, as Kubernetes checks it: lower case only.
fn is_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::pki::{check, describe, testing};
    use time::macros::datetime;

    /// As the fixtures' kubeadm was told.
    pub fn params() -> LayoutParams {
        LayoutParams {
            cluster_name: "kubernetes".into(),
            node_name: "n1".into(),
            advertise_address: "10.77.0.11".parse().unwrap(),
            bind_port: 6443,
            endpoint: Some("cp.example.test:6443".into()),
            service_subnet: "10.96.0.0/12".parse().unwrap(),
            dns_domain: "cluster.local".into(),
            certificates: Certificates {
                extra_sans: vec!["extra.example.test".into(), "203.0.113.9".into()],
                ..Certificates::default()
            },
        }
    }

    fn entry(params: &LayoutParams, stem: &str) -> Entry {
        cluster_certificates(params).unwrap().into_iter().find(|entry| entry.stem == stem).unwrap()
    }

    #[test]
    fn the_api_servers_names_are_kubeadms() {
        let request = entry(&params(), "apiserver").request;
        let mut names = request.dns_names;
        names.extend(request.ip_addresses.iter().map(IpAddr::to_string));
        assert_eq!(names, describe(testing::KUBEADM_APISERVER).unwrap().sans);
    }

    #[test]
    fn kubeadms_certificates_pass() {
        let now = datetime!(2026-11-23 00:00 UTC);
        let ca = entry(&params(), "ca").request;
        assert_eq!(check(testing::KUBEADM_CA, Some(testing::KUBEADM_CA_KEY), None, &ca, now), []);
        let leaf = entry(&params(), "apiserver").request;
        let key = Some(testing::KUBEADM_APISERVER_KEY);
        assert_eq!(check(testing::KUBEADM_APISERVER, key, Some(testing::KUBEADM_CA), &leaf, now), []);
        assert_eq!(check(testing::KUBEADM_RSA_APISERVER, None, Some(testing::KUBEADM_RSA_CA), &leaf, now), []);
    }

    #[test]
    fn every_entry_has_kubeadms_subject_and_issuer() {
        let list: Vec<_> = cluster_certificates(&params())
            .unwrap()
            .into_iter()
            .map(|it| (it.cert_path(), it.key_path(), it.issuer, it.request.common_name, it.request.usages))
            .collect();
        let (client, server) = (Usage::Client, Usage::Server);
        let row = |stem: &str, issuer, name: &str, usages: &[Usage]| {
            (format!("{stem}.crt"), format!("{stem}.key"), issuer, name.to_owned(), usages.to_vec())
        };
        assert_eq!(
            list,
            [
                row("ca", None, "kubernetes", &[]),
                row("apiserver", Some("ca"), "kube-apiserver", &[server]),
                row("apiserver-kubelet-client", Some("ca"), "kube-apiserver-kubelet-client", &[client]),
                row("front-proxy-ca", None, "front-proxy-ca", &[]),
                row("front-proxy-client", Some("front-proxy-ca"), "front-proxy-client", &[client]),
                row("etcd/ca", None, "etcd-ca", &[]),
                row("etcd/server", Some("etcd/ca"), "n1", &[server, client]),
                row("etcd/peer", Some("etcd/ca"), "n1", &[server, client]),
                row("etcd/healthcheck-client", Some("etcd/ca"), "kube-etcd-healthcheck-client", &[client]),
                row("apiserver-etcd-client", Some("etcd/ca"), "kube-apiserver-etcd-client", &[client]),
            ]
        );
    }

    #[test]
    fn an_inventory_has_what_it_takes() {
        let host: Host = serde_json::from_value(
            serde_json::json!({"name": "n1", "address": "10.77.0.11", "roles": ["control-plane"]}),
        )
        .unwrap();
        let mut cluster = Cluster::single(host.clone());
        assert_eq!(LayoutParams::of(&cluster, &host).server().unwrap(), "https://10.77.0.11:6443");
        cluster.endpoint = Some("cp.example.test:6443".into());
        cluster.certificates.extra_sans = params().certificates.extra_sans;
        assert_eq!(LayoutParams::of(&cluster, &host), params());
    }

    #[test]
    fn etcd_listens_on_the_node_and_on_loopback() {
        let request = entry(&params(), "etcd/peer").request;
        assert_eq!(request.dns_names, ["localhost", "n1"]);
        assert_eq!(request.ip_addresses, ["10.77.0.11", "127.0.0.1", "::1"].map(|it| it.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn validity_and_algorithm_come_from_the_settings() {
        let mut params = params();
        params.certificates.validity.hours = 48;
        params.certificates.ca_validity.hours = 96;
        for Entry { issuer, request, .. } in cluster_certificates(&params).unwrap() {
            assert_eq!(request.validity_hours, if issuer.is_some() { 48 } else { 96 });
            assert_eq!(
                (request.is_ca, request.algorithm),
                (issuer.is_none(), params.certificates.encryption_algorithm)
            );
        }
    }

    #[test]
    fn an_endpoint_that_is_the_node_itself_is_named_once() {
        let params = LayoutParams { endpoint: Some("10.77.0.11".into()), ..params() };
        let request = entry(&params, "apiserver").request;
        assert_eq!(request.ip_addresses.len(), 3);
        assert_eq!(params.server().unwrap(), "https://10.77.0.11:6443");
    }

    #[test]
    fn endpoints_take_every_usual_form() {
        let url = |endpoint| endpoint_url(endpoint, 6443).unwrap();
        assert_eq!(url("cp.example.test"), "https://cp.example.test:6443");
        assert_eq!(url("cp.example.test:443"), "https://cp.example.test:443");
        assert_eq!(url("10.0.0.1:8443"), "https://10.0.0.1:8443");
        assert_eq!(url("fd00::1"), "https://[fd00::1]:6443");
        assert_eq!(url("[fd00::1]"), "https://[fd00::1]:6443");
        assert_eq!(url("[fd00::1]:443"), "https://[fd00::1]:443");
        for wrong in [
            "",
            ":6443",
            "a b",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "[fd00::1",
            "[x]:1",
            "[::1]6443",
            "10.0.0.256",
            "https://x",
        ] {
            let error = endpoint_url(wrong, 6443).unwrap_err().to_string();
            assert!(error.starts_with("use ") && error.contains("as the control plane's endpoint: "), "{error}");
        }
    }

    #[test]
    fn extra_names_may_be_wildcards_but_not_nonsense() {
        let with = |san: &str| {
            let mut params = params();
            params.certificates.extra_sans = vec![san.into()];
            cluster_certificates(&params)
        };
        assert!(with("*.example.test").is_ok());
        assert!(with("fd00::9").is_ok());
        assert!(matches!(with("not a name"), Err(PkiError::San { value }) if value == "not a name"));
        assert!(with("-x.test").is_err() && with("a..b").is_err() && with("").is_err());
    }

    #[test]
    fn the_service_address_is_the_first_of_the_subnet() {
        let first = |subnet: &str| first_address(&subnet.parse().unwrap()).to_string();
        assert_eq!(first("10.96.0.0/12"), "10.96.0.1");
        assert_eq!(first("10.100.7.9/12"), "10.96.0.1");
        assert_eq!(first("fd00:1::/108"), "fd00:1::1");
    }
}
