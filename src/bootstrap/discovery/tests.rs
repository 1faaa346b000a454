//! Discovery against real TLS servers on loopback: an honest one, and those that are not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::bootstrap::cluster_info;
use crate::inventory::EncryptionAlgorithm::EcdsaP256;
use crate::pki::{CertificateRequest, Issuer, Key, Usage, ca_hash, issue};

const TOKEN: &str = "abcdef.0123456789abcdef";
const SERVER: &str = "https://10.0.0.1:6443";

fn token() -> Token {
    TOKEN.parse().unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

struct Authority {
    key: Key,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = Key::generate(EcdsaP256).unwrap();
        let request = CertificateRequest::authority("kubernetes", 24, EcdsaP256);
        let pem = issue(&request, &key, None, OffsetDateTime::now_utc()).unwrap();
        Self { key, pem }
    }

    fn pins(&self) -> Pins {
        Pins::Required(vec![ca_hash(&self.pem).unwrap()])
    }

    /// A server's TLS setup for the address, made `age` ago to last a day.
    fn tls(&self, address: &str, age: Duration) -> TlsAcceptor {
        let request = CertificateRequest {
            common_name: "kube-apiserver".into(),
            organization: None,
            dns_names: vec![],
            ip_addresses: vec![address.parse().unwrap()],
            usages: vec![Usage::Server],
            is_ca: false,
            validity_hours: 24,
            algorithm: EcdsaP256,
        };
        let key = Key::generate(EcdsaP256).unwrap();
        let issuer = Issuer { cert_pem: &self.pem, key: &self.key };
        let pem = issue(&request, &key, Some(&issuer), OffsetDateTime::now_utc() - age).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.to_pem().expose_secret().as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn honest_tls(&self) -> TlsAcceptor {
        self.tls("127.0.0.1", Duration::ZERO)
    }
}

/// Cluster-info of an authority, signed by the tokens.
fn cluster_info_of(ca_pem: &str, tokens: &[Token]) -> Value {
    let content = cluster_info::kubeconfig(SERVER, ca_pem);
    let mut map = cluster_info::config_map(&content);
    for token in tokens {
        map["data"][signature_key(token.id())] = cluster_info::signature(token, &content).into();
    }
    map
}

/// A server that gives the nth connection the nth TLS setup and answer, the last one again and again.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(answers: Vec<(TlsAcceptor, u16, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let seen = requests.clone();
        let task = tokio::spawn(async move {
            for turn in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, status, body) = &answers[turn.min(answers.len() - 1)];
                // The client may break off when it sees the certificate.
                let Ok(mut stream) = tls.accept(stream).await else { continue };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    request.push(byte);
                }
                let request = String::from_utf8(request).unwrap();
                if request.is_empty() {
                    continue;
                }
                assert!(request.starts_with("GET /api/v1/namespaces/kube-public/configmaps/cluster-info HTTP/1.1\r\n"));
                assert!(!request.to_lowercase().contains("authorization:"), "the token must never be sent");
                seen.fetch_add(1, Ordering::SeqCst);
                let head =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { address, requests, task }
    }

    async fn with(tls: TlsAcceptor, map: &Value) -> Self {
        Self::start(vec![(tls, 200, map.to_string())]).await
    }

    async fn discover(&self, token: &Token, pins: &Pins) -> Result<ClusterInfo, DiscoveryError> {
        discover(&self.address.to_string(), token, pins, soon()).await
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn an_honest_cluster_is_found() {
    let ca = Authority::new();
    let server = Server::with(ca.honest_tls(), &cluster_info_of(&ca.pem, &[token()])).await;
    let found = server.discover(&token(), &ca.pins()).await.unwrap();
    assert_eq!(found, ClusterInfo { server: SERVER.into(), ca_pem: ca.pem.clone() });
    assert_eq!(server.requests(), 2);
    assert_eq!(server.discover(&token(), &Pins::SkipVerification).await.unwrap(), found);
}

#[tokio::test]
async fn a_wrong_pin_stops_it() {
    let (ca, other) = (Authority::new(), Authority::new());
    let server = Server::with(ca.honest_tls(), &cluster_info_of(&ca.pem, &[token()])).await;
    let error = server.discover(&token(), &other.pins()).await.unwrap_err();
    let (found, expected) = (ca_hash(&ca.pem).unwrap(), ca_hash(&other.pem).unwrap());
    assert_eq!(error, DiscoveryError::CaMismatch { found: vec![found], expected: vec![expected] });
    assert_eq!(error.to_string(), format!("verify the cluster's CA: its hash is {found}, expected was {expected}"));
    assert_eq!(server.requests(), 1, "nothing more is asked of it");
}

#[tokio::test]
async fn every_authority_of_a_bundle_must_be_pinned() {
    let (ca, smuggled) = (Authority::new(), Authority::new());
    let bundle = [ca.pem.as_str(), &smuggled.pem].concat();
    let server = Server::with(ca.honest_tls(), &cluster_info_of(&bundle, &[token()])).await;
    let error = server.discover(&token(), &ca.pins()).await.unwrap_err();
    assert!(matches!(error, DiscoveryError::CaMismatch { found, .. } if found == [ca_hash(&smuggled.pem).unwrap()]));
    let both = Pins::Required(ca_hashes(&bundle).unwrap());
    assert_eq!(server.discover(&token(), &both).await.unwrap().ca_pem, bundle);
}

#[tokio::test]
async fn an_empty_list_of_pins_is_not_a_way_around_them() {
    let error = discover("127.0.0.1:1", &token(), &Pins::Required(vec![]), soon()).await.unwrap_err();
    assert_eq!(error, DiscoveryError::NoPins);
}

#[tokio::test]
async fn wrong_unknown_and_expired_tokens_are_told_apart() {
    let ca = Authority::new();
    let mut map = cluster_info_of(&ca.pem, &[token()]);
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let (past, future) = (now - time::Duration::HOUR, now + time::Duration::HOUR);
    map["metadata"]["annotations"] = json!({
        "kboot.dev/token-expire": cluster_info::expiry_annotation("expire", past).1,
        "kboot.dev/token-future": cluster_info::expiry_annotation("future", future).1,
        "kboot.dev/token-broken": "soon",
    });
    let server = Server::with(ca.honest_tls(), &map).await;
    let error = async |text: &str| server.discover(&text.parse().unwrap(), &ca.pins()).await.unwrap_err();

    assert_eq!(error("abcdef.0123456789abcdeg").await, DiscoveryError::BadSignature { id: "abcdef".into() });
    for id in ["fedcba", "future", "broken"] {
        assert_eq!(error(&format!("{id}.0123456789abcdef")).await, DiscoveryError::TokenUnknown { id: id.into() });
    }
    let expired = error("expire.0123456789abcdef").await;
    assert_eq!(expired, DiscoveryError::TokenExpired { id: "expire".into(), at: past });
    assert_eq!(expired.to_string(), format!("use the token expire: it expired on {}", timestamp(past)));
    assert!(expired.hint().contains("kboot token create --print-join-command"));
}

fn timestamp(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap()
}

#[tokio::test]
async fn an_impostor_who_knows_no_token_can_not_swap_the_authority() {
    let (ca, evil) = (Authority::new(), Authority::new());
    // It repeats the real signature over its own content.
    let mut map = cluster_info_of(&evil.pem, &[]);
    map["data"][signature_key("abcdef")] =
        cluster_info_of(&ca.pem, &[token()])["data"][signature_key("abcdef")].clone();
    let server = Server::with(evil.honest_tls(), &map).await;
    let error = server.discover(&token(), &Pins::SkipVerification).await.unwrap_err();
    assert_eq!(error, DiscoveryError::BadSignature { id: "abcdef".into() });
}

#[tokio::test]
async fn an_impostor_who_knows_the_token_fails_at_the_pin() {
    let (ca, evil) = (Authority::new(), Authority::new());
    let server = Server::with(evil.honest_tls(), &cluster_info_of(&evil.pem, &[token()])).await;
    let error = server.discover(&token(), &ca.pins()).await.unwrap_err();
    assert!(matches!(error, DiscoveryError::CaMismatch { .. }), "{error}");
}

#[tokio::test]
async fn an_impostor_who_relays_the_real_answer_fails_at_tls() {
    let (ca, evil) = (Authority::new(), Authority::new());
    let server = Server::with(evil.honest_tls(), &cluster_info_of(&ca.pem, &[token()])).await;
    let error = server.discover(&token(), &ca.pins()).await.unwrap_err();
    let DiscoveryError::Untrusted { reason, .. } = error else { panic!("{error}") };
    assert_eq!(reason, "its certificate is not signed by the cluster's CA");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn another_answer_the_second_time_stops_it() {
    let (ca, next) = (Authority::new(), Authority::new());
    let answer = |pem: &str| (ca.honest_tls(), 200, cluster_info_of(pem, &[token()]).to_string());
    let server = Server::start(vec![answer(&ca.pem), answer(&next.pem)]).await;
    let error = server.discover(&token(), &ca.pins()).await.unwrap_err();
    assert_eq!(error, DiscoveryError::Changed { server: format!("https://{}", server.address) });
}

#[tokio::test]
async fn the_servers_certificate_must_fit_address_and_time() {
    let ca = Authority::new();
    let map = cluster_info_of(&ca.pem, &[token()]);
    let reason = async |tls| match Server::with(tls, &map).await.discover(&token(), &ca.pins()).await.unwrap_err() {
        DiscoveryError::Untrusted { reason, .. } => reason,
        other => panic!("{other}"),
    };
    let elsewhere = ca.tls("10.9.9.9", Duration::ZERO);
    assert_eq!(reason(elsewhere).await, "its certificate is not for this name or address");
    let old = ca.tls("127.0.0.1", Duration::from_secs(48 * 3600));
    assert_eq!(reason(old).await, "its certificate has expired");
}

#[tokio::test]
async fn answers_that_are_no_cluster_info_are_told_apart() {
    let ca = Authority::new();
    let error = async |status, body: &str| {
        let server = Server::start(vec![(ca.honest_tls(), status, body.into())]).await;
        server.discover(&token(), &ca.pins()).await.unwrap_err()
    };
    let forbidden = json!({"kind": "Status", "message": "configmaps \"cluster-info\" is forbidden"}).to_string();
    let found = error(403, &forbidden).await;
    assert!(matches!(&found, DiscoveryError::NoClusterInfo { reason, .. } if reason.contains("forbidden")), "{found}");
    let empty = json!({"kind": "ConfigMap", "data": {}}).to_string();
    assert!(matches!(error(200, &empty).await, DiscoveryError::NoClusterInfo { .. }));
    assert!(matches!(error(200, "<html>").await, DiscoveryError::NotKubernetes { .. }));
    assert!(matches!(error(200, "{\"kind\":\"List\"}").await, DiscoveryError::NotKubernetes { .. }));
    assert!(matches!(error(301, "").await, DiscoveryError::NotKubernetes { .. }));
    let long = format!("\"{}\"", "x".repeat(2 << 20));
    assert!(
        matches!(error(200, &long).await, DiscoveryError::NotKubernetes { reason, .. } if reason.contains("longer"))
    );
}

#[tokio::test]
async fn signed_nonsense_is_malformed() {
    let ca = Authority::new();
    for content in [
        "clusters: []",
        "clusters: [{name: '', cluster: {server: 'http://x'}}]",
        "clusters: [{name: a, cluster: {server: 'https://x'}}]",
    ] {
        let mut map = cluster_info::config_map(content);
        map["data"][signature_key("abcdef")] = cluster_info::signature(&token(), content).into();
        let server = Server::with(ca.honest_tls(), &map).await;
        let error = server.discover(&token(), &ca.pins()).await.unwrap_err();
        assert!(matches!(error, DiscoveryError::Malformed { .. }), "{error}");
    }
}

#[tokio::test]
async fn something_without_tls_is_no_kubernetes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\nand more than a TLS record's header\r\n").await;
        }
    });
    let error = discover(&address, &token(), &Pins::SkipVerification, soon()).await.unwrap_err();
    task.abort();
    assert!(matches!(error, DiscoveryError::NotKubernetes { .. }), "{error}");
}

