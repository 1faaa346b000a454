//! The ConfigMap `kube-public/cluster-info`: what a node may read before it trusts anything, and the signature by which it
//! learns to trust it (a detached JWS, RFC 7515 appendix F, HS256 with the token's secret).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use time::OffsetDateTime;

use super::token::Token;
use super::token_secret::timestamp;

pub const NAME: &str = "cluster-info";
pub const NAMESPACE: &str = "kube-public";
/// The key of the kubeconfig that is signed.
pub const KUBECONFIG_KEY: &str = "kubeconfig";

const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";
const EXPIRY_PREFIX: &str = "kboot.dev/token-";

/// The key under which the controller manager puts the signature by a token.
pub fn signature_key(token_id: &str) -> String {
    format!("{SIGNATURE_PREFIX}{token_id}")
}

/// The annotation, as key and value, by which kboot remembers when a token expires: the signature goes away with the
/// token, and "expired yesterday" helps more than "unknown". Nothing relies on it.
pub fn expiry_annotation(token_id: &str, expires: OffsetDateTime) -> (String, String) {
    (expiry_key(token_id), timestamp(expires))
}

pub(super) fn expiry_key(token_id: &str) -> String {
    format!("{EXPIRY_PREFIX}{token_id}")
}

/// The kubeconfig in cluster-info: a server and its authority, no names and no user, byte for byte as kubeadm has it.
pub fn kubeconfig(server: &str, ca_pem: &str) -> String {
    format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {}\n    server: {server}\n  name: \"\"\n\
         contexts: null\ncurrent-context: \"\"\nkind: Config\nusers: null\n",
        STANDARD.encode(ca_pem)
    )
}

/// The ConfigMap as it is first made; the controller manager adds the signatures.
pub fn config_map(kubeconfig: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "data": {KUBECONFIG_KEY: kubeconfig},
    })
}

/// Whether a cluster-info ConfigMap carries a signature by the token, and the right one: only then can nodes join with it.
pub fn is_signed(config_map: &Value, token: &Token) -> bool {
    let data = &config_map["data"];
    match (data[KUBECONFIG_KEY].as_str(), data[signature_key(token.id())].as_str()) {
        (Some(content), Some(jws)) => verify(token, content, jws),
        _ => false,
    }
}

/// The detached JWS of `content`, as the controller manager's bootstrap signer makes it.
pub fn signature(token: &Token, content: &str) -> String {
    let header = header(token);
    let tag = mac(token, &header, content).finalize().into_bytes();
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Whether `jws` is the token's signature of `content`. The comparison takes constant time.
pub fn verify(token: &Token, content: &str, jws: &str) -> bool {
    let Some((signed_header, tag)) = jws.split_once("..") else { return false };
    let header = header(token);
    // The header names the algorithm. None but ours will do, so it is compared rather than obeyed.
    if signed_header != header {
        return false;
    }
    let Ok(tag) = URL_SAFE_NO_PAD.decode(tag) else { return false };
    mac(token, &header, content).verify_slice(&tag).is_ok()
}

fn header(token: &Token) -> String {
    // An id has neither quotes nor backslashes, so this is JSON, in the order in which go-jose writes it.
    URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{}"}}"#, token.id()))
}

fn mac(token: &Token, header: &str, content: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.secret().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(header.as_bytes());
    mac.update(b".");
    mac.update(URL_SAFE_NO_PAD.encode(content).as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const CONTENT: &str = "apiVersion: v1\nkind: Config\n";
    /// By k8s.io/cluster-bootstrap v0.37.2: `ComputeDetachedSignature(CONTENT, "abcdef", "0123456789abcdef")`.
    const UPSTREAM: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..vH_kT4yiol-nrAWgjfCYqvum5wsKETXe0S7OOp1VgnE";

    fn token() -> Token {
        "abcdef.0123456789abcdef".parse().unwrap()
    }

    #[test]
    fn signs_as_the_controller_manager_does() {
        assert_eq!(signature(&token(), CONTENT), UPSTREAM);
        assert!(verify(&token(), CONTENT, UPSTREAM));
    }

    #[test]
    fn anything_else_is_refused() {
        let wrong_secret: Token = "abcdef.0123456789abcdeg".parse().unwrap();
        let other_id: Token = "fedcba.0123456789abcdef".parse().unwrap();
        assert!(!verify(&wrong_secret, CONTENT, UPSTREAM));
        assert!(!verify(&other_id, CONTENT, UPSTREAM));
        assert!(!verify(&token(), "something else", UPSTREAM));
        let (header, tag) = UPSTREAM.split_once("..").unwrap();
        for wrong in ["", "..", "a.b.c", tag, &format!("{header}.."), &format!("{header}..{}", &tag[..tag.len() - 2])] {
            assert!(!verify(&token(), CONTENT, wrong), "{wrong}");
        }
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"abcdef"}"#);
        assert!(!verify(&token(), CONTENT, &format!("{none}..")));
        assert!(!verify(&token(), CONTENT, &format!("{none}..{tag}")));
    }

    #[test]
    fn the_config_map_is_signed_once_its_signature_is_there() {
        let mut map = config_map(CONTENT);
        assert!(!is_signed(&map, &token()));
        map["data"][signature_key("abcdef")] = UPSTREAM.into();
        assert!(is_signed(&map, &token()));
        map["data"][KUBECONFIG_KEY] = "changed".into();
        assert!(!is_signed(&map, &token()));
    }

    #[test]
    fn the_kubeconfig_is_client_gos() {
        assert_eq!(kubeconfig("https://10.0.0.1:6443", "CA\n"), include_str!("testdata/cluster-info.yaml"));
    }

    #[test]
    fn expiry_is_noted_in_utc() {
        let (key, value) = expiry_annotation("abcdef", datetime!(2026-11-22 13:00 +1));
        assert_eq!((key.as_str(), value.as_str()), ("kboot.dev/token-abcdef", "2026-11-22T12:00:00Z"));
    }
}
