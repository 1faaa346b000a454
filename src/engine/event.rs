//! What happens during a run, as data. Reporters, logs and tests all read this and nothing else.

use serde::{Deserialize, Serialize};

use super::hint::{self, Hint};
use super::{Change, Failure, Proposed, Text};

/// Something that happened on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The host's name in the inventory.
    pub host: String,
    /// The playbook's phase; empty before the first.
    pub phase: String,
    /// The step's id; empty for what concerns the whole phase.
    pub step: String,
    #[serde(flatten)]
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Kind {
    /// The host answers and an agent runs there.
    Connected {
        millis: u64,
    },
    PhaseStarted {
        steps: usize,
    },
    PhaseFinished {
        outcome: Outcome,
        millis: u64,
    },
    StepStarted {
        title: Text,
    },
    /// What the step would change, in a dry run; `after` names what must be there before more can be known.
    Planned {
        changes: Vec<Proposed>,
        after: Option<Text>,
    },
    ChangeStarted {
        #[serde(serialize_with = "Change::with_id")]
        change: Change,
    },
    ChangeFinished {
        #[serde(serialize_with = "Change::with_id")]
        change: Change,
        millis: u64,
    },
    /// A change, or a look at the host, takes long: `what` has taken so long by now, and goes on.
    InProgress {
        what: Text,
        millis: u64,
    },
    /// The controller waits for this host, which has said nothing for so long.
    Silent {
        millis: u64,
    },
    /// The step waits for something, named as in "waiting for {what}".
    Waiting {
        what: Text,
    },
    /// An attempt to fetch something failed, and another one follows after this pause.
    Retrying {
        what: Text,
        why: Text,
        millis: u64,
    },
    StepFinished {
        outcome: Outcome,
        millis: u64,
    },
    Failed {
        failure: Failure,
    },
    /// Nothing of the run is for this host.
    Idle,
    /// The run is in the host's journal, whose writing took so long in all.
    Journalled {
        millis: u64,
    },
    Warning {
        text: Text,
        #[serde(flatten, with = "hint::wire::nullable")]
        hint: Option<Hint>,
    },
    Note {
        text: Text,
    },
    /// After a reset: something that is not as it was before the first run.
    Leftover {
        /// What kind of thing, as "file" or "kernel module".
        thing: String,
        name: String,
        /// Why it is still there.
        why: Text,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing had to be done.
    Unchanged,
    Changed,
    /// In a dry run: something would be done.
    WouldChange,
    Failed,
    /// Not tried, since something that it needs failed.
    Skipped,
}

/// Takes events as they happen. Cheap to clone; never blocks.
#[derive(Clone)]
pub struct Sink {
    host: String,
    phase: String,
    step: String,
    sender: tokio::sync::mpsc::UnboundedSender<Event>,
}

impl Sink {
    pub fn new(host: impl Into<String>, sender: tokio::sync::mpsc::UnboundedSender<Event>) -> Self {
        Self { host: host.into(), phase: String::new(), step: String::new(), sender }
    }

    pub fn phase(&self, phase: &str) -> Self {
        Self { phase: phase.into(), step: String::new(), ..self.clone() }
    }

    pub fn step(&self, step: &str) -> Self {
        Self { step: step.into(), ..self.clone() }
    }

    pub fn emit(&self, kind: Kind) {
        self.pass(Event { host: self.host.clone(), phase: self.phase.clone(), step: self.step.clone(), kind });
    }

    /// Passes on an event as it is.
    pub fn pass(&self, event: Event) {
        // A receiver that is gone means that nobody listens any more: the run itself goes on.
        let _ = self.sender.send(event);
    }
}
