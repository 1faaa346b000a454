//! What `up`, `init`, `join` and `reset` share: get to the hosts, look at them, check, run a playbook, report.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use clap::{Args, ValueEnum};
use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::agent::{Client, ResolveRun};
use crate::engine::{Cancel, Drift, Event, Failure, Kind, Mode, RunInfo, Sink, millis_since, now_millis};
use crate::facts::Facts;
use crate::fleet::Fleet;
use crate::inventory::{Cluster, Host, Repository};
use crate::lock::{self, Lock, Question};
use crate::plan::{self, SavedPlan};
use crate::playbook::{self, Member, Plan, Playbook, Roster};
use crate::preflight::{self, Check, Exchange, ExpectedData, Finding, Ignore, Severity};
use crate::report::{self, Options, Stream, Summary, SummaryBuilder};
use crate::steps::{Context, EtcdFiles, Inputs, Undo, UndoScope};

use super::Global;
use super::etcd_files;
use super::exit::{CHANGES, FAILED, INTERRUPTED, Problem, unreadable};
use super::lock_file::{InUse, roots};
use super::phase::PartArgs;
use super::token;
use super::wait::WaitArgs;

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
    /// Has the last word on the inputs once the facts are known.
    pub inputs: &'a FillIn<'a>,
    /// The plan that is carried out, if it is one: nothing is done unless the hosts are as it saw them, and then that alone.
    pub saved: Option<&'a SavedPlan>,
    /// The lock that the run keeps to, if there is one.
    pub lock: Option<&'a InUse>,
    /// Whether the cluster moves to another endpoint: the one that it had is kept until everybody asks by the new one.
    pub moves_endpoint: bool,
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
            inputs: &|_: &BTreeMap<String, Facts>, _: &mut Inputs| Ok(()),
            saved: None,
            lock: None,
            moves_endpoint: false,
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
pub async fn run(job: Job<'_>, global: Global, stream: Stream) -> Result<Ended, Problem> {
    let keys = repository_keys(job.cluster)?;
    let etcd = if job.brings_etcd_files && job.undo.is_none() { etcd_files::read(job.cluster)? } else { None };
    let (events, inbox) = mpsc::unbounded_channel();
    let names = job.hosts().into_iter().filter(|host| !job.can_do_without(host)).collect();
    let inventory = job.inventory.map(Utf8Path::to_string);
    let reporting = tokio::spawn(report(inbox, job.mode, names, inventory, global.options(stream)));
    let ended = go(&job, keys, etcd, &events).await;
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
        if let Some(path) = &inventory {
            name_inventory(&mut event.kind, path);
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
    etcd: Option<EtcdFiles>,
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
    if job.moves_endpoint {
        cluster.keep_api_names(&former_endpoints(job.cluster, &facts));
    }
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
        newcomers: roster.newcomers,
        leaving: job.leaving.to_vec(),
        is_rehearsal: job.mode == Mode::Plan,
        undo: job.undo.clone(),
        keys,
        etcd,
        moves_endpoint: job.moves_endpoint,
        has_containers: facts.values().any(Facts::is_container),
        lock: job.lock.map(|in_use| in_use.lock.pins(in_use.is_strict)),
        token: Some(token::generate()?),
        ..Inputs::default()
    };
    (job.inputs)(&facts, &mut inputs)?;
    if !etcd_checked(job, &facts, &members, &inputs, events).await {
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
        cancel: cancel.clone(),
        promises: None,
    };
    let clients: Vec<Arc<Client>> = members.iter().map(|member| member.client.clone()).collect();
    let watch = tokio::spawn(stop_on_interrupt(cancel, clients));
    if let (Some(saved), Some(promises)) = (job.saved, &promises) {
        if !is_as_planned(saved, &mut plan, &members, events).await {
            watch.abort();
            return Ok(());
        }
        plan.promises = Some(promises);
    }
    playbook::run(&plan, &members, events).await;
    watch.abort();
    Ok(())
}

/// By what else than the cluster's endpoint somebody still asks: administrators of control planes, and workers' kubelets.
fn former_endpoints(cluster: &Cluster, facts: &BTreeMap<String, Facts>) -> Vec<String> {
    let former = |host: &Host| {
        let node = &facts.get(&host.name)?.node;
        let (known, wanted) = match host.is_control_plane() {
            true => (node.founded.endpoint.clone(), cluster.admin_endpoint(host)),
            false => (node.server.clone(), cluster.kubelet_server(host)),
        };
        let bare = |url: &str| url.trim_start_matches("https://").trim_end_matches('/').to_string();
        known.map(|known| bare(&known)).filter(|known| *known != bare(&wanted))
    };
    cluster.hosts.iter().filter_map(former).collect()
}

