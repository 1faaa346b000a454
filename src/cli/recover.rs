//! `kboot recover`

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use time::OffsetDateTime;

use crate::controller::{Intent, Job, Reach};
use crate::engine::{Failure, Mode};
use crate::facts::Facts;
use crate::inventory::Cluster;
use crate::report::Stream;
use crate::steps::{Inputs, RecoveryStart};

use super::Global;
use super::ask::{confirm, somebody_is_here};
use super::exit::Problem;
use super::run::{self, DryRunArgs};
use super::up::InventoryArg;
use super::wait::WaitArgs;

/// Restore etcd from one control plane's data after a permanent loss of quorum
///
/// Use this when etcd has permanently lost quorum. This means that too many control planes or their data are gone, and none of them
/// comes back. The run copies the data on HOST, and then restarts etcd there as a single member with these data. `kboot up` adds
/// members again. The run gives up the other control planes: if it can reach them, it stops etcd there and renames its data. Before it
/// changes anything, the run shows what may be lost. It refuses if etcd has quorum.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot recover -i inventory.yaml --from n3 --dry-run   Show what may be lost, and what would change
  kboot recover -i inventory.yaml --from n3             Show the same, ask, and then recover
  kboot up -i inventory.yaml                            Then: add the other control planes again")]
pub struct Recover {
    #[command(flatten)]
    inventory: InventoryArg,
    /// The control plane whose data etcd continues with
    #[arg(long, value_name = "HOST")]
    from: String,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    dry: DryRunArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

impl Recover {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let cluster = self.inventory.load()?;
        let all = control_planes(&cluster, &self.from)?;
        let others: Vec<String> = all.iter().filter(|name| **name != self.from).cloned().collect();
        let at = stamp(OffsetDateTime::now_utc());
        let inputs = |facts: &BTreeMap<String, Facts>, inputs: &mut Inputs| -> Result<(), Failure> {
            inputs.recovery_start = Some(RecoveryStart { at: at.clone(), reached: facts.keys().cloned().collect() });
            Ok(())
        };
        let job = |mode| Job {
            inventory: Some(self.inventory.path()),
            only: &all,
            intent: Intent::Recover { survivor: &self.from, given_up: &others },
            wait_lock: self.wait.limit(),
            inputs: &inputs,
            ..Job::new("recover", &cluster, Reach::Ssh, mode)
        };
        let mode = self.dry.mode();
        if mode == Mode::Apply && !self.yes {
            somebody_is_here()?;
            let planned = run::run(job(Mode::Plan), global, Stream::Out).await?;
            if !planned.is_success() {
                return Ok(self.dry.code(&planned));
            }
            let what = format!(
                "This makes etcd a cluster of {} alone, with the data that it has. The other control planes are given up.",
                self.from
            );
            confirm(std::slice::from_ref(&self.from), &what)?;
        }
        Ok(self.dry.code(&run::run(job(mode), global, Stream::Out).await?))
    }
}

/// The inventory's control planes. The survivor must be one of them.
fn control_planes(cluster: &Cluster, from: &str) -> Result<Vec<String>, Problem> {
    if cluster.external_etcd().is_some() {
        let cause = "the cluster's state is in an etcd of its own, and none of it on the control planes";
        let hint = "bring that etcd back by its own means, as from a snapshot: the API servers go on with it";
        return Err(Problem::usage(cause).hint(hint));
    }
    if cluster.has_etcd_hosts() {
        let cause = "the cluster's state is on etcd hosts, and none of it on the control planes";
        let hint = "bring a majority of these hosts back; a snapshot of a survivor's is restored by etcd's own tools";
        return Err(Problem::usage(cause).hint(hint));
    }
    let names: Vec<String> = cluster.control_planes().map(|host| host.name.clone()).collect();
    if names.iter().any(|name| name == from) {
        return Ok(names);
    }
    let cause = match cluster.host(from) {
        Some(_) => format!("{from} is no control plane and has no data of etcd"),
        None => format!("the inventory has no host {from}"),
    };
    Err(Problem::usage(cause).hint(format!("the control planes are {}", names.join(", "))))
}

/// `20261123-041500`
fn stamp(now: OffsetDateTime) -> String {
    let (date, time) = (now.date(), now.time());
    format!(
        "{:04}{:02}{:02}-{:02}{:02}{:02}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_sorts_by_time() {
        let at = |seconds| stamp(OffsetDateTime::from_unix_timestamp(seconds).unwrap());
        assert_eq!(at(1_795_407_300), "20261123-041500");
        assert!(at(1_795_407_300) < at(1_795_407_301));
    }
}
