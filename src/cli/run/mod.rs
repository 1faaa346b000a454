//! The common part of `up`, `init`, `join` and `reset`: connect to the hosts, inspect them, check, run a playbook, report.

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
use crate::inventory::{Cluster, Etcd, Host, Repository};
use crate::lock::InUse;
use crate::plan::{self, SavedPlan};
use crate::playbook::{self, Plan, Playbook, RunRoles};
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

/// Completes a run's inputs from the hosts' facts.
pub type FillIn<'a> = dyn Fn(&BTreeMap<String, Facts>, &mut Inputs) -> Result<(), Failure> + Sync + 'a;

/// A playbook to run on a cluster's hosts.
pub struct Job<'a> {
    /// The command. Another run that finds a host locked reports it.
    pub command: &'static str,
    pub playbook: Playbook,
    pub cluster: &'a Cluster,
    /// Run only on these hosts of the cluster; on all if empty.
    pub only: &'a [String],
    pub reach: Reach,
    /// The inventory's file, for hints.
    pub inventory: Option<&'a Utf8Path>,
    pub mode: Mode,
    /// What to do about changes made on hosts since the last run.
    pub drift: Drift,
    /// The changes to revert, for an undo or a reset.
    pub undo: Option<Undo>,
    /// How long to wait for a host that another run has locked.
    pub wait_lock: Duration,
    /// The preflight checks whose errors count as warnings. None runs no preflight checks.
    pub ignore: Option<Ignore>,
    /// The secrets that the command brings.
    pub secrets: Secrets,
    /// Completes the inputs when the facts are known.
    pub inputs: &'a FillIn<'a>,
    /// The saved plan to carry out, if any. The run changes nothing if the hosts differ from the plan, and otherwise does only what
    /// the plan lists.
    pub saved: Option<&'a SavedPlan>,
    /// The lock that the run uses, if there is one.
    pub lock: Option<&'a InUse>,
    /// Whether the cluster moves to another endpoint. The old endpoint stays until all clients use the new one.
    pub moves_endpoint: bool,
    /// Whether the cluster has just moved to another endpoint.
    pub has_moved: bool,
    /// The hosts that leave the cluster. The other hosts only help them to leave, and the run continues without any that it can't
    /// reach.
    pub leaving: &'a [String],
    /// For an external etcd: whether this process reads the client files that the cluster names. Otherwise the hosts have them.
    pub brings_etcd_files: bool,
    /// The control plane whose data a recovery continues with. The run continues without other control planes that it can't reach.
    pub survivor: Option<&'a str>,
}

impl<'a> Job<'a> {
    /// A job with the command's own playbook, on all hosts, without preflight checks.
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

    /// Whether a host only helps a reset, which also works without it.
    fn is_helper(&self, host: &str) -> bool {
        let is_reset = self.undo.as_ref().is_some_and(|undo| undo.scope == UndoScope::All);
        is_reset && !self.leaving.is_empty() && !self.leaving.iter().any(|name| name == host)
    }
}

impl Job<'_> {
    /// Whether a host is a control plane that a recovery gives up: any except the survivor.
    fn is_given_up(&self, host: &str) -> bool {
        let is_control_plane = self.cluster.host(host).is_some_and(Host::is_control_plane);
        is_control_plane && self.survivor.is_some_and(|survivor| survivor != host)
    }

    /// Whether the run continues if it can't reach a host.
    fn can_do_without(&self, host: &str) -> bool {
        self.is_helper(host) || self.is_given_up(host)
    }
}

/// How a run ended.
pub struct Ended {
    pub summary: Summary,
    /// The changes that a dry run found.
    pub hosts: plan::Hosts,
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

/// The cluster with absolute paths, so that it has the same meaning in every folder.
pub fn absolute(cluster: &Cluster) -> Result<Cluster, Problem> {
    let mut cluster = cluster.clone();
    let Cluster { packages, ssh, hosts, etcd, .. } = &mut cluster;
    let own = hosts.iter_mut().map(|host| &mut host.ssh.identity_file);
    let files = [&mut packages.kubernetes.key_file, &mut packages.containerd.key_file, &mut ssh.identity_file];
    let etcd = etcd.iter_mut().flat_map(|Etcd { external }| external.files_mut());
    for path in files.into_iter().chain(own).flatten().chain([&mut ssh.known_hosts]).chain(etcd) {
        // A path in the home directory does not depend on the current folder.
        if !path.starts_with("~/") {
            *path = camino::absolute_utf8(Utf8Path::new(path))?.into_string();
        }
    }
    Ok(cluster)
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
    // Do not wait for a host that can't be reached, if the run continues without it.
    let is_there = |host: &String| !job.can_do_without(host) || facts.contains_key(host);
    let mut cluster = job.cluster.clone();
    cluster.hosts.retain(|host| is_there(&host.name));
    let mut staying = cluster.clone();
    staying.hosts.retain(|host| !job.leaving.contains(&host.name));
    let roles = match playbook::run_roles(&staying, |name| facts.get(name).map(|facts| &facts.node)) {
        Ok(roles) => roles,
        // A reset or an undo starts no cluster, so it needs no roles.
        Err(_) if job.undo.is_some() => RunRoles::default(),
        Err(failure) => {
            Sink::new("", events.clone()).phase("preflight").emit(Kind::Failed { failure });
            return Ok(());
        }
    };
    let is_needed = |host: &String| !job.is_helper(host) || roles.leader.as_ref() == Some(host);
    members.retain(|member| is_needed(&member.host));
    let mut inputs = Inputs {
        leader: roles.leader,
        etcd_leader: roles.etcd_leader,
        joining: roles.joining,
        leaving: job.leaving.to_vec(),
        failed: job.hosts().into_iter().filter(|host| !facts.contains_key(host)).collect(),
        is_dry_run: job.mode == Mode::Plan,
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
    let planned_steps = job.saved.map(|saved| |host: &str, phase: &str| plan::planned_steps(&saved.hosts, host, phase));
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
        planned_steps: None,
    };
    let clients: Vec<Arc<Client>> = members.iter().map(|member| member.client.clone()).collect();
    let _stoppable = Stoppable::new(cancel, clients);
    if let (Some(saved), Some(planned_steps)) = (job.saved, &planned_steps) {
        if !is_as_planned(saved, &mut plan, &members, events).await {
            return Ok(());
        }
        plan.planned_steps = Some(planned_steps);
    }
    playbook::run(&plan, &members, events).await;
    Ok(())
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

/// Everything that determines the wanted state of a run. If it is the same as in the last run, a difference comes from the host.
fn wish(job: &Job<'_>) -> Vec<u8> {
    // The folder of the controller's files does not matter.
    let cluster = absolute(job.cluster).unwrap_or_else(|_| job.cluster.clone());
    let wish = (env!("CARGO_PKG_VERSION"), job.playbook.essence(), cluster);
    serde_json::to_vec(&wish).expect("a playbook and an inventory are plain data")
}

/// A description of this run, for other runs that find the host locked.
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
