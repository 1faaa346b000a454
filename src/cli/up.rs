//! `kboot up`

use std::collections::BTreeMap;
use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::controller::{FillIn, Job, Reach};
use crate::engine::{Failure, Mode};
use crate::facts::Facts;
use crate::inventory::{self, Cluster, Host};
use crate::report::Stream;
use crate::steps::{Inputs, JoinToken};

use super::Global;
use super::exit::{Problem, remark_lines};
use super::lock_file::LockedArgs;
use super::phase_filter::PhasedCommand;
use super::run::{self, RunArgs};

/// Create a cluster on the hosts of an inventory, or bring it in line with the inventory
///
/// The run connects to all hosts over SSH, inspects them, and makes only the missing changes. If a run was interrupted, repeat it. If
/// nothing is missing, the run changes nothing.
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
    pub run: RunArgs,
    #[command(flatten)]
    locked: LockedArgs,
}

#[derive(Args)]
pub struct InventoryArg {
    /// The file that describes the cluster and its hosts; `-` reads the standard input
    #[arg(
        long = "inventory",
        short = 'i',
        value_name = "FILE",
        default_value = "inventory.yaml",
        env = "KBOOT_INVENTORY",
        hide_env_values = true
    )]
    path: Utf8PathBuf,
}

impl InventoryArg {
    pub fn load(&self) -> Result<Cluster, Problem> {
        load(&self.path)
    }

    pub fn path(&self) -> &Utf8PathBuf {
        &self.path
    }
}

/// Reads and checks an inventory. Prints warnings to standard error.
pub fn load(path: &Utf8Path) -> Result<Cluster, Problem> {
    let loaded = inventory::load(path)?;
    if !loaded.warnings.is_empty() {
        remark_lines(&loaded.warnings);
    }
    super::kubeadm::fit(&loaded.cluster)?;
    Ok(loaded.cluster)
}

impl Up {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let ignore = self.run.ignore()?;
        let cluster = self.inventory.load()?;
        let lock = self.locked.load(self.inventory.path(), &cluster)?;
        let cluster = lock.as_ref().map_or(cluster.clone(), |lock| lock.pinned(&cluster));
        let inputs = inputs(&cluster);
        let job = Job {
            playbook: self.run.phases.of(PhasedCommand::Up, &[])?,
            lock: lock.as_ref(),
            drift: self.run.drift.into(),
            wait_lock: self.run.wait.limit(),
            ignore: Some(ignore),
            ..job(&cluster, self.inventory.path(), self.run.dry.mode(), &inputs)
        };
        let ended = run::run(job, global, Stream::Out).await?;
        Ok(self.run.dry.code(&ended))
    }
}

/// The job of `up`. `plan` makes a dry run of it.
pub fn job<'a>(cluster: &'a Cluster, inventory: &'a Utf8Path, mode: Mode, inputs: &'a FillIn<'a>) -> Job<'a> {
    Job { inventory: Some(inventory), inputs, ..Job::new("up", cluster, Reach::Ssh, mode) }
}

/// Completes the inputs with the hosts that have not joined yet.
pub fn inputs(cluster: &Cluster) -> impl Fn(&BTreeMap<String, Facts>, &mut Inputs) -> Result<(), Failure> + Sync + '_ {
    |facts, inputs| {
        let is_new = |host: &&Host| facts.get(&host.name).is_some_and(|facts| !facts.node.has_kubelet_conf);
        let is_joining = cluster.workers().any(|host| is_new(&host));
        inputs.join_token = if is_joining { JoinToken::ForRun } else { JoinToken::Unneeded };
        inputs.unregistered = cluster.nodes().filter(is_new).map(|host| host.name.clone()).collect();
        // A host with a bootstrap kubeconfig was interrupted while its kubelet joined. A Node with its name is new, and not left from
        // a former host.
        let has_begun = |name: &String| facts[name].node.has_bootstrap_conf;
        inputs.bare = inputs.unregistered.iter().filter(|name| !has_begun(name)).cloned().collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::samples::sample;

    #[test]
    fn one_that_was_cut_off_while_it_joined_has_no_former_self() {
        let mut sample = sample();
        sample.facts.get_mut("n2").unwrap().node.has_bootstrap_conf = true;
        let mut found = Inputs::default();
        inputs(&sample.cluster)(&sample.facts, &mut found).unwrap();
        assert_eq!(found.join_token, JoinToken::ForRun);
        assert_eq!(found.unregistered.iter().collect::<Vec<_>>(), ["n1", "n2", "n3"]);
        assert_eq!(found.bare.iter().collect::<Vec<_>>(), ["n1", "n3"]);
    }
}
