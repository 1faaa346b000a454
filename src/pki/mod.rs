//! Certificates, keys and kubeconfigs, as kubeadm lays them out.
//!
//! Everything here is a pure function of its arguments (and of the system's random numbers): PEM text comes in, PEM or
//! YAML text goes out, and the time is a parameter. It may use `inventory`'s plain types. It must not read or write
//! files and must not know of steps, hosts or the API server.

mod check;
mod der;
mod describe;
mod hash;
mod issue;
mod key;
pub mod kubeconfig;
mod layout;
mod request;
mod rsa;
#[cfg(test)]
mod testing;
mod x509;

pub use check::{Problem, Severity, check};
pub use describe::{Description, describe};
pub use hash::{CaHash, CaHashError, ca_hash, ca_hashes};
pub use issue::{Issuer, issue};
pub use key::Key;
pub use layout::{Entry, LayoutParams, SERVICE_ACCOUNT, cluster_certificates, endpoint_url};
pub use request::{CertificateRequest, Usage};

/// Why a key, a certificate or a kubeconfig could not be read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PkiError {
    #[error("read the private key: {0}")]
    Key(String),
    #[error("generate a private key: {0}")]
    Generate(String),
    #[error("read the certificate: {0}")]
    Certificate(String),
    #[error("issue the certificate for {name:?}: {reason}")]
    Issue { name: String, reason: String },
    #[error("use {value:?} as a name or address of the API server: it is neither an IP address nor a DNS name")]
    San { value: String },
    #[error("use {value:?} as the control plane's endpoint: {reason}")]
    Endpoint { value: String, reason: &'static str },
}
