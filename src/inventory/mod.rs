//! What the user wants: an inventory file or flags, read, checked and with every default filled in.
//!
//! [`Cluster`] is the one description of a cluster that everything else reads. It is plain data: it travels to the
//! agents as JSON and comes from a file as YAML, with the same names in both. This module knows nothing of hosts'
//! real state, of steps or of SSH.

mod cluster;
mod defaults;
mod period;
mod types;
mod versions;

pub use cluster::{API_PORT, CONTROL_PLANE, REGISTRY, SshTarget, Taint};
pub use defaults::*;
pub use period::PeriodError;
pub use types::*;
pub use versions::{RELEASES, Release, Version};
