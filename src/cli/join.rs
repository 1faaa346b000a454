//! `kboot join`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use camino::Utf8Path;
use clap::{ArgGroup, Args};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::time::Instant;

use crate::bootstrap::{self, ClusterInfo, DiscoveryError, Pins, Token};
use crate::controller::{Intent, Job, Reach};
use crate::engine::{Failure, Mode};
use crate::facts::Facts;
use crate::inventory::reading::format;
use crate::inventory::{API_PORT, CONTROL_PLANES, Cluster, Host, HostSsh, Role};
use crate::kube::{Connector, View};
use crate::kubeadm::Discovery;
use crate::manifest::{StaticPod, paths};
use crate::pki::kubeconfig::{Credentials, Kubeconfig, ROTATED_CLIENT_PEM};
use crate::pki::{CaHash, CaHashError, endpoint_url};
use crate::report::Stream;
use crate::steps::{Inputs, Join as JoinInputs, KUBELET_CONF, Secrets};

use super::Global;
use super::address;
use super::control_plane::{self, ControlPlaneArgs};
use super::exit::{Problem, remark, unreadable};
use super::kubeadm::{self, JoinMethod, KubeadmOptions};
use super::localhost::require_root;
use super::machine::{MachineArgs, told, validated};
use super::phase_filter::PhasedCommand;
use super::run::{self, RunArgs};
use super::token;

/// Make this machine a worker of a cluster, or an additional control plane
///
/// Run this as root on the machine itself. `kboot init` and `kboot token create --print-join-command` print the complete command. The
/// run verifies the cluster by the hash of its CA before it changes anything.
#[derive(Args)]
#[command(group = ArgGroup::new("secret").args(["token", "token_file"]))]
#[command(after_help = "\
Examples:
  kboot join 10.0.0.1:6443 --token-file token --discovery-token-ca-cert-hash sha256:…
  kboot join 10.0.0.1:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:…
  kboot join 10.0.0.1:6443 --token-file token --discovery-token-ca-cert-hash sha256:… --control-plane --certificate-key-file key
  kboot join --config kubeadm-join.yaml")]
pub struct Join {
    /// The address of the API server. Default port: 6443
    #[arg(value_name = "HOST:PORT", required_unless_present = "config")]
    endpoint: Option<String>,
    /// The bootstrap token. Other users of this machine can see it while the command runs; use --token-file to hide it
    // Not parsed by clap: its errors would repeat the secret.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// A file with the bootstrap token, or - for standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// The hash of the cluster's CA. Can be repeated
    #[arg(long = "discovery-token-ca-cert-hash", value_name = "sha256:HEX", value_parser = ca_hash)]
    ca_hashes: Vec<CaHash>,
    /// Do not verify the cluster. Anyone between this machine and the cluster can then take over this machine
    #[arg(long, conflicts_with = "ca_hashes")]
    insecure_skip_ca_verification: bool,
    #[command(flatten)]
    control_plane: ControlPlaneArgs,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

fn ca_hash(text: &str) -> Result<CaHash, String> {
    text.parse().map_err(|error: CaHashError| format!("failed to {error}"))
}

impl Join {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        self.run.ignore()?;
        let (mut cluster, way, said) = match self.machine.kubeadm() {
            Some((text, path)) => self.by_file(&text, path, &global)?,
            None => self.by_flags(&global)?,
        };
        let (mode, ignore) = (said.mode(self.run.dry.mode()), said.ignore(&self.run.ignore_preflight)?);
        let own = &cluster.hosts[0];
        let (only, is_control_plane) = ([own.name.clone()], own.is_control_plane());
        let key = match &said.certificate_key {
            Some(key) => Some(key.copy()),
            None => self.control_plane.key()?,
        };
        // The cluster defines its endpoint. A `vip` in this machine's configuration does not apply.
        cluster.vip = None;
        let mut authorities = None;
        let join = match is_member(is_control_plane) {
            true => {
                // This machine is already a member of the cluster, so it needs no token to read the cluster's settings.
                let (view, _) = Connector::open(Utf8Path::new(KUBELET_CONF)).await?;
                cluster.endpoint = own_server().or(cluster.endpoint.take());
                adopt(&view, &mut cluster).await?;
                None
            }
            false => {
                let (join, view) = discover(way, &mut cluster).await?;
                if is_control_plane {
                    authorities = control_plane::authorities(&view, key.as_ref(), &cluster).await?;
                }
                Some(join)
            }
        };
        let server = join.as_ref().map(|join| join.server.clone());
        let (authorities, etcd) = authorities.map_or((None, None), |(files, etcd)| (Some(files), etcd));
        let job = Job {
            secrets: Secrets::default().with_join(join).with_authorities(authorities).with_etcd(etcd),
            playbook: self.run.phases.of(PhasedCommand::Join, said.skipped_steps())?,
            only: &only,
            drift: self.run.drift.into(),
            wait_lock: self.run.wait.limit(),
            ignore,
            intent: Intent::Join,
            inputs: &|facts: &BTreeMap<String, Facts>, inputs: &mut Inputs| -> Result<(), Failure> {
                said.agrees(facts)?;
                inputs.server.clone_from(&server);
                inputs.unregistered = only.clone().into();
                if is_control_plane {
                    // This run has no leader: the cluster is on other machines.
                    inputs.leader = None;
                    inputs.joining = only.clone().into();
                }
                Ok(())
            },
            ..Job::new("join", &cluster, Reach::Here, mode)
        };
        let ended = run::run(job, global, Stream::Out).await?;
        if ended.is_success() && mode == Mode::Apply && matches!(global.output, super::Output::Auto) {
            remark("See the node on a control plane: kubectl get nodes");
        }
        Ok(self.run.dry.code(&ended))
    }

