//! The control plane's static pods, as kubeadm 1.37 writes them (its packages phases/controlplane and phases/etcd).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::emit::emit;
use super::patch::patched;
use super::template::{RenderError, Template};
use super::yaml::document;
use crate::inventory::{API_PORT, Cluster, Component, Host, PatchTarget};

/// Folders that files of /etc/ssl/certs may be links into. Those that exist on the host are mounted, too.
pub const CA_FOLDERS: [&str; 5] = [
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];

const ETCD_METRICS_PORT: u16 = 2381;
const CONTROLLER_MANAGER_PORT: u16 = 10257;
const SCHEDULER_PORT: u16 = 10259;

/// What kboot sets beyond kubeadm, where the inventory says nothing else. It goes into kubeadm's configuration as well, so that
/// kubeadm keeps it when it upgrades.
///
/// Each controller has an account of its own, made and asked for when it starts: with the default of 20 requests a second it
/// takes several seconds until the first of them runs, and with it the first pod.
const CONTROLLER_MANAGER_FLAGS: [(&str, &str); 2] = [("kube-api-qps", "100"), ("kube-api-burst", "200")];

/// With its default an API server that is told to end holds on to its watches until it is killed, half a minute later. All that
/// time nobody answers, and the other components give up their leases, and themselves.
const API_SERVER_FLAGS: [(&str, &str); 1] = [("shutdown-watch-termination-grace-period", "1s")];

/// The manifest of one of the control plane's pods, for `/etc/kubernetes/manifests`.
pub fn static_pod(pod: StaticPod, cluster: &Cluster, node: &NodeValues) -> Result<String, RenderError> {
    let template = pod.template();
    let settings = pod.settings(cluster);
    let mut manifest = document(template, &Context::new(pod, cluster, node))?;
    let mut volumes = Vec::new();
    if matches!(pod, StaticPod::ApiServer | StaticPod::ControllerManager) {
        volumes.extend(node.ca_folders.iter().map(|folder| ca_volume(folder)));
    }
    volumes.extend(settings.extra_volumes.iter().map(extra_volume));
    let shape = |problem| RenderError::Shape { template: template.path(), problem };
    let spec = manifest.get_mut("spec").ok_or_else(|| shape("it has no spec".into()))?;
    for (volume, _) in &volumes {
        insert(list(spec, "/volumes").map_err(shape)?, volume);
    }
    for (_, mount) in &volumes {
        insert(list(spec, "/containers/0/volumeMounts").map_err(shape)?, mount);
    }
    replace_flags(list(spec, "/containers/0/command").map_err(shape)?, &settings);
    if !settings.extra_envs.is_empty() {
        spec["containers"][0]["env"] = json!(settings.extra_envs);
    }
    Ok(emit(&patched(&cluster.patches, pod.patch_target(), manifest)?))
}

/// A component that the kubelet runs from a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StaticPod {
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
}

/// What a host's static pods depend on beyond the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeValues {
    pub name: String,
    /// Where the API server and etcd listen and are advertised.
    pub address: IpAddr,
    /// Those of [`CA_FOLDERS`] that exist on the host.
    pub ca_folders: Vec<String>,
    /// False with an external CA, whose key isn't on the host: then nothing is signed here.
    pub has_ca_key: bool,
    /// The members of the etcd cluster that this one joins, itself included; empty if it starts a new one.
    pub etcd_members: Vec<EtcdMember>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdMember {
    pub name: String,
    /// `https://10.0.0.1:2380`
    pub peer_url: String,
}

/// Where a member is reached by clients.
pub fn etcd_client_url(address: IpAddr) -> String {
    format!("https://{}:2379", authority(address))
}

/// Where a member is reached by the others, and by what it is known to them.
pub fn etcd_peer_url(address: IpAddr) -> String {
    format!("https://{}:2380", authority(address))
}

/// The members that a member found when it joined, as its manifest has them; none where it began a cluster of its own. etcd reads
/// them once, before it has data; they stay as they were then.
pub fn joined_members(manifest: &str) -> Vec<EtcdMember> {
    if flag(manifest, "initial-cluster-state").as_deref() != Some("existing") {
        return Vec::new();
    }
    let listed = flag(manifest, "initial-cluster").unwrap_or_default();
    let member = |pair: &str| {
        let (name, peer_url) = pair.split_once('=')?;
        Some(EtcdMember { name: name.into(), peer_url: peer_url.into() })
    };
    listed.split(',').filter_map(member).collect()
}

/// What a manifest's container is started with for this flag, written without its dashes.
pub fn flag(manifest: &str, name: &str) -> Option<String> {
    let pod: Value = serde_yaml::from_str(manifest).ok()?;
    let start = format!("--{name}=");
    let mut words = pod.pointer("/spec/containers/0/command")?.as_array()?.iter().filter_map(Value::as_str);
    words.find_map(|word| word.strip_prefix(&start)).map(String::from)
}

