//! A file for `join`: what JoinConfiguration says of the node, and how the cluster is found.

use camino::Utf8Path;

use super::draft::Draft;
use super::phases::{self, Command};
use super::read::Documents;
use super::types::{BootstrapTokenDiscovery, Discovery as Found, JoinConfiguration, Kind};
use super::{Here, Options, node};
use crate::bootstrap::{CertificateKey, Pins, Token};
use crate::inventory::reading::quote;
use crate::inventory::{API_PORT, Cluster, Mistake, Mistakes, Path, Role};
use crate::pki::{CaHash, endpoint_url};

const CA: &str = "/etc/kubernetes/pki/ca.crt";
const KIND: Kind = Kind::Join;

/// The phases of `kubeadm join` 1.37.
/// What a file says for `join`.
#[derive(Debug)]
pub struct Join {
    /// Checked, with this machine as its only host, of the role that the file gives it. What nodes must agree on is the cluster's to say.
    pub cluster: Cluster,
    pub discovery: Discovery,
    /// By which the kubelet gets its certificate; None if the file of the discovery has what it takes.
    pub token: Option<Token>,
    /// By which a control plane gets the authorities from the cluster; None if they are on this machine already.
    pub certificate_key: Option<CertificateKey>,
    pub options: Options,
    /// What a person should know, though it is no mistake.
    pub warnings: Mistakes,
}

/// How the cluster is known.
#[derive(Debug)]
pub enum Discovery {
    Token {
        endpoint: String,
        token: Token,
        pins: Pins,
    },
    /// A kubeconfig on this machine, as it is written.
    File {
        path: String,
    },
}

/// Reads a file for `join`. `origin` is what messages call it.
pub fn join(text: &str, origin: &Utf8Path, here: &Here) -> Result<Join, Mistakes> {
    let documents = Documents::read(text, origin)?;
    let mut draft = Draft::new(&documents, KIND);
    if documents.get(KIND).is_none() {
        let message = "there is no JoinConfiguration in it";
        let hint = "`kubeadm config print join-defaults` prints one";
        let mut all = documents.mistakes.clone();
        all.push(Mistake::new(Path::root(), message).hint(hint));
        return Err(documents.report(all));
    }
    let config: JoinConfiguration = documents.fields(KIND);
    others(&mut draft);
    // The address of a node that joins is nowhere in kubeadm's configuration but in this flag of the kubelet.
    let arguments = &config.node_registration.kubelet_extra_args;
    let position = arguments.iter().position(|argument| argument.name == "node-ip");
    let address = position.map(|index| (index, arguments[index].value.as_str()));
    let (is_control_plane, control_plane) = (config.control_plane.is_some(), config.control_plane.unwrap_or_default());
    let endpoint = (&control_plane.local_api_endpoint, "controlPlane.localAPIEndpoint");
    node::host(&mut draft, &config.node_registration, endpoint, here, address);
    let key = control_plane.certificate_key.as_deref();
    let certificate_key = node::certificate_key(&mut draft, key, "controlPlane.certificateKey");
    node::timeouts(&mut draft, &config.timeouts);
    if let Some(path) = config.ca_cert_path.as_deref().filter(|path| *path != CA) {
        let message = format!("{} is not supported: the cluster's authority is in {CA}", quote(path));
        draft.refuse(KIND, &Path::of("caCertPath"), &message, "leave it out");
    }
    let mut options = node::options(config.dry_run, &config.node_registration, &config.patches);
    phases(&mut draft, &config.skip_phases, &mut options);
    let discovery = discovery(&mut draft, &config.discovery);
    let token = token(&mut draft, config.discovery.tls_bootstrap_token.as_deref(), "discovery.tlsBootstrapToken");
    let (mut cluster, warnings) = draft.finish(origin)?;
    if !is_control_plane {
        cluster.hosts.iter_mut().for_each(|host| host.roles = vec![Role::Worker]);
    }
    // Without either something was told, and this is not reached.
    let discovery = discovery.ok_or_else(|| documents.report(Vec::new()))?;
    let token = token.or_else(|| match &discovery {
        Discovery::Token { token, .. } => Some(token.copy()),
        Discovery::File { .. } => None,
    });
    Ok(Join { cluster, discovery, token, certificate_key, options, warnings })
}