    /// Reads the flags, and the inventory-like file that they name.
    fn by_flags(&self, global: &Global) -> Result<(Cluster, JoinMethod, KubeadmOptions), Problem> {
        let Some(endpoint) = self.endpoint.clone().filter(|_| self.token.is_some() || self.token_file.is_some()) else {
            let hint = "`kboot token create --print-join-command` prints the whole line on a control plane";
            return Err(Problem::usage("`kboot join` takes HOST:PORT and --token or --token-file").hint(hint));
        };
        let pins = self.pins()?;
        let token = self.token()?;
        endpoint_url(&endpoint, API_PORT)
            .map_err(DiscoveryError::Endpoint)
            .map_err(|error| Problem::usage(format!("failed to {error}")).hint(error.hint()))?;
        // Preflight also checks this, but only after kboot has read the cluster's settings.
        require_root()?;
        let mut chosen = None;
        let by_route = |machine: &MachineArgs| machine.address(Some(&endpoint), &mut chosen);
        let (mut cluster, host) = self.machine.resolve(self.control_plane.role(), by_route)?;
        if host.is_etcd() {
            return Err(Problem::usage(format!("{} is an etcd host in the configuration, and no node", host.name))
                .hint("`kboot up` makes it a member of etcd"));
        }
        if host.is_control_plane() != self.control_plane.control_plane {
            let (role, hint) = match host.is_control_plane() {
                true => ("a control plane", "add --control-plane, or run `kboot init` there for a new cluster"),
                false => ("a worker", "leave --control-plane out"),
            };
            return Err(Problem::usage(format!("{} is {role} in the configuration", host.name)).hint(hint));
        }
        // The checks are those of a whole cluster, which must have a control plane.
        cluster.hosts = vec![Host { roles: vec![Role::ControlPlane], ..host.clone() }];
        let mut cluster = validated(self.machine.patched(cluster)?)?;
        cluster.hosts = vec![host];
        told(chosen, &cluster, global);
        cluster.endpoint = Some(endpoint.clone());
        let discovery = Discovery::Token { endpoint, token: token.copy(), pins };
        Ok((cluster, JoinMethod { discovery, token: Some(token) }, KubeadmOptions::default()))
    }

    /// Reads kubeadm's configuration.
    fn by_file(
        &self,
        text: &str,
        path: &Utf8Path,
        global: &Global,
    ) -> Result<(Cluster, JoinMethod, KubeadmOptions), Problem> {
        const TOKEN: &str = "discovery.bootstrapToken.token";
        let mut flags = self.control_plane.given().to_vec();
        flags.extend([
            ("HOST:PORT", self.endpoint.is_some(), "discovery.bootstrapToken.apiServerEndpoint"),
            ("--token", self.token.is_some(), TOKEN),
            ("--token-file", self.token_file.is_some(), TOKEN),
            ("--discovery-token-ca-cert-hash", !self.ca_hashes.is_empty(), "discovery.bootstrapToken.caCertHashes"),
            (
                "--insecure-skip-ca-verification",
                self.insecure_skip_ca_verification,
                "discovery.bootstrapToken.unsafeSkipCAVerification",
            ),
            ("--patches", self.machine.has_patches(), "patches.directory"),
        ]);
        kubeadm::refuse(&flags)?;
        let server = kubeadm::server(text);
        let given = self.machine.given_address();
        let chosen = if given.is_some() { None } else { address::choose(server.as_deref()).ok() };
        let address = given.or(chosen.as_ref().map(|chosen| chosen.address));
        let (mut cluster, way, said) = kubeadm::join(text, path, self.machine.name()?, address)?;
        if let Some(name) = self.machine.node_name() {
            cluster.hosts[0].name = name.to_owned();
        }
        cluster.endpoint = match &way.discovery {
            Discovery::Token { endpoint, .. } => Some(endpoint.clone()),
            Discovery::File { path } => {
                let (found, _) = read_discovery(path, way.token.as_ref().map(Token::copy))?;
                Some(authority(&found.server))
            }
        };
        require_root()?;
        told(chosen, &cluster, global);
        Ok((cluster, way, said))
    }