/// Those of [`CA_FOLDERS`] that a manifest mounts.
pub fn mounted_ca_folders(manifest: &str) -> Vec<String> {
    let pod: Value = serde_yaml::from_str(manifest).unwrap_or_default();
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
    let paths = volumes.into_iter().flatten().filter_map(|volume| volume["hostPath"]["path"].as_str());
    paths.filter(|path| CA_FOLDERS.contains(path)).map(String::from).collect()
}

impl StaticPod {
    /// In the order of dependence.
    pub const ALL: [StaticPod; 4] =
        [StaticPod::Etcd, StaticPod::ApiServer, StaticPod::ControllerManager, StaticPod::Scheduler];

    /// Those that kboot runs for this cluster.
    pub fn of(cluster: &Cluster) -> impl Iterator<Item = Self> {
        let has_etcd = cluster.external_etcd().is_none();
        Self::ALL.into_iter().filter(move |pod| has_etcd || *pod != StaticPod::Etcd)
    }

    /// Whether this host runs it.
    pub fn is_on(self, cluster: &Cluster, host: &Host) -> bool {
        match self {
            StaticPod::Etcd => cluster.is_member(host),
            StaticPod::ApiServer | StaticPod::ControllerManager | StaticPod::Scheduler => host.is_control_plane(),
        }
    }

