//! Hosts: their names and addresses, roles, labels and taints, and how SSH reaches them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Findings;
use crate::inventory::cluster::Taint;
use crate::inventory::format::{self, Flaw};
use crate::inventory::mistake::{Mistake, quote};
use crate::inventory::path::Path;
use crate::inventory::types::{Cluster, Host, Role};
use crate::inventory::words;

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub fn check(cluster: &Cluster, findings: &mut Findings) {
    for (index, host) in cluster.hosts.iter().enumerate() {
        one(host, &place(index), findings);
    }
    duplicates(cluster, findings);
    control_planes(cluster, findings);
}

fn place(index: usize) -> Path {
    Path::of("hosts").index(index)
}

fn one(host: &Host, path: &Path, findings: &mut Findings) {
    findings.take(&path.key("name"), node_name(&host.name));
    findings.take(&path.key("address"), reachable(host.address));
    let roles = path.key("roles");
    for (index, role) in host.roles.iter().enumerate() {
        if host.roles[..index].contains(role) && findings.is_whole(&roles) {
            findings.add(Mistake::new(roles.index(index), "is there twice").hint("keep one of them"));
        }
    }
    for (key, value) in &host.labels {
        let path = path.key("labels").key(key);
        if let Err(flaw) = format::qualified_name(key) {
            findings.add(Mistake::new(path.clone(), flaw.message).maybe_hint(flaw.hint).about_key());
        }
        findings.take(&path, format::label_value(value));
    }
    taints(host.taints.as_deref().unwrap_or_default(), &path.key("taints"), findings);
    if host.is_etcd() && findings.is_whole(&roles) {
        of_etcd(host, path, findings);
    }
    ssh(host, &path.key("ssh"), findings);
}

/// An etcd host is no node.
fn of_etcd(host: &Host, path: &Path, findings: &mut Findings) {
    if host.roles.iter().any(|role| *role != Role::Etcd) {
        let hint =
            "an etcd host runs nothing else; without the role on any host, each control plane runs a member of etcd";
        findings.add(Mistake::new(path.key("roles"), "`etcd` goes with no other role").hint(hint));
    }
    const NO_NODE: &str = "is for nodes, and an etcd host is none";
    for (field, is_set) in [("labels", !host.labels.is_empty()), ("taints", host.taints.is_some())] {
        if is_set {
            findings.add(Mistake::new(path.key(field), NO_NODE).hint("leave it out").about_key());
        }
    }
}

/// A node's name is also the value of its label `kubernetes.io/hostname`, hence no longer than that can be.
fn node_name(name: &str) -> Result<(), Flaw> {
    format::subdomain(name)?;
    if name.len() > 63 {
        return Err(Flaw::new(format!("{} has {} characters, the most is 63", quote(name), name.len())));
    }
    Ok(())
}

fn reachable(address: IpAddr) -> Result<(), Flaw> {
    let IpAddr::V4(v4) = address else { return Err(Flaw::new("IPv6 is not supported yet")) };
    let why = match v4 {
        _ if v4.is_unspecified() => "no host's address",
        _ if v4.is_loopback() => "a loopback address",
        _ if v4.is_multicast() => "a multicast address",
        _ if v4.is_broadcast() => "the broadcast address",
        _ => return Ok(()),
    };
    Err(Flaw::new(format!("{} is {why}", quote(&address.to_string())))
        .hint("it is the address by which the other hosts reach this one"))
}

fn taints(taints: &[String], path: &Path, findings: &mut Findings) {
    for (index, text) in taints.iter().enumerate() {
        let place = path.index(index);
        if !findings.is_intact(&place) {
            continue;
        }
        let Some(taint) = Taint::parse(text) else {
            let message = format!("{} is not a taint: it has no effect", quote(text));
            findings.add(Mistake::new(place, message).hint("for example `dedicated=db:NoSchedule`"));
            continue;
        };
        if !EFFECTS.contains(&taint.effect.as_str()) {
            let message = format!("{} is not a taint's effect", quote(&taint.effect));
            let hint = words::did_you_mean(&taint.effect, &EFFECTS)
                .unwrap_or_else(|| format!("the effects are `{}`", EFFECTS.join("`, `")));
            findings.add(Mistake::new(place.clone(), message).hint(hint));
        }
        findings.take(&place, format::qualified_name(&taint.key));
        findings.take(&place, format::label_value(&taint.value));
        let same = |other: &String| {
            Taint::parse(other).is_some_and(|other| other.key == taint.key && other.effect == taint.effect)
        };
        if taints[..index].iter().any(same) {
            let message = format!("{} with {} is there twice", quote(&taint.key), quote(&taint.effect));
            findings.add(Mistake::new(place, message).hint("keep one of them"));
        }
    }
}

