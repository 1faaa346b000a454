//! How a new node and a cluster come to trust each other: bootstrap tokens and the signed `cluster-info`.
//! It may use `pki`. It must not touch the host, nor know of steps or of the Kubernetes client: objects are plain JSON.

pub mod cluster_info;
pub mod token;
mod token_secret;

pub use token::Token;
