//! `kboot endpoint`

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::engine::Mode;
use crate::report::Stream;

use super::Global;
use super::exit::{Problem, remark};
use super::run::{self, DryRunArgs, Job};
use super::up::{self, InventoryArg};
use super::wait::WaitArgs;

/// What leads to a cluster's API servers, and the hosts' addresses
#[derive(Subcommand)]
pub enum Endpoint {
    Move(Move),
}

/// Move a running cluster to the `endpoint` or `vip` that its inventory has now, and its hosts to their `address`
///
/// Edit the inventory first. What the endpoint is to be must lead to the control planes already, but for a `vip`, which kboot sets up. A host must have
/// its new address already, and may still have the old one. Control planes, nodes, etcd's members and the cluster's objects are moved as by
/// `kboot up`, while the API servers answer by both names; then they forget the old one. A move that was cut off is repeated.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot endpoint move -i inventory.yaml --dry-run
  kboot endpoint move -i inventory.yaml")]
pub struct Move {
    #[command(flatten)]
    inventory: InventoryArg,
    #[command(flatten)]
    dry: DryRunArgs,
    /// Preflight checks whose errors count as warnings, as NumCPU,Swap; `all` for all of them
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    ignore_preflight: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

impl Endpoint {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let Endpoint::Move(command) = self;
        command.run(global).await
    }
}

impl Move {
    async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let ignore = run::ignore(&self.ignore_preflight)?;
        let cluster = self.inventory.load()?;
        let inputs = up::inputs(&cluster);
        let mode = self.dry.mode();
        let job = |moves_endpoint| Job {
            wait_lock: self.wait.limit(),
            ignore: Some(ignore.clone()),
            moves_endpoint,
            has_moved: !moves_endpoint,
            ..up::job(&cluster, self.inventory.path(), mode, &inputs)
        };
        let ended = run::run(job(true), global, Stream::Out).await?;
        if mode == Mode::Plan || !ended.is_success() {
            return Ok(self.dry.code(&ended));
        }
        // Everybody asks by the new name now: the old one goes, and what stood behind it.
        let ended = run::run(job(false), global, Stream::Out).await?;
        if ended.is_success() && matches!(global.output, super::Output::Auto) {
            let path = self.inventory.path();
            remark(format!(
                "People's kubeconfigs may have the old endpoint still: kboot kubeconfig -i {path} --merge ~/.kube/config"
            ));
        }
        Ok(self.dry.code(&ended))
    }
}
