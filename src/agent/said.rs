//! What a host says, as the controller passes it on. Host and phase are the controller's own knowledge; a host has no say in them.

use std::collections::BTreeSet;

use super::protocol::PhaseRun;
use crate::engine::{Event, Failure, Item, Kind, Mode};

/// A host speaks about one phase of its own, and nothing else.
pub struct Said {
    host: String,
    phase: String,
    /// The steps that it was told to run.
    steps: BTreeSet<String>,
    mode: Mode,
    /// This process is its own host: its words are kboot's.
    is_foreign: bool,
    /// Whether it has said that something failed.
    pub has_failed: bool,
}

impl Said {
    pub fn of(run: &PhaseRun, is_foreign: bool) -> Self {
        let leaves = run.steps.iter().flat_map(Item::leaves);
        let ids = leaves.filter_map(|leaf| match leaf {
            Item::Step(name) => Some(name.clone()),
            Item::Task(task) => Some(task.id()),
            Item::Parallel(_) => None,
        });
        let (host, phase) = (run.context.host.clone(), run.phase.clone());
        Self { host, phase, steps: ids.collect(), mode: run.mode, is_foreign, has_failed: false }
    }

    /// The event as it may be passed on; None for what is not the host's to say.
    pub fn take(&mut self, event: Event, is_stopped: bool) -> Option<Event> {
        let Event { step, kind, .. } = event;
        let is_own = match &kind {
            Kind::ChangeStarted { .. } | Kind::ChangeFinished { .. } => self.mode == Mode::Apply,
            Kind::Planned { .. } => self.mode == Mode::Plan,
            // The controller's own words.
            Kind::Connected { .. } | Kind::Idle | Kind::Journalled { .. } | Kind::Silent { .. } => false,
            Kind::PhaseStarted { .. }
            | Kind::PhaseFinished { .. }
            | Kind::StepStarted { .. }
            | Kind::StepFinished { .. }
            | Kind::InProgress { .. }
            | Kind::Waiting { .. }
            | Kind::Retrying { .. }
            | Kind::Failed { .. }
            | Kind::Warning { .. }
            | Kind::Note { .. }
            | Kind::Leftover { .. } => true,
        };
        if !is_own {
            return None;
        }
        let step = if self.steps.contains(&step) { step } else { String::new() };
        let kind = if self.is_foreign { worded(kind, is_stopped) } else { kind };
        self.has_failed |= matches!(kind, Kind::Failed { .. });
        Some(Event { host: self.host.clone(), phase: self.phase.clone(), step, kind })
    }
}

fn worded(kind: Kind, is_stopped: bool) -> Kind {
    match kind {
        Kind::Failed { failure } => {
            let failure = self::failure(failure);
            // Nobody but the person who runs kboot stops a run.
            Kind::Failed { failure: Failure { interrupted: failure.interrupted && is_stopped, ..failure } }
        }
        Kind::Warning { text, hint } => Kind::Warning { text: text.map(line), hint },
        Kind::Note { text } => Kind::Note { text: text.map(line) },
        Kind::Waiting { what } => Kind::Waiting { what: what.map(line) },
        Kind::InProgress { what, millis } => Kind::InProgress { what: what.map(line), millis },
        Kind::Retrying { what, why, millis } => Kind::Retrying { what: what.map(line), why: why.map(line), millis },
        Kind::StepStarted { title } => Kind::StepStarted { title: title.map(line) },
        Kind::Leftover { thing, name, why } => {
            Kind::Leftover { thing: line(&thing), name: line(&name), why: why.map(line) }
        }
        other => other,
    }
}

/// What a host fetches again, which is all that it may say while it looks things up.
pub(super) fn retrying(kind: Kind) -> Option<Kind> {
    let Kind::Retrying { what, why, millis } = kind else { return None };
    Some(Kind::Retrying { what: what.map(line), why: why.map(line), millis })
}

/// A failure in a host's words, but for its hint: a host chose that, and kboot words it. The cause can't pass for more lines of a report.
pub fn failure(failure: Failure) -> Failure {
    let evidence = failure.evidence.iter().flat_map(|line| line.lines()).map(String::from).collect();
    Failure { cause: failure.cause.map(line), evidence, ..failure }
}

/// One line of it.
fn line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
