//! kboot turns Linux machines into a Kubernetes cluster, and keeps them one. ARCHITECTURE.md tells how the pieces fit.

pub mod agent;
pub mod bootstrap;
pub mod cli;
pub mod engine;
pub mod facts;
pub mod fleet;
pub mod inventory;
pub mod kube;
pub mod manifest;
pub mod openpgp;
pub mod pki;
pub mod playbook;
pub mod preflight;
pub mod report;
pub mod resource;
pub mod steps;