/// What a node takes from the cluster, or other commands read.
fn others(draft: &mut Draft<'_>) {
    for document in draft.documents.iter() {
        match document.kind {
            Kind::Join | Kind::Inventory => {}
            Kind::Init | Kind::Cluster | Kind::Reset | Kind::Upgrade => {
                draft.warn(
                    document.kind,
                    &Path::root(),
                    "has no effect here",
                    "`kboot join` reads the JoinConfiguration",
                );
            }
            Kind::Kubelet | Kind::KubeProxy => {
                let hint = "a node takes it from the cluster; what is to be its own goes into a patch";
                draft.warn(document.kind, &Path::root(), "has no effect here", hint);
            }
        }
    }
}

fn phases(draft: &mut Draft<'_>, skipped: &[String], options: &mut Options) {
    for (index, phase) in skipped.iter().enumerate() {
        match phase.to_lowercase().as_str() {
            "preflight" => options.skips_preflight = true,
            _ => options.skipped_steps.extend(phases::skipped(draft, KIND, Command::Join, index, phase)),
        }
    }
}

fn discovery(draft: &mut Draft<'_>, found: &Found) -> Option<Discovery> {
    let place = Path::of("discovery");
    match (&found.bootstrap_token, &found.file) {
        (None, None) => {
            let hint =
                "`bootstrapToken: {apiServerEndpoint: …, token: …, caCertHashes: […]}` or `file: {kubeConfigPath: …}`";
            draft.refuse(KIND, &place, "says neither `bootstrapToken` nor `file`", hint);
            None
        }
        (Some(_), Some(_)) => {
            draft.refuse(KIND, &place, "says both `bootstrapToken` and `file`", "keep one of the two");
            None
        }
        (None, Some(file)) => {
            let path = place.key("file").key("kubeConfigPath");
            let name = file.kube_config_path.strip_prefix("file://").unwrap_or(&file.kube_config_path);
            if name.is_empty() {
                draft.refuse(
                    KIND,
                    &path,
                    "is not there",
                    "the path of a kubeconfig with the cluster's address and authority",
                );
            } else if name.contains("://") {
                let hint = "download it, by a way that you trust, and name the file";
                draft.refuse(KIND, &path, "is an address, and kboot takes a file", hint);
            }
            Some(Discovery::File { path: name.to_owned() })
        }
        (Some(given), None) => by_token(draft, given),
    }
}

fn by_token(draft: &mut Draft<'_>, given: &BootstrapTokenDiscovery) -> Option<Discovery> {
    const PLACE: &str = "discovery.bootstrapToken";
    let place = |field: &str| Path::of(PLACE).key(field);
    let token = token(draft, Some(&given.token), &format!("{PLACE}.token"));
    let endpoint = given.api_server_endpoint.clone().unwrap_or_default();
    if endpoint.is_empty() {
        draft.refuse(KIND, &place("apiServerEndpoint"), "is not there", "for example `10.0.0.1:6443`");
    } else if let Err(error) = endpoint_url(&endpoint, API_PORT) {
        draft.refuse(KIND, &place("apiServerEndpoint"), &format!("failed to {error}"), "for example `10.0.0.1:6443`");
    }
    let mut pins = Vec::new();
    for (index, hash) in given.ca_cert_hashes.iter().enumerate() {
        match hash.parse::<CaHash>() {
            Ok(pin) => pins.push(pin),
            Err(error) => {
                let path = place("caCertHashes").index(index);
                let hint = "`kboot token create --print-join-command` prints it on a control plane";
                draft.refuse(KIND, &path, &format!("failed to {error}"), hint);
            }
        }
    }
    let pins = match (given.ca_cert_hashes.is_empty(), given.unsafe_skip_ca_verification) {
        (false, _) => Pins::Required(pins),
        (true, true) => Pins::SkipVerification,
        (true, false) => {
            let hint = "`kboot token create --print-join-command` prints the hash on a control plane; \
                        `unsafeSkipCAVerification: true` goes without, and trusts whoever is on the way";
            draft.refuse(KIND, &place("caCertHashes"), "is not there, so the cluster can't be verified", hint);
            return None;
        }
    };
    Some(Discovery::Token { endpoint, token: token?, pins })
}

fn token(draft: &mut Draft<'_>, text: Option<&str>, place: &str) -> Option<Token> {
    match text?.parse() {
        Ok(token) => Some(token),
        Err(error) => {
            let hint = "`kboot token create` makes one on a control plane";
            draft.refuse(KIND, &Path::of(place), &format!("failed to {error}"), hint);
            None
        }
    }
}