    fn pins(&self) -> Result<Pins, Problem> {
        match (self.ca_hashes.is_empty(), self.insecure_skip_ca_verification) {
            (false, _) => Ok(Pins::Required(self.ca_hashes.clone())),
            (true, true) => Ok(Pins::SkipVerification),
            (true, false) => Err(Problem::usage("without the hash of its certificate authority the cluster can't be verified").hint(
                "add --discovery-token-ca-cert-hash sha256:…, as `kboot token create --print-join-command` prints it on a control plane",
            )),
        }
    }

    fn token(&self) -> Result<Token, Problem> {
        if let Some(token) = &self.token {
            return token::parse(token);
        }
        let path = self.token_file.as_deref().unwrap_or("-");
        if path == "-" && self.control_plane.reads_input() {
            return Err(Problem::usage("the token and the certificate key can't both come from standard input")
                .hint("put the token into a file: --token-file FILE"));
        }
        let text = match path {
            "-" => std::io::read_to_string(std::io::stdin())?,
            path => std::fs::read_to_string(path).map_err(|error| {
                unreadable(path, &error).hint("name a file that holds the token: --token-file FILE")
            })?,
        };
        token::parse(text.trim())
    }
}

/// Whether the kubelet has joined and has its certificate. A control plane's kubelet has it from the start, so its API server's
/// manifest must exist, too.
fn is_member(is_control_plane: bool) -> bool {
    let api_server = paths::static_pod(StaticPod::ApiServer);
    let last = is_control_plane.then_some(api_server.as_str());
    [KUBELET_CONF, ROTATED_CLIENT_PEM].into_iter().chain(last).all(|path| Utf8Path::new(path).exists())
}

/// `host:port` of the API server to which this machine's kubelet connects.
fn own_server() -> Option<String> {
    let text = std::fs::read_to_string(KUBELET_CONF).ok()?;
    Some(authority(&Kubeconfig::parse(&text).ok()?.server))
}

/// `10.0.0.1:6443` of `https://10.0.0.1:6443/`
fn authority(url: &str) -> String {
    url.trim_start_matches("https://").trim_end_matches('/').into()
}

/// Verifies the cluster, and reads from it the settings that all nodes share.
async fn discover(way: JoinMethod, cluster: &mut Cluster) -> Result<(JoinInputs, View), Problem> {
    let (ClusterInfo { server, ca_pem }, token, named) = match way.discovery {
        Discovery::Token { endpoint, token, pins } => {
            let deadline = Instant::now() + Duration::from_secs(cluster.timeouts.connect);
            let found = bootstrap::discover(&endpoint, &token, &pins, deadline)
                .await
                .map_err(|error| Failure::new(format!("failed to {error}")).hint_text(error.hint()))?;
            let named = endpoint_url(&endpoint, API_PORT).unwrap_or_else(|_| found.server.clone());
            (found, way.token.unwrap_or(token), named)
        }
        Discovery::File { path } => {
            let (found, token) = read_discovery(&path, way.token)?;
            let named = found.server.clone();
            (found, token, named)
        }
    };
    cluster.endpoint = Some(authority(&server));
    // Without an endpoint, cluster-info names one control plane, and that one may be down. The address that the user gave has
    // answered.
    let by = |url: &str| Kubeconfig::bootstrap(&cluster.name, url, &ca_pem, token.expose()).to_yaml();
    let kubeconfigs = [by(&named), by(&server)];
    let mut view = Connector::view_of(kubeconfigs[0].expose_secret()).await?;
    if adopt(&view, cluster).await.is_err() {
        view = Connector::view_of(kubeconfigs[1].expose_secret()).await?;
        adopt(&view, cluster).await?;
    }
    Ok((JoinInputs { server, ca_pem, token }, view))
}

/// The cluster's address and CA from a kubeconfig that the user trusts, and the token: from the user, else from the file.
fn read_discovery(path: &str, token: Option<Token>) -> Result<(ClusterInfo, Token), Problem> {
    const HINT: &str = "ConfigMap kube-public/cluster-info has one, for `discovery.file.kubeConfigPath`";
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error).hint(HINT))?;
    let found = bootstrap::discovery::parse(&text)
        .map_err(|error| Problem::usage(format!("{path}: failed to {error}")).hint(HINT))?;
    let own = || match Kubeconfig::parse(&text).ok()?.credentials {
        Credentials::Token(token) => token.expose_secret().parse().ok(),
        Credentials::Certificate { .. } | Credentials::Files { .. } | Credentials::Other => None,
    };
    let token = token.or_else(own).ok_or_else(|| {
        Problem::usage(format!("{path} has no bootstrap token"))
            .hint("set `discovery.tlsBootstrapToken` in the configuration")
    })?;
    Ok((found, token))
}

