//! The flags of commands for the machine on which they run, and the cluster that they and a configuration describe.

use std::net::IpAddr;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::engine::Failure;
use crate::inventory::{self, Cluster, Field, Host, Path, Role};

use super::Global;
use super::address::{self, Chosen, is_here};
use super::exit::{Problem, unreadable};
use super::kubeadm;
use super::localhost::hostname;

/// The flags of `init` and `join` for the machine on which they run.
#[derive(Args)]
pub struct MachineArgs {
    /// A file like an inventory, for settings without a flag such as packages and images, or kubeadm's configuration, unchanged. If an
    /// inventory lists this machine, kboot uses that entry
    #[arg(long, value_name = "FILE")]
    config: Option<Utf8PathBuf>,
    /// A folder of patches in kubeadm's format: files named TARGET[SUFFIX][+TYPE].yaml or .json
    #[arg(long, value_name = "FOLDER")]
    patches: Option<Utf8PathBuf>,
    /// The node's name. Default: the hostname
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// The IP address at which other machines reach this one. Default: the default route's address, or the private address of a
    /// virtual machine behind NAT. To join: the address from which this machine reaches the API server
    #[arg(long, value_name = "IP")]
    apiserver_advertise_address: Option<IpAddr>,
}

/// The flag that sets a field of the cluster.
const FLAGS: [(&str, &str); 7] = [
    ("certificates.extraSANs", "--apiserver-cert-extra-sans"),
    ("endpoint", "--control-plane-endpoint"),
    ("images.repository", "--image-repository"),
    ("kubernetes.version", "--kubernetes-version"),
    ("network.dnsDomain", "--service-dns-domain"),
    ("network.podSubnet", "--pod-network-cidr"),
    ("network.serviceSubnet", "--service-cidr"),
];

/// The flag that sets a field of this machine.
const HOST_FLAGS: [(&str, &str); 2] = [("address", "--apiserver-advertise-address"), ("name", "--node-name")];

fn flag_of(path: &Path) -> Option<&'static str> {
    let host = path.inside(&Path::of("hosts").index(0));
    let (flags, path) = host.as_ref().map_or((&FLAGS[..], path), |field| (&HOST_FLAGS[..], field));
    flags.iter().find(|(field, _)| path.is_within(&Path::of(field))).map(|(_, flag)| *flag)
}

/// The name of a field for a user who sets it with a flag.
fn in_flags(field: Field) -> &'static str {
    match field {
        Field::DnsDomain => "`--service-dns-domain`",
        Field::HostName => "`--node-name`",
        Field::PodSubnet => "`--pod-network-cidr`",
        Field::ServiceSubnet => "`--service-cidr`",
        Field::HostTaints | Field::KubeletConfig => field.in_inventory(),
    }
}

/// Checks the cluster that flags and a file describe together, in the same way as a file.
pub fn validated(cluster: Cluster) -> Result<Cluster, Problem> {
    let Err(mistakes) = inventory::parse(&inventory::print(&cluster), Utf8Path::new("<flags>")) else {
        return Ok(cluster);
    };
    let told: Vec<(String, String)> = mistakes
        .iter()
        .map(|mistake| {
            let place = flag_of(&mistake.path).map_or_else(|| mistake.path.to_string(), str::to_owned);
            let hints: Vec<String> = mistake.hints.iter().map(|hint| hint.with_names(in_flags)).collect();
            (format!("{place}: {}", mistake.message), hints.join("\n"))
        })
        .collect();
    if let [(cause, hint)] = told.as_slice() {
        let problem = Problem::usage(cause.as_str());
        return Err(if hint.is_empty() { problem } else { problem.hint(hint) });
    }
    let lines = told.into_iter().map(|(cause, hint)| if hint.is_empty() { cause } else { format!("{cause}: {hint}") });
    Err(Problem::Usage(Failure::new("the flags do not describe a cluster").evidence(lines)))
}

/// Reports which address was chosen, if the file does not have one.
pub fn told(chosen: Option<Chosen>, cluster: &Cluster, global: &Global) {
    if let Some(chosen) = chosen.filter(|chosen| chosen.address == cluster.hosts[0].address) {
        chosen.tell(global);
    }
}

impl MachineArgs {
    /// This machine without any flags.
    pub fn here() -> Self {
        Self::of(None)
    }

    /// This machine with this configuration.
    pub fn of(config: Option<Utf8PathBuf>) -> Self {
        Self { config, patches: None, node_name: None, apiserver_advertise_address: None }
    }

    /// The text and the path of `--config`, if it is kubeadm's configuration.
    pub fn kubeadm(&self) -> Option<(String, &Utf8Path)> {
        let path = self.config.as_deref()?;
        kubeadm::text(path).map(|text| (text, path))
    }

    /// The node's name: from the flag, else the hostname.
    pub fn name(&self) -> Result<String, Problem> {
        self.node_name.clone().map_or_else(hostname, Ok)
    }

    /// The name from the flag.
    pub fn node_name(&self) -> Option<&str> {
        self.node_name.as_deref()
    }

    /// The address from the flag.
    pub fn given_address(&self) -> Option<IpAddr> {
        self.apiserver_advertise_address
    }

    /// Whether the flag names a folder of patches.
    pub fn has_patches(&self) -> bool {
        self.patches.is_some()
    }

    /// The cluster with the flag's patches.
    pub fn patched(&self, mut cluster: Cluster) -> Result<Cluster, Problem> {
        if let Some(folder) = &self.patches {
            cluster.patches.extend(kubeadm::patches(folder)?);
        }
        kubeadm::fit(&cluster)?;
        Ok(cluster)
    }

    /// The configuration, or the defaults, and this machine in it. `address` gives the machine's address if the configuration has
    /// none.
    pub fn resolve(
        &self,
        role: Role,
        address: impl FnOnce(&Self) -> Result<IpAddr, Problem>,
    ) -> Result<(Cluster, Host), Problem> {
        let name = self.name()?;
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

    /// The address from the flag. Without the flag, chooses one and stores it in `chosen`, so that the caller can report it. To join,
    /// `endpoint` is the API server, and the route to it decides.
    pub fn address(&self, endpoint: Option<&str>, chosen: &mut Option<Chosen>) -> Result<IpAddr, Problem> {
        match self.apiserver_advertise_address {
            Some(address) => Ok(address),
            None => Ok(chosen.insert(address::choose(endpoint)?).address),
        }
    }
}

/// Reads a configuration. Does not look for SSH's files, because only a controller needs them.
pub fn read(path: &Utf8Path) -> Result<Cluster, Problem> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| unreadable(path, &error).hint("name a file like an inventory: --config FILE"))?;
    let mut cluster =
        inventory::parse(&text, path).map_err(|mistakes| Problem::Report(format!("error: {mistakes}")))?;
    cluster.resolve_keys(path.parent().unwrap_or(Utf8Path::new(".")));
    Ok(cluster)
}
