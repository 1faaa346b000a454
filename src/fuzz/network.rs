//! What is asked over the network: a cluster's discovery, a registry, an etcd.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use crate::bootstrap::cluster_info::{config_map, is_signed, signature, signature_key, verify};
use crate::bootstrap::discovery::{self, believe};
use crate::bootstrap::{CertificateKey, Pins, Token, certificates, token_secret};
use crate::{etcd, resource};

/// A cluster-info (JSON), or the kubeconfig in one. Only what the token signed is believed, and only with the pinned authority.
pub fn cluster_info(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let token: Token = "abcdef.0123456789abcdef".parse().expect("a token");
    let pins =
        Pins::Required(vec![crate::pki::ca_hash(include_str!("../pki/testdata/kubeadm-ca.crt")).expect("a pin")]);
    // Whoever has no token can't sign.
    assert_eq!(verify(&token, "content", text), text == signature(&token, "content"));
    if let Ok(map) = serde_json::from_str::<Value>(text) {
        let found = believe(&map, "https://10.0.0.1:6443", &token, &pins);
        assert!(found.is_err() || is_signed(&map, &token));
        secrets(&map);
    }
    // Signed as it is, so that the fuzzer comes past the signature.
    let mut map = config_map(text);
    map["data"][signature_key(token.id())] = signature(&token, text).into();
    assert!(is_signed(&map, &token));
    if let Ok((_, found)) = believe(&map, "https://10.0.0.1:6443", &token, &pins) {
        assert!(found.server.starts_with("https://"));
    }
    if let Ok(found) = discovery::parse(text) {
        assert!(!found.ca_pem.is_empty() && found.server.starts_with("https://"));
    }
    if let Ok(token) = text.parse::<Token>() {
        assert_eq!(token.expose().expose_secret(), text);
    }
}

/// Secrets of the cluster that are read before the cluster is known.
fn secrets(object: &Value) {
    if let Ok(listed) = token_secret::from_secret(object) {
        let again = token_secret::from_secret(&token_secret::secret_object(&listed.token, &listed.grant));
        assert_eq!(again.map(|again| again.token.id().to_owned()).ok().as_deref(), Some(listed.token.id()));
    }
    let key: CertificateKey = "00".repeat(32).parse().expect("a key");
    let _ = certificates::read(object, &key, &["ca.crt", "ca.key"]);
}

/// A registry's refusal: its address, its challenge and when to come again are a line each, and what follows grants a token.
pub fn registry(data: &[u8]) {
    resource::fuzzed::registry(data);
}

/// A member's list as JSON, or an answer as protobuf.
pub fn etcd(data: &[u8]) {
    etcd::fuzzed::answer(data);
    // As a grpc answer that a peer sent in text.
    if let Ok(bytes) = STANDARD.decode(data.trim_ascii()) {
        etcd::fuzzed::answer(&bytes);
    }
}
