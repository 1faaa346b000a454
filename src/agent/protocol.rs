//! What is said, one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::adopt::Survey;
use crate::engine::{Drift, Event, Failure, Journal, Mode, Outcome, PlannedStep, RunInfo};
use crate::facts::{EtcdView, Facts};
use crate::lock::{Question, Resolved};
use crate::steps::task::PhaseItem;
use crate::steps::{Context, Outputs};

/// The agent's first line. Whatever a login shell prints before it is no part of the conversation.
pub const MARKER: &str = "KBOOT-AGENT 1";

/// From the controller.
#[derive(Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    Facts,
    /// What this host would get of what an inventory leaves open. Changes nothing.
    Resolve(Box<ResolveRun>),
    /// What this host has of a cluster that somebody else made. Changes nothing.
    Survey,
    /// How an etcd that is not kboot's looks from this host. Changes nothing.
    Etcd(Box<Context>),
    /// A piece of a file, from this byte on. Changes nothing.
    Read {
        file: HostFile,
        offset: u64,
    },
    Run(Box<PhaseRun>),
    /// The run is over for this host: write that down.
    End {
        outcome: Outcome,
    },
    /// Stop the running phase after the change in hand.
    Cancel,
}

/// One phase, for one host.
#[derive(Serialize, Deserialize)]
pub struct PhaseRun {
    pub phase: String,
    pub steps: Vec<PhaseItem>,
    pub mode: Mode,
    pub run: RunInfo,
    pub drift: Drift,
    /// What a plan has for this phase, where it is a plan that is carried out: no more than this may be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_steps: Option<Vec<PlannedStep>>,
    /// How long whoever else works on the host is waited for.
    #[serde(default)]
    pub wait_lock: std::time::Duration,
    pub context: Context,
}

/// A question for one host.
#[derive(Serialize, Deserialize)]
pub struct ResolveRun {
    pub question: Question,
    pub context: Context,
}

/// From the agent. Every request but `Cancel` is answered by one of the others than `Event` and `Alive`, with these before it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    Facts {
        facts: Result<Box<Facts>, Failure>,
    },
    Resolved {
        resolved: Result<Box<Resolved>, Failure>,
    },
    Surveyed {
        survey: Result<Box<Survey>, Failure>,
    },
    /// None where the host has nothing to ask it with.
    Etcd {
        view: Result<Option<EtcdView>, Failure>,
    },
    /// None where there is no such file.
    Read {
        piece: Result<Option<Piece>, Failure>,
    },
    Event {
        event: Box<Event>,
    },
    /// The agent is at work on the request. It says so all the time.
    Alive,
    Done {
        result: Result<Box<Outputs>, Failure>,
    },
    /// The run is written down; the time that all of its writing took.
    Ended {
        result: Result<Option<u64>, Failure>,
    },
}

/// A file that a controller may ask for. There are no others: a path is no part of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostFile {
    Journal,
    AdminConf,
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Base64.
    pub(super) content: String,
    /// Which file it is, for one that was replaced in between has another.
    pub(super) inode: u64,
    pub(super) is_last: bool,
}

impl HostFile {
    pub fn path(self) -> &'static str {
        match self {
            Self::Journal => Journal::PATH,
            Self::AdminConf => "/etc/kubernetes/admin.conf",
        }
    }

    /// More than such a file ever has. A host that sends more is not listened to.
    pub(super) fn most(self) -> usize {
        match self {
            Self::Journal => 64 << 20,
            Self::AdminConf => 1 << 20,
        }
    }
}
