//! The inventory's types. The field docs are the descriptions in the JSON Schema that `kboot config schema` prints.

use std::collections::BTreeMap;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use std::net::IpAddr;

use super::one_or_many::OneOrMany;

/// A Kubernetes cluster and the hosts that it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// Always `Cluster`.
    pub kind: Kind,
    /// The cluster's name: the context's name in kubeconfigs, and `clusterName` in kubeadm's configuration.
    #[serde(default = "default_name")]
    pub name: String,
    /// `host` or `host:port` by which nodes and people reach the API server, where you have something that leads there. Without it
    /// and without `vip`: the first control plane's address, port 6443, and each worker balances over all control planes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// An address that the control planes hold among themselves; it is then the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vip")]
    pub vip: Option<Vip>,
    /// What is installed.
    #[serde(default)]
    pub kubernetes: Kubernetes,
    /// Pod, service and DNS networking.
    #[serde(default)]
    pub network: Network,
    /// The certificates that kboot issues.
    #[serde(default)]
    pub certificates: Certificates,
    /// The control plane's components.
    #[serde(default)]
    pub control_plane: ControlPlane,
    /// An etcd of your own. Without it each control plane runs a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Etcd")]
    pub etcd: Option<Etcd>,
    /// The kubelet on every host.
    #[serde(default)]
    pub kubelet: Kubelet,
    /// kube-proxy, which carries the traffic to services.
    #[serde(default)]
    pub kube_proxy: KubeProxy,
    /// CoreDNS, which answers for the cluster's names.
    #[serde(default)]
    pub dns: Dns,
    /// Changes to the files and objects that kboot renders, in their order: kubeadm's patches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
    /// Kernel settings of every host, as `vm.max_map_count: "262144"`.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Where packages come from.
    #[serde(default)]
    pub packages: Packages,
    /// The container runtime on every host.
    #[serde(default, skip_serializing_if = "Containerd::is_default")]
    pub containerd: Containerd,
    /// Where container images come from.
    #[serde(default)]
    pub images: Images,
    /// How hosts are reached, unless a host says otherwise.
    #[serde(default)]
    pub ssh: Ssh,
    /// How long kboot waits.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Values for playbooks of your own, where they stand as `vars.NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, serde_json::Value>,
    /// The machines, at least one of them a control plane.
    #[schemars(length(min = 1), example = &"[{name: n1, address: 10.0.0.11, roles: [control-plane]}]")]
    pub hosts: Vec<Host>,
}

/// A virtual address: whichever control plane holds it passes connections on to all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vip {
    /// A free address in the control planes' network.
    #[schemars(with = "String", extend("format" = "ip"), example = &"10.0.0.10")]
    pub address: IpAddr,
    /// The port that clients use. Default: 8443, for the API server itself has 6443; with kube-vip 6443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// The network interface that gets the address. Default: on each control plane the one that has the host's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// What moves the address.
    #[serde(default)]
    pub provider: VipProvider,
    /// The number by which the control planes know each other's VRRP messages; no two clusters in a network may share it. Default:
    /// the last part of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub router_id: Option<u8>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VipProvider {
    /// keepalived and haproxy, from the distribution's packages.
    #[default]
    Keepalived,
    /// kube-vip, in a static pod.
    KubeVip,
}

/// Where the cluster's state is kept, if not on the control planes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Etcd {
    /// One that is there already, and that kboot neither makes nor changes.
    pub external: ExternalEtcd,
}

