//! A cluster of three flawless hosts, for tests to spoil.

use std::collections::BTreeMap;

use super::{Exchange, Finding};
use crate::facts::*;
use crate::inventory::{Cluster, Host};

pub const NOW: u64 = 1_795_369_052_980;

pub struct Sample {
    pub cluster: Cluster,
    pub facts: BTreeMap<String, Facts>,
    pub clocks: BTreeMap<String, Exchange>,
}

/// n1 is the control plane, n2 and n3 are workers; all are bare.
pub fn sample() -> Sample {
    let host = |name: &str, address: &str, role: &str| -> Host {
        serde_json::from_value(serde_json::json!({"name": name, "address": address, "roles": [role]})).unwrap()
    };
    let mut cluster = Cluster::single(host("n1", "10.77.0.11", "control-plane"));
    cluster.hosts.extend([host("n2", "10.77.0.12", "worker"), host("n3", "10.77.0.13", "worker")]);
    let facts = cluster.hosts.iter().map(|host| (host.name.clone(), facts(host))).collect();
    let exchange = |host: &Host| (host.name.clone(), Exchange { asked: NOW - 10, answered: NOW + 10 });
    let clocks = cluster.hosts.iter().map(exchange).collect();
    Sample { cluster, facts, clocks }
}

fn facts(host: &Host) -> Facts {
    let interface = |name: &str, address: &str| Interface {
        name: name.into(),
        addresses: vec![address.parse().unwrap()],
        is_up: true,
    };
    Facts {
        hostname: host.name.clone(),
        machine_id: Some(format!("id of {}", host.name)),
        product_uuid: Some(format!("uuid of {}", host.name)),
        os: Os {
            id: "debian".into(),
            id_like: vec![],
            version_id: "12".into(),
            codename: "bookworm".into(),
            pretty_name: "Debian GNU/Linux 12 (bookworm)".into(),
        },
        architecture: "amd64".into(),
        kernel: "6.1.0-18-amd64".into(),
        is_systemd: true,
        uid: 0,
        cores: 2,
        memory_bytes: 1700 << 20,
        swaps: vec![],
        fstab_swaps: vec![],
        cgroup: Cgroup::V2,
        has_sys_resource: true,
        virtualization: Some("kvm".into()),
        modules: MODULES.map(|name| (name.into(), ModuleState::Loadable)).into(),
        interfaces: vec![interface("lo", "127.0.0.1/8"), interface("eth0", &format!("{}/24", host.address))],
        unplaced_addresses: vec![],
        routes: vec![route("10.77.0.0/24", "eth0")],
        default_route: Some("eth0".into()),
        listening: vec![],
        time_unix_ms: NOW,
        executables: ["cp", "losetup", "modprobe", "mount", "swapoff"].map(String::from).into(),
        packages: BTreeMap::new(),
        runtimes: [].into(),
        has_apt: true,
        balancers: BTreeMap::new(),
        node: NodeState::default(),
        free_bytes: Some(FreeBytes { root: 10_000_000_000, var_lib: 10_000_000_000 }),
        resolv_conf: "/etc/resolv.conf".into(),
    }
}

pub fn route(destination: &str, device: &str) -> Route {
    Route { destination: destination.parse().unwrap(), device: device.into() }
}

impl Sample {
    pub fn on(mut self, host: &str, change: impl FnOnce(&mut Facts)) -> Self {
        change(self.facts.get_mut(host).unwrap());
        self
    }

    pub fn everywhere(mut self, change: impl Fn(&mut Facts)) -> Self {
        self.facts.values_mut().for_each(change);
        self
    }

    pub fn wanting(mut self, change: impl FnOnce(&mut Cluster)) -> Self {
        change(&mut self.cluster);
        self
    }

    pub fn package(self, host: &str, name: &str, version: &str) -> Self {
        self.on(host, |facts| {
            facts.packages.insert(name.into(), version.into());
        })
    }

