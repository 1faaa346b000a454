//! The order of the bootstrap: YAML lists of phases, each with its hosts and its steps, and the controller that walks them.
//!
//! Each host walks the list from top to bottom and takes the phases that are for it. Where a phase names others in `after`, it
//! also waits until those have ended on the other hosts. Where it has `maxUnavailable`, no more than so many hosts of a running cluster take it
//! at a time.

mod parse;
mod rolling;
mod run;

pub use parse::{BUILTIN, Phase, Playbook, Selector, builtin};
pub use rolling::MaxUnavailable;
pub use run::{Member, Plan, run};