/// Reads version, networks and kubelet settings from the ConfigMaps that kubeadm and kboot write.
async fn adopt(view: &View, cluster: &mut Cluster) -> Result<(), Failure> {
    let configuration = document(view, "kubeadm-config", "ClusterConfiguration").await?;
    if cluster.hosts[0].is_control_plane() {
        control_plane::take_over(&configuration, cluster)?;
    }
    let text = |value: &Value| value.as_str().map(String::from);
    let networking = &configuration["networking"];
    if let Some(version) = text(&configuration["kubernetesVersion"]) {
        cluster.kubernetes.version = version;
    }
    if let Some(name) = text(&configuration["clusterName"]) {
        cluster.name = name;
    }
    if let Some(repository) = text(&configuration["imageRepository"]) {
        cluster.images.repository = repository;
    }
    if let Some(domain) = text(&networking["dnsDomain"]) {
        cluster.network.dns_domain = domain;
    }
    for (field, value) in [
        (&mut cluster.network.pod_subnet, &networking["podSubnet"]),
        (&mut cluster.network.service_subnet, &networking["serviceSubnet"]),
    ] {
        if let Some(subnet) = text(value).and_then(|text| text.parse().ok()) {
            *field = subnet;
        }
    }
    /// Each host decides these fields by itself.
    const OWN: [&str; 7] =
        ["apiVersion", "kind", "cgroupDriver", "failCgroupV1", "resolvConf", "containerRuntimeEndpoint", "clusterDNS"];
    let kubelet = document(view, "kubelet-config", "kubelet").await?;
    for (key, value) in kubelet.as_object().into_iter().flatten() {
        if !OWN.contains(&key.as_str()) {
            cluster.kubelet.config.insert(key.clone(), value.clone());
        }
    }
    balance(view, cluster).await
}

/// Without an endpoint, each worker balances over the control planes that kube-proxy's ConfigMap names.
async fn balance(view: &View, cluster: &mut Cluster) -> Result<(), Failure> {
    let map = match view.get("v1", "ConfigMap", Some("kube-system"), "kube-proxy").await {
        Err(failure) if failure.retryable => return Err(failure),
        // The cluster may have no kube-proxy. A node may read this ConfigMap only while kube-proxy runs on it. In both cases, nothing
        // changes.
        found => found.unwrap_or_default(),
    };
    let list = map.as_ref().and_then(|map| map["metadata"]["annotations"][CONTROL_PLANES].as_str()).unwrap_or_default();
    let named: Vec<Host> =
        list.split(',').filter_map(|entry| entry.split_once('=')).filter_map(control_plane).collect();
    if !named.is_empty() {
        cluster.endpoint = None;
        let own = cluster.hosts[0].clone();
        cluster.hosts = named.into_iter().filter(|host| host.name != own.name).collect();
        cluster.hosts.push(own);
    }
    Ok(())
}

/// None unless name and address are valid: both become part of the balancer's configuration.
fn control_plane((name, address): (&str, &str)) -> Option<Host> {
    format::subdomain(name).ok()?;
    Some(Host {
        name: name.into(),
        address: address.parse().ok()?,
        roles: vec![Role::ControlPlane],
        labels: BTreeMap::new(),
        taints: None,
        sysctls: BTreeMap::new(),
        vars: BTreeMap::new(),
        ssh: HostSsh::default(),
    })
}

async fn document(view: &View, name: &str, key: &str) -> Result<Value, Failure> {
    let map = view.get("v1", "ConfigMap", Some("kube-system"), name).await?;
    let text = map.as_ref().and_then(|map| map["data"][key].as_str());
    let text = text.ok_or_else(|| {
        Failure::new(format!("the cluster has no ConfigMap kube-system/{name} with {key}"))
            .hint_text("the cluster was made neither by kboot nor by kubeadm, or its bootstrap has not ended yet")
    })?;
    serde_yaml::from_str(text).map_err(|error| Failure::new(format!("failed to read ConfigMap {name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_becomes_part_of_a_configuration() {
        assert!(control_plane(("n1.lab", "10.0.0.1")).is_some());
        for (name, address) in
            [("n1\n  server evil 10.9.9.9:6443", "10.0.0.1"), ("", "10.0.0.1"), ("n 1", "10.0.0.1"), ("n1", "x")]
        {
            assert!(control_plane((name, address)).is_none(), "{name}");
        }
    }
}
