//! A file for `init`: InitConfiguration and ClusterConfiguration become an inventory of one host.

use camino::Utf8Path;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::draft::Draft;
use super::phases::{self, Command};
use super::read::Documents;
use super::types::{BootstrapToken, ClusterConfiguration, Component, Etcd, ExternalEtcd, InitConfiguration, Kind};
use super::{Here, Init, Options, component, node, span};
use crate::bootstrap::Token;
use crate::bootstrap::token_secret::{DEFAULT_LIFETIME, Grant};
use crate::inventory::reading::quote;
use crate::inventory::{Mistakes, Path};

const CERTIFICATES: &str = "/etc/kubernetes/pki";
const ETCD_DATA: &str = "/var/lib/etcd";

/// Reads a file for `init`. `origin` is what messages call it.
pub fn init(text: &str, origin: &Utf8Path, here: &Here) -> Result<Init, Mistakes> {
    let documents = Documents::read(text, origin)?;
    let mut draft = Draft::new(&documents, Kind::Init);
    if documents.mistakes.is_empty() && documents.get(Kind::Init).is_none() && documents.get(Kind::Cluster).is_none() {
        let message = "there is neither an InitConfiguration nor a ClusterConfiguration in it";
        draft.mistakes.push(crate::inventory::Mistake::new(Path::root(), message).hint(
            match documents.get(Kind::Join) {
                Some(_) => "a JoinConfiguration is for `kboot join --config`",
                None => "`kubeadm config print init-defaults` prints both",
            },
        ));
    }
    let init: InitConfiguration = documents.fields(Kind::Init);
    let config: ClusterConfiguration = documents.fields(Kind::Cluster);
    others(&mut draft);
    node::host(&mut draft, &init.node_registration, (&init.local_api_endpoint, "localAPIEndpoint"), here, None);
    node::timeouts(&mut draft, &init.timeouts);
    let certificate_key = node::certificate_key(&mut draft, init.certificate_key.as_deref(), "certificateKey");
    cluster(&mut draft, &config);
    let mut options = node::options(init.dry_run, &init.node_registration, &init.patches);
    options.cgroup_driver = component::kubelet(&mut draft, &config);
    component::kube_proxy(&mut draft, &config);
    phases(&mut draft, &init.skip_phases, &config, &mut options);
    let tokens = tokens(&mut draft, &init.bootstrap_tokens, here.now);
    let (cluster, warnings) = draft.finish(origin)?;
    Ok(Init { cluster, tokens, certificate_key, options, warnings })
}

/// Documents that other commands read.
fn others(draft: &mut Draft<'_>) {
    for kind in [Kind::Reset, Kind::Upgrade] {
        if draft.documents.get(kind).is_some() {
            draft.warn(kind, &Path::root(), "has no effect here", "kboot init and join have no use for it");
        }
    }
}

