//! `kboot init`

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use ipnet::IpNet;

use crate::bootstrap::CertificateKey;
use crate::engine::{Failure, Mode};
use crate::facts::Facts;
use crate::inventory::{self, Cluster, Cni, Host, Role};
use crate::report::Stream;
use crate::steps::{Inputs, JoinToken, Secrets};

use super::Global;
use super::address::{self, Chosen, is_here};
use super::control_plane::UploadArgs;
use super::exit::{Problem, print, unreadable};
use super::kubeadm::{self, Said};
use super::phase::Of;
use super::run::{self, Job, Reach, RunArgs};
use super::token;

/// Make this machine the control plane of a new cluster
///
/// Run as root on the machine itself. It prints the `kboot join` line for the others. A second run changes nothing.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot init
  kboot init --apiserver-advertise-address 10.0.0.1 --pod-network-cidr 10.244.0.0/16
  kboot init --config cluster.yaml --dry-run
  kboot init --config kubeadm.yaml
  kboot init --upload-certs
  kboot init --patches /etc/kubernetes/patches")]
pub struct Init {
    #[command(flatten)]
    machine: MachineArgs,
    /// How nodes and people reach the API server. Default: this machine's address, port 6443
    #[arg(long, value_name = "HOST[:PORT]")]
    control_plane_endpoint: Option<String>,
    #[arg(long, value_name = "VERSION", help = or_default("The exact version of Kubernetes", |c| c.kubernetes.version.clone()))]
    kubernetes_version: Option<String>,
    #[arg(long, value_name = "CIDR", value_parser = cidr, help = or_default("Addresses of pods", |c| c.network.pod_subnet.to_string()))]
    pod_network_cidr: Option<IpNet>,
    #[arg(long, value_name = "CIDR", value_parser = cidr, help = or_default("Addresses of services", |c| c.network.service_subnet.to_string()))]
    service_cidr: Option<IpNet>,
    #[arg(long, value_name = "DOMAIN", help = or_default("The cluster's DNS domain", |c| c.network.dns_domain.clone()))]
    service_dns_domain: Option<String>,
    /// More names and addresses for the API server's certificate
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    apiserver_cert_extra_sans: Vec<String>,
    #[arg(long, value_name = "REGISTRY", help = or_default("The registry and path of Kubernetes' images", |c| c.images.repository.clone()))]
    image_repository: Option<String>,
    /// The pod network. Default: flannel; none for your own
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(["flannel", "weave", "none"]).map(|name| cni(&name)))]
    cni: Option<Cni>,
    #[command(flatten)]
    upload: UploadArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// What `init` and `join` may be told of the machine that they run on.
#[derive(Args)]
pub struct MachineArgs {
    /// A file like an inventory: packages, images and all else that has no flag. Where it lists this machine, that entry counts. Or
    /// kubeadm's configuration, as it is
    #[arg(long, value_name = "FILE")]
    config: Option<Utf8PathBuf>,
    /// A folder of patches as kubeadm has them: files named TARGET[SUFFIX][+TYPE].yaml or .json
    #[arg(long, value_name = "FOLDER")]
    patches: Option<Utf8PathBuf>,
    /// The node's name. Default: the hostname
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// The IP address by which the other machines reach this one. Default: the default route's, or the private one beside a virtual
    /// machine's NAT; to join, the one from which the API server is reached
    #[arg(long, value_name = "IP")]
    apiserver_advertise_address: Option<IpAddr>,
}

fn cni(name: &str) -> Cni {
    match name {
        "weave" => Cni::Weave,
        "none" => Cni::None,
        _ => Cni::Flannel,
    }
}

fn cidr(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_| "write it as an address and a prefix length, for example 10.244.0.0/16".into())
}

/// A flag's help. What counts where neither flag nor file says anything is the inventory's default.
fn or_default(what: &str, of: fn(&Cluster) -> String) -> String {
    let host = Host::new("", IpAddr::from([0; 4]), Vec::new());
    format!("{what}. Default: {}", of(&Cluster::single(host)))
}

