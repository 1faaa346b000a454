use time::macros::datetime;

use super::*;
use crate::inventory::EncryptionAlgorithm::EcdsaP256;
use crate::pki::{Issuer, issue, testing};

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

fn want() -> CertificateRequest {
    CertificateRequest {
        organization: Some("team".into()),
        dns_names: vec!["a.example.test".into()],
        ip_addresses: vec!["10.0.0.1".parse().unwrap()],
        ..CertificateRequest::leaf("someone", vec![Usage::Client], 8760, EcdsaP256)
    }
}

struct Made {
    ca: String,
    ca_key: Key,
    key: Key,
    pem: String,
}

fn make(request: &CertificateRequest) -> Made {
    let (ca_key, ca) = testing::authority("kubernetes", NOW);
    let key = Key::generate(EcdsaP256).unwrap();
    let pem = issue(request, &key, Some(&Issuer { cert_pem: &ca, key: &ca_key }), NOW).unwrap();
    Made { ca, ca_key, key, pem }
}

/// What is wrong with a certificate for `has` where `want()` is wanted.
fn problems(has: &CertificateRequest) -> Vec<Problem> {
    let made = make(has);
    let key = made.key.to_pem();
    check(&made.pem, Some(testing::expose(&key)), Some(&made.ca), &want(), NOW)
}

#[test]
fn what_is_wanted_passes_and_so_does_more() {
    assert_eq!(problems(&want()), []);
    let mut more = want();
    more.dns_names.push("b.example.test".into());
    more.ip_addresses.push("::1".parse().unwrap());
    more.usages.push(Usage::Server);
    assert_eq!(problems(&more), []);
}

#[test]
fn differences_are_named() {
    let has = CertificateRequest { common_name: "other".into(), ..want() };
    assert_eq!(problems(&has), [Problem::WrongCommonName { found: "other".into(), wanted: "someone".into() }]);
    let has = CertificateRequest { organization: Some("crew".into()), ..want() };
    let expected = [Problem::MissingOrganization("team".into()), Problem::ExtraOrganization("crew".into())];
    assert_eq!(problems(&has), expected);
    assert_eq!(expected.map(|problem| problem.severity()), [Severity::Error, Severity::Warning]);
    let has = CertificateRequest { dns_names: vec![], ip_addresses: vec![], ..want() };
    let expected = ["a.example.test", "10.0.0.1"].map(|san| Problem::MissingSan(san.into()));
    assert_eq!(problems(&has), expected);
    let has = CertificateRequest { usages: vec![Usage::Server], ..want() };
    assert_eq!(problems(&has), [Problem::MissingUsage(Usage::Client)]);
    let has = CertificateRequest { is_ca: true, ..want() };
    assert_eq!(problems(&has), [Problem::IsAuthority]);
}

#[test]
fn no_extended_usage_serves_every_purpose() {
    assert_eq!(problems(&CertificateRequest { usages: vec![], ..want() }), []);
}

#[test]
fn wildcards_stand_for_one_label() {
    assert_eq!(problems(&CertificateRequest { dns_names: vec!["*.example.test".into()], ..want() }), []);
    assert!(covers("A.Example.test", "a.example.TEST"));
    assert!(!covers("*.test", "a.example.test") && !covers("*.example.test", "example.test"));
    assert!(!covers("a.example.test", "*.example.test"));
}

#[test]
fn time_matters() {
    let made = make(&want());
    let at = |now| check(&made.pem, None, Some(&made.ca), &want(), now);
    let end = NOW + Duration::hours(8760);
    assert_eq!(at(NOW - Duration::minutes(6)), [Problem::NotYetValid { from: NOW - Duration::minutes(5) }]);
    assert_eq!(at(end - Duration::days(31)), []);
    assert_eq!(at(end - Duration::days(29)), [Problem::ExpiresSoon { at: end }]);
    assert_eq!(at(end + Duration::seconds(1)), [Problem::Expired { at: end }]);
    assert_eq!(Problem::ExpiresSoon { at: end }.severity(), Severity::Warning);
    assert_eq!(Problem::Expired { at: end }.severity(), Severity::Error);

    let brief = CertificateRequest { validity_hours: 8, ..want() };
    assert_eq!(problems(&brief), [], "a certificate for some hours is not about to expire from its start");
}

