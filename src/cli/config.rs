//! `kboot config`

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::inventory::{self, Cluster};
use crate::kubeadm::is_kubeadm;
use crate::report::count;

use super::etcd_files;
use super::exit::{Problem, print_data};
use super::kubeadm;
use super::up::InventoryArg;

/// Check inventories, print them with all defaults, and print their JSON Schema
#[derive(Subcommand)]
pub enum Config {
    Validate(Validate),
    Print(Print),
    /// Print the JSON Schema of inventories, for editors
    #[command(after_help = "Example:\n  kboot config schema > inventory.schema.json")]
    Schema,
}

/// Check an inventory and report every mistake in it
///
/// The command reads the inventory and the files that it names, and connects to no host. It reports each mistake with its line and
/// column. It checks kubeadm's configuration in the same way as `kboot init --config`.
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
/// For kubeadm's configuration, the command prints an equivalent inventory, with this machine as the host.
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
                let (cluster, is_kubeadm) = load(&validate.inventory)?;
                // kubeadm's configuration names files of the machine for which it is written. They may not exist here.
                if !is_kubeadm {
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
            Config::Print(print) => inventory::print(&load(&print.inventory)?.0),
            Config::Schema => inventory::schema(),
        };
        print_data(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The cluster of an inventory, or of kubeadm's configuration, and whether it is the latter.
fn load(argument: &InventoryArg) -> Result<(Cluster, bool), Problem> {
    match inventory::text(argument.path()).ok().filter(|text| is_kubeadm(text)) {
        Some(text) => Ok((kubeadm::cluster(&text, argument.path())?, true)),
        None => Ok((argument.load()?, false)),
    }
}
