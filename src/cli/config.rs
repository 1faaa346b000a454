//! `kboot config`

use std::process::ExitCode;

use camino::Utf8Path;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::inventory::{self, Cluster};
use crate::kubeadm::is_kubeadm;
use crate::report::count;

use super::config_init::Init;
use super::etcd_files;
use super::exit::{Problem, print_data, print_json};
use super::images::Images;
use super::up::{self, InventoryArg};
use super::{Global, Output, kubeadm};

/// Begin an inventory, check and print inventories, and list the images of a cluster
#[derive(Subcommand)]
pub enum Config {
    Init(Init),
    Validate(Validate),
    Print(Print),
    /// Print the JSON Schema of inventories, for editors
    #[command(after_help = "Example:\n  kboot config schema > inventory.schema.json")]
    Schema,
    #[command(subcommand)]
    Images(Images),
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
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        match self {
            Config::Images(images) => return images.run(global).await,
            Config::Init(init) => print_data(&init.text()?)?,
            Config::Validate(validate) => validate.run(global)?,
            Config::Print(print) => print.run(global)?,
            Config::Schema => print_data(&inventory::schema())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Validate {
    fn run(&self, global: Global) -> Result<(), Problem> {
        let (cluster, is_kubeadm) = load(self.inventory.path())?;
        // kubeadm's configuration names files of the machine for which it is written. They may not exist here.
        if !is_kubeadm {
            etcd_files::read(&cluster)?;
        }
        let version = &cluster.kubernetes.version;
        let (all, control, etcd) =
            (cluster.hosts.len(), cluster.control_planes().count(), cluster.etcd_hosts().count());
        match global.output {
            Output::Json => print_json(&json!({
                "name": cluster.name,
                "kubernetes": version,
                "hosts": all,
                "controlPlanes": control,
                "etcdHosts": etcd,
            })),
            Output::Auto | Output::Plain => {
                let (path, all) = (self.inventory.path(), count(all, "host"));
                let etcd = if etcd == 0 { String::new() } else { format!(", {etcd} for etcd") };
                print_data(&format!("{path}: {all}, {control} of them control plane{etcd}, Kubernetes {version}\n"))
            }
        }
    }
}

impl Print {
    fn run(&self, global: Global) -> Result<(), Problem> {
        let (cluster, _) = load(self.inventory.path())?;
        match global.output {
            Output::Json => print_json(&serde_json::to_value(&cluster).expect("the types have string keys only")),
            Output::Auto | Output::Plain => print_data(&inventory::print(&cluster)),
        }
    }
}

/// The cluster of an inventory, or of kubeadm's configuration, and whether it is the latter.
fn load(path: &Utf8Path) -> Result<(Cluster, bool), Problem> {
    match inventory::text(path).ok().filter(|text| is_kubeadm(text)) {
        Some(text) => Ok((kubeadm::cluster(&text, path)?, true)),
        None => Ok((up::load(path)?, false)),
    }
}
