//! An etcd that is not kboot's: its endpoints, and settings that would be for one that is.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Findings;
use crate::inventory::endpoint::split_endpoint;
use crate::inventory::format::{self, Flaw};
use crate::inventory::mistake::{Mistake, quote};
use crate::inventory::path::Path;
use crate::inventory::types::{Cluster, Component, Host, PatchTarget};

const PORT: u16 = 2379;

pub fn check(cluster: &Cluster, findings: &mut Findings) {
    let Some(external) = cluster.external_etcd() else { return };
    if let Some(index) = cluster.hosts.iter().position(Host::is_etcd) {
        let path = Path::of("hosts").index(index).key("roles");
        let message = "`etcd` is a role where kboot runs the cluster's etcd, and this cluster's is external";
        findings.add(Mistake::new(path, message).hint("take either `etcd.external` out, or the hosts with this role"));
    }
    let path = Path::of("etcd.external.endpoints");
    let mut seen = BTreeSet::new();
    for (index, url) in external.endpoints.iter().enumerate() {
        let path = path.index(index);
        findings.take(&path, endpoint(url));
        if findings.is_intact(&path) && !seen.insert(url.trim_end_matches('/')) {
            findings.add(Mistake::new(path, format!("{} is there twice", quote(url))).hint("keep one of them"));
        }
    }
    // Silently without effect they would be missed.
    const NOT_OURS: &str = "is for an etcd that kboot runs, and this cluster's is external";
    if cluster.control_plane.etcd != Component::default() {
        let path = Path::of("controlPlane.etcd");
        findings.add(Mistake::new(path, NOT_OURS).hint("set it where that etcd is set up").about_key());
    }
    for (index, patch) in cluster.patches.iter().enumerate() {
        if patch.target == PatchTarget::Etcd {
            let path = Path::of("patches").index(index).key("target");
            findings.add(Mistake::new(path, NOT_OURS).hint("leave the patch out"));
        }
    }
}

/// One more member, and no more that may be lost.
pub fn even(cluster: &Cluster) -> Option<Mistake> {
    let count = cluster.etcd_hosts().count();
    if count == 0 || !count.is_multiple_of(2) {
        return None;
    }
    let message = format!("{count} hosts have the role `etcd`, and a majority of them is {}", count / 2 + 1);
    let hint = format!("no more of them may be lost than of {}: take an odd number", count - 1);
    Some(Mistake::new(Path::of("hosts"), message).hint(hint))
}

/// `https://host:port`
fn endpoint(url: &str) -> Result<(), Flaw> {
    let flaw = || Flaw::new(format!("{} is not a member's client URL", quote(url)));
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(match split_endpoint(url) {
            Some((_, Some(_))) => flaw().hint(format!("with the scheme: `https://{url}`")),
            _ => flaw().hint("for example `https://10.0.0.21:2379`"),
        });
    };
    if scheme != "https" {
        let message = format!("{} is not reached over TLS", quote(url));
        return Err(Flaw::new(message).hint("whoever reads etcd has the cluster's secrets: set up TLS there"));
    }
    let authority = rest.trim_end_matches('/');
    match split_endpoint(authority) {
        Some((host, Some(_))) if is_loopback(host) => {
            let message = format!("{} is each host's own", quote(url));
            Err(Flaw::new(message).hint("name the member by an address by which every control plane reaches it"))
        }
        Some((host, Some(_))) => format::host(host),
        // Without a port it would be 443.
        Some((_, None)) => Err(flaw().hint(format!("with the port: `https://{authority}:{PORT}`"))),
        None => Err(flaw().hint("for example `https://10.0.0.21:2379`")),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_whole_urls() {
        for url in ["https://10.0.0.21:2379", "https://etcd-1.example.com:2379/"] {
            assert_eq!(endpoint(url), Ok(()), "{url}");
        }
        let hint = |url: &str| endpoint(url).unwrap_err().hint.unwrap_or_default();
        assert_eq!(hint("10.0.0.21:2379"), "with the scheme: `https://10.0.0.21:2379`");
        assert_eq!(hint("https://10.0.0.21"), "with the port: `https://10.0.0.21:2379`");
        assert!(hint("http://10.0.0.21:2379").contains("TLS"));
        for wrong in [
            "",
            "https://",
            "https://a b:2379",
            "https://10.0.0.21:2379/v3",
            "https://:2379",
            "etcd",
            "https://127.0.0.1:2379",
        ] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