/// Asks every host what it would get, and tells what is not as it was locked; whether all is.
async fn verified(
    job: &Job<'_>,
    lock: &Lock,
    members: &[Member],
    inputs: &Inputs,
    events: &mpsc::UnboundedSender<Event>,
) -> bool {
    let asked = members.iter().map(|member| async {
        let context = Context {
            cluster: job.cluster.clone(),
            host: member.host.clone(),
            facts: member.facts.clone(),
            inputs: inputs.clone(),
        };
        let locked = lock.packages.get(&context.platform()).into_iter().flatten();
        let pins = locked.map(|(name, package)| (name.clone(), package.version.clone())).collect();
        let question = Question { pins, roots: roots(), ..Question::default() };
        let failures = match member.client.resolve(ResolveRun { question, context }).await {
            Ok(resolved) => lock::verify(lock, &member.host, &resolved),
            Err(failure) => vec![failure],
        };
        let sink = Sink::new(&member.host, events.clone()).phase("lock");
        for failure in &failures {
            sink.emit(Kind::Failed { failure: failure.clone() });
        }
        failures.is_empty()
    });
    join_all(asked).await.into_iter().all(|is_kept| is_kept)
}

/// Plans anew, and tells where a host is no longer as the saved plan saw it. Nothing is changed.
async fn is_as_planned(
    saved: &SavedPlan,
    plan: &mut Plan<'_>,
    members: &[Member],
    events: &mpsc::UnboundedSender<Event>,
) -> bool {
    let (sender, mut inbox) = mpsc::unbounded_channel();
    let mode = std::mem::replace(&mut plan.mode, Mode::Plan);
    let begun = playbook::run(plan, members, &sender).await;
    plan.mode = mode;
    drop(sender);
    let mut now = plan::Hosts::new();
    let mut is_whole = true;
    while let Some(event) = inbox.recv().await {
        plan::collect(&mut now, &event);
        if matches!(event.kind, Kind::Failed { .. }) {
            is_whole = false;
            let _ = events.send(event);
        }
    }
    let moved = plan::moved(&saved.hosts, &now, &begun);
    for (host, lines) in &moved {
        let failure = Failure::new("the host is no longer as the plan saw it, and nothing was changed")
            .evidence(lines)
            .hint(format!("see what is to be done now, and plan anew: kboot plan -i {}", saved.inventory));
        Sink::new(host, events.clone()).emit(Kind::Failed { failure });
    }
    is_whole && moved.is_empty()
}

/// The first Ctrl-C lets each host finish its change in hand; the second ends this process at once.
#[expect(clippy::disallowed_methods, reason = "the second Ctrl-C is for when nothing else helps")]
async fn stop_on_interrupt(cancel: Cancel, clients: Vec<Arc<Client>>) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    cancel.cancel();
    join_all(clients.iter().map(|client| client.cancel())).await;
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(i32::from(INTERRUPTED));
    }
}

/// A control plane that was to help hosts to leave, and why it can't be asked.
struct Unreached {
    host: String,
    cause: String,
}

/// Where no control plane that stays was reached, says what becomes of the nodes that leave.
fn tell_helpless(job: &Job<'_>, members: &[Member], missing: &[Unreached], events: &mpsc::UnboundedSender<Event>) {
    if let Some(survivor) = job.survivor {
        for Unreached { host, cause } in missing {
            let text =
                format!("{host} can't be reached ({cause}) and is given up: with its data it must not come back");
            let hint = Some(format!("should it come back: `kboot reset -i INVENTORY --host {host}`, then `kboot up`"));
            Sink::new(survivor, events.clone()).emit(Kind::Warning { text, hint });
        }
        return;
    }
    if missing.is_empty() || members.iter().any(|member| job.is_helper(&member.host)) {
        return;
    }
    // Said of one that leaves: the helpers themselves are no part of what is to be done.
    let names = job.leaving.join(" ");
    let asked: Vec<String> = missing.iter().map(|one| format!("{} can't be asked: {}", one.host, one.cause)).collect();
    let text = format!("the nodes {names} stay in the cluster, for {}", asked.join("; "));
    let hint = Some(format!("once it can: `kubectl delete node {names}`"));
    Sink::new(&job.leaving[0], events.clone()).emit(Kind::Warning { text, hint });
}

