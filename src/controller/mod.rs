//! The controller: carries a command's job out on the hosts, through their agents, and reports on it.
//!
//! It connects, asks for facts, runs the preflight checks, finds the roles, and runs the playbook ([`crate::playbook`] has the phases and what
//! hosts get in each). It knows no flags, no exit codes and no standard input: `cli` has those.

mod checks;
mod intent;
mod job;
mod reach;
mod roots;
mod signals;
mod stages;

use std::collections::BTreeMap;
use std::time::Instant;

use camino::Utf8Path;
use tokio::sync::mpsc;

use crate::engine::{Event, Failure, Kind, Mode, millis_since};
use crate::plan;
use crate::report::{self, Options, Summary, SummaryBuilder};

pub use intent::{EndpointMove, Intent};
pub use job::{FillIn, Job, Reach, absolute};
pub use reach::name_inventory;
pub use roots::roots;
pub use signals::INTERRUPTED;

/// Runs a job with these public keys of package repositories, and reports on it.
pub async fn run(mut job: Job<'_>, keys: BTreeMap<String, Vec<u8>>, options: Options) -> Result<Ended, Failure> {
    let secrets = std::mem::take(&mut job.secrets);
    let (events, inbox) = mpsc::unbounded_channel();
    let names = job.hosts().into_iter().filter(|host| !job.can_do_without(host)).collect();
    let inventory = job.inventory.map(Utf8Path::to_string);
    let reporting = tokio::spawn(report(inbox, job.mode, names, inventory, options));
    let ended = stages::run(&job, keys, secrets, &events).await;
    drop(events);
    let reported = reporting.await.map_err(|error| Failure::new(format!("the report was lost: {error}")))?;
    ended?;
    Ok(reported)
}

/// How a run ended.
pub struct Ended {
    pub summary: Summary,
    /// The changes that a dry run found.
    pub hosts: plan::Hosts,
}

impl Ended {
    pub fn is_success(&self) -> bool {
        self.summary.is_success()
    }
}

async fn report(
    mut inbox: mpsc::UnboundedReceiver<Event>,
    mode: Mode,
    hosts: Vec<String>,
    inventory: Option<String>,
    options: Options,
) -> Ended {
    let started = Instant::now();
    let mut reporter = report::reporter(options);
    let mut builder = SummaryBuilder::new(mode, hosts);
    let mut hosts = plan::Hosts::new();
    while let Some(mut event) = inbox.recv().await {
        let kind = &mut event.kind;
        if let Some(path) = &inventory
            && let Kind::Failed { failure: Failure { hint, .. } } | Kind::Warning { hint, .. } = kind
        {
            name_inventory(hint, path);
        }
        #[cfg(debug_assertions)]
        crate::engine::fault::at_event(&event);
        reporter.event(&event);
        builder.event(&event);
        plan::collect(&mut hosts, &event);
    }
    let summary = builder.finish(millis_since(started));
    reporter.finish(&summary);
    Ended { summary, hosts }
}
