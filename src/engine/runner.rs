//! Runs steps: observe, diff, and, unless it is a dry run, apply and observe again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};

#[cfg(debug_assertions)]
use super::fault;
use super::progress::{LONG, telling};
use super::{
    AnyStep, Cause, Change, ChangeId, Failure, Hint, Host, Journal, Kind, LastApplied, Outcome, Planned, PlannedHost,
    Progress, Proposed, Remark, Result, Sink, millis_since, trace,
};

/// How often a step that waits looks again.
const POLL: Duration = Duration::from_millis(100);
/// The longest time between two looks.
const LONGEST_POLL: Duration = Duration::from_secs(3);
/// Changes that may overlap are made this many at a time.
const AT_ONCE: usize = 8;
/// What a step does before and between its changes, for who waits for it.
const LOOK: &str = "look at the host";
/// How often a step may want the same change. More means that it works against itself or against someone.
const ROUNDS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Look and say what would change.
    Plan,
    Apply,
}

/// What becomes of a host that is not as kboot left it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drift {
    /// It is brought back.
    #[default]
    Repair,
    /// It is told, and left as it is, unless the inventory asks for something else than last time.
    Keep,
}

/// Asks a run to stop after the change in hand.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What running a step came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub outcome: Outcome,
    pub changes: usize,
}

/// Runs steps on one host. The only holder of what can change it.
#[derive(Clone)]
pub struct Runner {
    pub host: Arc<dyn Host>,
    pub mode: Mode,
    pub journal: Arc<Journal>,
    /// What earlier runs left.
    pub last: Arc<LastApplied>,
    pub drift: Drift,
    pub cancel: Cancel,
    /// What a plan has found so far, over all its phases.
    pub planned_host: PlannedHost,
}

/// The changes of a step that are not to be made: they failed, or are kept on purpose.
type GivenUp = BTreeSet<ChangeId>;

impl Runner {
    /// Runs one step to its end and tells the sink. A failure has been told as well when this returns it.
    pub async fn run(&self, step: &dyn AnyStep, sink: &Sink) -> Result<Report> {
        let sink = sink.step(step.id());
        sink.emit(Kind::StepStarted { title: step.title().into() });
        let started = Instant::now();
        let result = match self.mode {
            Mode::Plan => self.plan(step, &sink).await,
            Mode::Apply => self.converge(step, &sink).await,
        };
        let result = match result {
            Ok(report) => self.tell_remarks(step, &sink).await.map(|()| report),
            failed => failed,
        };
        let outcome = match &result {
            Ok(report) => report.outcome,
            Err(failure) => {
                sink.emit(Kind::Failed { failure: failure.clone() });
                Outcome::Failed
            }
        };
        sink.emit(Kind::StepFinished { outcome, millis: millis_since(started) });
        result
    }

    async fn tell_remarks(&self, step: &dyn AnyStep, sink: &Sink) -> Result<()> {
        for remark in step.remarks(self.host.probe()).await? {
            sink.emit(match remark {
                Remark::Warning(text) => Kind::Warning { text: text.into(), hint: None },
                Remark::Note(text) => Kind::Note { text: text.into() },
                Remark::Leftover { thing, name, why } => Kind::Leftover { thing, name, why: why.into() },
            });
        }
        Ok(())
    }

    async fn plan(&self, step: &dyn AnyStep, sink: &Sink) -> Result<Report> {
        let planned = match telling(LONG, sink, LOOK, step.plan(&self.planned_host.over(self.host.probe()))).await {
            Err(failure) if failure.is_unforeseen() => Planned::after(failure.cause),
            planned => planned?,
        };
        let (changes, after) = match planned {
            Planned::Satisfied => return Ok(Report { outcome: Outcome::Unchanged, changes: 0 }),
            Planned::Changes(changes) => (changes, None),
            Planned::After { what } => (Vec::new(), Some(what)),
            Planned::Until { changes, what } => (changes, Some(what)),
        };
        let mut proposed = Vec::new();
        for change in &changes {
            let cause = self.cause(change).await;
            if self.is_kept(cause) {
                tell_kept(change, sink);
                continue;
            }
            self.planned_host.expect(std::slice::from_ref(change));
            proposed.push(Proposed { change: change.redacted(), cause });
        }
        if proposed.is_empty() && after.is_none() && !changes.is_empty() {
            return Ok(Report { outcome: Outcome::Unchanged, changes: 0 });
        }
        let count = proposed.len();
        sink.emit(Kind::Planned { changes: proposed, after });
        Ok(Report { outcome: Outcome::WouldChange, changes: count })
    }

    async fn cause(&self, change: &Change) -> Option<Cause> {
        let mut live = Vec::new();
        for touch in change.touches() {
            let state = match touch.before {
                Some(known) => known,
                None => self.host.state(&touch.subject).await,
            };
            live.push((touch.subject, state));
        }
        self.last.cause(change, &live)
    }

    fn is_kept(&self, cause: Option<Cause>) -> bool {
        self.drift == Drift::Keep && cause == Some(Cause::Drift)
    }

    /// Takes out what was given up, and what is kept by policy.
    async fn still_wanted(&self, changes: Vec<Change>, given_up: &mut GivenUp, sink: &Sink) -> Vec<Change> {
        let mut wanted = Vec::new();
        for change in changes {
            if given_up.contains(&change.id()) {
                continue;
            }
            if self.drift == Drift::Keep && self.is_kept(self.cause(&change).await) {
                tell_kept(&change, sink);
                given_up.insert(change.id());
                continue;
            }
            wanted.push(change);
        }
        wanted
    }

