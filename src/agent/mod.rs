//! The part of kboot that runs on a host, and how the controller speaks with it.
//!
//! JSON lines over a pair of streams: an SSH channel for a host of an inventory, memory for this machine. The agent runs whole
//! phases and streams events. It ends when its input does, after the change in hand. Secrets travel here and nowhere else.

mod client;
mod files;
mod lines;
mod patience;
mod protocol;
mod said;
mod serve;

pub use client::Client;
#[cfg(test)]
pub use patience::Patience;
pub use protocol::{HostFile, MARKER, PhaseRun, Reply, Request, ResolveRun};
#[cfg(any(test, fuzzing))]
pub(crate) use serve::request;
pub use serve::{serve, serve_here};