/// Gets an agent to run on a host and asks it for facts. What goes wrong is told as an event, but for a helper's.
async fn reach(
    job: &Job<'_>,
    fleet: &Fleet,
    host: &str,
    events: &mpsc::UnboundedSender<Event>,
) -> Result<(Member, Exchange), Option<Unreached>> {
    let sink = Sink::new(host, events.clone());
    let started = Instant::now();
    let attempt = async {
        let client = match job.reach {
            Reach::Here => crate::agent::serve_here(),
            Reach::Ssh => {
                let host =
                    job.cluster.host(host).ok_or_else(|| Failure::new(format!("the inventory has no host {host}")))?;
                // A dry run leaves nothing on the host, not even itself; nor does what takes the host out of the cluster.
                let leaves = job.survivor.is_none() && job.leaving.contains(&host.name);
                let stays = job.mode == Mode::Apply && !leaves;
                fleet.agent(job.cluster, host, stays).await?
            }
        };
        let asked = now_millis();
        let facts = client.facts().await?;
        Ok::<_, Failure>((client, facts, Exchange { asked, answered: now_millis() }))
    };
    match attempt.await {
        Ok((client, facts, exchange)) => {
            // Whether a helper is needed turns out later.
            if !job.is_helper(host) {
                sink.emit(Kind::Connected { millis: millis_since(started) });
            }
            Ok((Member { host: host.into(), client: Arc::new(client), facts }, exchange))
        }
        Err(failure) => {
            if job.can_do_without(host) {
                return Err(Some(Unreached { host: host.into(), cause: failure.cause }));
            }
            let failure = with_inventory(failure, job.inventory.map_or("INVENTORY", Utf8Path::as_str));
            sink.emit(Kind::Failed { failure });
            Err(None)
        }
    }
}

/// Hosts know nothing of inventories either.
fn name_inventory(kind: &mut Kind, path: &str) {
    if let Kind::Failed { failure: Failure { hint, .. } } | Kind::Warning { hint, .. } = kind {
        *hint = hint.take().map(|hint| hint.replace("INVENTORY", path));
    }
}

/// Connections know nothing of inventories; the command that a hint gives should work as it stands.
pub fn with_inventory(failure: Failure, path: &str) -> Failure {
    Failure { hint: failure.hint.map(|hint| hint.replace("INVENTORY", path)), ..failure }
}

/// Tells what the preflight checks found; whether to go on.
fn checked(
    job: &Job<'_>,
    facts: &BTreeMap<String, Facts>,
    clocks: &BTreeMap<String, Exchange>,
    events: &mpsc::UnboundedSender<Event>,
) -> bool {
    let Some(ignore) = &job.ignore else { return true };
    let mut findings = ignore.apply(preflight::check(job.cluster, facts, clocks));
    findings.retain(|finding| !job.moves_endpoint || finding.check != Check::ClusterEndpoint);
    tell(&findings, events)
}

/// Has the control planes look at an etcd that is not kboot's, and tells what they found; whether to go on.
async fn etcd_checked(
    job: &Job<'_>,
    facts: &BTreeMap<String, Facts>,
    members: &[Member],
    inputs: &Inputs,
    events: &mpsc::UnboundedSender<Event>,
) -> bool {
    let Some(ignore) = job.ignore.as_ref().filter(|_| job.undo.is_none() && job.cluster.external_etcd().is_some())
    else {
        return true;
    };
    let is_control_plane = |member: &&Member| job.cluster.host(&member.host).is_some_and(Host::is_control_plane);
    let asked = members.iter().filter(is_control_plane).map(|member| async {
        let context = Context {
            cluster: job.cluster.clone(),
            host: member.host.clone(),
            facts: member.facts.clone(),
            inputs: inputs.clone(),
        };
        (&member.host, member.client.etcd(context).await)
    });
    let (mut views, mut is_whole) = (BTreeMap::new(), true);
    for (host, view) in join_all(asked).await {
        match view {
            Ok(view) => views.extend(view.map(|view| (host.clone(), view))),
            Err(failure) => {
                is_whole = false;
                Sink::new(host, events.clone()).phase("preflight").emit(Kind::Failed { failure });
            }
        }
    }
    let expected = ExpectedData::of(job.cluster, facts, inputs.leader.as_deref());
    tell(&ignore.apply(preflight::external_etcd(&views, expected)), events) && is_whole
}

/// Tells findings; whether to go on.
fn tell(findings: &[Finding], events: &mpsc::UnboundedSender<Event>) -> bool {
    let mut may_go_on = true;
    for finding in findings {
        let sink = Sink::new(finding.host.as_deref().unwrap_or_default(), events.clone()).phase("preflight");
        let sink = sink.step(&finding.check.to_string());
        let (text, hint) = (finding.text.clone(), finding.hint.clone());
        match finding.severity {
            Severity::Warning => sink.emit(Kind::Warning { text, hint: Some(hint) }),
            Severity::Error => {
                may_go_on = false;
                sink.emit(Kind::Failed { failure: Failure::new(text).hint(hint) });
            }
        }
    }
    may_go_on
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
