//! Runs steps: observe, diff, and, unless it is a dry run, apply and observe again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};

#[cfg(debug_assertions)]
use super::fault;
use super::journal::Stage;
use super::{AnyStep, Change, Failure, Host, Journal, Kind, Outcome, Planned, Result, Sink};

/// How often a step that waits looks again.
const POLL: Duration = Duration::from_millis(100);
/// Changes that may overlap are made this many at a time.
const AT_ONCE: usize = 8;
/// How often a step may find new changes after it has made some. More means that it works against itself or against someone.
const ROUNDS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Look and say what would change.
    Plan,
    Apply,
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
    pub cancel: Cancel,
}

impl Runner {
    /// Runs one step to its end and tells the sink. A failure has been told as well when this returns it.
    pub async fn run(&self, step: &dyn AnyStep, sink: &Sink) -> Result<Report> {
        let sink = sink.step(step.id());
        sink.emit(Kind::StepStarted { title: step.title() });
        let started = Instant::now();
        let result = match self.mode {
            Mode::Plan => self.plan(step, &sink).await,
            Mode::Apply => self.converge(step, &sink).await,
        };
        let outcome = match &result {
            Ok(report) => report.outcome,
            Err(failure) => {
                sink.emit(Kind::Failed { failure: failure.clone() });
                Outcome::Failed
            }
        };
        sink.emit(Kind::StepFinished { outcome, millis: millis(started) });
        result
    }

    async fn plan(&self, step: &dyn AnyStep, sink: &Sink) -> Result<Report> {
        let (changes, after) = match step.plan(self.host.probe()).await? {
            Planned::Satisfied => return Ok(Report { outcome: Outcome::Unchanged, changes: 0 }),
            Planned::Changes(changes) => (changes, None),
            Planned::After { what } => (Vec::new(), Some(what)),
        };
        let count = changes.len();
        sink.emit(Kind::Planned { changes: changes.iter().map(|change| change.redacted().into()).collect(), after });
        Ok(Report { outcome: Outcome::WouldChange, changes: count })
    }

    async fn converge(&self, step: &dyn AnyStep, sink: &Sink) -> Result<Report> {
        let mut deadline = Instant::now() + step.deadline();
        let mut waiting_for = None;
        let mut made = 0;
        let mut rounds = 0;
        loop {
            self.stop_if_cancelled()?;
            match step.plan(self.host.probe()).await? {
                Planned::Satisfied => {
                    let outcome = if made == 0 { Outcome::Unchanged } else { Outcome::Changed };
                    return Ok(Report { outcome, changes: made });
                }
                Planned::Changes(changes) => {
                    rounds += 1;
                    if rounds > ROUNDS {
                        return Err(not_converged(&changes));
                    }
                    for batch in changes.chunk_by(|a, b| a.may_overlap() && b.may_overlap()) {
                        self.apply_batch(step.id(), batch, sink).await?;
                        made += batch.len();
                    }
                    deadline = Instant::now() + step.deadline();
                }
                Planned::After { what } => {
                    if Instant::now() >= deadline {
                        let found = step.evidence(self.host.probe()).await;
                        let failure =
                            Failure::new(format!("waited {} s in vain for {what}", step.deadline().as_secs()))
                                .evidence(found.lines);
                        return Err(Failure { hint: found.hint, ..failure });
                    }
                    if waiting_for.as_ref() != Some(&what) {
                        sink.emit(Kind::Waiting { what: what.clone() });
                        waiting_for = Some(what);
                    }
                    tokio::time::sleep(POLL).await;
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
        self.journal.record(step, change, Stage::Intent)?;
        #[cfg(debug_assertions)]
        fault::at(fault::Point::AfterIntent, change);
        let result = self.host.apply(change).await;
        #[cfg(debug_assertions)]
        fault::at(fault::Point::AfterAct, change);
        let state = match &result {
            Ok(()) => Stage::Done,
            Err(failure) => Stage::Failed { cause: failure.cause.clone() },
        };
        self.journal.record(step, change, state)?;
        result.map_err(|failure| failure.context(&shown))?;
        sink.emit(Kind::ChangeFinished { change: shown, millis: millis(started) });
        Ok(())
    }

    fn stop_if_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Failure::interrupted()) } else { Ok(()) }
    }
}

fn not_converged(changes: &[Change]) -> Failure {
    Failure::new("the host does not stay as it was made")
        .evidence(changes.iter().map(|change| format!("still to do: {}", change.redacted())))
        .hint("something else on the host changes it back: look for configuration management or a package hook")
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
