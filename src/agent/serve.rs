//! The agent's side.

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc;

use super::Client;
use super::files;
use super::patience::BEAT;
use super::protocol::{HostFile, MARKER, PhaseRun, Reply, Request, ResolveRun};
use crate::baseline;
use crate::engine::{
    self, Busy, Cancel, Change, Content, Failure, FileMode, Hint, Host as _, HostLock, Journal, Kind, LastApplied,
    Mode, Outcome, PlanGuard, PlannedHost, PlannedStep, Probe as _, Progress, Result, RunInfo, Runner, Sink,
};
use crate::facts::Facts;
use crate::kube::{Connector, health};
use crate::resource::{LocalHost, remove_temporaries};
use crate::steps::task::{self, PhaseItem};
use crate::steps::{self, Context, Make, Outbox, Outputs, Services};

const API_SERVER: &str = "https://127.0.0.1:6443/readyz";

/// How long the API server may take to say that it is ready.
const PATIENCE: Duration = Duration::from_secs(3);

/// Serves this machine to a controller until `input` ends.
pub async fn serve(
    input: impl AsyncRead + Unpin + Send,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<()> {
    let (replies, outbox) = mpsc::unbounded_channel();
    let writer = tokio::spawn(write_replies(output, outbox));
    let mut agent = Agent::new(replies);
    let mut lines = BufReader::new(input).lines();
    let mut running: Option<tokio::task::JoinHandle<()>> = None;
    while let Ok(Some(line)) = lines.next_line().await {
        match request(&line)? {
            Request::Cancel => agent.cancel.cancel(),
            Request::Read { file, offset } => agent.read(file, offset),
            Request::Facts => agent.alive(agent.facts()).await,
            Request::Resolve(run) => agent.alive(agent.resolve(&run)).await,
            Request::Survey => agent.alive(agent.survey()).await,
            Request::Etcd(context) => agent.alive(agent.etcd(&context)).await,
            Request::End { outcome } => {
                if let Some(previous) = running.take() {
                    let _ = previous.await;
                }
                agent.end(outcome).await;
            }
            Request::Run(run) => {
                if let Some(previous) = running.take() {
                    let _ = previous.await;
                }
                running = Some(agent.start(*run));
            }
        }
    }
    // The controller is gone or done: finish the change in hand and let go of the host.
    agent.cancel.cancel();
    if let Some(last) = running.filter(|running| !running.is_finished()) {
        agent.leave().await;
        let _ = last.await;
    }
    agent.tidy().await;
    drop(agent);
    let _ = writer.await;
    Ok(())
}

/// What the controller asks in a line.
pub(crate) fn request(line: &str) -> Result<Request> {
    serde_json::from_str(line).map_err(|error| Failure::new(format!("failed to understand the controller: {error}")))
}

/// Serves this machine to this very process.
pub fn serve_here() -> Client {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (their_input, their_output) = tokio::io::split(theirs);
    tokio::spawn(async move {
        if let Err(failure) = serve(their_input, their_output).await {
            tracing::error!("{failure}");
        }
    });
    let (input, output) = tokio::io::split(ours);
    Client::here(input, output)
}

async fn write_replies(mut output: impl AsyncWrite + Unpin, mut replies: mpsc::UnboundedReceiver<Reply>) {
    if output.write_all(format!("{MARKER}\n").as_bytes()).await.is_err() {
        return;
    }
    while let Some(reply) = replies.recv().await {
        let mut line = serde_json::to_vec(&reply).expect("replies are plain data");
        line.push(b'\n');
        // A controller that is gone is noticed where requests are read.
        if output.write_all(&line).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}

/// Tells the controller again and again that this agent is at work, until it is dropped.
struct Beats(tokio::task::JoinHandle<()>);

impl Beats {
    fn start(replies: mpsc::UnboundedSender<Reply>) -> Self {
        Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(BEAT).await;
                if replies.send(Reply::Alive).is_err() {
                    return;
                }
            }
        }))
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The host's lock and journal, once a phase may have changed something.
type Ownership = tokio::sync::Mutex<Option<Owned>>;

struct Owned {
    lock: HostLock,
    journal: Arc<Journal>,
    /// The host as it is since then, where another run has worked on it meanwhile.
    facts: Option<Facts>,
}

/// What earlier runs left, read before this one writes.
type Past = tokio::sync::OnceCell<Arc<LastApplied>>;

struct Agent {
    replies: mpsc::UnboundedSender<Reply>,
    cancel: Cancel,
    services: Services,
    host: Arc<LocalHost>,
    lock: Arc<Ownership>,
    past: Arc<Past>,
    planned_host: PlannedHost,
}

