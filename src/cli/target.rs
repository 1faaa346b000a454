//! Which hosts a command is for, of those that work on this machine or on an inventory's.

use std::net::IpAddr;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::engine::Mode;
use crate::inventory::{self, Cluster, Role};

use super::exit::Problem;
use super::init::{MachineArgs, require_root};
use super::run::DryRunArgs;
use super::wait::WaitArgs;

/// The flags of commands that take back what was made.
#[derive(Args)]
pub struct TakeBackArgs {
    /// The inventory whose hosts are meant; this machine if none is given
    #[arg(long = "inventory", short = 'i', value_name = "FILE")]
    inventory: Option<Utf8PathBuf>,
    /// Only these hosts of the inventory
    #[arg(long = "host", value_name = "NAME", requires = "inventory")]
    pub hosts: Vec<String>,
    /// Don't ask for a confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    pub dry: DryRunArgs,
    #[command(flatten)]
    pub wait: WaitArgs,
}

impl TakeBackArgs {
    pub fn path(&self) -> Option<&Utf8Path> {
        self.inventory.as_deref()
    }

    /// Whether a person is to be asked first.
    pub fn needs_word(&self) -> bool {
        self.dry.mode() == Mode::Apply && !self.yes
    }

    /// All hosts of the inventory, of which those that are named are there; None if there is no inventory.
    pub fn inventory(&self) -> Result<Option<Cluster>, Problem> {
        let Some(path) = &self.inventory else { return Ok(None) };
        let cluster = inventory::load(path)?.cluster;
        known(&cluster, &self.hosts)?;
        Ok(Some(cluster))
    }
}

/// A cluster of this machine alone, for what has to be done as root.
pub fn this_machine() -> Result<Cluster, Problem> {
    require_root()?;
    let (cluster, _) = MachineArgs::here().resolve(Role::Worker, |_| Ok(IpAddr::from([127, 0, 0, 1])))?;
    Ok(cluster)
}

/// An error where the inventory lacks one of these hosts.
pub fn known(cluster: &Cluster, names: &[String]) -> Result<(), Problem> {
    let Some(unknown) = names.iter().find(|name| cluster.host(name).is_none()) else { return Ok(()) };
    let known: Vec<&str> = cluster.hosts.iter().map(|host| host.name.as_str()).collect();
    Err(Problem::usage(format!("the inventory has no host {unknown}")).hint(format!("it has {}", known.join(", "))))
}

/// The cluster with only these hosts, which it has; all if none is named.
pub fn chosen(mut cluster: Cluster, names: &[String]) -> Cluster {
    cluster.hosts.retain(|host| names.is_empty() || names.contains(&host.name));
    cluster
}