fn ssh(host: &Host, path: &Path, findings: &mut Findings) {
    if let Some(address) = &host.ssh.address {
        findings.take(&path.key("address"), format::host(address));
    }
    if let Some(user) = &host.ssh.user {
        findings.take(&path.key("user"), super::settings::user(user));
    }
    if let Some(key) = &host.ssh.host_key
        && let Err(error) = host_key(key)
    {
        let hint = "for example `ssh-ed25519 AAAA…`, the text of /etc/ssh/ssh_host_ed25519_key.pub on the host, or its \
                    fingerprint `SHA256:…` as `ssh-keygen -l` prints it";
        findings.add(Mistake::new(path.key("hostKey"), format!("{} is {error}", quote(key))).hint(hint));
    }
}

/// A public key, or the fingerprint of one.
fn host_key(text: &str) -> Result<(), String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    const SHA256_BYTES: usize = 32;
    if let Some(digest) = text.trim().strip_prefix("SHA256:") {
        return match STANDARD_NO_PAD.decode(digest.trim_end_matches('=')) {
            Ok(bytes) if bytes.len() == SHA256_BYTES => Ok(()),
            Ok(_) | Err(_) => Err("not a SHA-256 fingerprint".into()),
        };
    }
    russh::keys::PublicKey::from_openssh(text).map(drop).map_err(|error| format!("not a public key: {error}"))
}

fn duplicates(cluster: &Cluster, findings: &mut Findings) {
    let mut names = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    let mut servers: BTreeMap<(String, u16), String> = BTreeMap::new();
    for (index, host) in cluster.hosts.iter().enumerate() {
        let path = place(index);
        let told = [
            unique(&mut names, host.name.clone(), path.key("name"), findings),
            unique(&mut addresses, host.address, path.key("address"), findings),
        ];
        let ssh = path.key("ssh");
        let target = cluster.ssh_target(host);
        // Only where the two above say nothing: hosts behind one address with the same port.
        if told == [true, true] && findings.is_whole(&ssh) && findings.is_whole(&Path::of("ssh")) {
            let server = (target.host, target.port);
            match servers.get(&server) {
                Some(first) => {
                    let message = format!("leads to the same SSH server as host {}", quote(first));
                    findings.add(Mistake::new(ssh, message).hint("give it an address or a port of its own"));
                }
                None => {
                    servers.insert(server, host.name.clone());
                }
            }
        }
    }
}

/// Tells a value that was there before; whether it was not.
fn unique<T: Ord + ToString>(seen: &mut BTreeMap<T, Path>, value: T, path: Path, findings: &mut Findings) -> bool {
    if !findings.is_intact(&path) {
        return false;
    }
    if let Some(first) = seen.get(&value) {
        let message = format!("{} is also {first}, on line {}", quote(&value.to_string()), findings.line(first));
        findings.add(Mistake::new(path, message));
        return false;
    }
    seen.insert(value, path);
    true
}

fn control_planes(cluster: &Cluster, findings: &mut Findings) {
    let hosts = Path::of("hosts");
    let are_roles_known = (0..cluster.hosts.len()).all(|index| findings.is_whole(&place(index).key("roles")));
    if cluster.control_planes().next().is_none() && are_roles_known && !cluster.hosts.is_empty() {
        let message = "no host has the role `control-plane`";
        findings.add(Mistake::new(hosts, message).hint("give it to the first: `roles: [control-plane]`"));
    }
}
