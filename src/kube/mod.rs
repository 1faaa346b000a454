//! The cluster's API: reading for steps, writing for the interpreter of changes.
//!
//! A [`Connector`] makes connections from kubeconfig files on this host and keeps them. [`View`] can only read; what writes is
//! [`Writer`], which the resources' interpreter alone makes. This module knows nothing of what kboot wants in a cluster.

mod connect;
pub mod health;
pub mod node;
mod objects;

pub use connect::Connector;
pub use objects::{Applied, Evicted, View, Writer, Written};

use std::time::Duration;

/// How long one request may take. An API server ends its own work on one after a minute (`--request-timeout`).
const LIMIT: Duration = Duration::from_secs(75);

/// A limit on reading is the connection's, and other answers on it restart it; this one is the request's.
async fn within<T>(limit: Duration, request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let late = || kube::Error::Service(format!("no answer within {} s", limit.as_secs()).into());
    tokio::time::timeout(limit, request).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_without_an_answer_ends() {
        let limit = Duration::from_millis(10);
        let error = within(limit, std::future::pending::<kube::Result<()>>()).await.unwrap_err();
        assert!(error.to_string().contains("no answer within"), "{error}");
        within(LIMIT, async { Ok(()) }).await.unwrap();
    }
}
