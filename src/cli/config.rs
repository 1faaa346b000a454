//! `kboot config`

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::inventory;
use crate::report::count;

use super::exit::{Problem, print};
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
/// Reads the inventory and the files that it names, and asks no host. Each mistake is told with its line and column.
#[derive(Args)]
#[command(after_help = "Example:\n  kboot config validate -i inventory.yaml")]
pub struct Validate {
    #[command(flatten)]
    inventory: InventoryArg,
}

/// Print an inventory with every default filled in
#[derive(Args)]
#[command(after_help = "Example:\n  kboot config print -i inventory.yaml")]
pub struct Print {
    #[command(flatten)]
    inventory: InventoryArg,
}

impl Config {
    pub fn run(self) -> Result<ExitCode, Problem> {
        let text = match self {
            Config::Validate(validate) => {
                let cluster = validate.inventory.load()?;
                let (all, control) = (cluster.hosts.len(), cluster.control_planes().count());
                format!(
                    "{}: {}, {control} of them control plane, Kubernetes {}\n",
                    validate.inventory.path(),
                    count(all, "host"),
                    cluster.kubernetes.version
                )
            }
            Config::Print(print) => inventory::print(&print.inventory.load()?),
            Config::Schema => inventory::schema(),
        };
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
