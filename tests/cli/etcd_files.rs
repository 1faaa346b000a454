//! The files that an etcd of one's own is asked with: what is wrong with them is told before any host is asked.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use time::OffsetDateTime;
use time::macros::datetime;

use super::sandbox::{Sandbox, check};

const FIRST: OffsetDateTime = datetime!(2019-01-02 0:00 UTC);
const PAST: OffsetDateTime = datetime!(2020-01-02 0:00 UTC);
const FUTURE: OffsetDateTime = datetime!(2400-01-02 0:00 UTC);

/// A CA and what it signs: a client's certificate, an expired one, one that is for servers alone.
fn files(sandbox: &Sandbox) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "etcd-ca");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    sandbox.file("ca.crt", authority.pem());
    for (name, usage, expires) in [
        ("client", ExtendedKeyUsagePurpose::ClientAuth, FUTURE),
        ("expired", ExtendedKeyUsagePurpose::ClientAuth, PAST),
        ("server", ExtendedKeyUsagePurpose::ServerAuth, FUTURE),
        ("soon", ExtendedKeyUsagePurpose::ClientAuth, OffsetDateTime::now_utc() + Duration::from_secs(24 * 3600)),
    ] {
        let mut params = CertificateParams::new(vec![name.to_string()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (FIRST, expires);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        sandbox.file(&format!("{name}.crt"), params.signed_by(&key, &authority).unwrap().pem());
        sandbox.file(&format!("{name}.key"), key.serialize_pem()).mode(&format!("{name}.key"), 0o600);
    }
}

fn inventory(sandbox: &Sandbox, ca: &str, certificate: &str, key: &str) {
    let etcd = format!(
        "etcd: {{external: {{endpoints: [\"https://192.0.2.21:2379\"], caFile: {ca}, certFile: {certificate}, keyFile: {key}}}}}\n"
    );
    sandbox.file("inventory.yaml", sandbox.inventory(22, &etcd));
}

#[test]
fn certificates_that_etcd_would_not_take() {
    let sandbox = Sandbox::with_inventory();
    files(&sandbox);
    for (name, ca, certificate, key) in [
        ("etcd-expired", "ca.crt", "expired.crt", "expired.key"),
        ("etcd-another-key", "ca.crt", "client.crt", "server.key"),
        ("etcd-server", "ca.crt", "server.crt", "server.key"),
        ("etcd-no-authority", "client.crt", "client.crt", "client.key"),
    ] {
        inventory(&sandbox, ca, certificate, key);
        let told = sandbox.refused(&["config", "validate"]);
        check(&sandbox, name, &told);
        assert_eq!(sandbox.refused(&["up"]).stderr, told.stderr);
    }
}

#[test]
fn good_ones_are_taken_and_the_end_of_one_is_told() {
    let sandbox = Sandbox::with_inventory();
    files(&sandbox);
    inventory(&sandbox, "ca.crt", "client.crt", "client.key");
    let told = sandbox.untouched(0, &["config", "validate"]);
    assert_eq!(told.stderr, "", "{told}");
    inventory(&sandbox, "ca.crt", "soon.crt", "soon.key");
    let told = sandbox.untouched(0, &["config", "validate"]);
    assert!(told.stderr.starts_with("warning: etcd.external.certFile: the certificate in "), "{told}");
    assert!(told.stderr.contains(" expires on "), "{told}");
}
