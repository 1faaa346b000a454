//! What a host is: one probe, immutable afterwards.
//!
//! [`gather`] looks at a host through a [`Probe`](crate::engine::Probe) alone and reads nearly all of it from files, for
//! processes cost more than everything else together. Facts are judged elsewhere: this module knows nothing of what is
//! wanted of a host, of inventories or of other hosts.

mod balancer;
mod etcd;
mod gather;
mod host;
mod immutable;
mod kernel;
mod network;
mod packages;
mod recovery;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use balancer::{CONFIGS, ConfigOrigin};
pub use etcd::{EtcdEndpoint, EtcdState, EtcdView};
pub use gather::gather;
pub use network::Files as NetworkFiles;
pub use recovery::{GivenUp, RECOVERY, Recovery, member_id};

/// The ports that a node's components listen on: API server, kubelet, controller manager, scheduler, etcd's two.
pub const PORTS: [u16; 6] = [6443, 10250, 10257, 10259, 2379, 2380];

/// The kernel modules that are looked for.
pub const MODULES: [&str; 4] = ["overlay", "br_netfilter", "nf_conntrack", "vxlan"];

/// What a host was when it was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    pub hostname: String,
    /// None where systemd has not made one yet.
    pub machine_id: Option<String>,
    /// The firmware's; None in most containers, on boards without DMI, and for anyone but root.
    pub product_uuid: Option<String>,
    pub os: Os,
    /// As Debian names it where it is known: `amd64`, `arm64`.
    pub architecture: String,
    /// The kernel's release, as `6.1.0-18-amd64`.
    pub kernel: String,
    pub is_systemd: bool,
    /// The effective user that looked.
    pub uid: u32,
    /// The processors that may be used.
    pub cores: usize,
    pub memory_bytes: u64,
    /// Devices and files that are swapped to.
    pub swaps: Vec<String>,
    /// The lines of /etc/fstab that switch swap on at boot.
    pub fstab_swaps: Vec<String>,
    pub cgroup: Cgroup,
    /// Whether services may lower an oom_score_adj: containerd's own rule is CAP_SYS_RESOURCE outside of user namespaces.
    pub has_sys_resource: bool,
    /// systemd-detect-virt's name for it, as `kvm` or `systemd-nspawn`; None on bare metal.
    pub virtualization: Option<String>,
    pub modules: BTreeMap<String, ModuleState>,
    pub interfaces: Vec<Interface>,
    /// Addresses that the kernel answers for, where it could not be told on which interface.
    pub unplaced_addresses: Vec<IpAddr>,
    /// All routes but default ones.
    pub routes: Vec<Route>,
    /// The device of the default route, IPv4's first.
    pub default_route: Option<String>,
    /// The TCP ports that something listens on.
    pub listening: Vec<Listener>,
    /// The host's clock when it was asked, milliseconds since 1970.
    pub time_unix_ms: u64,
    /// Those of a list of programs that are in one of the usual folders.
    pub executables: BTreeSet<String>,
    /// Installed packages that matter, by name, with their versions.
    pub packages: BTreeMap<String, String>,
    /// Container runtimes whose service runs.
    pub runtimes: BTreeSet<Runtime>,
    pub has_apt: bool,
    /// Whose the configuration files of load balancers are, by their paths; those that are not there are left out.
    #[serde(default)]
    pub balancers: BTreeMap<String, ConfigOrigin>,
    pub node: NodeState,
    /// What an unprivileged process may still write, by file system; None where it could not be told.
    pub free_bytes: Option<FreeBytes>,
    /// The resolver configuration for the kubelet: systemd-resolved's real one where that runs, as kubeadm has it, for its
    /// stub on a loopback address is of no use inside pods.
    pub resolv_conf: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    /// `debian`, `ubuntu` …
    pub id: String,
    pub id_like: Vec<String>,
    /// `12`, `24.04`; empty for rolling releases.
    pub version_id: String,
    /// `bookworm`; empty where there is none.
    pub codename: String,
    pub pretty_name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cgroup {
    /// Also systemd's hybrid, whose controllers are v1's.
    V1,
    V2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModuleState {
    Loaded,
    BuiltIn,
    /// On disk, for modprobe to load.
    Loadable,
    Missing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    /// Each with its network's prefix length.
    pub addresses: Vec<IpNet>,
    pub is_up: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    pub destination: IpNet,
    /// `*` for a route that refuses.
    pub device: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    pub port: u16,
    /// The process' name, cut off at 15 characters by the kernel; None where it can't be told.
    pub process: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    Containerd,
    Docker,
    CriO,
    CriDockerd,
}

/// What is there of a Kubernetes node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    pub has_admin_conf: bool,
    pub has_kubelet_conf: bool,
    pub has_bootstrap_conf: bool,
    /// Whether etcd has data.
    pub has_etcd_data: bool,
    /// The ID of the etcd member whose data they are, in hexadecimal; None where it could not be read.
    #[serde(default)]
    pub etcd_member: Option<String>,
    /// The members, by their IDs, without which etcd goes on since a recovery from this host's data.
    #[serde(default)]
    pub given_up: Vec<String>,
    /// Whether it makes, or made, a cluster of its own: its etcd was not told to join another's or, where it has none, it has what
    /// only the first control plane gets.
    #[serde(default)]
    pub has_begun_cluster: bool,
    /// Whether its API server answered that it is ready. Also false where it tells nobody without credentials.
    #[serde(default)]
    pub serves: bool,
    /// Whether some of the cluster's authorities are missing, that what runs here must have. Their certificates' keys may be, by design.
    #[serde(default)]
    pub has_lost_authorities: bool,
    /// Whether kboot has changed this host and has not taken all of it back: its journal, its baseline or a pod's folder is here.
    #[serde(default)]
    pub has_history: bool,
    /// The file names in /etc/kubernetes/manifests.
    pub manifests: Vec<String>,
    /// SHA-256 of each certificate in /etc/kubernetes/pki/ca.crt, in hexadecimal.
    pub ca: Vec<String>,
    /// The API server's URL in kubelet.conf.
    pub server: Option<String>,
    /// The settings that were fixed when the cluster was created, as far as this host shows them.
    pub immutable: ImmutableSettings,
}