impl Agent {
    fn new(replies: mpsc::UnboundedSender<Reply>) -> Self {
        let kube = Connector::default();
        Self {
            replies,
            cancel: Cancel::default(),
            host: Arc::new(LocalHost::new(kube.clone())),
            services: Services::new(kube),
            lock: Arc::default(),
            past: Arc::default(),
            planned_host: PlannedHost::default(),
        }
    }

    /// Lets the next run know that it need only wait a moment.
    async fn leave(&self) {
        if let Some(owned) = self.lock.lock().await.as_ref()
            && let Err(failure) = owned.lock.leave()
        {
            tracing::warn!("the lock could not be marked: {failure}");
        }
    }

    /// A run that changed nothing on a host that kboot never changed leaves nothing there.
    async fn tidy(&self) {
        let path = Utf8Path::new(Journal::PATH);
        let is_empty = std::fs::metadata(path).is_ok_and(|journal| journal.len() == 0);
        if self.lock.lock().await.is_some() && is_empty {
            let _ = std::fs::remove_file(path);
            // Unless something else is in it.
            let _ = path.parent().map(std::fs::remove_dir);
        }
    }

    /// Does some work, and tells the controller meanwhile that it is at it.
    async fn alive<T>(&self, work: impl Future<Output = T>) -> T {
        let _beats = Beats::start(self.replies.clone());
        work.await
    }

    async fn facts(&self) {
        let mut facts = crate::facts::gather(self.host.as_ref()).await.map(Box::new);
        if let Ok(facts) = &mut facts
            && facts.node.has_manifest("kube-apiserver")
        {
            facts.node.serves = health::becomes_well(API_SERVER, PATIENCE).await;
        }
        let _ = self.replies.send(Reply::Facts { facts });
    }

    async fn resolve(&self, run: &ResolveRun) {
        let (events, mut inbox) = mpsc::unbounded_channel();
        let sink = Sink::new(&run.context.host, events).phase("lock");
        let progress = Progress::new(sink, self.cancel.clone());
        let forward = async {
            while let Some(event) = inbox.recv().await {
                let _ = self.replies.send(Reply::Event { event: Box::new(event) });
            }
        };
        let resolve = async {
            // Dropped at its end, which ends the forwarding.
            let progress = progress;
            steps::resolve(&run.context, &run.question, self.host.as_ref(), &progress).await.map(Box::new)
        };
        let (resolved, ()) = tokio::join!(resolve, forward);
        let _ = self.replies.send(Reply::Resolved { resolved });
    }

    async fn survey(&self) {
        let survey = crate::adopt::survey(self.host.as_ref(), &self.services.kube).await.map(Box::new);
        let _ = self.replies.send(Reply::Surveyed { survey });
    }

    async fn etcd(&self, context: &Context) {
        let view = steps::look_at_etcd(context, self.host.as_ref()).await;
        let _ = self.replies.send(Reply::Etcd { view });
    }

    fn read(&self, file: HostFile, offset: u64) {
        let _ = self.replies.send(Reply::Read { piece: files::piece(file.path(), offset) });
    }

    /// Writes down how the run ended, where it changed something or wanted something else than the last one.
    async fn end(&self, outcome: Outcome) {
        let result = match self.lock.lock().await.as_ref() {
            None => Ok(None),
            Some(Owned { journal, .. }) => {
                // What takes back wishes for nothing that a later run could be compared with.
                let is_wish = outcome != Outcome::Failed && journal.info().undoes.is_none();
                let is_news = is_wish && self.past.get().is_some_and(|past| !past.is_same_wish());
                journal.end(outcome, is_news).map(|()| Some(journal.spent().as_millis() as u64))
            }
        };
        // This is a run's last request: a controller that has the answer may exit, and an agent in its process with it.
        self.tidy().await;
        let _ = self.replies.send(Reply::Ended { result });
    }

    /// Runs a phase beside the reading of requests, so that it can be cancelled.
    fn start(&mut self, run: PhaseRun) -> tokio::task::JoinHandle<()> {
        let (events, mut inbox) = mpsc::unbounded_channel();
        let (forward, replies) = (self.replies.clone(), self.replies.clone());
        let forwarder = tokio::spawn(async move {
            while let Some(event) = inbox.recv().await {
                let _ = forward.send(Reply::Event { event: Box::new(event) });
            }
        });
        let here = Here {
            cancel: self.cancel.clone(),
            host: self.host.clone(),
            lock: self.lock.clone(),
            past: self.past.clone(),
            services: self.services.clone(),
            planned_host: self.planned_host.clone(),
        };
        let beats = Beats::start(self.replies.clone());
        tokio::spawn(async move {
            let _beats = beats;
            let sink = Sink::new(&run.context.host, events).phase(&run.phase);
            let result = run_phase(run, here, &sink).await;
            drop(sink);
            let _ = forwarder.await;
            let _ = replies.send(Reply::Done { result: result.map(Box::new) });
        })
    }
}

