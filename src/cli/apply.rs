//! `kboot apply`

use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::engine::Mode;
use crate::inventory;
use crate::plan::{self, PlanError, SavedPlan};
use crate::playbook;
use crate::report::Stream;

use super::Global;
use super::exit::{Problem, remark, unreadable};
use super::run::{self, Job};
use super::up;
use super::wait::WaitArgs;

/// Carry out a plan that `kboot plan --out` kept: that, and nothing else
///
/// First all hosts are looked at again. If one of them, or the cluster, is no longer as the plan saw it, nothing is changed, and what
/// moved is named. A plan that is carried out already finds nothing to do.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot plan -i inventory.yaml --out plan.json
  kboot apply plan.json")]
pub struct Apply {
    /// The plan's file
    #[arg(value_name = "FILE")]
    plan: Utf8PathBuf,
    #[command(flatten)]
    wait: WaitArgs,
}

impl Apply {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let path = &self.plan;
        let text = std::fs::read_to_string(path)
            .map_err(|error| unreadable(path, &error).hint("make one: kboot plan -i INVENTORY --out FILE"))?;
        let saved = SavedPlan::parse(&text).map_err(|error: PlanError| {
            Problem::usage(format!("failed to read the plan {path}: {error}")).hint(error.hint())
        })?;
        let inventory = Utf8Path::new(&saved.inventory);
        if is_edited(inventory, &saved) {
            remark(format!("note: {inventory} has changed since the plan was made; the plan counts"));
        }
        let ignore = run::ignore(&saved.ignore_preflight)?;
        let playbook = playbook::parse(&saved.playbook, path)
            .map_err(|error| Problem::usage(format!("failed to read the plan's playbook: {error}")))?;
        let inputs = up::inputs(&saved.cluster);
        let job = Job {
            command: "apply",
            playbook,
            drift: saved.drift,
            wait_lock: self.wait.limit(),
            saved: Some(&saved),
            lock: saved.lock.as_ref(),
            ignore: Some(ignore),
            ..up::job(&saved.cluster, inventory, Mode::Apply, &inputs)
        };
        Ok(run::run(job, global, Stream::Out).await?.code(false))
    }
}

/// Whether the inventory is there and says something else by now.
fn is_edited(path: &Utf8Path, saved: &SavedPlan) -> bool {
    let Ok(loaded) = inventory::load(path) else { return false };
    let cluster = saved.lock.as_ref().map_or(loaded.cluster.clone(), |lock| lock.pinned(&loaded.cluster));
    up::absolute(&cluster).is_ok_and(|cluster| plan::digest_of(&cluster) != saved.inventory_digest)
}