fn cluster(draft: &mut Draft<'_>, config: &ClusterConfiguration) {
    const KIND: Kind = Kind::Cluster;
    version(draft, config.kubernetes_version.as_deref());
    let networking = &config.networking;
    for (field, value, from) in [
        ("name", &config.cluster_name, "clusterName"),
        ("endpoint", &config.control_plane_endpoint, "controlPlaneEndpoint"),
        ("images.repository", &config.image_repository, "imageRepository"),
        ("network.podSubnet", &networking.pod_subnet, "networking.podSubnet"),
        ("network.serviceSubnet", &networking.service_subnet, "networking.serviceSubnet"),
        ("network.dnsDomain", &networking.dns_domain, "networking.dnsDomain"),
        ("dns.imageRepository", &config.dns.image_repository, "dns.imageRepository"),
        ("dns.imageTag", &config.dns.image_tag, "dns.imageTag"),
        ("certificates.encryptionAlgorithm", &config.encryption_algorithm, "encryptionAlgorithm"),
    ] {
        draft.maybe(field, value.as_ref(), KIND, from);
    }
    for (field, text, from) in [
        ("certificates.validity", &config.certificate_validity_period, "certificateValidityPeriod"),
        ("certificates.caValidity", &config.ca_certificate_validity_period, "caCertificateValidityPeriod"),
    ] {
        let Some(text) = text else { continue };
        match span::hours(text) {
            Some(hours) => draft.set(field, json!(format!("{hours}h")), KIND, from),
            None => {
                let message = format!("{} is not a span of whole hours", quote(text));
                draft.refuse(KIND, &Path::of(from), &message, "as Go writes it: `8760h0m0s`");
            }
        }
    }
    if let Some(folder) =
        config.certificates_dir.as_deref().filter(|folder| folder.trim_end_matches('/') != CERTIFICATES)
    {
        let message = format!("{} is not supported: certificates are in {CERTIFICATES}", quote(folder));
        draft.refuse(KIND, &Path::of("certificatesDir"), &message, "leave it out");
    }
    for (name, is_on) in &config.feature_gates {
        let path = Path::of("featureGates").key(name);
        match (name.as_str(), is_on) {
            ("RootlessControlPlane", false) => {}
            ("RootlessControlPlane", true) => {
                draft.refuse(KIND, &path, "is not supported", "leave it out: kubeadm has deprecated it");
            }
            _ => {
                let hint = "gates of components are flags of theirs: `extraArgs: [{name: feature-gates, value: …}]`";
                draft.refuse(KIND, &path, "is no feature gate of kubeadm 1.37", hint);
            }
        }
    }
    let api_server = Component {
        extra_args: config.api_server.extra_args.clone(),
        extra_volumes: config.api_server.extra_volumes.clone(),
        extra_envs: config.api_server.extra_envs.clone(),
    };
    components(draft, "apiServer", &api_server);
    components(draft, "controllerManager", &config.controller_manager);
    components(draft, "scheduler", &config.scheduler);
    if !config.api_server.cert_sans.is_empty() {
        // As kubeadm does: names of load balancers have capitals.
        let names: Vec<String> = config.api_server.cert_sans.iter().map(|name| name.to_lowercase()).collect();
        draft.set("certificates.extraSANs", json!(names), KIND, "apiServer.certSANs");
    }
    etcd(draft, &config.etcd);
    if config.dns.disabled {
        draft.set("dns.enabled", json!(false), KIND, "dns.disabled");
    }
    if config.proxy.disabled {
        draft.set("kubeProxy.enabled", json!(false), KIND, "proxy.disabled");
    }
}

fn version(draft: &mut Draft<'_>, text: Option<&str>) {
    const FROM: &str = "kubernetesVersion";
    let Some(text) = text else { return };
    let is_label = ["stable", "latest", "ci/", "release/"].iter().any(|label| text.starts_with(label));
    if is_label {
        let message = format!("{} would have to be looked up on the Internet", quote(text));
        return draft.refuse(Kind::Cluster, &Path::of(FROM), &message, "write the exact version, as `v1.37.2`");
    }
    // kubeadm takes it without the `v`, too.
    let version = if text.starts_with(|c: char| c.is_ascii_digit()) { format!("v{text}") } else { text.to_owned() };
    draft.set("kubernetes.version", json!(version), Kind::Cluster, FROM);
}

fn components(draft: &mut Draft<'_>, name: &str, component: &Component) {
    let ours = |field: &str| format!("controlPlane.{name}.{field}");
    let theirs = |field: &str| format!("{name}.{field}");
    draft.arguments(&ours("extraArgs"), &component.extra_args, Kind::Cluster, &theirs("extraArgs"));
    draft.environment(&ours("extraEnvs"), &component.extra_envs, Kind::Cluster, &theirs("extraEnvs"));
    if !component.extra_volumes.is_empty() {
        let mut volumes = component.extra_volumes.clone();
        // An empty type is none.
        for volume in volumes.iter_mut().filter_map(Value::as_object_mut) {
            if volume.get("pathType").is_some_and(|kind| kind == "") {
                volume.remove("pathType");
            }
        }
        draft.set(&ours("extraVolumes"), Value::Array(volumes), Kind::Cluster, &theirs("extraVolumes"));
    }
}