    /// The pod's name without the node's, which is also the image's: `kube-apiserver`.
    pub fn name(self) -> &'static str {
        match self {
            StaticPod::Etcd => "etcd",
            StaticPod::ApiServer => "kube-apiserver",
            StaticPod::ControllerManager => "kube-controller-manager",
            StaticPod::Scheduler => "kube-scheduler",
        }
    }

    fn patch_target(self) -> PatchTarget {
        match self {
            StaticPod::Etcd => PatchTarget::Etcd,
            StaticPod::ApiServer => PatchTarget::KubeApiserver,
            StaticPod::ControllerManager => PatchTarget::KubeControllerManager,
            StaticPod::Scheduler => PatchTarget::KubeScheduler,
        }
    }

    fn template(self) -> Template {
        match self {
            StaticPod::Etcd => Template::Etcd,
            StaticPod::ApiServer => Template::ApiServer,
            StaticPod::ControllerManager => Template::ControllerManager,
            StaticPod::Scheduler => Template::Scheduler,
        }
    }

    /// The flags that kboot sets beyond kubeadm.
    pub fn own_flags(self) -> &'static [(&'static str, &'static str)] {
        match self {
            StaticPod::ApiServer => &API_SERVER_FLAGS,
            StaticPod::ControllerManager => &CONTROLLER_MANAGER_FLAGS,
            StaticPod::Etcd | StaticPod::Scheduler => &[],
        }
    }

    /// What the inventory says of it, and what kboot adds.
    pub(super) fn settings(self, cluster: &Cluster) -> Component {
        let components = &cluster.control_plane;
        let mut settings = match self {
            StaticPod::Etcd => &components.etcd,
            StaticPod::ApiServer => &components.api_server,
            StaticPod::ControllerManager => &components.controller_manager,
            StaticPod::Scheduler => &components.scheduler,
        }
        .clone();
        for (flag, value) in self.own_flags().iter().filter(|_| components.own_flags) {
            settings.extra_args.entry((*flag).into()).or_insert_with(|| (*value).into());
        }
        settings
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    cluster: &'a Cluster,
    node: Node<'a>,
    image: String,
    api_port: u16,
    probe: ProbeTarget,
    etcd_servers: String,
    initial_cluster: String,
    is_joining: bool,
    has_ca_key: bool,
    has_authorization_config: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Node<'a> {
    name: &'a str,
    address: IpAddr,
    /// The address as a URL has it: IPv6 in brackets.
    authority: String,
    loopback_authority: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct ProbeTarget {
    /// Empty makes the kubelet ask the pod's own address.
    host: String,
    port: u16,
    scheme: &'static str,
}

impl<'a> Context<'a> {
    fn new(pod: StaticPod, cluster: &'a Cluster, values: &'a NodeValues) -> Self {
        let loopback = loopback(values.address);
        let node = Node {
            name: &values.name,
            address: values.address,
            authority: authority(values.address),
            loopback_authority: authority(loopback),
        };
        let components = &cluster.control_plane;
        // Members that were told to advertise other addresses may not listen on loopback.
        let etcd_servers = match (cluster.etcd_endpoints(), components.etcd.extra_args.get("advertise-client-urls")) {
            (Some(endpoints), _) => endpoints.join(","),
            (None, Some(urls)) => urls.clone(),
            (None, None) => format!("https://{}:2379", node.loopback_authority),
        };
        let members = values.etcd_members.iter().map(|member| format!("{}={}", member.name, member.peer_url));
        let initial_cluster = match values.etcd_members.is_empty() {
            true => format!("{}=https://{}:2380", values.name, node.authority),
            false => members.collect::<Vec<_>>().join(","),
        };
        Self {
            image: cluster.image(pod.name()),
            api_port: API_PORT,
            probe: ProbeTarget::new(pod, cluster, values.address),
            etcd_servers,
            initial_cluster,
            is_joining: !values.etcd_members.is_empty(),
            has_ca_key: values.has_ca_key,
            has_authorization_config: components.api_server.extra_args.contains_key("authorization-config"),
            cluster,
            node,
        }
    }
}

impl ProbeTarget {
    /// The probes follow the flags that move what they ask.
    fn new(pod: StaticPod, cluster: &Cluster, address: IpAddr) -> Self {
        let flags = &pod.settings(cluster).extra_args;
        let bound = || flags.get("bind-address").map_or("127.0.0.1", String::as_str);
        let (host, port, scheme) = match pod {
            StaticPod::ApiServer => (address.to_string(), API_PORT, "HTTPS"),
            StaticPod::ControllerManager => (bound().into(), CONTROLLER_MANAGER_PORT, "HTTPS"),
            StaticPod::Scheduler => (bound().into(), SCHEDULER_PORT, "HTTPS"),
            StaticPod::Etcd => {
                let url = flags.get("listen-metrics-urls").and_then(|urls| split_url(urls.split(',').next()?));
                let (scheme, host, port) = url.unwrap_or(("HTTP", String::new(), None));
                let host = if host.is_empty() { loopback(address).to_string() } else { host };
                (host, port.unwrap_or(ETCD_METRICS_PORT), scheme)
            }
        };
        let is_wildcard = host == "0.0.0.0" || host == "::";
        Self { host: if is_wildcard { String::new() } else { host }, port, scheme }
    }
}

/// `http://host:port` as scheme, host without brackets, and port.
fn split_url(url: &str) -> Option<(&'static str, String, Option<u16>)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(host, port)| (host, port.strip_prefix(':')))?,
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let scheme = if scheme == "https" { "HTTPS" } else { "HTTP" };
    Some((scheme, host.to_owned(), port.and_then(|port| port.parse().ok())))
}

fn loopback(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}

fn authority(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// The user's flags in place of the template's and, as with kubeadm, after those, which are sorted by name.
fn replace_flags(command: &mut Vec<Value>, settings: &Component) {
    let mut flags: Vec<Value> = command.drain(1..).collect();
    flags.retain(|flag| flag.as_str().and_then(flag_name).is_none_or(|name| !settings.extra_args.contains_key(name)));
    flags.sort_by(|a, b| a.as_str().and_then(flag_name).cmp(&b.as_str().and_then(flag_name)));
    flags.extend(settings.extra_args.iter().map(|(name, value)| json!(format!("--{name}={value}"))));
    command.append(&mut flags);
}

fn flag_name(flag: &str) -> Option<&str> {
    let flag = flag.strip_prefix("--")?;
    Some(flag.split_once('=').map_or(flag, |(name, _)| name))
}

fn ca_volume(folder: &str) -> (Value, Value) {
    let name = folder.trim_start_matches('/').replace('/', "-");
    (
        json!({"name": name, "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}),
        json!({"name": name, "mountPath": folder, "readOnly": true}),
    )
}

fn extra_volume(extra: &crate::inventory::ExtraVolume) -> (Value, Value) {
    let mut volume = json!({"name": extra.name, "hostPath": {"path": extra.host_path}});
    if let Some(path_type) = &extra.path_type {
        volume["hostPath"]["type"] = json!(path_type);
    }
    let mut mount = json!({"name": extra.name, "mountPath": extra.mount_path});
    if extra.read_only {
        mount["readOnly"] = json!(true);
    }
    (volume, mount)
}

fn list<'a>(spec: &'a mut Value, pointer: &str) -> Result<&'a mut Vec<Value>, String> {
    spec.pointer_mut(pointer).and_then(Value::as_array_mut).ok_or_else(|| format!("spec{pointer} is not a list"))
}

/// Puts an item in the place of the one of its name, or else before the first whose name comes later.
fn insert(list: &mut Vec<Value>, item: &Value) {
    let name = |item: &Value| item["name"].as_str().unwrap_or_default().to_owned();
    match list.iter().position(|other| name(other) == name(item)) {
        Some(index) => list[index] = item.clone(),
        None => {
            let index = list.iter().position(|other| name(other) > name(item)).unwrap_or(list.len());
            list.insert(index, item.clone());
        }
    }
}

#[cfg(test)]
#[path = "static_pod_tests.rs"]
mod tests;