/// Settings that a cluster keeps for its life, as the files of a node have them; None where they don't say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImmutableSettings {
    /// The node's name in its kubelet's certificate.
    pub node_name: Option<String>,
    /// The address that the kubelet, or else the API server, was told to use.
    pub address: Option<String>,
    pub pod_subnet: Option<String>,
    pub service_subnet: Option<String>,
    pub dns_domain: Option<String>,
    /// `v1.37.2`, of the API server's image.
    pub version: Option<String>,
    /// `host:port` by which administrators reach the API server.
    pub endpoint: Option<String>,
    /// Where the API server finds etcd: URLs with commas between.
    #[serde(default)]
    pub etcd_servers: Option<String>,
    /// The file names in /etc/cni/net.d.
    pub networks: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeBytes {
    pub root: u64,
    pub var_lib: u64,
}

impl Facts {
    /// Every address that the kernel answers for.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let placed = self.interfaces.iter().flat_map(|interface| interface.addresses.iter().map(IpNet::addr));
        placed.chain(self.unplaced_addresses.iter().copied())
    }

    /// Whether the host shares its kernel with others.
    pub fn is_container(&self) -> bool {
        const CONTAINERS: [&str; 11] = [
            "systemd-nspawn",
            "lxc",
            "lxc-libvirt",
            "docker",
            "podman",
            "rkt",
            "openvz",
            "wsl",
            "proot",
            "pouch",
            "container-other",
        ];
        self.virtualization.as_deref().is_some_and(|name| CONTAINERS.contains(&name))
    }

    pub fn has_executable(&self, name: &str) -> bool {
        self.executables.contains(name)
    }

    /// A module's state; one that was not looked for counts as missing.
    pub fn module(&self, name: &str) -> ModuleState {
        self.modules.get(name).copied().unwrap_or(ModuleState::Missing)
    }
}

impl ModuleState {
    /// Whether the kernel has it at once.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Loaded | Self::BuiltIn)
    }
}

impl NodeState {
    /// Whether the host belongs, or is about to belong, to a cluster.
    pub fn is_member(&self) -> bool {
        self.has_kubelet_conf || self.has_bootstrap_conf || self.is_control_plane()
    }

    /// Whether kboot changed the host, or anybody made a node of it. Data in etcd's folder may be those of any etcd.
    pub fn has_traces(&self) -> bool {
        let has_manifest = CONTROL_PLANE.iter().any(|name| self.has_manifest(name));
        self.has_history || self.has_kubelet_conf || self.has_bootstrap_conf || has_manifest
    }

    /// Whether the host has what only a control plane has. An admin.conf alone may be an administrator's copy.
    pub fn is_control_plane(&self) -> bool {
        self.has_etcd_data || CONTROL_PLANE.iter().any(|name| self.has_manifest(name))
    }

    /// Whether the host runs etcd and is no node of a cluster. A control plane has the cluster's authority before it has an etcd.
    pub fn runs_etcd_alone(&self) -> bool {
        self.has_manifest("etcd")
            && !self.has_manifest("kube-apiserver")
            && !self.has_kubelet_conf
            && self.ca.is_empty()
    }

    /// Whether there is an API server here that keeps its state in an etcd of other hosts.
    pub fn uses_etcd_elsewhere(&self) -> bool {
        self.has_manifest("kube-apiserver") && !self.has_manifest("etcd") && !self.asks_own_etcd()
    }

    /// Whether the API server was told of the etcd beside it, as it is with one that kubeadm or kboot runs.
    fn asks_own_etcd(&self) -> bool {
        let servers = self.immutable.etcd_servers.as_deref().unwrap_or_default();
        servers.is_empty() || ["https://127.0.0.1:", "https://[::1]:"].iter().any(|own| servers.starts_with(own))
    }

    /// Whether the kubelet runs this static pod: `etcd`, `kube-apiserver` …
    pub fn has_manifest(&self, component: &str) -> bool {
        self.manifests.iter().any(|file| file.strip_suffix(".yaml") == Some(component))
    }
}

const CONTROL_PLANE: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
