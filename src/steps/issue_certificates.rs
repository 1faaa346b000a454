//! The cluster's certificates and keys, in kubeadm's layout.

use camino::Utf8PathBuf;

use crate::engine::{Failure, FileMode, Result};
use crate::pki::{self, LayoutParams, SERVICE_ACCOUNT};
use crate::resource::{Certificate, Converge, Directory, KeyPair, Names};

use super::Context;

pub const PKI: &str = "/etc/kubernetes/pki";
const ETCD: &str = "etcd/ca";
const CLIENT: &str = "apiserver-etcd-client";

pub fn step(context: &Context) -> Result<Converge> {
    let params = layout(context)?;
    let entries = pki::cluster_certificates(&params).map_err(|error| Failure::new(format!("failed to {error}")))?;
    // One that joins, or has joined, makes no authority of its own: it would be another cluster's.
    let makes_authorities = context.begins_cluster();
    let entries = entries.into_iter().filter(|entry| entry.issuer.is_some() || makes_authorities);
    // An etcd elsewhere has its authority there, and an etcd host has no other.
    let host = context.host()?;
    let (is_member, is_node) = (context.cluster.is_member(host), !host.is_etcd());
    let is_etcds = |entry: &pki::Entry| entry.stem == ETCD || entry.issuer == Some(ETCD);
    let entries = entries.filter(|entry| if is_etcds(entry) { is_member } else { is_node });
    // Etcd hosts have it from the first of them, and control planes from there.
    let is_given = host.is_etcd() && context.inputs.joining.contains(&host.name);
    let entries = entries.filter(|entry| !is_given || entry.stem != CLIENT);
    // The API server's are the inventory's to say, once nobody asks by others.
    let names = match (context.inputs.moves_endpoint, context.inputs.has_moved) {
        (true, _) => Names::Any,
        (false, true) => Names::None,
        (false, false) => Names::Loopback,
    };
    let certificates = entries.map(|entry| Certificate {
        certificate: path(&entry.cert_path()),
        key: path(&entry.key_path()),
        issuer: entry.issuer.map(|stem| (path(&format!("{stem}.crt")), path(&format!("{stem}.key")))),
        names: if entry.stem == "apiserver" { names } else { Names::Any },
        request: entry.request,
    });
    let service_accounts = KeyPair {
        private: path(&format!("{SERVICE_ACCOUNT}.key")),
        public: path(&format!("{SERVICE_ACCOUNT}.pub")),
        algorithm: params.certificates.encryption_algorithm,
    };
    let step = Converge::new("issue-certificates", "Issue certificates")
        .with(Directory::new(PKI, FileMode::DIRECTORY))
        .with_all(certificates);
    Ok(if makes_authorities && is_node { step.with(service_accounts) } else { step })
}

/// What this host's certificates and kubeconfigs are made for.
pub(super) fn layout(context: &Context) -> Result<LayoutParams> {
    Ok(LayoutParams::of(&context.cluster, context.host()?))
}

pub(super) fn path(name: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{PKI}/{name}"))
}
