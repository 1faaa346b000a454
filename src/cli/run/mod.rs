//! What `up`, `init`, `join` and `reset` share: get to the hosts, look at them, check, run a playbook, report.

mod args;
mod checks;
mod reach;
mod signals;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::agent::Client;
use crate::engine::{Cancel, Drift, Event, Failure, Kind, Mode, RunInfo, Sink, millis_since};
use crate::facts::Facts;
use crate::fleet::Fleet;
use crate::inventory::{Cluster, Host, Repository};
use crate::lock::InUse;
use crate::plan::{self, SavedPlan};
use crate::playbook::{self, Plan, Playbook, Roster};
use crate::preflight::Ignore;
use crate::report::{self, Options, Stream, Summary, SummaryBuilder};
use crate::steps::{Inputs, Secrets, Undo, UndoScope};

pub use args::{DriftPolicy, DryRunArgs, RunArgs, ignore};
pub use reach::name_inventory;

use checks::{checked, etcd_checked, is_as_planned, verified};
use reach::{reach, tell_helpless};
use signals::Stoppable;

use super::Global;
use super::etcd_files;
use super::exit::{CHANGES, FAILED, INTERRUPTED, Problem, unreadable};

/// How the hosts of a run are reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This machine, in this process.
    Here,
    Ssh,
}

/// Completes a run's inputs by what the hosts are.
pub type FillIn<'a> = dyn Fn(&BTreeMap<String, Facts>, &mut Inputs) -> Result<(), Failure> + Sync + 'a;

/// A playbook to be run on a cluster's hosts.
pub struct Job<'a> {
    /// The command, for the one who finds a host locked.
    pub command: &'static str,
    pub playbook: Playbook,
    pub cluster: &'a Cluster,
    /// Only these hosts of the cluster; all if there are none.
    pub only: &'a [String],
    pub reach: Reach,
    /// The inventory's file, for hints.
    pub inventory: Option<&'a Utf8Path>,
    pub mode: Mode,
    /// What becomes of what somebody changed on the hosts.
    pub drift: Drift,
    /// What is to be taken back, if that is what it is about.
    pub undo: Option<Undo>,
    /// How long a host that another run works on is waited for.
    pub wait_lock: Duration,
    /// None runs no preflight checks.
    pub ignore: Option<Ignore>,
    /// What the command brings that is secret.
    pub secrets: Secrets,
    /// Has the last word on the inputs once the facts are known.
    pub inputs: &'a FillIn<'a>,
    /// The plan that is carried out, if it is one: nothing is done unless the hosts are as it saw them, and then that alone.
    pub saved: Option<&'a SavedPlan>,
    /// The lock that the run keeps to, if there is one.
    pub lock: Option<&'a InUse>,
    /// Whether the cluster moves to another endpoint: the one that it had is kept until everybody asks by the new one.
    pub moves_endpoint: bool,
    /// Whether it has just been moved.
    pub has_moved: bool,
    /// The hosts that are to be bare afterwards; the others, of which a run can do without each, only help them to leave.
    pub leaving: &'a [String],
    /// Whether what etcd is asked with is in the files that the cluster names, if that is not kboot's. Else it is on the hosts.
    pub brings_etcd_files: bool,
    /// The control plane whose data a recovery goes on with. The run does without those of the others that can't be reached.
    pub survivor: Option<&'a str>,
}

impl<'a> Job<'a> {
    /// A command's own playbook, on all hosts and without preflight checks.
    pub fn new(command: &'static str, cluster: &'a Cluster, reach: Reach, mode: Mode) -> Self {
        Self {
            command,
            playbook: playbook::builtin(command),
            cluster,
            only: &[],
            reach,
            inventory: None,
            mode,
            drift: Drift::Repair,
            undo: None,
            wait_lock: Duration::ZERO,
            ignore: None,
            secrets: Secrets::default(),
            inputs: &|_: &BTreeMap<String, Facts>, _: &mut Inputs| Ok(()),
            saved: None,
            lock: None,
            moves_endpoint: false,
            has_moved: false,
            leaving: &[],
            brings_etcd_files: true,
            survivor: None,
        }
    }

