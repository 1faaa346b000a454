//! The order of the bootstrap: YAML lists of phases, each with its hosts and its steps, and the controller that walks them.
//!
//! Each host walks the list from top to bottom and takes the phases that are for it. Where a phase names others in `after`, it
//! also waits until those have ended on the other hosts.

mod parse;
mod run;

pub use parse::{BUILTIN, Phase, Playbook, Selector, builtin};
pub use run::{Member, Plan, Promises, run};