impl Init {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let names = &self.run.ignore_preflight;
        run::ignore(names)?;
        let own_key = self.upload.read()?;
        let (cluster, mut said) = self.cluster(&global)?;
        let key = self.upload.key(own_key, said.certificate_key.as_ref())?.filter(|_| said.uploads());
        let upload = match &key {
            Some(key) => Some((key.copy(), token::generate()?)),
            None => None,
        };
        let (mode, ignore) = (said.mode(self.run.dry.mode()), said.ignore(names)?);
        let secrets = Secrets::default().with_certificate_key(upload).with_tokens(std::mem::take(&mut said.tokens));
        let job = Job {
            secrets,
            playbook: self.run.part.of(Of::Init, said.skipped_steps())?,
            drift: self.run.drift.into(),
            wait_lock: self.run.wait.limit(),
            ignore,
            inputs: &|facts: &BTreeMap<String, Facts>, inputs: &mut Inputs| -> Result<(), Failure> {
                said.agrees(facts)?;
                let is_new = facts.values().any(|facts| !facts.node.has_kubelet_conf);
                inputs.join_token = if is_new { JoinToken::ForPeople } else { JoinToken::Unneeded };
                Ok(())
            },
            ..Job::new("init", &cluster, Reach::Here, mode)
        };
        let ended = run::run(job, global, Stream::Err).await?;
        if ended.is_success() && mode == Mode::Apply && self.run.part.is_whole() && said.tells_join_command() {
            let line = token::join_command(Utf8Path::new(token::ADMIN_CONF)).await?;
            tell(&cluster, line, key.as_ref())?;
        }
        Ok(self.run.dry.code(&ended))
    }

    fn cluster(&self, global: &Global) -> Result<(Cluster, Said), Problem> {
        if let Some((text, path)) = self.machine.kubeadm() {
            kubeadm::refuse(&self.flags())?;
            let chosen = address::choose(None).ok();
            let address = chosen.as_ref().map(|chosen| chosen.address);
            let (mut cluster, said) = kubeadm::init(&text, path, self.machine.name()?, address)?;
            if let Some(name) = &self.machine.node_name {
                cluster.hosts[0].name.clone_from(name);
            }
            cluster.network.cni = self.cni.unwrap_or(cluster.network.cni);
            cluster = validated(cluster)?;
            told(chosen, &cluster, global);
            return Ok((cluster, said));
        }
        let mut chosen = None;
        let own = |machine: &MachineArgs| machine.address(None, &mut chosen);
        let (mut cluster, host) = self.machine.resolve(Role::ControlPlane, own)?;
        if cluster.has_etcd_hosts() {
            return Err(Problem::usage(
                "the configuration has hosts with the role `etcd`, which `kboot init` does not reach",
            )
            .hint("`kboot up` makes such a cluster; or give `kboot init` an etcd that is there, by `etcd.external`"));
        }
        if !host.is_control_plane() {
            return Err(Problem::usage(format!("{} is no control plane in the configuration", host.name))
                .hint("run `kboot init` on a control plane, and `kboot join` on workers"));
        }
        cluster.hosts = vec![host];
        let set = |field: &mut String, flag: &Option<String>| {
            if let Some(value) = flag {
                field.clone_from(value);
            }
        };
        set(&mut cluster.kubernetes.version, &self.kubernetes_version);
        set(&mut cluster.network.dns_domain, &self.service_dns_domain);
        set(&mut cluster.images.repository, &self.image_repository);
        cluster.endpoint = self.control_plane_endpoint.clone().or(cluster.endpoint);
        cluster.network.pod_subnet = self.pod_network_cidr.unwrap_or(cluster.network.pod_subnet);
        cluster.network.service_subnet = self.service_cidr.unwrap_or(cluster.network.service_subnet);
        cluster.network.cni = self.cni.unwrap_or(cluster.network.cni);
        cluster.certificates.extra_sans.extend(self.apiserver_cert_extra_sans.iter().cloned());
        cluster = validated(self.machine.patched(cluster)?)?;
        told(chosen, &cluster, global);
        Ok((cluster, Said::default()))
    }

    /// Flags for which kubeadm's configuration has a field, and whether each was given.
    fn flags(&self) -> [(&'static str, bool, &'static str); 11] {
        let [of_key, of_key_file] = self.upload.given();
        [
            ("--control-plane-endpoint", self.control_plane_endpoint.is_some(), "controlPlaneEndpoint"),
            ("--kubernetes-version", self.kubernetes_version.is_some(), "kubernetesVersion"),
            ("--pod-network-cidr", self.pod_network_cidr.is_some(), "networking.podSubnet"),
            ("--service-cidr", self.service_cidr.is_some(), "networking.serviceSubnet"),
            ("--service-dns-domain", self.service_dns_domain.is_some(), "networking.dnsDomain"),
            ("--apiserver-cert-extra-sans", !self.apiserver_cert_extra_sans.is_empty(), "apiServer.certSANs"),
            ("--image-repository", self.image_repository.is_some(), "imageRepository"),
            (
                "--apiserver-advertise-address",
                self.machine.apiserver_advertise_address.is_some(),
                "localAPIEndpoint.advertiseAddress",
            ),
            ("--patches", self.machine.patches.is_some(), "patches.directory"),
            of_key,
            of_key_file,
        ]
    }
}