    /// The hosts that take part.
    fn hosts(&self) -> Vec<String> {
        let names = self.cluster.hosts.iter().map(|host| host.name.clone());
        names.filter(|name| self.only.is_empty() || self.only.contains(name)).collect()
    }

    /// A host without which the run does its work all the same.
    fn is_helper(&self, host: &str) -> bool {
        let is_reset = self.undo.as_ref().is_some_and(|undo| undo.scope == UndoScope::All);
        is_reset && !self.leaving.is_empty() && !self.leaving.iter().any(|name| name == host)
    }
}

impl Job<'_> {
    /// A control plane beside the one that a recovery goes on with.
    fn is_given_up(&self, host: &str) -> bool {
        let is_control_plane = self.cluster.host(host).is_some_and(Host::is_control_plane);
        is_control_plane && self.survivor.is_some_and(|survivor| survivor != host)
    }

    /// Whether the run goes on without a host that can't be reached.
    fn can_do_without(&self, host: &str) -> bool {
        self.is_helper(host) || self.is_given_up(host)
    }
}

/// How a run ended.
pub struct Ended {
    pub summary: Summary,
    /// What a dry run found.
    pub hosts: plan::Hosts,
}

impl Ended {
    /// `is_detailed` tells a dry run that found something to do from one that found nothing.
    pub fn code(&self, is_detailed: bool) -> ExitCode {
        match &self.summary {
            summary if summary.is_interrupted() => ExitCode::from(INTERRUPTED),
            summary if summary.is_success() && is_detailed && !self.hosts.is_empty() => ExitCode::from(CHANGES),
            summary if summary.is_success() => ExitCode::SUCCESS,
            _ => ExitCode::from(FAILED),
        }
    }

    pub fn is_success(&self) -> bool {
        self.summary.is_success()
    }
}

