//! The idempotent step engine: observe, diff, show, apply, verify, journal.
//!
//! A [`Step`] looks at the host through a [`Probe`] and says what differs from what it wants, as [`Change`]s, which are plain
//! data. Only the runner holds the [`Host`] that can carry them out, so a dry run, which stops after the diff, can't leak.
//! The engine knows nothing of Kubernetes, of SSH or of terminals.

mod cause;
mod change;
mod clock;
mod digest;
mod disguise;
mod event;
mod failure;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(debug_assertions)]
pub mod fault;
pub mod hint;
mod item;
mod journal;
mod lock;
mod mask;
mod member;
mod object;
mod plan_guard;
mod planned_host;
mod probe;
mod progress;
mod runner;
mod step;
mod subject;
mod text;
mod trace;
mod undo;

pub use cause::LastApplied;
pub use change::{
    Cause, Change, ChangeId, Content, FileMode, MarkNode, PackageChange, PackageLock, PackagePin, Proposed, UnitChange,
};
pub use clock::{millis_since, now_millis};
pub use digest::sha256;
pub use event::{Event, Kind, Outcome, Sink};
pub use failure::{Failure, Result};
pub use hint::Hint;
pub use item::Item;
pub use journal::{Entry, Journal, Made, Record, Run, RunInfo, make_private_folder};
pub use lock::{Busy, HostLock};
pub use member::{MemberAction, MemberChange};
pub use object::comparable;
pub use plan_guard::{PlanGuard, PlannedStep};
pub use planned_host::PlannedHost;
pub use probe::{FileKind, Guard, Host, Metadata, Output, Probe};
pub use progress::Progress;
pub use runner::{Cancel, Drift, Mode, Report, Runner};
pub use step::{AnyStep, Evidence, Planned, Remark, Step};
pub use subject::{State, Subject, Touch, Trace};
pub use text::Text;
pub use undo::{Touched, Verdict, take_back, touched};
