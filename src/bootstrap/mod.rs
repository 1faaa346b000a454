//! How a new node and a cluster come to trust each other: bootstrap tokens, the signed `cluster-info`, discovery.
//!
//! Tokens and cluster-info are pure data. Only [`discovery`] talks to the network, and only to the endpoint it is given.
//! It may use `pki`. It must not touch the host, nor know of steps or of the Kubernetes client: objects are plain JSON.

pub mod certificates;
pub mod cluster_info;
pub mod discovery;
pub mod token;
pub mod token_secret;

pub use certificates::{CertificateKey, CertificatesError};
pub use discovery::{ClusterInfo, DiscoveryError, Pins, discover};
pub use token::Token;
