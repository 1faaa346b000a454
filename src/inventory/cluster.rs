//! What follows from an inventory: names, addresses and references that everybody must derive alike.
//!
//! Pure functions of the types; a checked [`Cluster`] is assumed, and an unchecked one never panics.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use camino::{Utf8Path, Utf8PathBuf};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::types::*;
use super::versions::{RELEASES, Release, Version};

/// The label and taint of control planes.
pub const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// The registry that Kubernetes' images are published in.
pub const REGISTRY: &str = "registry.k8s.io";

/// How SSH reaches a host: the host's own settings over the cluster's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshTarget {
    /// A name or an IP address.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub identity_file: Option<Utf8PathBuf>,
    pub known_hosts: Utf8PathBuf,
    /// `ssh-ed25519 AAAA…`
    pub host_key: Option<String>,
}

/// A node's taint, as in Kubernetes' API. No value is the empty one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taint {
    pub key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    pub effect: String,
}

impl Host {
    /// A host with every default.
    pub fn new(name: impl Into<String>, address: IpAddr, roles: Vec<Role>) -> Self {
        Self {
            name: name.into(),
            address,
            roles,
            labels: BTreeMap::new(),
            taints: None,
            sysctls: BTreeMap::new(),
            vars: BTreeMap::new(),
            ssh: HostSsh::default(),
        }
    }
}

impl Cluster {
    /// Resolves the paths of repository keys and of etcd's certificates, which are relative to the folder of a configuration file.
    pub fn resolve_keys(&mut self, folder: &Utf8Path) {
        for repository in [&mut self.packages.kubernetes, &mut self.packages.containerd] {
            if let Some(file) = &repository.key_file {
                repository.key_file = Some(folder.join(file).into_string());
            }
        }
        for file in self.etcd.iter_mut().flat_map(|etcd| etcd.external.files_mut()) {
            *file = folder.join(&*file).into_string();
        }
    }

    /// What a command without an inventory starts from: one host, and every default.
    pub fn single(host: Host) -> Self {
        Self {
            api_version: ApiVersion::V1Alpha1,
            kind: Kind::Cluster,
            name: super::types::default_name(),
            endpoint: None,
            vip: None,
            kubernetes: Kubernetes::default(),
            network: Network::default(),
            certificates: Certificates::default(),
            control_plane: ControlPlane::default(),
            etcd: None,
            kubelet: Kubelet::default(),
            kube_proxy: KubeProxy::default(),
            dns: Dns::default(),
            patches: Vec::new(),
            sysctls: BTreeMap::new(),
            packages: Packages::default(),
            containerd: Containerd::default(),
            images: Images::default(),
            ssh: Ssh::default(),
            timeouts: Timeouts::default(),
            vars: Default::default(),
            hosts: vec![host],
        }
    }