/// What a phase is run with.
struct Here {
    cancel: Cancel,
    host: Arc<LocalHost>,
    lock: Arc<Ownership>,
    past: Arc<Past>,
    services: Services,
    planned_host: PlannedHost,
}

async fn run_phase(mut run: PhaseRun, here: Here, sink: &Sink) -> Result<Outputs> {
    let Here { cancel, host, lock, past, services, planned_host } = here;
    let started = std::time::Instant::now();
    // Who carries out a saved plan looks whether the host is as it was: from then on nobody else may touch it.
    let journal = match (run.mode, run.run.plan.is_some()) {
        (Mode::Plan, false) => Arc::new(Journal::none()),
        (Mode::Plan, true) => {
            own(&lock, &past, &mut run, &cancel, host.as_ref(), sink).await?;
            Arc::new(Journal::none())
        }
        (Mode::Apply, _) => own(&lock, &past, &mut run, &cancel, host.as_ref(), sink).await?,
    };
    if run.mode == Mode::Apply
        && let Err(failure) = write_baseline(&host, &run.context).await
    {
        let text = format!("what this host was before the first run can't be written down: {failure}");
        sink.emit(Kind::Warning { text: text.into(), hint: Some(Hint::BaselineUnwritten) });
    }
    let last = last_applied(&past, &run.run).await?;
    sink.emit(Kind::PhaseStarted { steps: count(&run.steps) });
    let runner = Runner { host, mode: run.mode, journal, last, drift: run.drift, cancel, planned_host };
    let outputs = Arc::default();
    let planned_steps = run.planned_steps.as_deref();
    let work = PhaseRunner { runner, planned_steps, context: &run.context, services, outputs, sink };
    let result = work.all(&run.steps).await;
    let outcome = *result.as_ref().unwrap_or(&Outcome::Failed);
    sink.emit(Kind::PhaseFinished { outcome, millis: engine::millis_since(started) });
    result?;
    let mut outputs = std::mem::take(&mut *work.outputs.lock().expect("no panic while held"));
    if run.run.plan.is_some() {
        outputs.has_begun = Journal::past()?.iter().any(|past| past.info.plan == run.run.plan);
    }
    Ok(outputs)
}

/// What earlier runs left; read once, and where this run writes, before it does.
async fn last_applied(past: &Past, run: &RunInfo) -> Result<Arc<LastApplied>> {
    let read = async || Journal::past().map(|runs| Arc::new(LastApplied::of(&runs, &run.wanted)));
    Ok(past.get_or_try_init(read).await?.clone())
}

/// How soon an agent notices that its controller was killed.
const NOTICE: Duration = Duration::from_secs(2);
/// How long the change in hand of such an agent may take: packages that are being installed.
const LEAVE: Duration = Duration::from_secs(600);

/// Takes the host's lock, once for the agent's whole life, and opens its journal. An agent whose controller was killed is
/// waited for; one that is at work is not, unless that is asked for.
async fn own(
    lock: &Ownership,
    past: &Past,
    run: &mut PhaseRun,
    cancel: &Cancel,
    host: &LocalHost,
    sink: &Sink,
) -> Result<Arc<Journal>> {
    let mut held = lock.lock().await;
    if held.is_none() {
        let (lock, has_waited) = take(run, cancel, sink).await?;
        let last = last_applied(past, &run.run).await?;
        // Baseline and journal are written in a folder that no change names.
        for folder in last.cut_off().chain(Utf8Path::new(Journal::PATH).parent()) {
            remove_temporaries(folder)?;
        }
        let journal = Arc::new(Journal::open(Utf8Path::new(Journal::PATH), run.run.clone())?);
        // Whoever worked here meanwhile has left the host another one than the controller knows.
        let facts = if has_waited { Some(crate::facts::gather(host).await?) } else { None };
        *held = Some(Owned { lock, journal, facts });
    }
    let owned = held.as_ref().expect("it was just taken");
    if let Some(facts) = &owned.facts {
        run.context.facts = facts.clone();
    }
    Ok(owned.journal.clone())
}