/// An etcd, and what the API servers prove themselves to it with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalEtcd {
    /// Its members' client URLs, as `https://10.0.0.21:2379`.
    #[schemars(length(min = 1), example = &"[https://10.0.0.21:2379]")]
    pub endpoints: Vec<String>,
    /// A file with the certificate authority that signed the members' certificates, relative to the inventory.
    #[schemars(example = &"etcd/ca.crt")]
    pub ca_file: String,
    /// A file with the API servers' client certificate, relative to the inventory.
    #[schemars(example = &"etcd/client.crt")]
    pub cert_file: String,
    /// A file with its private key, relative to the inventory.
    #[schemars(example = &"etcd/client.key")]
    pub key_file: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    #[serde(rename = "kboot/v1alpha1")]
    V1Alpha1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    Cluster,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kubernetes {
    /// The exact version, as `v1.37.2`.
    #[schemars(example = &"v1.37.2")]
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Network {
    /// Addresses for pods, as `10.244.0.0/16`. Each node takes a /24 of it.
    #[schemars(with = "String", extend("format" = "cidr"))]
    pub pod_subnet: IpNet,
    /// Addresses for services, as `10.96.0.0/12`.
    #[schemars(with = "String", extend("format" = "cidr"))]
    pub service_subnet: IpNet,
    /// The cluster's DNS domain.
    pub dns_domain: String,
    /// The pod network.
    pub cni: Cni,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cni {
    /// Flannel with VXLAN, as upstream's manifest has it.
    Flannel,
    /// Weave Net 2.8.1. Archived by its makers; a community fork goes on.
    Weave,
    /// Nothing: you bring your own.
    None,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Certificates {
    /// The algorithm of new keys, with kubeadm's names.
    pub encryption_algorithm: EncryptionAlgorithm,
    /// How long a new certificate authority is valid, in hours (`87600h`), days (`3650d`) or years (`10y`).
    pub ca_validity: Period,
    /// How long every other new certificate is valid.
    pub validity: Period,
    /// More DNS names and IP addresses for the API server's certificate.
    #[serde(rename = "extraSANs")]
    pub extra_sans: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EncryptionAlgorithm {
    #[serde(rename = "ECDSA-P256")]
    EcdsaP256,
    #[serde(rename = "RSA-2048")]
    Rsa2048,
    #[serde(rename = "RSA-3072")]
    Rsa3072,
    #[serde(rename = "RSA-4096")]
    Rsa4096,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ControlPlane {
    /// Whether kboot sets three flags that kubeadm does not: the API server's `shutdown-watch-termination-grace-period`, the controller
    /// manager's `kube-api-qps` and `kube-api-burst`. `kboot adopt` says no where a cluster has none of them.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub own_flags: bool,
    pub api_server: Component,
    pub controller_manager: Component,
    pub scheduler: Component,
    pub etcd: Component,
}

/// Settings of one static pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Component {
    /// Flags without the leading dashes; they replace kboot's own of the same name.
    pub extra_args: BTreeMap<String, String>,
    /// Paths of the host that are mounted into the pod.
    pub extra_volumes: Vec<ExtraVolume>,
    /// Environment variables of the pod's container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_envs: Vec<EnvVar>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvVar {
    pub name: String,
    #[serde(default)]
    pub value: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtraVolume {
    pub name: String,
    pub host_path: String,
    pub mount_path: String,
    #[serde(default)]
    pub read_only: bool,
    /// As in Kubernetes' `hostPath.type`: `File`, `Directory`, `DirectoryOrCreate` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_type: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kubelet {
    /// Fields of KubeletConfiguration that are set on every host, as `maxPods: 200`.
    pub config: BTreeMap<String, serde_json::Value>,
    /// Flags without the leading dashes; they replace kboot's own of the same name. What has a field in `config` belongs there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_args: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubeProxy {
    /// Whether it is installed. `false` is for pod networks that do its work themselves; one that runs already is left alone.
    pub enabled: bool,
    /// Fields of KubeProxyConfiguration, as `mode: nftables`.
    pub config: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Dns {
    /// Whether it is installed. With `false`, one that runs already is left alone.
    pub enabled: bool,
    /// The registry and path of its image, if not those of `images.repository`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_repository: Option<String>,
    /// Its image's tag, if not the one that belongs to the version of Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<String>,
}

/// A change to what kboot renders.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Patch {
    pub target: PatchTarget,
    /// How `patch` is meant.
    #[serde(default, rename = "type")]
    pub kind: PatchType,
    /// Fields that are laid over those of the target or, of the type `json`, a list of operations (RFC 6902).
    pub patch: serde_json::Value,
}

/// What can be patched, by kubeadm's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PatchTarget {
    KubeApiserver,
    KubeControllerManager,
    KubeScheduler,
    Etcd,
    #[serde(rename = "kubeletconfiguration")]
    KubeletConfiguration,
    #[serde(rename = "corednsdeployment")]
    CoreDnsDeployment,
    #[serde(rename = "kubeproxydaemonset")]
    KubeProxyDaemonSet,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PatchType {
    /// Maps are merged, and those lists whose items have a name, as containers and volumes.
    #[default]
    Strategic,
    /// JSON Merge Patch (RFC 7386): maps are merged, lists are replaced.
    Merge,
    /// JSON Patch (RFC 6902): a list of operations.
    Json,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Containerd {
    /// Whether /etc/containerd/config.toml stays as it is on hosts that are nodes already. On others kboot writes its own.
    pub keep_config: bool,
}

impl Containerd {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Packages {
    /// kubelet, kubeadm, kubectl, kubernetes-cni and cri-tools.
    pub kubernetes: Repository,
    /// containerd.io 2.x. Set `distribution: true` to take the distribution's own containerd.
    pub containerd: Repository,
}

/// An apt repository. In `url` and `suite`, `{minor}` stands for Kubernetes' minor version (`v1.37`), `{distribution}` and
/// `{codename}` for the host's (`debian`, `bookworm`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Repository {
    /// The repository's address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The suite; `/` for a flat repository.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub suite: String,
    /// The components; none for a flat repository.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// A file with the repository's public key, armored or not, relative to the inventory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// Where the public key is downloaded from if there is no `keyFile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_url: Option<String>,
    /// The fingerprint that the key must have, 40 hex digits; or a list of them: any of these keys is trusted.
    #[serde(skip_serializing_if = "OneOrMany::is_empty")]
    pub fingerprint: OneOrMany,
    /// Take the package from the distribution's own repository.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub distribution: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Images {
    /// The registry and path that Kubernetes' own images are named by.
    pub repository: String,
    /// Registries and the mirror that each is pulled through, as `registry.k8s.io: http://10.0.0.1:5000`.
    pub mirrors: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ssh {
    /// The user to log in as; one other than root needs passwordless sudo.
    pub user: String,
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The private key, relative to the inventory. Default: the SSH agent's keys, then ~/.ssh/id_ed25519 and id_ecdsa.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_file: Option<String>,
    /// The file with the hosts' public keys, relative to the inventory.
    pub known_hosts: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
    /// Connecting to a host, in seconds.
    #[schemars(range(min = 1))]
    pub connect: u64,
    /// Installing packages, pulling an image, and waiting for a dpkg lock, each, in seconds.
    #[schemars(range(min = 1))]
    pub install: u64,
    /// Waiting for a component, a node or a workload to be ready, each, in seconds.
    #[schemars(range(min = 1))]
    pub ready: u64,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Host {
    /// The node's name: a lower-case DNS name.
    #[schemars(example = &"n1")]
    pub name: String,
    /// The IP address by which kboot and the other hosts reach it.
    #[schemars(with = "String", extend("format" = "ip"), example = &"10.0.0.11")]
    pub address: IpAddr,
    /// `control-plane`, `worker`, or both: a control plane that also takes workloads. Or `etcd` alone: where any host has it, these hosts
    /// run the cluster's etcd, and are no nodes.
    #[schemars(length(min = 1), example = &"[worker]")]
    pub roles: Vec<Role>,
    /// Labels of the node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Taints of the node, as `key=value:NoSchedule`. Default: control planes that are not workers, too, have
    /// `node-role.kubernetes.io/control-plane:NoSchedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taints: Option<Vec<String>>,
    /// Kernel settings of this host, beside and before the cluster's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Values for playbooks of your own on this host, over those of the cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, serde_json::Value>,
    /// How this host is reached, where it differs from the others.
    #[serde(default, skip_serializing_if = "HostSsh::is_empty")]
    pub ssh: HostSsh,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    ControlPlane,
    Worker,
    Etcd,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HostSsh {
    /// Where SSH answers, if not at the host's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_file: Option<String>,
    /// The host's public key, as `ssh-ed25519 AAAA…`; then known_hosts is not read for this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
}

/// A span of time in whole hours; written `8760h`, `365d` or `1y` (365 days).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub hours: u32,
}

impl Period {
    pub fn hours(self) -> u32 {
        self.hours
    }
}

pub(super) fn default_name() -> String {
    "kubernetes".into()
}
