//! Keys and certificates, in every form in which they come.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use time::OffsetDateTime;
use time::macros::datetime;

use crate::fleet::known_hosts::{KnownHosts, Verdict};
use crate::inventory::EncryptionAlgorithm;
use crate::openpgp;
use crate::pki::{self, CertificateRequest, Issuer, Key};

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

/// A key that is on record is the host's, unless it is revoked.
pub fn known_hosts(data: &[u8]) {
    let known = KnownHosts::of("known_hosts".into(), data);
    for (host, port) in [("n1.lab", 22), ("10.77.0.11", 22), ("n2.lab", 2222), ("fe80::1", 22)] {
        let Ok(record) = known.record(host, port) else { continue };
        assert_eq!(record.algorithms().is_empty(), record.trusted().is_empty());
        for entry in record.trusted() {
            assert!((1..=data.len()).contains(&entry.line));
            assert!(matches!(record.check(&entry.key), Verdict::Match | Verdict::Revoked { .. }), "{entry:?}");
        }
    }
}

/// The keys that were asked for, those alone and as they are, are what is left of a file.
pub fn openpgp(data: &[u8]) {
    let Ok(keys) = openpgp::keys(data) else { return };
    assert!(!keys.is_empty());
    let fingerprints = openpgp::fingerprints(data).expect("the keys were read");
    for fingerprint in &fingerprints {
        assert_eq!(fingerprint.to_string().parse(), Ok(*fingerprint));
    }
    keys.iter().filter_map(|key| key.expires).for_each(|at| drop(openpgp::day(at)));
    let all = openpgp::select(data, &fingerprints).expect("the keys were read");
    assert_eq!(openpgp::keys(&all).as_ref(), Ok(&keys));
    let first = openpgp::select(data, &fingerprints[..1]).expect("the keys were read");
    let first = openpgp::fingerprints(&first).expect("the key was read");
    assert!(first.iter().all(|found| found == &fingerprints[0]));
    assert_eq!(openpgp::select(data, &[]), Ok(Vec::new()));
}

/// Certificates and private keys as they are inside of their PEM blocks.
pub fn der(data: &[u8]) {
    certificates(&block("CERTIFICATE", data));
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
        key(&block(label, data));
    }
}

pub fn pem(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    certificates(text);
    key(text);
    let problems = pki::check(text, Some(text), Some(text), &request(), NOW);
    problems.iter().for_each(|problem| drop((problem.to_string(), problem.severity())));
}

fn block(label: &str, data: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(data))
}

fn request() -> CertificateRequest {
    CertificateRequest::authority("kubernetes", 87_600, EncryptionAlgorithm::EcdsaP256)
}

/// What has a pin is described, and whoever may be an authority signs without a panic.
fn certificates(text: &str) {
    let described = pki::describe(text);
    assert!(described.is_ok() || pki::ca_hash(text).is_err());
    if let Ok(hashes) = pki::ca_hashes(text) {
        assert!(hashes.iter().all(|hash| hash.to_string().parse() == Ok(*hash)));
    }
    let problems = pki::check(text, None, Some(text), &request(), NOW);
    problems.iter().for_each(|problem| drop(problem.to_string()));
    if let Ok(key) = Key::from_pem(include_str!("../pki/testdata/kubeadm-ca.key")) {
        let _ = pki::issue(&request(), &key, Some(&Issuer { cert_pem: text, key: &key }), NOW);
    }
}

/// A key that was read is the same once it is written.
fn key(text: &str) {
    let Ok(key) = Key::from_pem(text) else { return };
    let again = Key::from_pem(key.to_pem().expose_secret()).expect("a key of its own");
    assert_eq!(again.public_key_pem(), key.public_key_pem());
}
