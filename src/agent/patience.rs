//! How long a host may take for what it is asked.

use std::time::Duration;

use super::protocol::{PhaseRun, Request};
use crate::engine::{Failure, Hint, Item};
use crate::steps::task::{Task, Wanted};

/// How often an agent says that it is at work.
pub const BEAT: Duration = Duration::from_millis(500);
/// After this the run says which host it waits for.
pub const NOTICE: Duration = Duration::from_secs(2);
/// A stopped run waits so long for a host that has no change in hand, or says nothing.
pub const STOP: Duration = Duration::from_secs(2);
/// A request must be taken by then.
pub const SEND: Duration = Duration::from_secs(60);

/// A host that says nothing at all for so long is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// The same while it is at work: one that reads a slow disk says nothing meanwhile.
const SILENCE_AT_WORK: Duration = Duration::from_secs(120);

/// The limits of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Between two lines.
    pub silence: Duration,
    /// For all of it.
    pub total: Duration,
}

impl Patience {
    pub fn of(request: &Request) -> Self {
        let within = |seconds| Self { silence: SILENCE, total: Duration::from_secs(seconds) };
        match request {
            Request::Facts => within(120),
            Request::Survey => within(300),
            Request::Etcd(_) => within(120),
            // One piece of a file.
            Request::Read { .. } => within(60),
            Request::End { .. } => within(60),
            // It reads package lists and asks registries.
            Request::Resolve(_) => within(1800),
            Request::Run(run) => Self { silence: SILENCE_AT_WORK, total: of_phase(run) },
            // It has no answer of its own.
            Request::Cancel => Self { silence: STOP, total: STOP },
        }
    }
}

/// What the steps of a phase may take at most, one after the other. Each has a limit of its own on the host; this one is for a host that
/// does not keep it.
fn of_phase(run: &PhaseRun) -> Duration {
    /// The last change of a run that was cut off, which is waited for.
    const OTHERS: Duration = Duration::from_secs(600);
    let context = &run.context;
    let longest = context.install_deadline().max(context.ready_deadline());
    let drain = Duration::from_secs(context.inputs.drain_seconds);
    let step = 2 * longest + drain + OTHERS;
    let leaves = run.steps.iter().flat_map(Item::leaves);
    let limits = leaves.map(|leaf| match leaf {
        Item::Task(Task { wanted: Wanted::Wait { timeout_seconds: Some(seconds), .. }, .. }) => {
            step + Duration::from_secs(*seconds)
        }
        Item::Task(_) | Item::Step(_) | Item::Parallel(_) => step,
    });
    limits.sum::<Duration>() + run.wait_lock + OTHERS
}

/// The host has said nothing for this long.
pub fn silent(limit: Duration) -> Failure {
    Failure::new(format!("the host has not answered for {} s", limit.as_secs())).hint(Hint::HostIsSilent).retryable()
}

/// The host is at it still.
pub fn overdue(limit: Duration) -> Failure {
    Failure::new(format!("the host did not finish within {} s", limit.as_secs())).hint(Hint::HostIsSlow).retryable()
}
