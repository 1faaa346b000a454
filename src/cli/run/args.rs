//! The flags that say how a run is made, whatever it makes.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::engine::{Drift, Mode};
use crate::preflight::{self, Ignore};

use super::Ended;
use crate::cli::exit::Problem;
use crate::cli::phase::PartArgs;
use crate::cli::wait::WaitArgs;

/// Whether hosts are changed at all.
#[derive(Args)]
pub struct DryRunArgs {
    /// Show what would change, files as diffs, and touch nothing
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: exit code 3 if something would change, 0 if nothing would
    #[arg(long, requires = "dry_run")]
    detailed_exitcode: bool,
}

/// Flags of every command that brings hosts to what is wanted of them.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub dry: DryRunArgs,
    /// What becomes of what somebody changed on the hosts since kboot was here last: repair brings it back, keep tells it
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = DriftPolicy::Repair)]
    pub drift: DriftPolicy,
    /// Preflight checks whose errors count as warnings, as NumCPU,Swap; `all` for all of them
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub ignore_preflight: Vec<String>,
    #[command(flatten)]
    pub part: PartArgs,
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
    pub fn ignore(&self) -> Result<Ignore, Problem> {
        ignore(&self.ignore_preflight)
    }
}

/// The preflight checks of these names.
pub fn ignore(names: &[String]) -> Result<Ignore, Problem> {
    names
        .join(",")
        .parse()
        .map_err(|error: preflight::UnknownCheck| Problem::usage(error.to_string()).hint(error.hint()))
}
