//! One anonymous request for cluster-info, over TLS that verifies the server or does not.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::DiscoveryError;
use crate::bootstrap::cluster_info::{NAME, NAMESPACE};

/// A try that takes longer is given up for a new one.
const ATTEMPT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
/// A ConfigMap can't be larger; what is comes from something else.
const MAX_BODY: usize = 1 << 20;

/// Gets the ConfigMap, again and again while the server can't be reached. Without an authority the server's certificate
/// may be any.
pub(super) async fn config_map(server: &str, ca_pem: Option<&str>, deadline: Instant) -> Result<Value, DiscoveryError> {
    let client = client(ca_pem)?;
    let mut known = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).min(ATTEMPT);
        let error = match timeout(left, request(&client, server)).await {
            Ok(Ok(map)) => return Ok(map),
            Ok(Err(error)) => error,
            // What an earlier attempt was told says more than that the last one was cut short.
            Err(_) => known.take().unwrap_or_else(|| DiscoveryError::TimedOut { server: server.into() }),
        };
        if !error.is_retryable() || Instant::now() + PAUSE >= deadline {
            return Err(error);
        }
        known = Some(error);
        sleep(PAUSE).await;
    }
}

async fn request(client: &Client, server: &str) -> Result<Value, DiscoveryError> {
    let url = format!("{server}/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}");
    let response = client.get(url).send().await.map_err(|error| classify(server, &error))?;
    let status = response.status();
    let body = body(response, server).await?;
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(DiscoveryError::Unreachable { server: server.into(), reason: format!("it answers {status}") });
    }
    let strange = |reason| DiscoveryError::NotKubernetes { server: server.into(), reason };
    let object: Value = serde_json::from_slice(&body)
        .map_err(|_| strange(format!("it answers {status} with something else than JSON")))?;
    match (status, object["kind"].as_str()) {
        (StatusCode::OK, Some("ConfigMap")) => Ok(object),
        (_, Some("Status")) => {
            let reason = object["message"].as_str().map_or_else(|| status.to_string(), String::from);
            Err(DiscoveryError::NoClusterInfo { server: server.into(), reason })
        }
        _ => Err(strange(format!("it answers {status} with JSON that is no ConfigMap"))),
    }
}

async fn body(mut response: Response, server: &str) -> Result<Vec<u8>, DiscoveryError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| classify(server, &error))? {
        if body.len() + chunk.len() > MAX_BODY {
            let reason = "its answer is longer than a ConfigMap can be".into();
            return Err(DiscoveryError::NotKubernetes { server: server.into(), reason });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn client(ca_pem: Option<&str>) -> Result<Client, DiscoveryError> {
    let malformed = |reason: String| DiscoveryError::Malformed { reason };
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| malformed(error.to_string()))?;
    let config = match ca_pem {
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for authority in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let authority = authority.map_err(|error| malformed(error.to_string()))?;
                roots.add(authority).map_err(|error| malformed(format!("its authority is unusable: {error}")))?;
            }
            config.with_root_certificates(roots).with_no_client_auth()
        }
        None => {
            config.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider))).with_no_client_auth()
        }
    };
    // No proxy and no redirect: the answer must come from the endpoint that the user named.
    Client::builder()
        .tls_backend_preconfigured(config)
        .dns_resolver(crate::names::Resolver::shared())
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("kboot/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| malformed(innermost(&error)))
}

/// Tells a server that is not there from one that is not the right one.
fn classify(server: &str, error: &reqwest::Error) -> DiscoveryError {
    let server = server.to_owned();
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(error)) => {
            DiscoveryError::Untrusted { server, reason: certificate_reason(error) }
        }
        Some(error) => DiscoveryError::NotKubernetes { server, reason: format!("it does not speak TLS ({error})") },
        None if error.is_timeout() => DiscoveryError::TimedOut { server },
        None if is_no_http(error) => DiscoveryError::NotKubernetes { server, reason: innermost(error) },
        None => DiscoveryError::Unreachable { server, reason: innermost(error) },
    }
}

fn certificate_reason(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is not signed by the cluster's CA".into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is not for this name or address".into()
        }
        other => format!("its certificate is not acceptable: {other}"),
    }
}

fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&'a (dyn Error + 'static)| (*cause).source())
}

/// TLS errors come wrapped into I/O errors, often twice, and these do not name what they wrap as their source.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    causes(error).find_map(|cause| {
        let mut cause = cause;
        while let Some(inner) = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            cause = inner;
        }
        cause.downcast_ref()
    })
}

/// Whether bytes came that are no HTTP.
fn is_no_http(error: &reqwest::Error) -> bool {
    !error.is_connect() && !causes(error).any(|cause| cause.is::<io::Error>()) && !innermost(error).contains("closed")
}

fn innermost(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Takes any server for what it says it is, but insists that it holds the key of the certificate it shows.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