/// The flag that mends a field.
const FLAGS: [(&str, &str); 9] = [
    ("certificates.extraSANs", "--apiserver-cert-extra-sans"),
    ("endpoint", "--control-plane-endpoint"),
    ("hosts[0].address", "--apiserver-advertise-address"),
    ("hosts[0].name", "--node-name"),
    ("images.repository", "--image-repository"),
    ("kubernetes.version", "--kubernetes-version"),
    ("network.dnsDomain", "--service-dns-domain"),
    ("network.podSubnet", "--pod-network-cidr"),
    ("network.serviceSubnet", "--service-cidr"),
];

/// For commands on this machine that come to need it before any check is made.
pub fn require_root() -> Result<(), Problem> {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err(Problem::Failed(
            Failure::new("kboot does not run as root here").hint_text("run the same command with sudo"),
        )),
    }
}

/// The same checks as for a file, for what flags and a file make together.
pub fn validated(cluster: Cluster) -> Result<Cluster, Problem> {
    let Err(mistakes) = inventory::parse(&inventory::print(&cluster), Utf8Path::new("<flags>")) else {
        return Ok(cluster);
    };
    let told: Vec<(String, String)> = mistakes
        .iter()
        .map(|mistake| {
            let path = mistake.path.to_string();
            let flag = FLAGS.iter().find(|(field, _)| path.starts_with(field));
            let place = flag.map_or(path.as_str(), |(_, flag)| flag);
            (format!("{place}: {}", mistake.message), mistake.hints.join("\n"))
        })
        .collect();
    if let [(cause, hint)] = told.as_slice() {
        let problem = Problem::usage(cause);
        return Err(if hint.is_empty() { problem } else { problem.hint(hint) });
    }
    let lines = told.into_iter().map(|(cause, hint)| if hint.is_empty() { cause } else { format!("{cause}: {hint}") });
    Err(Problem::Usage(Failure::new("the flags do not describe a cluster").evidence(lines)))
}

/// Says which address was chosen, if the file has none of its own.
pub fn told(chosen: Option<Chosen>, cluster: &Cluster, global: &Global) {
    if let Some(chosen) = chosen.filter(|chosen| chosen.address == cluster.hosts[0].address) {
        chosen.tell(global);
    }
}

impl MachineArgs {
    /// This machine as it is, told nothing.
    pub fn here() -> Self {
        Self { config: None, patches: None, node_name: None, apiserver_advertise_address: None }
    }

    /// A `--config` of kubeadm's: its text, and where it is.
    pub fn kubeadm(&self) -> Option<(String, &Utf8Path)> {
        let path = self.config.as_deref()?;
        kubeadm::text(Some(path)).map(|text| (text, path))
    }

    /// The node's name: by the flag or else the hostname.
    pub fn name(&self) -> Result<String, Problem> {
        self.node_name.clone().map_or_else(hostname, Ok)
    }

    /// The name that the flag gives.
    pub fn node_name(&self) -> Option<&str> {
        self.node_name.as_deref()
    }

