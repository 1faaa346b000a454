//! `kboot endpoint`

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::controller::{EndpointMove, Intent, Job};
use crate::engine::Mode;
use crate::report::Stream;

use super::Global;
use super::exit::{Problem, remark};
use super::run::{self, DryRunArgs};
use super::up::{self, InventoryArg};
use super::wait::WaitArgs;

/// Change the control-plane endpoint and the addresses of hosts
#[derive(Subcommand)]
pub enum Endpoint {
    Move(Move),
}

/// Move a running cluster to its inventory's new `endpoint` or `vip`, and hosts to new addresses
///
/// Edit `endpoint`, `vip` or the hosts' `address` in the inventory first. A new `endpoint` must already lead to the control planes.
/// kboot sets up a `vip` itself. A host must already have its new address, and may still have the old one. The run moves control
/// planes, nodes, etcd members and the cluster's objects in the same way as `kboot up`. Meanwhile, the API servers' certificates are
/// valid for the old and the new endpoint. At the end, the run removes the old endpoint. If a move was interrupted, repeat it.
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
    /// Preflight checks whose errors count as warnings, for example NumCPU,Swap; `all` for all checks
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
        let job = |stage| Job {
            intent: Intent::MoveEndpoint(stage),
            wait_lock: self.wait.limit(),
            ignore: Some(ignore.clone()),
            ..up::job(&cluster, self.inventory.path(), mode, &inputs)
        };
        let ended = run::run(job(EndpointMove::AddNew), global, Stream::Out).await?;
        if mode == Mode::Plan || !ended.is_success() {
            return Ok(self.dry.code(&ended));
        }
        // All clients use the new endpoint now. The second run removes the old endpoint and its balancers.
        let ended = run::run(job(EndpointMove::RemoveOld), global, Stream::Out).await?;
        if ended.is_success() && matches!(global.output, super::Output::Auto) {
            let path = self.inventory.path();
            remark(format!(
                "People's kubeconfigs may have the old endpoint still: kboot kubeconfig -i {path} --merge ~/.kube/config"
            ));
        }
        Ok(self.dry.code(&ended))
    }
}
