//! kboot turns Linux machines into a Kubernetes cluster, and keeps them one. ARCHITECTURE.md tells how the pieces fit.

pub mod engine;
pub mod inventory;
pub mod manifest;
pub mod openpgp;
pub mod pki;