    async fn converge(&self, step: &dyn AnyStep, sink: &Sink) -> Result<Report> {
        let mut deadline = Instant::now() + step.deadline();
        let mut waiting_for = None;
        let mut made = 0;
        let mut rounds: BTreeMap<ChangeId, usize> = BTreeMap::new();
        let mut given_up = GivenUp::new();
        loop {
            self.stop_if_cancelled()?;
            let looked = Instant::now();
            let look = step.plan(self.host.probe());
            // While it waits, what it waits for is the news.
            let planned = match waiting_for {
                None => telling(LONG, sink, LOOK, look).await?,
                Some(_) => look.await?,
            };
            let planned = match planned {
                Planned::Changes(changes) => Planned::of(self.still_wanted(changes, &mut given_up, sink).await),
                Planned::Until { changes, what } => {
                    Planned::until(self.still_wanted(changes, &mut given_up, sink).await, what)
                }
                other => other,
            };
            match planned {
                Planned::Satisfied => {
                    let outcome = if made == 0 { Outcome::Unchanged } else { Outcome::Changed };
                    return Ok(Report { outcome, changes: made });
                }
                Planned::Changes(changes) | Planned::Until { changes, .. } => {
                    for change in &changes {
                        let round = rounds.entry(change.id()).or_default();
                        *round += 1;
                        if *round > ROUNDS {
                            return Err(not_converged(&changes));
                        }
                    }
                    for batch in changes.chunk_by(|a, b| a.may_overlap() && b.may_overlap() && !step.is_lenient()) {
                        match self.apply_batch(step.id(), batch, sink).await {
                            Ok(()) => made += batch.len(),
                            Err(failure) if step.is_lenient() && !failure.interrupted => {
                                sink.emit(Kind::Warning { text: failure.cause, hint: failure.hint });
                                given_up.extend(batch.iter().map(Change::id));
                            }
                            Err(failure) => return Err(failure),
                        }
                    }
                    deadline = Instant::now() + step.deadline();
                    waiting_for = None;
                }
                Planned::After { what } => {
                    if Instant::now() >= deadline {
                        let found = step.evidence(self.host.probe()).await;
                        let failure =
                            Failure::new(format!("timed out after {} s waiting for {what}", step.deadline().as_secs()))
                                .evidence(found.lines);
                        return Err(Failure { hint: found.hint, ..failure });
                    }
                    if waiting_for.as_ref() != Some(&what) {
                        sink.emit(Kind::Waiting { what: what.clone() });
                        waiting_for = Some(what);
                    }
                    tokio::time::sleep(pause(looked.elapsed())).await;
                }
            }
        }
    }

    /// After a failure, or when asked to stop, no further change is begun; those in hand are finished.
    async fn apply_batch(&self, step: &str, batch: &[Change], sink: &Sink) -> Result<()> {
        let mut waiting = batch.iter();
        let mut in_hand = FuturesUnordered::new();
        let mut result = Ok(());
        loop {
            while in_hand.len() < AT_ONCE && result.is_ok() {
                let Some(change) = waiting.next() else { break };
                match self.stop_if_cancelled() {
                    Ok(()) => in_hand.push(self.apply(step, change, sink)),
                    interrupted => result = interrupted,
                }
            }
            match in_hand.next().await {
                Some(ended) => result = result.and(ended),
                None => return result,
            }
        }
    }

    async fn apply(&self, step: &str, change: &Change, sink: &Sink) -> Result<()> {
        let shown = change.redacted();
        sink.emit(Kind::ChangeStarted { change: shown.clone() });
        let started = Instant::now();
        let looking = Instant::now();
        let touches = if self.journal.is_kept() { change.touches() } else { Vec::new() };
        let before = trace::before(self.host.as_ref(), &touches).await;
        let number = self.journal.intent(step, change, before.clone())?;
        self.journal.spend(looking);
        #[cfg(debug_assertions)]
        fault::at(fault::Point::AfterIntent, change);
        let progress = Progress::new(sink.clone(), self.cancel.clone());
        let result = telling(LONG, sink, &shown.to_string(), self.host.apply(change, &progress)).await;
        #[cfg(debug_assertions)]
        fault::at(fault::Point::AfterAct, change);
        let looking = Instant::now();
        let after = trace::after(self.host.as_ref(), &touches, &before).await;
        match &result {
            Ok(()) => self.journal.done(number, after)?,
            Err(failure) => self.journal.failed(number, &failure.cause, after)?,
        }
        self.journal.spend(looking);
        result.map_err(|failure| failure.during(&shown))?;
        sink.emit(Kind::ChangeFinished { change: shown, millis: millis_since(started) });
        Ok(())
    }

    fn stop_if_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Failure::interrupted()) } else { Ok(()) }
    }
}

fn tell_kept(change: &Change, sink: &Sink) {
    let text = format!("kept as somebody made it, against the inventory: not done: {}", change.redacted());
    sink.emit(Kind::Warning { text: text.into(), hint: Some(Hint::RepairDrift) });
}

/// How long to wait before the next look. Where a look is slow, the host is busy: looks must not keep it from becoming ready.
fn pause(look: Duration) -> Duration {
    look.clamp(POLL, LONGEST_POLL)
}

fn not_converged(changes: &[Change]) -> Failure {
    Failure::new("the host does not stay as it was made")
        .evidence(changes.iter().map(|change| format!("still to do: {}", change.redacted())))
        .hint(Hint::FindOtherManager)
}

#[cfg(test)]
mod tests;