fn etcd(draft: &mut Draft<'_>, etcd: &Etcd) {
    const KIND: Kind = Kind::Cluster;
    if let Some(external) = &etcd.external {
        external_etcd(draft, external);
        if etcd.local.is_some() {
            let message = "can't be together with `external`";
            draft.refuse(KIND, &Path::of("etcd.local"), message, "keep one of the two");
        }
    }
    let Some(local) = &etcd.local else { return };
    let place = |field: &str| Path::of("etcd.local").key(field);
    draft.arguments("controlPlane.etcd.extraArgs", &local.extra_args, KIND, "etcd.local.extraArgs");
    draft.environment("controlPlane.etcd.extraEnvs", &local.extra_envs, KIND, "etcd.local.extraEnvs");
    if let Some(folder) = local.data_dir.as_deref().filter(|folder| folder.trim_end_matches('/') != ETCD_DATA) {
        let message = format!("{} is not supported: etcd's data is in {ETCD_DATA}", quote(folder));
        draft.refuse(KIND, &place("dataDir"), &message, "leave it out; mount another disk there");
    }
    for (field, is_there) in [
        ("imageRepository", local.image_repository.as_ref().is_some_and(|text| !text.is_empty())),
        ("imageTag", local.image_tag.as_ref().is_some_and(|text| !text.is_empty())),
    ] {
        if is_there {
            let hint =
                "patch the pod: `etcd.yaml` in `patches.directory` with `spec: {containers: [{name: etcd, image: …}]}`";
            draft.refuse(KIND, &place(field), "is not supported", hint);
        }
    }
    for (field, names) in [("serverCertSANs", &local.server_cert_sans), ("peerCertSANs", &local.peer_cert_sans)] {
        if !names.is_empty() {
            let hint = "etcd's certificates name the node, its address and the loopback";
            draft.refuse(KIND, &place(field), "is not supported yet", hint);
        }
    }
}

/// Its files are on this machine.
fn external_etcd(draft: &mut Draft<'_>, external: &ExternalEtcd) {
    const KIND: Kind = Kind::Cluster;
    draft.set("etcd.external.endpoints", json!(external.endpoints), KIND, "etcd.external.endpoints");
    if !external.http_endpoints.is_empty() && external.http_endpoints != external.endpoints {
        let hint = "kboot asks etcd for its version where the API servers ask it for the rest";
        draft.warn(KIND, &Path::of("etcd.external.httpEndpoints"), "has no effect", hint);
    }
    for (field, file) in
        [("caFile", &external.ca_file), ("certFile", &external.cert_file), ("keyFile", &external.key_file)]
    {
        let place = format!("etcd.external.{field}");
        draft.set(&place, json!(file), KIND, &place);
        if file.is_empty() {
            let hint = "whoever reads etcd has the cluster's secrets: kboot asks it over TLS alone";
            draft.refuse(KIND, &Path::of("etcd.external"), &format!("has no `{field}`"), hint);
        } else if !file.starts_with('/') {
            let message = format!("{} is not an absolute path", quote(file));
            draft.refuse(KIND, &Path::of(&place), &message, "for example `/etc/kubernetes/pki/etcd/ca.crt`");
        }
    }
}

fn phases(draft: &mut Draft<'_>, skipped: &[String], config: &ClusterConfiguration, options: &mut Options) {
    let (mut skips_dns, mut skips_proxy) = (None, None);
    for (index, phase) in skipped.iter().enumerate() {
        let path = Path::of("skipPhases").index(index);
        match phase.to_lowercase().as_str() {
            // What is no part of the cluster is no run's to make later either.
            "addon" | "addon/all" => (skips_dns, skips_proxy) = (Some(path.clone()), Some(path)),
            "addon/coredns" => skips_dns = Some(path),
            "addon/kube-proxy" => skips_proxy = Some(path),
            "preflight" => options.skips_preflight = true,
            "show-join-command" => options.skips_join_command = true,
            "upload-certs" => options.skips_upload = true,
            _ => options.skipped_steps.extend(phases::skipped(draft, Kind::Init, Command::Init, index, phase)),
        }
    }
    for (field, path, is_off) in
        [("dns.enabled", skips_dns, config.dns.disabled), ("kubeProxy.enabled", skips_proxy, config.proxy.disabled)]
    {
        if let Some(path) = path.filter(|_| !is_off) {
            draft.put(Path::of(field), json!(false), Kind::Init, path, None);
        }
    }
}

