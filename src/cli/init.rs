//! `kboot init`

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use ipnet::IpNet;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::bootstrap::CertificateKey;
use crate::controller::{Job, Reach};
use crate::engine::{Failure, Mode};
use crate::facts::Facts;
use crate::inventory::{Cluster, Cni, Host, Role};
use crate::report::Stream;
use crate::steps::{Inputs, JoinToken, Secrets};

use super::address;
use super::control_plane::UploadArgs;
use super::exit::{Problem, print, print_json};
use super::kubeadm::{self, KubeadmOptions};
use super::machine::{MachineArgs, told, validated};
use super::phase_filter::PhasedCommand;
use super::run::{self, RunArgs};
use super::token;
use super::{Global, Output};

/// Make this machine the control plane of a new cluster
///
/// Run this as root on the machine itself. The run prints the `kboot join` command for other machines. A second run changes nothing.
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
    /// The API endpoint for nodes and users. Default: this machine's address, port 6443
    #[arg(long, value_name = "HOST[:PORT]")]
    control_plane_endpoint: Option<String>,
    #[command(flatten)]
    images: ImageArgs,
    #[arg(long, value_name = "CIDR", value_parser = cidr, help = or_default("The pod subnet", |c| c.network.pod_subnet.to_string()))]
    pod_network_cidr: Option<IpNet>,
    #[arg(long, value_name = "CIDR", value_parser = cidr, help = or_default("The service subnet", |c| c.network.service_subnet.to_string()))]
    service_cidr: Option<IpNet>,
    #[arg(long, value_name = "DOMAIN", help = or_default("The cluster's DNS domain", |c| c.network.dns_domain.clone()))]
    service_dns_domain: Option<String>,
    /// Additional names and addresses for the API server's certificate
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    apiserver_cert_extra_sans: Vec<String>,
    #[command(flatten)]
    upload: UploadArgs,
    #[command(flatten)]
    pub run: RunArgs,
}

/// The flags that decide which images run.
#[derive(Args)]
pub struct ImageArgs {
    #[arg(long, value_name = "VERSION", help = or_default("The exact Kubernetes version", |c| c.kubernetes.version.clone()))]
    kubernetes_version: Option<String>,
    #[arg(long, value_name = "REGISTRY", help = or_default("The registry and path of Kubernetes' images", |c| c.images.repository.clone()))]
    image_repository: Option<String>,
    /// The pod network; none if you install your own. Default: flannel
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(["flannel", "weave", "none"]).map(|name| cni(&name)))]
    cni: Option<Cni>,
}

impl ImageArgs {
    /// The cluster with what the flags set.
    pub fn over(&self, mut cluster: Cluster) -> Cluster {
        set(&mut cluster.kubernetes.version, self.kubernetes_version.as_ref());
        set(&mut cluster.images.repository, self.image_repository.as_ref());
        set(&mut cluster.network.cni, self.cni.as_ref());
        cluster
    }

    /// Flags for which kubeadm's configuration has a field, and whether each was given.
    pub fn flags(&self) -> [FlagOfField; 2] {
        [
            ("--kubernetes-version", self.kubernetes_version.is_some(), "kubernetesVersion"),
            ("--image-repository", self.image_repository.is_some(), "imageRepository"),
        ]
    }
}

/// A flag, whether it was given, and the field of kubeadm's configuration.
type FlagOfField = (&'static str, bool, &'static str);

