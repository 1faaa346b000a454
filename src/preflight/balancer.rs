//! What leads to the API servers: its ports, its files, the virtual address.

use std::net::IpAddr;

use super::{Check, Finding, Subject, list};
use crate::engine::hint::ValueWord;
use crate::facts::{ConfigOrigin, Interface, Listener};
use crate::inventory::{API_PORT, Balance, Vip};

const FILES: [(&str, &str); 2] =
    [("/etc/haproxy/haproxy.cfg", "haproxy"), ("/etc/keepalived/keepalived.conf", "keepalived")];

pub fn check(subject: &Subject) -> Vec<Finding> {
    let (cluster, is_control_plane) = (subject.cluster, subject.host.is_control_plane());
    let mut findings = Vec::new();
    match (cluster.balance(), &cluster.vip, is_control_plane) {
        (Balance::Local, _, false) => {
            findings.extend(foreign(subject, &FILES[..1]));
            findings.extend(port(subject, API_PORT));
        }
        (Balance::Keepalived, Some(vip), true) => {
            findings.extend(foreign(subject, &FILES));
            findings.extend(port(subject, vip.port()));
        }
        _ => {}
    }
    if let Some(vip) = &cluster.vip {
        findings.extend(taken(subject, vip));
        if is_control_plane {
            findings.extend(placed(subject, vip));
        }
    }
    findings
}

fn origin(subject: &Subject, path: &str) -> Option<ConfigOrigin> {
    subject.facts.balancers.get(path).copied()
}

fn foreign(subject: &Subject, files: &[(&str, &str)]) -> Vec<Finding> {
    let is_foreign = |path: &str| origin(subject, path) == Some(ConfigOrigin::Foreign);
    let finding = |(path, program): &(&str, &str)| {
        let text = format!("{path} is somebody's own, and kboot needs {program} on this host for itself");
        let hint = "move what it serves to another host; or have something of your own lead to the API servers, and name it in \
                    the inventory: `endpoint`";
        Finding::error(Check::Balancer, text, hint)
    };
    files.iter().filter(|(path, _)| is_foreign(path)).map(finding).collect()
}

/// The port is free, or kboot's own haproxy has it.
fn port(subject: &Subject, wanted: u16) -> Option<Finding> {
    let Listener { process, .. } = subject.facts.listening.iter().find(|listener| listener.port == wanted)?;
    let is_named = process.as_deref().is_none_or(|name| name == "haproxy");
    if is_named && origin(subject, FILES[0].0) == Some(ConfigOrigin::Kboot) {
        return None;
    }
    let by = process.as_deref().unwrap_or("an unknown process");
    let text = format!("port {wanted} is taken by {by}");
    let hint = format!(
        "haproxy needs it, to lead to the API servers: stop what listens there (`ss -ltnp 'sport = :{wanted}'` shows it)"
    );
    Some(Finding::error(Check::Balancer, text, hint))
}

/// The address is nobody's, but for the control plane that holds it.
fn taken(Subject { cluster, host, facts }: &Subject, vip: &Vip) -> Option<Finding> {
    let is_holder = match cluster.balance() {
        Balance::Keepalived => facts.balancers.get(FILES[1].0) == Some(&ConfigOrigin::Kboot),
        _ => facts.node.has_manifest("kube-vip"),
    };
    if !facts.addresses().any(|address| address == vip.address) || (host.is_control_plane() && is_holder) {
        return None;
    }
    let text = format!("the virtual address {} is one of this host's own", vip.address);
    let hint = "choose a free address for `vip.address`, or take it off the host; kboot gives it to the control planes in turn";
    Some(Finding::error(Check::VirtualAddress, text, hint))
}

/// The interface is there, and its network has the address: others find it by asking in that network.
fn placed(Subject { host, facts, .. }: &Subject, vip: &Vip) -> Option<Finding> {
    let has =
        |interface: &Interface, wanted: IpAddr| interface.addresses.iter().any(|network| network.addr() == wanted);
    let found = match &vip.interface {
        Some(name) => facts.interfaces.iter().find(|interface| interface.name == *name),
        None => facts.interfaces.iter().find(|interface| has(interface, host.address)),
    };
    let Some(interface) = found else {
        let name = vip.interface.as_ref()?;
        let text = format!("the host has no network interface {name}");
        let known = facts.interfaces.iter().map(|interface| ValueWord::of(&interface.name));
        let hint = format!(
            "set `vip.interface` to one that every control plane has, or leave it out; here are {}",
            list(known)
        );
        return Some(Finding::error(Check::VirtualAddress, text, hint));
    };
    // Where the host holds the address, it is no network of its own.
    let networks: Vec<_> = interface.addresses.iter().filter(|network| network.addr() != vip.address).collect();
    if networks.is_empty() || networks.iter().any(|network| network.contains(&vip.address)) {
        return None;
    }
    let text = format!("the virtual address {} is in none of {}'s networks", vip.address, interface.name);
    let networks = list(networks.iter().map(|network| network.trunc()));
    let hint = format!("choose a free address of {networks}: the control planes must be in one network to pass it on");
    Some(Finding::error(Check::VirtualAddress, text, hint))
}