/// The lock, and whether it had to be waited for.
async fn take(run: &PhaseRun, cancel: &Cancel, sink: &Sink) -> Result<(HostLock, bool)> {
    let started = std::time::Instant::now();
    let mut told = None;
    loop {
        let Busy { holder, is_leaving } = match HostLock::take(Utf8Path::new(HostLock::PATH), &run.run.owner)? {
            Ok(taken) => return Ok((taken, told.is_some())),
            Err(busy) => busy,
        };
        let limit = run.wait_lock.max(if is_leaving { LEAVE } else { NOTICE });
        if started.elapsed() > limit {
            return Err(busy(&holder, run.wait_lock));
        }
        if cancel.is_cancelled() {
            return Err(Failure::interrupted());
        }
        let what = match is_leaving {
            true => format!("the last change of a run that was cut off: {holder}"),
            false => format!("the end of another run: {holder}"),
        };
        // Without being asked to wait, this is over before anybody could read it.
        if (is_leaving || !run.wait_lock.is_zero()) && told.as_ref() != Some(&what) {
            sink.emit(Kind::Waiting { what: what.as_str().into() });
            told = Some(what);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn busy(holder: &str, waited: Duration) -> Failure {
    if waited.is_zero() {
        return Failure::new(format!("another kboot works on this host: {holder}")).hint(Hint::WaitForOtherRun);
    }
    Failure::new(format!("another kboot still works on this host after {} s: {holder}", waited.as_secs()))
        .hint(Hint::LookAtOtherRun)
}

/// Writes down what the host is, before anything on it is changed for the first time: not where kboot or anybody else has made
/// a node of it, nor where it is about to be none.
async fn write_baseline(host: &LocalHost, context: &Context) -> Result<()> {
    let is_known = host.stat(Utf8Path::new(baseline::PATH)).await?.is_some();
    let is_leaving = context.inputs.leaving.contains(&context.host);
    let was_changed = host.stat(Utf8Path::new(Journal::PATH)).await?.is_some_and(|journal| journal.size > 0);
    if is_known || is_leaving || was_changed || context.facts.node.is_member() {
        return Ok(());
    }
    let found = baseline::gather(host).await?;
    let after = Content::from_bytes(found.to_bytes());
    let change = Change::WriteFile { path: baseline::PATH.into(), mode: FileMode::PRIVATE, before: None, after };
    host.apply(&change, &Progress::silent()).await
}

fn count(items: &[PhaseItem]) -> usize {
    items.iter().map(|item| item.leaves().len()).sum()
}

struct PhaseRunner<'a> {
    runner: Runner,
    planned_steps: Option<&'a [PlannedStep]>,
    context: &'a Context,
    services: Services,
    outputs: Outbox,
    sink: &'a Sink,
}

impl PhaseRunner<'_> {
    fn all<'b>(&'b self, items: &'b [PhaseItem]) -> BoxFuture<'b, Result<Outcome>> {
        async move {
            let mut outcome = Outcome::Unchanged;
            for item in items {
                outcome = worst(outcome, self.one(item).await?);
            }
            Ok(outcome)
        }
        .boxed()
    }

    async fn one(&self, item: &PhaseItem) -> Result<Outcome> {
        match item {
            PhaseItem::Step(name) => {
                let step = steps::build(name, &self.make()).map_err(|failure| self.told(name, failure))?;
                let report = match self.planned_steps {
                    Some(planned_steps) => {
                        self.runner.run(&PlanGuard::new(step.as_ref(), planned_steps), self.sink).await?
                    }
                    None => self.runner.run(step.as_ref(), self.sink).await?,
                };
                Ok(report.outcome)
            }
            PhaseItem::Task(task) => {
                let report = self.runner.run(task::build(task, &self.make()).as_ref(), self.sink).await?;
                Ok(report.outcome)
            }
            PhaseItem::Parallel(branches) => {
                let ended = join_all(branches.iter().map(|branch| self.all(branch))).await;
                ended.into_iter().try_fold(Outcome::Unchanged, |sum, branch| Ok(worst(sum, branch?)))
            }
        }
    }

    fn make(&self) -> Make<'_> {
        Make { context: self.context, services: &self.services, outputs: &self.outputs }
    }

    /// A step that can't even be made fails like one that ran.
    fn told(&self, step: &str, failure: Failure) -> Failure {
        let sink = self.sink.step(step);
        sink.emit(Kind::StepStarted { title: step.into() });
        sink.emit(Kind::Failed { failure: failure.clone() });
        sink.emit(Kind::StepFinished { outcome: Outcome::Failed, millis: 0 });
        failure
    }
}

fn worst(a: Outcome, b: Outcome) -> Outcome {
    if a == Outcome::Unchanged { b } else { a }
}