/// Runs a job and reports on it.
pub async fn run(mut job: Job<'_>, global: Global, stream: Stream) -> Result<Ended, Problem> {
    let keys = repository_keys(job.cluster)?;
    let mut secrets = std::mem::take(&mut job.secrets);
    if job.brings_etcd_files && job.undo.is_none() {
        secrets = secrets.with_etcd(etcd_files::read(job.cluster)?);
    }
    let (events, inbox) = mpsc::unbounded_channel();
    let names = job.hosts().into_iter().filter(|host| !job.can_do_without(host)).collect();
    let inventory = job.inventory.map(Utf8Path::to_string);
    let reporting = tokio::spawn(report(inbox, job.mode, names, inventory, global.options(stream)));
    let ended = go(&job, keys, secrets, &events).await;
    drop(events);
    let reported = reporting.await.map_err(|error| Failure::new(format!("the report was lost: {error}")))?;
    ended?;
    Ok(reported)
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

async fn go(
    job: &Job<'_>,
    keys: BTreeMap<String, Vec<u8>>,
    secrets: Secrets,
    events: &mpsc::UnboundedSender<Event>,
) -> Result<(), Failure> {
    let cancel = Cancel::default();
    let fleet = Fleet::new(crate::report::ask_secret);
    let hosts = job.hosts();
    let reached = join_all(hosts.iter().map(|host| reach(job, &fleet, host, events))).await;
    let (mut members, mut clocks, mut facts) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    let mut missing = Vec::new();
    for reached in reached {
        let (member, exchange) = match reached {
            Ok(reached) => reached,
            Err(unreached) => {
                missing.extend(unreached);
                continue;
            }
        };
        clocks.insert(member.host.clone(), exchange);
        facts.insert(member.host.clone(), member.facts.clone());
        members.push(member);
    }
    if !checked(job, &facts, &clocks, events) {
        return Ok(());
    }
    tell_helpless(job, &members, &missing, events);
    // Nobody waits for a host that the run can do without and that can't be reached.
    let is_there = |host: &String| !job.can_do_without(host) || facts.contains_key(host);
    let mut cluster = job.cluster.clone();
    cluster.hosts.retain(|host| is_there(&host.name));
    let mut staying = cluster.clone();
    staying.hosts.retain(|host| !job.leaving.contains(&host.name));
    let roster = match playbook::roster(&staying, |name| facts.get(name).map(|facts| &facts.node)) {
        Ok(roster) => roster,
        // A reset or an undo begins nothing.
        Err(_) if job.undo.is_some() => Roster::default(),
        Err(failure) => {
            Sink::new("", events.clone()).phase("preflight").emit(Kind::Failed { failure });
            return Ok(());
        }
    };
    let is_needed = |host: &String| !job.is_helper(host) || roster.leader.as_ref() == Some(host);
    members.retain(|member| is_needed(&member.host));
    let mut inputs = Inputs {
        leader: roster.leader,
        etcd_leader: roster.etcd_leader,
        newcomers: roster.newcomers,
        leaving: job.leaving.to_vec(),
        failed: job.hosts().into_iter().filter(|host| !facts.contains_key(host)).collect(),
        is_rehearsal: job.mode == Mode::Plan,
        undo: job.undo.clone(),
        keys,
        moves_endpoint: job.moves_endpoint,
        has_moved: job.has_moved,
        has_containers: facts.values().any(Facts::is_container),
        lock: job.lock.map(|in_use| in_use.lock.pins(in_use.is_strict)),
        ..Inputs::default()
    };
    (job.inputs)(&facts, &mut inputs)?;
    if !etcd_checked(job, &facts, &members, (&inputs, &secrets), events).await {
        return Ok(());
    }
    if let Some(in_use) = job.lock.filter(|in_use| in_use.is_strict)
        && !verified(job, &in_use.lock, &members, &inputs, events).await
    {
        return Ok(());
    }
    let promises = job.saved.map(|saved| |host: &str, phase: &str| plan::promises(&saved.hosts, host, phase));
    let mut plan = Plan {
        playbook: &job.playbook,
        cluster: &cluster,
        hosts: job.hosts().into_iter().filter(is_there).collect(),
        mode: job.mode,
        run: RunInfo {
            undoes: job.undo.as_ref().map(|undo| undo.scope.name().to_string()),
            plan: job.saved.map(|saved| saved.id().to_string()),
            ..RunInfo::new(format!("kboot {}", job.command), owner(job.command), &wish(job))
        },
        drift: job.drift,
        wait_lock: job.wait_lock,
        inputs,
        secrets: secrets.into(),
        cancel: cancel.clone(),
        promises: None,
    };
    let clients: Vec<Arc<Client>> = members.iter().map(|member| member.client.clone()).collect();
    let _stoppable = Stoppable::new(cancel, clients);
    if let (Some(saved), Some(promises)) = (job.saved, &promises) {
        if !is_as_planned(saved, &mut plan, &members, events).await {
            return Ok(());
        }
        plan.promises = Some(promises);
    }
    playbook::run(&plan, &members, events).await;
    Ok(())
}

/// The public keys that the inventory gives as files: the agents don't have those files.
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

/// All that a run wants: when it is the same as last time, it is the host that has moved.
fn wish(job: &Job<'_>) -> Vec<u8> {
    // Where the controller keeps its files is no wish.
    let cluster = super::up::absolute(job.cluster).unwrap_or_else(|_| job.cluster.clone());
    let wish = (env!("CARGO_PKG_VERSION"), job.playbook.essence(), cluster);
    serde_json::to_vec(&wish).expect("a playbook and an inventory are plain data")
}

/// Who runs this, for the one who finds the host locked.
fn owner(command: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let user = std::env::var("USER").unwrap_or_else(|_| "someone".into());
    let since = time::OffsetDateTime::now_utc();
    format!(
        "`kboot {command}` by {user} on {}, process {}, since {:02}:{:02} UTC",
        host.trim(),
        std::process::id(),
        since.hour(),
        since.minute()
    )
}