#[test]
fn the_key_must_belong() {
    let made = make(&want());
    let other = made.ca_key.to_pem();
    let found = check(&made.pem, Some(testing::expose(&other)), Some(&made.ca), &want(), NOW);
    assert_eq!(found, [Problem::WrongKey]);
    let found = check(&made.pem, Some("nonsense"), Some(&made.ca), &want(), NOW);
    assert_eq!(found[0].to_string(), "has a key that can't be read: there is no PEM private key in it");
}

#[test]
fn an_authority_of_the_same_name_is_not_enough() {
    let made = make(&want());
    let (_, stranger) = testing::authority("kubernetes", NOW);
    let found = check(&made.pem, None, Some(&stranger), &want(), NOW);
    assert_eq!(found, [Problem::WrongIssuer { issuer: "CN=kubernetes".into() }]);
    let bundle = [stranger, made.ca].concat();
    assert_eq!(check(&made.pem, None, Some(&bundle), &want(), NOW), []);
}

#[test]
fn a_signature_is_checked_not_only_the_name() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let made = make(&want());
    let mut der = x509::certificates(&made.pem).unwrap()[0].to_vec();
    // The last byte belongs to the signature.
    *der.last_mut().unwrap() ^= 1;
    let forged = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(&der));
    let found = check(&forged, None, Some(&made.ca), &want(), NOW);
    assert_eq!(found, [Problem::WrongIssuer { issuer: "CN=kubernetes".into() }]);
}

#[test]
fn intermediates_may_follow_the_certificate() {
    let (root_key, root) = testing::authority("root", NOW);
    let middle_key = Key::generate(EcdsaP256).unwrap();
    let request = CertificateRequest::authority("kubernetes", 8760, EcdsaP256);
    let middle = issue(&request, &middle_key, Some(&Issuer { cert_pem: &root, key: &root_key }), NOW).unwrap();
    let key = Key::generate(EcdsaP256).unwrap();
    let leaf = issue(&want(), &key, Some(&Issuer { cert_pem: &middle, key: &middle_key }), NOW).unwrap();
    let chain = [leaf.as_str(), middle.as_str()].concat();
    assert_eq!(check(&chain, None, Some(&root), &want(), NOW), []);
    assert_eq!(check(&leaf, None, Some(&middle), &want(), NOW), []);
    let found = check(&leaf, None, Some(&root), &want(), NOW);
    assert_eq!(found, [Problem::WrongIssuer { issuer: "CN=kubernetes".into() }]);
    // What may not sign must not be a link in the chain.
    let forged = issue(&want(), &key, None, NOW);
    assert!(forged.is_err());
}

#[test]
fn authorities_are_told_from_others() {
    let (_, ca) = testing::authority("kubernetes", NOW);
    let ca_request = CertificateRequest::authority("kubernetes", 87_600, EcdsaP256);
    assert_eq!(check(&ca, None, Some(&ca), &ca_request, NOW), []);
    let made = make(&CertificateRequest { common_name: "kubernetes".into(), organization: None, ..want() });
    assert_eq!(check(&made.pem, None, None, &ca_request, NOW), [Problem::NotAuthority]);
}

#[test]
fn nonsense_is_a_problem_and_not_a_panic() {
    let found = check("nonsense", None, None, &want(), NOW);
    assert_eq!(found[0].to_string(), "can't be read: there is no PEM certificate in it");
    assert_eq!(found[0].severity(), Severity::Error);
    let made = make(&want());
    let found = check(&made.pem, None, Some("nonsense"), &want(), NOW);
    assert!(matches!(found[..], [Problem::Unreadable(_)]));
}