    pub fn control_planes(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.is_control_plane())
    }

    /// The hosts that join as workers: nodes that are not control planes. A host with both roles is a control plane
    /// that also takes workloads.
    pub fn workers(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.is_worker())
    }

    /// The hosts that are nodes of the cluster: all but those of etcd's alone.
    pub fn nodes(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| !host.is_etcd())
    }

    /// What the API server's keys in etcd begin with, the slash after it included.
    pub fn etcd_prefix(&self) -> String {
        let prefix = self.control_plane.api_server.extra_args.get("etcd-prefix").map_or("/registry", String::as_str);
        format!("/{}/", prefix.trim_matches('/'))
    }

    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// `v1.37`
    pub fn minor(&self) -> String {
        let version = self.kubernetes.version.as_str();
        version.rsplit_once('.').map_or(version, |(minor, _)| minor).to_owned()
    }

    /// `1.37.2`, as packages are numbered.
    pub fn version_number(&self) -> &str {
        self.kubernetes.version.trim_start_matches('v')
    }

    /// CoreDNS' service address: the service subnet's tenth, as kubeadm has it.
    pub fn dns_address(&self) -> IpAddr {
        nth(self.network.service_subnet, 10)
    }

    /// The `kubernetes` service's address: the service subnet's first.
    pub fn api_service_address(&self) -> IpAddr {
        nth(self.network.service_subnet, 1)
    }

    /// The prefix length of each node's share of the pod subnet: the controller manager's default.
    pub fn node_mask(&self) -> u8 {
        match self.network.pod_subnet {
            IpNet::V4(_) => 24,
            IpNet::V6(_) => 64,
        }
    }

    pub fn ssh_target(&self, host: &Host) -> SshTarget {
        let (own, common) = (&host.ssh, &self.ssh);
        SshTarget {
            host: own.address.clone().unwrap_or_else(|| host.address.to_string()),
            port: own.port.unwrap_or(common.port),
            user: own.user.clone().unwrap_or_else(|| common.user.clone()),
            identity_file: own.identity_file.as_ref().or(common.identity_file.as_ref()).map(Utf8PathBuf::from),
            known_hosts: Utf8PathBuf::from(&common.known_hosts),
            host_key: own.host_key.clone(),
        }
    }

    /// The full reference of `etcd`, `coredns`, `pause` or one of Kubernetes' own images, as `kube-apiserver`.
    pub fn image(&self, name: &str) -> String {
        let repository = self.images.repository.as_str();
        let release = self.release();
        match name {
            "etcd" => format!("{repository}/etcd:{}", release.etcd),
            "pause" => format!("{repository}/pause:{}", release.pause),
            "coredns" => {
                let repository = self.dns.image_repository.as_deref().unwrap_or(repository);
                let tag = self.dns.image_tag.as_deref().unwrap_or(release.coredns);
                // Only the official registry keeps CoreDNS one level down; mirrors by name have it beside the others.
                let folder = if repository == REGISTRY { "/coredns" } else { "" };
                format!("{repository}{folder}/coredns:{tag}")
            }
            _ => format!("{repository}/{name}:{}", self.kubernetes.version),
        }
    }

    /// The host's taints: its own if it lists any (also none), or else a control plane's, unless it is a worker, too.
    pub fn node_taints(&self, host: &Host) -> Vec<Taint> {
        match &host.taints {
            Some(taints) => taints.iter().filter_map(|taint| Taint::parse(taint)).collect(),
            None if host.is_control_plane() && !host.roles.contains(&Role::Worker) => {
                vec![Taint { key: CONTROL_PLANE.into(), value: String::new(), effect: "NoSchedule".into() }]
            }
            None => Vec::new(),
        }
    }

    /// The kernel settings of a host: its own over the cluster's.
    pub fn sysctls(&self, host: &Host) -> BTreeMap<String, String> {
        let mut sysctls = self.sysctls.clone();
        sysctls.extend(host.sysctls.clone());
        sysctls
    }

    fn release(&self) -> &'static Release {
        let [.., latest] = &RELEASES;
        Version::parse(&self.kubernetes.version).and_then(Version::release).unwrap_or(latest)
    }
}

impl ExternalEtcd {
    /// The paths of its three files.
    pub fn files_mut(&mut self) -> [&mut String; 3] {
        [&mut self.ca_file, &mut self.cert_file, &mut self.key_file]
    }
}

impl Host {
    pub fn is_control_plane(&self) -> bool {
        self.roles.contains(&Role::ControlPlane)
    }

    /// Whether it is a node and no control plane.
    pub fn is_worker(&self) -> bool {
        !self.is_control_plane() && !self.is_etcd()
    }
}

impl PatchTarget {
    pub const ALL: [Self; 7] = [
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Etcd,
        Self::KubeletConfiguration,
        Self::CoreDnsDeployment,
        Self::KubeProxyDaemonSet,
    ];

    /// kubeadm's name, with which a patch's file begins.
    pub fn name(self) -> &'static str {
        match self {
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Etcd => "etcd",
            Self::KubeletConfiguration => "kubeletconfiguration",
            Self::CoreDnsDeployment => "corednsdeployment",
            Self::KubeProxyDaemonSet => "kubeproxydaemonset",
        }
    }
}

impl PatchType {
    pub const ALL: [Self; 3] = [Self::Strategic, Self::Merge, Self::Json];

    pub fn name(self) -> &'static str {
        match self {
            Self::Strategic => "strategic",
            Self::Merge => "merge",
            Self::Json => "json",
        }
    }
}

impl HostSsh {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Taint {
    /// Splits `key=value:Effect` and `key:Effect`; whether the parts are valid is for the checks to say.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, effect) = text.rsplit_once(':')?;
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        Some(Self { key: key.into(), value: value.into(), effect: effect.into() })
    }
}

impl Repository {
    /// The repository for one host: `{minor}` (`v1.37`), `{distribution}` (`debian`) and `{codename}` (`bookworm`) filled in.
    pub fn expand(&self, minor: &str, distribution: &str, codename: &str) -> Self {
        let fill = |text: &str| {
            text.replace("{minor}", minor).replace("{distribution}", distribution).replace("{codename}", codename)
        };
        Self {
            url: fill(&self.url),
            suite: fill(&self.suite),
            key_url: self.key_url.as_deref().map(fill),
            ..self.clone()
        }
    }
}