fn set<T: Clone>(field: &mut T, flag: Option<&T>) {
    if let Some(value) = flag {
        field.clone_from(value);
    }
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

/// The help of a flag, with the inventory's default. The default applies if neither flag nor file sets a value.
fn or_default(what: &str, of: fn(&Cluster) -> String) -> String {
    let host = Host::new("", IpAddr::from([0; 4]), Vec::new());
    format!("{what}. Default: {}", of(&Cluster::single(host)))
}

impl Init {
    /// A run with these flags alone.
    pub fn with(config: Option<Utf8PathBuf>, images: ImageArgs, run: RunArgs) -> Self {
        Self {
            machine: MachineArgs::of(config),
            control_plane_endpoint: None,
            images,
            pod_network_cidr: None,
            service_cidr: None,
            service_dns_domain: None,
            apiserver_cert_extra_sans: Vec::new(),
            upload: UploadArgs::default(),
            run,
        }
    }

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
            playbook: self.run.phases.of(PhasedCommand::Init, said.skipped_steps())?,
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
        if ended.is_success() && mode == Mode::Apply && self.run.phases.is_whole() && said.tells_join_command() {
            let line = token::join_command(Utf8Path::new(token::ADMIN_CONF)).await?;
            match global.output {
                Output::Json => print_json(&join_event(line.as_deref(), key.as_ref()))?,
                Output::Auto | Output::Plain => tell(&cluster, line, key.as_ref())?,
            }
        }
        Ok(self.run.dry.code(&ended))
    }

    fn cluster(&self, global: &Global) -> Result<(Cluster, KubeadmOptions), Problem> {
        if let Some((text, path)) = self.machine.kubeadm() {
            kubeadm::refuse(&self.flags())?;
            let chosen = address::choose(None).ok();
            let address = chosen.as_ref().map(|chosen| chosen.address);
            let (mut cluster, said) = kubeadm::init(&text, path, self.machine.name()?, address)?;
            if let Some(name) = self.machine.node_name() {
                cluster.hosts[0].name = name.into();
            }
            // The only flag of the images that kubeadm's configuration has no field for.
            cluster = validated(self.images.over(cluster))?;
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
        cluster = self.images.over(cluster);
        cluster.endpoint = self.control_plane_endpoint.clone().or(cluster.endpoint);
        set(&mut cluster.network.dns_domain, self.service_dns_domain.as_ref());
        set(&mut cluster.network.pod_subnet, self.pod_network_cidr.as_ref());
        set(&mut cluster.network.service_subnet, self.service_cidr.as_ref());
        cluster.certificates.extra_sans.extend(self.apiserver_cert_extra_sans.iter().cloned());
        cluster = validated(self.machine.patched(cluster)?)?;
        told(chosen, &cluster, global);
        Ok((cluster, KubeadmOptions::default()))
    }

    /// Flags for which kubeadm's configuration has a field, and whether each was given.
    fn flags(&self) -> [FlagOfField; 11] {
        let [of_key, of_key_file] = self.upload.given();
        let [of_version, of_repository] = self.images.flags();
        [
            ("--control-plane-endpoint", self.control_plane_endpoint.is_some(), "controlPlaneEndpoint"),
            of_version,
            ("--pod-network-cidr", self.pod_network_cidr.is_some(), "networking.podSubnet"),
            ("--service-cidr", self.service_cidr.is_some(), "networking.serviceSubnet"),
            ("--service-dns-domain", self.service_dns_domain.is_some(), "networking.dnsDomain"),
            ("--apiserver-cert-extra-sans", !self.apiserver_cert_extra_sans.is_empty(), "apiServer.certSANs"),
            of_repository,
            (
                "--apiserver-advertise-address",
                self.machine.given_address().is_some(),
                "localAPIEndpoint.advertiseAddress",
            ),
            ("--patches", self.machine.has_patches(), "patches.directory"),
            of_key,
            of_key_file,
        ]
    }
}

/// The line that joins a control plane, if the CAs are in the cluster.
fn control_plane_line(line: Option<&str>, key: Option<&CertificateKey>) -> Option<String> {
    Some(format!("{} --control-plane --certificate-key {}", line?, key?.expose()))
}

/// What a program needs to join other machines. It contains secrets, so it is no event of the run.
fn join_event(line: Option<&str>, key: Option<&CertificateKey>) -> Value {
    json!({
        "time": OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
        "event": "join-command",
        "worker": line,
        "controlPlane": control_plane_line(line, key),
    })
}

fn tell(cluster: &Cluster, join: Option<String>, key: Option<&CertificateKey>) -> Result<(), Problem> {
    let control_plane = control_plane_line(join.as_deref(), key).map_or_else(String::new, |line| {
        format!(
            "To add a control plane within two hours, run there as root; whoever has this line has the cluster:\n\n  {line}\n\n"
        )
    });
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
