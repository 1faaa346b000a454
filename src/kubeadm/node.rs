//! What InitConfiguration and JoinConfiguration say alike: of this node, and of the run.

use serde_json::json;

use super::draft::Draft;
use super::types::{ApiEndpoint, NodeRegistration, Patches, Timeouts};
use super::{Here, Options, span};
use crate::bootstrap::CertificateKey;
use crate::inventory::reading::{nearest, quote};
use crate::inventory::{API_PORT, Path, Role};

/// containerd's socket, in the spellings that kubeadm takes.
const SOCKETS: [&str; 4] = [
    "unix:///run/containerd/containerd.sock",
    "unix:///var/run/containerd/containerd.sock",
    "/run/containerd/containerd.sock",
    "/var/run/containerd/containerd.sock",
];

/// The host as the inventory has it. The endpoint comes with its place in the document. An address that is not in the file is that of
/// `flag`, a flag of the kubelet's with its place among them, or the machine's own.
pub fn host(
    draft: &mut Draft<'_>,
    registration: &NodeRegistration,
    (endpoint, place): (&ApiEndpoint, &str),
    here: &Here,
    flag: Option<(usize, &str)>,
) {
    // Checked as a cluster's only host, which has to be a control plane.
    draft.host("roles", json!([Role::ControlPlane]));
    match &registration.name {
        Some(name) => draft.set_host("name", json!(name), "nodeRegistration.name"),
        None => draft.host("name", json!(here.name)),
    }
    match (&endpoint.advertise_address, flag, here.address) {
        (Some(address), ..) => draft.put_host("address", json!(address), Path::of(place).key("advertiseAddress")),
        (None, Some((index, address)), _) => {
            let place = Path::of("nodeRegistration.kubeletExtraArgs").index(index).key("value");
            draft.put_host("address", json!(address), place);
        }
        (None, None, Some(address)) => draft.host("address", json!(address)),
        (None, None, None) => {
            let path = Path::of(place).key("advertiseAddress");
            draft.refuse(
                draft.node,
                &path,
                "is not there, and this machine has no default route by which its address could be told",
                "give the address by which the other machines reach this one",
            );
            draft.host("address", json!("192.0.2.1"));
        }
    }
    if let Some(port) = endpoint.bind_port.filter(|port| *port != i64::from(API_PORT) && *port != 0) {
        let path = Path::of(place).key("bindPort");
        let hint = "leave it out; a load balancer in front may have any port: `controlPlaneEndpoint`";
        draft.refuse(draft.node, &path, &format!("{port} can't be: the API server listens on {API_PORT}"), hint);
    }
    if let Some(taints) = &registration.taints {
        let text = |key: &str, value: &str, effect: &str| match value {
            "" => format!("{key}:{effect}"),
            value => format!("{key}={value}:{effect}"),
        };
        let taints: Vec<_> = taints.iter().map(|taint| text(&taint.key, &taint.value, &taint.effect)).collect();
        draft.set_host("taints", json!(taints), "nodeRegistration.taints");
    }
    rest(draft, registration);
}

fn rest(draft: &mut Draft<'_>, registration: &NodeRegistration) {
    let kind = draft.node;
    let place = |field: &str| Path::of("nodeRegistration").key(field);
    for (index, taint) in registration.taints.iter().flatten().enumerate() {
        if taint.time_added.is_some() {
            let path = place("taints").index(index).key("timeAdded");
            draft.refuse(kind, &path, "is not supported", "leave it out: the cluster notes the time by itself");
        }
    }
    if let Some(socket) = registration.cri_socket.as_deref().filter(|socket| !SOCKETS.contains(socket)) {
        let message = format!("{} is not containerd's socket", quote(socket));
        draft.refuse(kind, &place("criSocket"), &message, "kboot sets up containerd: leave the field out");
    }
    draft.arguments("kubelet.extraArgs", &registration.kubelet_extra_args, kind, "nodeRegistration.kubeletExtraArgs");
    match registration.image_pull_policy.as_deref() {
        None | Some("IfNotPresent") => {}
        Some("Always" | "Never") => {
            let hint = "kboot pulls what is not there: leave the field out";
            draft.refuse(kind, &place("imagePullPolicy"), "takes `IfNotPresent` only", hint);
        }
        Some(other) => {
            let message = format!("{} is none of `Always`, `IfNotPresent`, `Never`", quote(other));
            let near = nearest(other, &["Always", "IfNotPresent", "Never"]);
            let hint = near.map_or("leave the field out".into(), |word| format!("did you mean {}?", quote(word)));
            draft.refuse(kind, &place("imagePullPolicy"), &message, &hint);
        }
    }
}

/// What the file says of waiting. Two of kboot's times stand for several of kubeadm's: the longest counts.
pub fn timeouts(draft: &mut Draft<'_>, timeouts: &Timeouts) {
    let kind = draft.node;
    let all = [
        ("controlPlaneComponentHealthCheck", &timeouts.control_plane_component_health_check, Some("timeouts.ready")),
        ("kubeletHealthCheck", &timeouts.kubelet_health_check, Some("timeouts.ready")),
        ("tlsBootstrap", &timeouts.tls_bootstrap, Some("timeouts.ready")),
        ("discovery", &timeouts.discovery, Some("timeouts.connect")),
        ("kubernetesAPICall", &timeouts.kubernetes_api_call, None),
        ("etcdAPICall", &timeouts.etcd_api_call, None),
        ("upgradeManifests", &timeouts.upgrade_manifests, None),
    ];
    // kubeadm's defaults, which it prints itself, ask for nothing.
    let defaults = [("kubernetesAPICall", 60), ("etcdAPICall", 120), ("upgradeManifests", 300)];
    let mut longest: Vec<(&str, u64, &str)> = Vec::new();
    for (name, text, field) in all {
        let Some(text) = text else { continue };
        let path = Path::of("timeouts").key(name);
        let Some(seconds) = span::seconds(text) else {
            let message = format!("{} is not a span of time", quote(text));
            draft.refuse(kind, &path, &message, "as Go writes it: `4m0s`");
            continue;
        };
        let Some(field) = field else {
            if defaults.contains(&(name, seconds)) {
                continue;
            }
            draft.warn(kind, &path, "has no effect", "kboot makes no such call, or waits as long as for the component");
            continue;
        };
        match longest.iter_mut().find(|(known, ..)| *known == field) {
            Some(known) if known.1 < seconds => *known = (field, seconds, name),
            Some(_) => {}
            None => longest.push((field, seconds, name)),
        }
    }
    for (field, seconds, name) in longest {
        draft.set(field, json!(seconds), kind, &format!("timeouts.{name}"));
    }
}

/// The key by which the authorities are kept in the cluster. What is wrong with it is told without it.
pub fn certificate_key(draft: &mut Draft<'_>, text: Option<&str>, place: &str) -> Option<CertificateKey> {
    match text.filter(|text| !text.is_empty())?.parse() {
        Ok(key) => Some(key),
        Err(error) => {
            let hint =
                "`kubeadm certs certificate-key` makes one; `kboot init --upload-certs` prints the one that it used";
            draft.refuse(draft.node, &Path::of(place), &format!("failed to {error}"), hint);
            None
        }
    }
}

/// What the file says of the run.
pub fn options(is_dry_run: bool, registration: &NodeRegistration, patches: &Patches) -> Options {
    Options {
        is_dry_run,
        ignore_preflight: registration.ignore_preflight_errors.clone(),
        patches: patches.directory.clone().filter(|folder| !folder.is_empty()),
        ..Options::default()
    }
}