    /// The address that the flag gives.
    pub fn given_address(&self) -> Option<IpAddr> {
        self.apiserver_advertise_address
    }

    /// Whether the flag names a folder of patches.
    pub fn has_patches(&self) -> bool {
        self.patches.is_some()
    }

    /// The cluster with the patches of the flag.
    pub fn patched(&self, mut cluster: Cluster) -> Result<Cluster, Problem> {
        if let Some(folder) = &self.patches {
            cluster.patches.extend(kubeadm::patches(folder)?);
        }
        kubeadm::fit(&cluster)?;
        Ok(cluster)
    }

    /// The configuration, or the defaults, and this machine in it. `address` is its address where the configuration has none.
    pub fn resolve(
        &self,
        role: Role,
        address: impl FnOnce(&Self) -> Result<IpAddr, Problem>,
    ) -> Result<(Cluster, Host), Problem> {
        let name = self.node_name.clone().map_or_else(hostname, Ok)?;
        let Some(path) = &self.config else {
            let host = Host::new(name, address(self)?, vec![role]);
            return Ok((Cluster::single(host.clone()), host));
        };
        let cluster = read(path)?;
        let known = cluster.hosts.iter().find(|host| host.name == name || is_here(host.address));
        let mut host = match known {
            Some(host) => host.clone(),
            None => Host::new(name, address(self)?, vec![role]),
        };
        if let Some(name) = &self.node_name {
            host.name = name.clone();
        }
        if let Some(address) = self.apiserver_advertise_address {
            host.address = address;
        }
        Ok((cluster, host))
    }

    /// The address that the flag gives, or else the one that is chosen, to be told; to join, by the API server at `endpoint`.
    pub fn address(&self, endpoint: Option<&str>, chosen: &mut Option<Chosen>) -> Result<IpAddr, Problem> {
        match self.apiserver_advertise_address {
            Some(address) => Ok(address),
            None => Ok(chosen.insert(address::choose(endpoint)?).address),
        }
    }
}

/// Reads a configuration without looking for the files of SSH, which are the controller's.
fn read(path: &Utf8Path) -> Result<Cluster, Problem> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| unreadable(path, &error).hint("name a file like an inventory: --config FILE"))?;
    let mut cluster =
        inventory::parse(&text, path).map_err(|mistakes| Problem::Report(format!("error: {mistakes}")))?;
    resolve_keys(&mut cluster, path);
    Ok(cluster)
}

/// Files of keys and certificates are named relative to the configuration.
pub fn resolve_keys(cluster: &mut Cluster, path: &Utf8Path) {
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    for repository in [&mut cluster.packages.kubernetes, &mut cluster.packages.containerd] {
        if let Some(file) = &repository.key_file {
            repository.key_file = Some(folder.join(file).into_string());
        }
    }
    for file in cluster.etcd.iter_mut().flat_map(|etcd| etcd.external.files_mut()) {
        *file = folder.join(&*file).into_string();
    }
}

/// This machine's name.
pub fn hostname() -> Result<String, Problem> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_lowercase())
}

fn tell(cluster: &Cluster, join: Option<String>, key: Option<&CertificateKey>) -> Result<(), Problem> {
    let control_plane = match (&join, key) {
        (Some(line), Some(key)) => format!(
            "To add a control plane within two hours, run there as root; whoever has this line has the cluster:\n\n\
             \x20 {line} --control-plane --certificate-key {}\n\n",
            key.expose()
        ),
        _ => String::new(),
    };
    let join = join.map_or_else(
        || "  kboot token create --print-join-command     prints the line for the other machines".to_string(),
        |line| format!("  {line}"),
    );
    print(&format!(
        "\nThe control plane of {name} is up.\n\nTo use it:\n\n  export KUBECONFIG=/etc/kubernetes/admin.conf\n  kubectl get nodes\n\n\
         or as another user, copy /etc/kubernetes/admin.conf to ~/.kube/config.\n\n\
         To add a worker, run there as root:\n\n{join}\n\n{control_plane}",
        name = cluster.name,
    ))
}