    /// Makes nodes of all three hosts, as a run of kboot leaves them.
    pub fn converged(self) -> Self {
        let interface = |name: &str, address: &str| Interface {
            name: name.into(),
            addresses: vec![address.parse().unwrap()],
            is_up: true,
        };
        self.everywhere(|facts| {
            facts.node = NodeState {
                has_kubelet_conf: true,
                ca: vec!["aa".into()],
                server: Some("https://10.77.0.11:6443".into()),
                ..NodeState::default()
            };
            facts.interfaces.extend([interface("flannel.1", "10.244.1.0/32"), interface("cni0", "10.244.1.1/24")]);
            facts.routes.extend([route("10.244.0.0/24", "flannel.1"), route("10.244.1.0/24", "cni0")]);
            facts.packages.insert("containerd.io".into(), "2.3.7-1~debian.12~bookworm".into());
            facts.packages.insert("kubelet".into(), "1.37.2-1.1".into());
            facts.executables.insert("containerd".into());
            facts.runtimes.insert(Runtime::Containerd);
            facts.listening = vec![listener(10250, Some("kubelet"))];
        })
        .on("n1", |facts| {
            let components = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
            facts.node.manifests = components.map(|name| format!("{name}.yaml")).into();
            facts.node.has_etcd_data = true;
            facts.node.has_admin_conf = true;
            facts.listening = [
                (6443, "kube-apiserver"),
                (10250, "kubelet"),
                (10257, "kube-controller"),
                (10259, "kube-scheduler"),
                (2379, "etcd"),
                (2380, "etcd"),
            ]
            .map(|(port, name)| listener(port, Some(name)))
            .into();
        })
    }

    /// With n3 for etcd alone.
    pub fn with_etcd_host(self) -> Self {
        self.wanting(|cluster| cluster.hosts[2].roles = vec![crate::inventory::Role::Etcd])
    }

    /// As a run leaves the control plane and the etcd host of such a cluster.
    pub fn converged_with_etcd_host(self) -> Self {
        self.with_etcd_host()
            .converged()
            .on("n1", |facts| {
                let node = &mut facts.node;
                node.has_etcd_data = false;
                node.manifests.retain(|name| name != "etcd.yaml");
                node.immutable.etcd_servers = Some("https://10.77.0.13:2379".into());
                facts.listening.retain(|listener| ![2379, 2380].contains(&listener.port));
            })
            .on("n3", |facts| {
                facts.node =
                    NodeState { manifests: vec!["etcd.yaml".into()], has_etcd_data: true, ..NodeState::default() };
                facts.interfaces.truncate(2);
                facts.listening = vec![listener(2379, Some("etcd")), listener(2380, Some("etcd"))];
            })
    }

    /// With an etcd at this URL that is not kboot's.
    pub fn with_etcd_at(self, url: &str) -> Self {
        let external = serde_json::json!({"endpoints": [url], "caFile": "/a", "certFile": "/b", "keyFile": "/c"});
        self.wanting(|cluster| {
            cluster.etcd = serde_json::from_value(serde_json::json!({"external": external})).unwrap();
        })
    }

    pub fn findings(&self) -> Vec<Finding> {
        super::check(&self.cluster, &self.facts, &self.clocks)
    }

    /// The findings, each as `host Check severity: text`; all have a hint.
    pub fn found(&self) -> Vec<String> {
        let line = |finding: Finding| {
            assert!(!finding.hint.is_empty(), "{finding:?}");
            let host = finding.host.as_deref().unwrap_or("*");
            let severity = format!("{:?}", finding.severity).to_lowercase();
            format!("{host} {} {severity}: {}", finding.check, finding.text)
        };
        self.findings().into_iter().map(line).collect()
    }
}

pub fn listener(port: u16, process: Option<&str>) -> Listener {
    Listener { port, process: process.map(String::from) }
}
