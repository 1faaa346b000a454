//! The other machines: connections to them, their host keys, and the agent that runs there.
//!
//! [`ssh`] reaches a host, [`known_hosts`] says whether it is the right one, [`deliver`] puts this very binary there and
//! starts it. What the agent is told and what it answers is no matter of these three; steps and their insides are no
//! matter of this module at all.

pub mod deliver;
pub mod known_hosts;
pub mod ssh;

mod reach;
#[cfg(test)]
mod testing;

pub use reach::{Fleet, target};
