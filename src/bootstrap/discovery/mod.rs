//! Discovery: from an endpoint, a token and the pins of the cluster's authority to an authority that can be trusted.
//!
//! The first request trusts nothing. What it brings is believed only if the token signed it and every authority in it is
//! pinned; then the same is asked again over TLS that this authority vouches for, and must be the same.

mod error;
mod fetch;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_yaml::Value as Yaml;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::cluster_info::{KUBECONFIG_KEY, expiry_key, signature_key, verify};
use super::token::Token;
use crate::inventory::API_PORT;
use crate::pki::{CaHash, ca_hashes, endpoint_url};
pub use error::DiscoveryError;

/// By which a cluster's authority is known beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pins {
    /// Every authority of the cluster must be among these, and there must be one.
    Required(Vec<CaHash>),
    /// Whoever knows the token's secret half may claim any authority.
    SkipVerification,
}

/// What a node needs in order to talk to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// As `https://10.0.0.1:6443`: by cluster-info, which need not be the endpoint that was asked.
    pub server: String,
    /// One or more certificates.
    pub ca_pem: String,
}

/// Asks `endpoint` (`host` or `host:port`) for its cluster-info and makes sure that it is the right cluster.
///
/// Retries while the endpoint can't be reached, until `deadline`; everything else fails at once.
pub async fn discover(
    endpoint: &str,
    token: &Token,
    pins: &Pins,
    deadline: Instant,
) -> Result<ClusterInfo, DiscoveryError> {
    if matches!(pins, Pins::Required(hashes) if hashes.is_empty()) {
        return Err(DiscoveryError::NoPins);
    }
    let server = endpoint_url(endpoint, API_PORT).map_err(DiscoveryError::Endpoint)?;

    let first = fetch::config_map(&server, None, deadline).await?;
    let (content, found) = believe(&first, &server, token, pins)?;
    let second = fetch::config_map(&server, Some(&found.ca_pem), deadline).await?;
    if second["data"][KUBECONFIG_KEY].as_str() != Some(content) {
        return Err(DiscoveryError::Changed { server });
    }
    Ok(found)
}

/// The kubeconfig in a cluster-info that nobody vouches for, and the cluster in it: by the token's signature, and the pins.
pub(crate) fn believe<'a>(
    map: &'a Value,
    server: &str,
    token: &Token,
    pins: &Pins,
) -> Result<(&'a str, ClusterInfo), DiscoveryError> {
    let content = signed_kubeconfig(map, server, token)?;
    let found = parse(content)?;
    check_pins(&found.ca_pem, pins)?;
    Ok((content, found))
}

/// The kubeconfig in cluster-info, once it is certain that the token signed it.
fn signed_kubeconfig<'a>(map: &'a Value, server: &str, token: &Token) -> Result<&'a str, DiscoveryError> {
    let Some(content) = map["data"][KUBECONFIG_KEY].as_str().filter(|content| !content.is_empty()) else {
        let reason = format!("cluster-info has no {KUBECONFIG_KEY:?}");
        return Err(DiscoveryError::NoClusterInfo { server: server.into(), reason });
    };
    let Some(jws) = map["data"][signature_key(token.id())].as_str().filter(|jws| !jws.is_empty()) else {
        let id = token.id().to_owned();
        return Err(match expiry(map, token.id()).filter(|at| *at <= OffsetDateTime::now_utc()) {
            Some(at) => DiscoveryError::TokenExpired { id, at },
            None => DiscoveryError::TokenUnknown { id },
        });
    };
    match verify(token, content, jws) {
        true => Ok(content),
        false => Err(DiscoveryError::BadSignature { id: token.id().into() }),
    }
}

/// When the token expired, as kboot noted it. The note is not signed: good for a message, for nothing else.
fn expiry(map: &Value, token_id: &str) -> Option<OffsetDateTime> {
    let text = map["metadata"]["annotations"][expiry_key(token_id)].as_str()?;
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// Reads the nameless cluster of cluster-info's kubeconfig, or its only one. Whoever did not get it over a trusted connection must
/// have verified its signature before.
pub fn parse(kubeconfig: &str) -> Result<ClusterInfo, DiscoveryError> {
    let fail = |reason: &str| DiscoveryError::Malformed { reason: reason.into() };
    let file: Yaml = serde_yaml::from_str(kubeconfig).map_err(|error| fail(&error.to_string()))?;
    let clusters = file.get("clusters").and_then(Yaml::as_sequence).map(Vec::as_slice).unwrap_or_default();
    let nameless = clusters.iter().find(|entry| entry.get("name").and_then(Yaml::as_str) == Some(""));
    let cluster = match (nameless, clusters) {
        (Some(entry), _) => entry.get("cluster"),
        (None, [only]) => only.get("cluster"),
        _ => None,
    };
    let cluster = cluster.ok_or_else(|| fail("it names no cluster, or several"))?;
    let field = |name: &str| cluster.get(name).and_then(Yaml::as_str).unwrap_or_default();
    let server = field("server");
    if !server.starts_with("https://") {
        return Err(fail(&format!("its server is {server:?}, which is no https address")));
    }
    let ca = STANDARD.decode(field("certificate-authority-data")).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let ca_pem = ca.filter(|pem| !pem.is_empty()).ok_or_else(|| fail("it includes no certificate authority"))?;
    Ok(ClusterInfo { server: server.into(), ca_pem })
}

/// kubeadm is content with one pinned authority in a bundle. But the others are trusted just as much, and whoever knows
/// the token can add one, so here each must be pinned.
fn check_pins(ca_pem: &str, pins: &Pins) -> Result<(), DiscoveryError> {
    let found = ca_hashes(ca_pem).map_err(|error| DiscoveryError::Malformed { reason: error.to_string() })?;
    let Pins::Required(expected) = pins else { return Ok(()) };
    let strangers: Vec<_> = found.into_iter().filter(|hash| !expected.contains(hash)).collect();
    match strangers.is_empty() {
        true => Ok(()),
        false => Err(DiscoveryError::CaMismatch { found: strangers, expected: expected.clone() }),
    }
}

#[cfg(test)]
mod tests;
