//! Runs of the controller, as commands begin and end them: with the files that this machine has, and with an exit code.

mod args;

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::controller::{self, Ended, Job};
use crate::inventory::{Cluster, Repository};
use crate::report::Stream;

pub use args::{DriftPolicy, DryRunArgs, RunArgs, ignore};

use super::Global;
use super::etcd_files;
use super::exit::{CHANGES, FAILED, INTERRUPTED, Problem, unreadable};

/// Runs a job and reports on it.
pub async fn run(mut job: Job<'_>, global: Global, stream: Stream) -> Result<Ended, Problem> {
    let keys = repository_keys(job.cluster)?;
    if job.intent.reads_etcd_files() {
        job.secrets = std::mem::take(&mut job.secrets).with_etcd(etcd_files::read(job.cluster)?);
    }
    Ok(controller::run(job, keys, global.options(stream)).await?)
}

impl Ended {
    /// With `is_detailed`, a dry run that found something to do has an exit code of its own.
    pub fn code(&self, is_detailed: bool) -> ExitCode {
        match &self.summary {
            summary if summary.is_interrupted() => ExitCode::from(INTERRUPTED),
            summary if summary.is_success() && is_detailed && !self.hosts.is_empty() => ExitCode::from(CHANGES),
            summary if summary.is_success() => ExitCode::SUCCESS,
            _ => ExitCode::from(FAILED),
        }
    }
}

/// The public keys that the inventory names as files. The agents do not have these files.
pub fn repository_keys(cluster: &Cluster) -> Result<BTreeMap<String, Vec<u8>>, Problem> {
    let mut keys = BTreeMap::new();
    for (name, repository) in
        [("kubernetes", &cluster.packages.kubernetes), ("containerd", &cluster.packages.containerd)]
    {
        if let Some(key) = key_of(repository)? {
            keys.insert(name.to_string(), key);
        }
    }
    Ok(keys)
}

fn key_of(repository: &Repository) -> Result<Option<Vec<u8>>, Problem> {
    let Some(path) = &repository.key_file else { return Ok(None) };
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    let key = crate::openpgp::dearmor(&bytes).map_err(|error| Problem::usage(format!("{path}: {error}")))?;
    Ok(Some(key))
}
