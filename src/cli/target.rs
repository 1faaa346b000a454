//! The hosts of commands that work on this machine or on the hosts of an inventory.

use std::net::IpAddr;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::engine::Mode;
use crate::inventory::{self, Cluster, Role};

use super::exit::Problem;
use super::localhost::require_root;
use super::machine::MachineArgs;
use super::run::DryRunArgs;
use super::wait::WaitArgs;

/// The flags of commands that revert changes.
#[derive(Args)]
pub struct TakeBackArgs {
    /// The inventory with the hosts to work on. Default: this machine
    #[arg(long = "inventory", short = 'i', value_name = "FILE")]
    inventory: Option<Utf8PathBuf>,
    /// Work only on this host of the inventory. Can be repeated
    #[arg(long = "host", value_name = "NAME", requires = "inventory")]
    pub hosts: Vec<String>,
    /// Do not ask for confirmation
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

    /// Whether to ask for confirmation first.
    pub fn needs_word(&self) -> bool {
        self.dry.mode() == Mode::Apply && !self.yes
    }

    /// All hosts of the inventory; None without an inventory. An error if the inventory lacks a named host.
    pub fn inventory(&self) -> Result<Option<Cluster>, Problem> {
        let Some(path) = &self.inventory else { return Ok(None) };
        let cluster = inventory::load(path)?.cluster;
        known(&cluster, &self.hosts)?;
        Ok(Some(cluster))
    }
}

/// A cluster of this machine alone. An error if the user is not root.
pub fn this_machine() -> Result<Cluster, Problem> {
    require_root()?;
    let (cluster, _) = MachineArgs::here().resolve(Role::Worker, |_| Ok(IpAddr::from([127, 0, 0, 1])))?;
    Ok(cluster)
}

/// An error if the inventory lacks one of these hosts.
pub fn known(cluster: &Cluster, names: &[String]) -> Result<(), Problem> {
    let Some(unknown) = names.iter().find(|name| cluster.host(name).is_none()) else { return Ok(()) };
    let known: Vec<&str> = cluster.hosts.iter().map(|host| host.name.as_str()).collect();
    Err(Problem::usage(format!("the inventory has no host {unknown}")).hint(format!("it has {}", known.join(", "))))
}

/// The cluster with only these hosts; with all hosts if none is named.
pub fn chosen(mut cluster: Cluster, names: &[String]) -> Cluster {
    cluster.hosts.retain(|host| names.is_empty() || names.contains(&host.name));
    cluster
}
