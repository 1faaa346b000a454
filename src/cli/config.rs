//! `kboot config`

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::inventory::{self, Cluster};
use crate::report::count;

use super::etcd_files;
use super::exit::{Problem, print_data};
use super::kubeadm;
use super::up::InventoryArg;

/// Look at inventories: check them, fill them in, describe them
#[derive(Subcommand)]
pub enum Config {
    Validate(Validate),
    Print(Print),
    /// Print the inventory's JSON Schema, for editors
    #[command(after_help = "Example:\n  kboot config schema > inventory.schema.json")]
    Schema,
}

/// Check an inventory and tell every mistake in it
///
/// Reads the inventory and the files that it names, and asks no host. Each mistake is told with its line and column. kubeadm's
/// configuration is checked as `kboot init --config` takes it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot config validate -i inventory.yaml
  kboot config validate -i kubeadm.yaml")]
pub struct Validate {
    #[command(flatten)]
    inventory: InventoryArg,
}

/// Print an inventory with every default filled in
///
/// kubeadm's configuration is printed as the inventory that says the same of the cluster, with this machine as its host.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot config print -i inventory.yaml
  kboot config print -i kubeadm.yaml > inventory.yaml")]
pub struct Print {
    #[command(flatten)]
    inventory: InventoryArg,
}

impl Config {
    pub fn run(self) -> Result<ExitCode, Problem> {
        let text = match self {
            Config::Validate(validate) => {
                let cluster = load(&validate.inventory)?;
                // What kubeadm's configuration names is on the machine that it is for.
                if kubeadm::text(Some(validate.inventory.path())).is_none() {
                    etcd_files::read(&cluster)?;
                }
                let (all, control) = (cluster.hosts.len(), cluster.control_planes().count());
                let etcd = match cluster.etcd_hosts().count() {
                    0 => String::new(),
                    count => format!(", {count} for etcd"),
                };
                format!(
                    "{}: {}, {control} of them control plane{etcd}, Kubernetes {}\n",
                    validate.inventory.path(),
                    count(all, "host"),
                    cluster.kubernetes.version
                )
            }
            Config::Print(print) => inventory::print(&load(&print.inventory)?),
            Config::Schema => inventory::schema(),
        };
        print_data(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The cluster of an inventory, or of a file of kubeadm's.
fn load(argument: &InventoryArg) -> Result<Cluster, Problem> {
    match kubeadm::text(Some(argument.path())) {
        Some(text) => kubeadm::cluster(&text, argument.path()),
        None => argument.load(),
    }
}
