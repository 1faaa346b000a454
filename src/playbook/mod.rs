//! The order of the bootstrap: YAML lists of phases, each with its hosts and its steps, and the controller that walks them.
//!
//! Each host walks the list from top to bottom and takes the phases that are for it. Where a phase names others in `after`, it
//! also waits until those have ended on the other hosts. Where it has `maxUnavailable`, no more than so many hosts of a running cluster take it
//! at a time.
//!
//! Users write playbooks of their own. A file becomes a [`Playbook`] in steps, each a module: `read` compares it with the
//! `written` types, `load` puts what it extends and its hooks in place, `draft` checks each task, and `work` fills them in for each
//! host once its facts are known. All mistakes in a file are told together, each with its place, before anything is run.

mod draft;
mod fill;
#[cfg(test)]
mod gate_tests;
#[cfg(test)]
mod hostile_tests;
mod load;
mod model;
mod order;
mod part;
mod phase_steps;
mod read;
mod rolling;
mod run;
mod run_roles;
mod source;
mod written;
pub(crate) mod yaml_objects;

pub use load::{builtin, load, load_for, parse};
pub use model::{BUILTIN, Phase, Playbook, Selector};
pub use part::PartError;
pub use read::schema;
pub use rolling::MaxUnavailable;
pub use run::{Member, Plan, PlannedSteps, run};
pub use run_roles::{RunRoles, run_roles};
pub use source::PlaybookError;