fn nth(subnet: IpNet, index: u32) -> IpAddr {
    match subnet {
        IpNet::V4(subnet) => Ipv4Addr::from(u32::from(subnet.network()).wrapping_add(index)).into(),
        IpNet::V6(subnet) => Ipv6Addr::from(u128::from(subnet.network()).wrapping_add(index.into())).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, address: &str, roles: &[Role]) -> Host {
        Host::new(name, address.parse().unwrap(), roles.to_vec())
    }

    fn cluster() -> Cluster {
        let mut cluster = Cluster::single(host("w1", "10.0.0.2", &[Role::Worker]));
        cluster.hosts.push(host("c1", "10.0.0.1", &[Role::ControlPlane]));
        cluster
    }

    #[test]
    fn hosts_by_role_and_name() {
        let cluster = cluster();
        assert_eq!(cluster.control_planes().map(|h| &*h.name).collect::<Vec<_>>(), ["c1"]);
        assert_eq!(cluster.workers().map(|h| &*h.name).collect::<Vec<_>>(), ["w1"]);
        assert_eq!(cluster.host("w1").unwrap().address.to_string(), "10.0.0.2");
        assert_eq!(cluster.host("w2"), None);
    }

    #[test]
    fn versions_addresses_and_images() {
        let mut cluster = cluster();
        assert_eq!((cluster.minor().as_str(), cluster.version_number()), ("v1.37", "1.37.2"));
        assert_eq!(cluster.dns_address().to_string(), "10.96.0.10");
        assert_eq!(cluster.api_service_address().to_string(), "10.96.0.1");
        assert_eq!(cluster.image("kube-apiserver"), "registry.k8s.io/kube-apiserver:v1.37.2");
        assert_eq!(cluster.image("coredns"), "registry.k8s.io/coredns/coredns:v1.14.6");
        assert_eq!(cluster.image("etcd"), "registry.k8s.io/etcd:3.7.0-0");
        assert_eq!(cluster.image("pause"), "registry.k8s.io/pause:3.10.2");
        cluster.images.repository = "mirror.example.com/k8s".into();
        cluster.kubernetes.version = "v1.35.4".into();
        assert_eq!(cluster.image("coredns"), "mirror.example.com/k8s/coredns:v1.13.1");
        assert_eq!(cluster.image("pause"), "mirror.example.com/k8s/pause:3.10.1");
    }

    #[test]
    fn keys_in_etcd_begin_with_the_api_server_s_prefix() {
        let mut cluster = cluster();
        assert_eq!(cluster.etcd_prefix(), "/registry/");
        for prefix in ["one", "/one", "/one/"] {
            cluster.control_plane.api_server.extra_args.insert("etcd-prefix".into(), prefix.into());
            assert_eq!(cluster.etcd_prefix(), "/one/");
        }
    }

    #[test]
    fn a_host_s_ssh_settings_come_first() {
        let mut cluster = cluster();
        cluster.ssh.identity_file = Some("/keys/all".into());
        cluster.hosts[0].ssh = HostSsh {
            user: Some("admin".into()),
            port: Some(2222),
            address: Some("jump".into()),
            ..HostSsh::default()
        };
        let target = cluster.ssh_target(&cluster.hosts[0]);
        assert_eq!((&*target.host, target.port, &*target.user), ("jump", 2222, "admin"));
        assert_eq!(target.identity_file.unwrap(), "/keys/all");
        let target = cluster.ssh_target(&cluster.hosts[1]);
        assert_eq!((&*target.host, target.port, &*target.user), ("10.0.0.1", 22, "root"));
    }

    #[test]
    fn taints_are_the_host_s_own_or_its_role_s() {
        let mut cluster = cluster();
        let taint = |cluster: &Cluster, index: usize| cluster.node_taints(&cluster.hosts[index]);
        assert_eq!(taint(&cluster, 0), []);
        assert_eq!(taint(&cluster, 1)[0].key, CONTROL_PLANE);
        cluster.hosts[1].roles.push(Role::Worker);
        assert_eq!(taint(&cluster, 1), []);
        cluster.hosts[0].taints = Some(vec!["dedicated=db:NoSchedule".into(), "gpu:NoExecute".into()]);
        assert_eq!(
            taint(&cluster, 0),
            [
                Taint { key: "dedicated".into(), value: "db".into(), effect: "NoSchedule".into() },
                Taint { key: "gpu".into(), value: String::new(), effect: "NoExecute".into() },
            ]
        );
        cluster.hosts[1] = Host { taints: Some(vec![]), roles: vec![Role::ControlPlane], ..cluster.hosts[1].clone() };
        assert_eq!(taint(&cluster, 1), []);
    }

    #[test]
    fn placeholders_are_filled() {
        let packages = Packages::default();
        let kubernetes = packages.kubernetes.expand("v1.37", "debian", "bookworm");
        assert_eq!(kubernetes.url, "https://pkgs.k8s.io/core:/stable:/v1.37/deb/");
        assert_eq!(kubernetes.key_url.unwrap(), "https://pkgs.k8s.io/core:/stable:/v1.37/deb/Release.key");
        let containerd = packages.containerd.expand("v1.37", "debian", "bookworm");
        assert_eq!(containerd.url, "https://download.docker.com/linux/debian");
        assert_eq!((&*containerd.suite, containerd.components), ("bookworm", vec!["stable".to_owned()]));
    }
}
