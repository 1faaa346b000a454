//! `kboot apply`

use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::controller::{Intent, Job, absolute};
use crate::engine::Mode;
use crate::inventory;
use crate::plan::{self, SavedPlan};
use crate::playbook;
use crate::report::Stream;

use super::Global;
use super::exit::{Problem, remark};
use super::run;
use super::saved_plan;
use super::up;
use super::wait::WaitArgs;

/// Carry out a plan that `kboot plan --out` saved, and nothing else
///
/// The run first inspects all hosts again. If a host or the cluster differs from the saved plan, the run changes nothing and reports
/// the differences. If you apply a plan twice, the second run finds nothing to do.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot plan -i inventory.yaml --out plan.json
  kboot apply plan.json")]
pub struct Apply {
    /// The file with the saved plan
    #[arg(value_name = "FILE")]
    plan: Utf8PathBuf,
    #[command(flatten)]
    wait: WaitArgs,
}

impl Apply {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let path = &self.plan;
        let saved = saved_plan::read(path)?;
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
            intent: Intent::Apply(&saved),
            playbook,
            drift: saved.drift,
            wait_lock: self.wait.limit(),
            lock: saved.lock.as_ref(),
            ignore: Some(ignore),
            ..up::job(&saved.cluster, inventory, Mode::Apply, &inputs)
        };
        Ok(run::run(job, global, Stream::Out).await?.code(false))
    }
}

/// Whether the inventory exists and differs from the plan's.
fn is_edited(path: &Utf8Path, saved: &SavedPlan) -> bool {
    let Ok(loaded) = inventory::load(path) else { return false };
    let cluster = saved.lock.as_ref().map_or(loaded.cluster.clone(), |lock| lock.pinned(&loaded.cluster));
    absolute(&cluster).is_ok_and(|cluster| plan::digest_of(&cluster) != saved.inventory_digest)
}
