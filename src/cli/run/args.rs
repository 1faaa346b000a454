//! The flags that all kinds of runs share.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::engine::{Drift, Mode};
use crate::preflight::{self, Ignore};

use crate::cli::exit::Problem;
use crate::cli::phase_filter::PhaseFilter;
use crate::cli::wait::WaitArgs;
use crate::controller::Ended;

/// The flags of a dry run.
#[derive(Args)]
pub struct DryRunArgs {
    /// Show what would change, with file diffs, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: exit with code 3 if something would change, 0 if nothing would
    #[arg(long, requires = "dry_run")]
    detailed_exitcode: bool,
}

/// The flags of every command that converges hosts.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub dry: DryRunArgs,
    /// What to do about changes made on hosts since the last run: `repair` reverts them, `keep` reports them
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = DriftPolicy::Repair)]
    pub drift: DriftPolicy,
    /// Preflight checks whose errors count as warnings, for example NumCPU,Swap; `all` for all checks
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub ignore_preflight: Vec<String>,
    #[command(flatten)]
    pub phases: PhaseFilter,
    #[command(flatten)]
    pub wait: WaitArgs,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum DriftPolicy {
    Repair,
    Keep,
}

impl From<DriftPolicy> for Drift {
    fn from(policy: DriftPolicy) -> Self {
        match policy {
            DriftPolicy::Repair => Drift::Repair,
            DriftPolicy::Keep => Drift::Keep,
        }
    }
}

impl DryRunArgs {
    pub fn mode(&self) -> Mode {
        if self.dry_run { Mode::Plan } else { Mode::Apply }
    }

    pub fn code(&self, ended: &Ended) -> ExitCode {
        ended.code(self.detailed_exitcode)
    }
}

impl RunArgs {
    /// A run of these steps alone.
    pub fn of_steps(steps: &[&str], dry: DryRunArgs, wait: WaitArgs) -> Self {
        Self { dry, drift: DriftPolicy::Repair, ignore_preflight: Vec::new(), phases: PhaseFilter::only(steps), wait }
    }

    pub fn ignore(&self) -> Result<Ignore, Problem> {
        ignore(&self.ignore_preflight)
    }
}

/// The preflight checks with these names.
pub fn ignore(names: &[String]) -> Result<Ignore, Problem> {
    names
        .join(",")
        .parse()
        .map_err(|error: preflight::UnknownCheck| Problem::usage(error.to_string()).hint(error.hint()))
}