fn tokens(draft: &mut Draft<'_>, tokens: &[BootstrapToken], now: OffsetDateTime) -> Vec<(Token, Grant)> {
    const KIND: Kind = Kind::Init;
    let mut list: Vec<(Token, Grant)> = Vec::new();
    for (index, given) in tokens.iter().enumerate() {
        let place = Path::of("bootstrapTokens").index(index);
        let mut grant = Grant::join(Some(now + DEFAULT_LIFETIME));
        grant.description = given.description.clone().filter(|text| !text.is_empty());
        expiry(draft, given, &place, now, &mut grant);
        if !given.usages.is_empty() {
            grant.usages.clone_from(&given.usages);
        }
        if !given.groups.is_empty() {
            grant.groups.clone_from(&given.groups);
        }
        for (position, usage) in given.usages.iter().enumerate() {
            if !["authentication", "signing"].contains(&usage.as_str()) {
                let path = place.key("usages").index(position);
                let message = format!("{} is neither `authentication` nor `signing`", quote(usage));
                draft.refuse(KIND, &path, &message, "leave the field out for both");
            }
        }
        for (position, group) in given.groups.iter().enumerate() {
            if !is_group(group) {
                let path = place.key("groups").index(position);
                let message = format!("{} is not a group of tokens", quote(group));
                draft.refuse(
                    KIND,
                    &path,
                    &message,
                    "it begins with `system:bootstrappers:`, then a-z, 0-9, `:` and `-`",
                );
            }
        }
        if !given.groups.is_empty() && !grant.usages.iter().any(|usage| usage == "authentication") {
            let hint = "add `authentication` to `usages`";
            draft.refuse(KIND, &place.key("groups"), "is of no use to a token that can't authenticate", hint);
        }
        let token = match &given.token {
            Some(text) => text.parse(),
            None => Token::generate(),
        };
        match token {
            Ok(token) if list.iter().any(|(known, _)| known.id() == token.id()) => {
                draft.refuse(KIND, &place.key("token"), "has the id of another token", "give each its own");
            }
            Ok(token) => list.push((token, grant)),
            Err(error) => {
                let hint = "without the field kboot makes one";
                draft.refuse(KIND, &place.key("token"), &format!("failed to {error}"), hint);
            }
        }
    }
    list
}

fn expiry(draft: &mut Draft<'_>, given: &BootstrapToken, place: &Path, now: OffsetDateTime, grant: &mut Grant) {
    const KIND: Kind = Kind::Init;
    match (&given.ttl, &given.expires) {
        (Some(_), Some(_)) => {
            draft.refuse(KIND, &place.key("expires"), "can't be together with `ttl`", "keep one of the two");
        }
        (Some(ttl), None) => match span::seconds(ttl) {
            Some(0) => grant.expires = None,
            Some(seconds) => {
                let span = i64::try_from(seconds).ok().map(time::Duration::seconds);
                grant.expires = span.and_then(|span| now.checked_add(span));
            }
            None => {
                let message = format!("{} is not a span of time", quote(ttl));
                draft.refuse(KIND, &place.key("ttl"), &message, "as Go writes it: `24h0m0s`, or `0s` for ever");
            }
        },
        (None, Some(expires)) => match OffsetDateTime::parse(expires, &Rfc3339) {
            Ok(at) => grant.expires = Some(at),
            Err(_) => {
                let message = format!("{} is not a point in time", quote(expires));
                draft.refuse(KIND, &place.key("expires"), &message, "for example `2030-01-01T00:00:00Z`");
            }
        },
        (None, None) => {}
    }
}

/// Kubernetes' rule for the groups that tokens may bring.
fn is_group(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("system:bootstrappers:") else { return false };
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    rest.len() <= 256 && rest.ends_with(is_word) && rest.chars().all(|c| is_word(c) || c == ':' || c == '-')
}
