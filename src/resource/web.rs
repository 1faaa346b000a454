//! HTTP from a host, for what is fetched or asked before anything else is installed.

use std::time::Duration;

use reqwest::{Certificate, Client};

use crate::engine::{Failure, Result};

/// A client that trusts the host's certificate authorities, or these (PEM) where a host has none yet.
pub(super) fn client(roots: Option<&str>) -> Result<Client> {
    let failed = |error: reqwest::Error| Failure::new(format!("failed to make an HTTP client: {}", cause(&error)));
    let mut builder = Client::builder().timeout(Duration::from_secs(60)).dns_resolver(crate::names::Resolver::shared());
    if let Some(roots) = roots {
        builder = builder.tls_certs_only(Certificate::from_pem_bundle(roots.as_bytes()).map_err(failed)?);
    }
    builder.build().map_err(failed)
}

/// An error's deepest reason: reqwest keeps the interesting part below, and its URL is told by us.
pub(super) fn cause(error: &reqwest::Error) -> String {
    if let Some(status) = error.status() {
        return format!("it answers {status}");
    }
    let mut deepest = None;
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        deepest = Some(inner.to_string());
        source = inner.source();
    }
    deepest.unwrap_or_else(|| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_certificate_authorities_still_has_a_client() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        client(Some("")).unwrap();
    }
}
