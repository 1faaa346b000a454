//! The cluster's API: reading for steps, writing for the interpreter of changes.
//!
//! A [`Connector`] makes connections from kubeconfig files on this host and keeps them. [`View`] can only read; what writes is
//! [`Writer`], which the resources' interpreter alone makes. This module knows nothing of what kboot wants in a cluster.

mod connect;
pub mod health;
pub mod node;
mod objects;

pub use connect::Connector;
pub use objects::{Applied, Evicted, View, Writer};