#[cfg(test)]
mod tests {
    use crate::facts::{ConfigOrigin, Facts};
    use crate::inventory::{Cluster, Role, Vip, VipProvider};
    use crate::preflight::samples::{Sample, listener, sample};

    const HAPROXY: &str = "/etc/haproxy/haproxy.cfg";
    const KEEPALIVED: &str = "/etc/keepalived/keepalived.conf";

    /// n1 and n3 are control planes, n2 is a worker.
    fn two() -> Sample {
        sample().wanting(|cluster| cluster.hosts[2].roles = vec![Role::ControlPlane])
    }

    fn vip(address: &str, interface: Option<&str>) -> impl FnOnce(&mut Cluster) {
        let (address, interface) = (address.parse().unwrap(), interface.map(String::from));
        move |cluster: &mut Cluster| {
            cluster.vip =
                Some(Vip { address, port: None, interface, provider: VipProvider::Keepalived, router_id: None });
        }
    }

    fn config(path: &str, origin: ConfigOrigin) -> impl Fn(&mut Facts) {
        move |facts| {
            facts.balancers.insert(path.into(), origin);
        }
    }

    fn listening(port: u16, process: Option<&'static str>) -> impl Fn(&mut Facts) {
        move |facts| facts.listening.push(listener(port, process))
    }

    #[test]
    fn somebodys_own_files_are_left_alone_where_they_are_in_the_way() {
        let foreign = || two().on("n2", config(HAPROXY, ConfigOrigin::Foreign));
        assert_eq!(
            foreign().found(),
            [
                "n2 Balancer error: /etc/haproxy/haproxy.cfg is somebody's own, and kboot needs haproxy on this host for itself"
            ]
        );
        assert_eq!(foreign().wanting(|cluster| cluster.endpoint = Some("api.test".into())).found(), [""; 0]);
        assert_eq!(foreign().wanting(vip("10.77.0.100", None)).found(), [""; 0]);
        let keepalived = two().wanting(vip("10.77.0.100", None)).on("n3", config(KEEPALIVED, ConfigOrigin::Foreign));
        assert!(
            keepalived.found()[0].starts_with("n3 Balancer error: /etc/keepalived/keepalived.conf is somebody's own")
        );
        assert_eq!(two().on("n2", config(HAPROXY, ConfigOrigin::Idle)).found(), [""; 0]);
    }

    #[test]
    fn the_port_is_free_or_kboots_own() {
        let taken = two().on("n2", listening(6443, Some("nginx")));
        assert_eq!(taken.found(), ["n2 Balancer error: port 6443 is taken by nginx"]);
        let theirs = two().on("n2", listening(6443, Some("haproxy")));
        assert_eq!(theirs.found(), ["n2 Balancer error: port 6443 is taken by haproxy"]);
        let own = two().on("n2", listening(6443, Some("haproxy"))).on("n2", config(HAPROXY, ConfigOrigin::Kboot));
        assert_eq!(own.found(), [""; 0]);
        let vip = two().wanting(vip("10.77.0.100", None)).on("n1", listening(8443, None));
        assert_eq!(vip.found(), ["n1 Balancer error: port 8443 is taken by an unknown process"]);
    }

    #[test]
    fn the_address_is_free_or_held_by_a_control_plane() {
        let holding = |facts: &mut Facts| facts.interfaces[1].addresses.push("10.77.0.100/24".parse().unwrap());
        let taken = two().wanting(vip("10.77.0.100", None)).on("n3", holding);
        assert_eq!(
            taken.found(),
            ["n3 VirtualAddress error: the virtual address 10.77.0.100 is one of this host's own"]
        );
        let own =
            two().wanting(vip("10.77.0.100", None)).on("n3", holding).on("n3", config(KEEPALIVED, ConfigOrigin::Kboot));
        assert_eq!(own.found(), [""; 0]);
        let worker =
            two().wanting(vip("10.77.0.100", None)).on("n2", holding).on("n2", config(KEEPALIVED, ConfigOrigin::Kboot));
        assert_eq!(worker.found().len(), 1);
    }

    #[test]
    fn the_address_is_in_the_control_planes_network() {
        assert_eq!(
            two().wanting(vip("10.78.0.100", None)).found(),
            ["n1", "n3"].map(|host| format!(
                "{host} VirtualAddress error: the virtual address 10.78.0.100 is in none of eth0's networks"
            ))
        );
        assert_eq!(two().wanting(vip("10.77.0.100", Some("eth0"))).found(), [""; 0]);
        assert_eq!(
            two().wanting(vip("10.77.0.100", Some("bond0"))).found(),
            ["n1", "n3"].map(|host| format!("{host} VirtualAddress error: the host has no network interface bond0"))
        );
    }
}
