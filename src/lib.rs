//! kboot turns Linux machines into a Kubernetes cluster, and keeps them one. ARCHITECTURE.md tells how the pieces fit.

// Not in Cargo.toml, for test crates print, unwrap and sleep as they like.
#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a stray line breaks `--output json` and, in the agent, the conversation with the controller: only `cli` and `report` print"
)]
#![deny(
    clippy::unwrap_used,
    reason = "on a host a panic is a change left half done: say `expect(\"why it can't fail\")` of a true invariant"
)]
// clippy.toml has the list, with reasons.
#![deny(clippy::disallowed_methods)]

pub mod adopt;
pub mod agent;
mod agree;
pub mod baseline;
pub mod bootstrap;
pub mod cli;
mod controller;
pub mod engine;
mod equivalence;
pub mod etcd;
pub mod facts;
mod fetch;
pub mod fleet;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod inventory;
pub mod kube;
pub mod kubeadm;
pub mod lock;
pub mod manifest;
mod names;
pub mod openpgp;
pub mod pki;
pub mod plan;
pub mod playbook;
pub mod preflight;
mod proc;
pub mod report;
pub mod resource;
pub mod steps;
