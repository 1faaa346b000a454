//! `kboot up`

use std::collections::BTreeMap;
use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::Args;

use crate::engine::Failure;
use crate::facts::Facts;
use crate::inventory::{self, Cluster};
use crate::playbook;
use crate::report::Stream;
use crate::steps::Inputs;

use super::Global;
use super::exit::{Problem, remark};
use super::lock_file::LockedArgs;
use super::run::{self, Job, Reach, RunArgs};

/// Make a cluster of the inventory's hosts, or bring it back to what the inventory says
///
/// Connects to all hosts over SSH, looks at what they are, and does only what is missing. A run that was cut off is simply
/// repeated; a run that finds nothing to do changes nothing.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot up -i inventory.yaml
  kboot up -i inventory.yaml --dry-run
  kboot up -i inventory.yaml --locked
  kboot up -i inventory.yaml --ignore-preflight NumCPU,Mem
  kboot up -i inventory.yaml --output json | jq .")]
pub struct Up {
    #[command(flatten)]
    inventory: InventoryArg,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    locked: LockedArgs,
}

#[derive(Args)]
pub struct InventoryArg {
    /// The file that describes the cluster and its hosts
    #[arg(long = "inventory", short = 'i', value_name = "FILE", default_value = "inventory.yaml")]
    path: Utf8PathBuf,
}

impl InventoryArg {
    /// Reads and checks the file; warnings go to standard error.
    pub fn load(&self) -> Result<Cluster, Problem> {
        let loaded = inventory::load(&self.path)?;
        if !loaded.warnings.is_empty() {
            remark(loaded.warnings.to_string().trim_end());
        }
        Ok(loaded.cluster)
    }

    pub fn path(&self) -> &Utf8PathBuf {
        &self.path
    }
}

impl Up {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let ignore = self.run.ignore()?;
        let cluster = self.inventory.load()?;
        let lock = self.locked.load(self.inventory.path(), &cluster)?;
        let cluster = lock.as_ref().map_or(cluster.clone(), |lock| lock.pinned(&cluster));
        let inputs = |facts: &BTreeMap<String, Facts>, inputs: &mut Inputs| -> Result<(), Failure> {
            self::inputs(&cluster, facts, inputs);
            Ok(())
        };
        let job = Job {
            command: "up",
            playbook: playbook::builtin("up"),
            cluster: &cluster,
            only: &[],
            reach: Reach::Ssh,
            inventory: Some(self.inventory.path()),
            mode: self.run.mode(),
            drift: self.run.drift.into(),
            undoes: None,
            wait_lock: self.run.wait.limit(),
            ignore: Some(ignore),
            leaving: &[],
            inputs: &inputs,
        };
        let ended = run::run_locked(job, lock.as_ref(), global, Stream::Out).await?;
        Ok(ended.code())
    }
}

/// What the making of a cluster is told beside the inventory.
pub fn inputs(cluster: &Cluster, facts: &BTreeMap<String, Facts>, inputs: &mut Inputs) {
    inputs.is_joining = cluster.workers().any(|host| facts.get(&host.name).is_some_and(|f| !f.node.has_kubelet_conf));
}