#[tokio::test]
async fn tls_without_http_is_no_kubernetes_and_a_broken_connection_is_unreachable() {
    let tls = Authority::new().honest_tls();
    for (answer, is_broken) in
        [("220 mail.example.test ESMTP\r\n", false), ("HTTP/1.1 200 OK\r\nconte", true), ("", true)]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let tls = tls.clone();
        let task = tokio::spawn(async move {
            loop {
                let mut stream = tls.accept(listener.accept().await.unwrap().0).await.unwrap();
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        let deadline = Instant::now() + Duration::from_secs(3);
        let error = discover(&address, &token(), &Pins::SkipVerification, deadline).await.unwrap_err();
        task.abort();
        assert_eq!(matches!(error, DiscoveryError::Unreachable { .. }), is_broken, "{answer:?}: {error}");
        assert_eq!(matches!(error, DiscoveryError::NotKubernetes { .. }), !is_broken, "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_comes_late_is_waited_for() {
    let ca = Authority::new();
    let busy = (ca.honest_tls(), 503, String::new());
    let good = (ca.honest_tls(), 200, cluster_info_of(&ca.pem, &[token()]).to_string());
    let server = Server::start(vec![busy, good]).await;
    server.discover(&token(), &ca.pins()).await.unwrap();
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_silence_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let deadline = || Instant::now() + Duration::from_millis(400);
    // It takes connections into its backlog and never says anything.
    let error = discover(&address, &token(), &Pins::SkipVerification, deadline()).await.unwrap_err();
    assert_eq!(error, DiscoveryError::TimedOut { server: format!("https://{address}") });
    drop(listener);
    let begin = Instant::now();
    let error = discover(&address, &token(), &Pins::SkipVerification, deadline()).await.unwrap_err();
    assert!(matches!(&error, DiscoveryError::Unreachable { reason, .. } if reason.contains("refused")), "{error}");
    assert!(begin.elapsed() > Duration::from_millis(200), "it is tried more than once");
    assert!(error.hint().contains(&format!("curl -k https://{address}/livez")));
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_the_users_mistake() {
    let error = discover("https://x", &token(), &Pins::SkipVerification, soon()).await.unwrap_err();
    assert!(matches!(error, DiscoveryError::Endpoint(_)), "{error}");
}
