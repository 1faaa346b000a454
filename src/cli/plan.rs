//! `kboot plan`

use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::engine::{Failure, Mode};
use crate::plan::SavedPlan;
use crate::playbook;
use crate::report::Stream;

use super::exit::{Problem, remark};
use super::file;
use super::lock_file::LockedArgs;
use super::run::{self, DriftPolicy, Job};
use super::up::{self, InventoryArg};
use super::{Global, Output};

/// Show what `up` would change, host by host, and touch nothing
///
/// Files as diffs, packages with their versions, cluster objects field by field; nothing secret. With --out the plan is kept in a file,
/// which `kboot apply` carries out: that, and nothing else.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot plan -i inventory.yaml                        What `kboot up` would do
  kboot plan -i inventory.yaml --verbose              New files and objects in full, too
  kboot plan -i inventory.yaml --out plan.json        Keep it: `kboot apply plan.json` does exactly that
  kboot plan -i inventory.yaml --detailed-exitcode    0: nothing to do, 3: something is, 1: it can't be told")]
pub struct PlanCommand {
    #[command(flatten)]
    inventory: InventoryArg,
    /// Keep the plan in this file, for `kboot apply`. `-o plan.json` does the same: a value of -o with a dot or a slash is a file
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
    #[command(flatten)]
    locked: LockedArgs,
    /// Exit code 3 if something would change, 0 if nothing would
    #[arg(long)]
    detailed_exitcode: bool,
    /// What becomes of what somebody changed on the hosts since kboot was here last: repair brings it back, keep tells it
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = DriftPolicy::Repair)]
    drift: DriftPolicy,
    /// Preflight checks whose errors count as warnings, as NumCPU,Swap; `all` for all of them
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    ignore_preflight: Vec<String>,
}

impl PlanCommand {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let ignore = run::ignore(&self.ignore_preflight)?;
        let out = match (global.output, self.out) {
            (Output::File(_), Some(_)) => {
                return Err(Problem::usage("the plan's file is named twice").hint("use either --out FILE or -o FILE"));
            }
            (Output::File(path), None) => Some(path.to_owned()),
            (_, out) => out,
        };
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
        if let Some(path) = &out {
            match ended.is_success() {
                true => {
                    let inventory = camino::absolute_utf8(self.inventory.path())?;
                    let hosts = ended.hosts.clone();
                    let playbook = playbook::builtin("up");
                    let mut plan =
                        SavedPlan::new(&up::absolute(&cluster)?, &playbook, hosts, inventory.as_str(), now());
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
    // What a plan shows of hosts' files is the hosts' affair.
    let written = file::replace(path, &plan.to_text(), 0o600);
    written.map_err(|error| Problem::from(Failure::from(error).context(format_args!("write {path}"))))?;
    remark(format!("the plan is in {path}: `kboot apply {path}` carries it out"));
    Ok(())
}

fn now() -> String {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    now.format(&Rfc3339).unwrap_or_default()
}
