//! `kboot plan`

use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::controller::{Job, absolute};
use crate::engine::{Failure, Mode};
use crate::plan::SavedPlan;
use crate::playbook;
use crate::report::Stream;

use super::exit::{Problem, remark};
use super::file;
use super::lock_file::LockedArgs;
use super::run::{self, DriftPolicy};
use super::up::{self, InventoryArg};
use super::{Global, saved_plan};

/// Show what `up` would change on each host, and change nothing
///
/// A plan shows file diffs, packages with their versions, and cluster objects field by field. It shows no secrets. Save a plan to a
/// file with --out, and `kboot apply` carries out exactly that plan.
#[derive(Args)]
#[command(
    after_help = "\
Examples:
  kboot plan -i inventory.yaml                        Show what `kboot up` would do
  kboot plan -i inventory.yaml --verbose              Also show the content of new files and objects
  kboot plan -i inventory.yaml --out plan.json        Save the plan for `kboot apply`
  kboot plan show plan.json                           Show a saved plan again, without its hosts
  kboot plan -i inventory.yaml --detailed-exitcode    Exit 0: no changes, 3: changes, 1: unknown",
    args_conflicts_with_subcommands = true
)]
pub struct PlanCommand {
    #[command(subcommand)]
    saved: Option<Saved>,
    #[command(flatten)]
    inventory: InventoryArg,
    /// Save the plan to this file, for `kboot apply`
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
    #[command(flatten)]
    locked: LockedArgs,
    /// Exit with code 3 if something would change, 0 if nothing would
    #[arg(long)]
    detailed_exitcode: bool,
    /// What to do about changes made on hosts since the last run: `repair` reverts them, `keep` reports them
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = DriftPolicy::Repair)]
    drift: DriftPolicy,
    /// Preflight checks whose errors count as warnings, for example NumCPU,Swap; `all` for all checks
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    ignore_preflight: Vec<String>,
}

#[derive(Subcommand)]
enum Saved {
    /// Show a plan that `kboot plan --out` saved
    ///
    /// The command reads the file and connects to no host.
    #[command(after_help = "Example:\n  kboot plan show plan.json")]
    Show {
        /// The file with the saved plan
        #[arg(value_name = "FILE")]
        plan: Utf8PathBuf,
    },
}

impl PlanCommand {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        if let Some(Saved::Show { plan }) = self.saved {
            saved_plan::show(&saved_plan::read(&plan)?, global);
            return Ok(ExitCode::SUCCESS);
        }
        let ignore = run::ignore(&self.ignore_preflight)?;
        let cluster = self.inventory.load()?;
        let lock = self.locked.load(self.inventory.path(), &cluster)?;
        let cluster = lock.as_ref().map_or(cluster.clone(), |lock| lock.pinned(&cluster));
        let inputs = up::inputs(&cluster);
        let drift = self.drift.into();
        let job = Job {
            drift,
            lock: lock.as_ref(),
            ignore: Some(ignore),
            ..up::job(&cluster, self.inventory.path(), Mode::Plan, &inputs)
        };
        let ended = run::run(job, global, Stream::Out).await?;
        if let Some(path) = &self.out {
            match ended.is_success() {
                true => {
                    let inventory = camino::absolute_utf8(self.inventory.path())?;
                    let hosts = ended.hosts.clone();
                    let playbook = playbook::builtin("up");
                    let mut plan = SavedPlan::new(&absolute(&cluster)?, &playbook, hosts, inventory.as_str(), now());
                    (plan.ignore_preflight, plan.drift, plan.lock) = (self.ignore_preflight, drift, lock);
                    save(path, &plan)?;
                }
                false => remark(format!("the plan is not whole, so {path} was not written")),
            }
        }
        Ok(ended.code(self.detailed_exitcode))
    }
}

fn save(path: &Utf8Path, plan: &SavedPlan) -> Result<(), Problem> {
    // A plan shows content of the hosts' files, so only its owner may read it.
    let written = file::replace(path, &plan.to_text(), 0o600);
    written.map_err(|error| Problem::from(Failure::from(error).context(format_args!("write {path}"))))?;
    remark(format!("the plan is in {path}: `kboot apply {path}` carries it out"));
    Ok(())
}

fn now() -> String {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    now.format(&Rfc3339).unwrap_or_default()
}
