//! Signing certificates as kubeadm does.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::{CertificateRequest, Key, PkiError, Usage, x509};

/// kubeadm's `CertificateBackdate`: hosts' clocks may be this far behind.
const BACKDATE: Duration = Duration::minutes(5);
/// RFC 5280 allows 20; 16 random ones can't collide.
const SERIAL_BYTES: usize = 16;

/// A certificate authority that signs.
#[derive(Debug, Clone, Copy)]
pub struct Issuer<'a> {
    /// The authority's certificate, as PEM.
    pub cert_pem: &'a str,
    pub key: &'a Key,
}

/// Signs the certificate for `key` and returns it as PEM. Without an issuer it signs itself, which only a certificate
/// authority may.
///
/// The validity begins five minutes before `now`, but never before the issuer's own.
pub fn issue(
    request: &CertificateRequest,
    key: &Key,
    issuer: Option<&Issuer<'_>>,
    now: OffsetDateTime,
) -> Result<String, PkiError> {
    let fail = |reason: String| PkiError::Issue { name: request.common_name.clone(), reason };
    let mut params = params(request, now).map_err(fail)?;
    let Some(issuer) = issuer else {
        if !request.is_ca {
            return Err(fail("only a certificate authority signs itself".into()));
        }
        return Ok(params.self_signed(key.pair()).map_err(|error| fail(error.to_string()))?.pem());
    };

    let authorities = x509::certificates(issuer.cert_pem)?;
    let authority = x509::parse(&authorities[0])?;
    if !x509::may_sign(&authority) {
        return Err(fail(format!("{} is not a certificate authority", authority.subject())));
    }
    if authority.public_key().subject_public_key.data != issuer.key.public_key_bits() {
        return Err(fail(format!("the key of {} does not belong to its certificate", authority.subject())));
    }
    if authority.validity().not_after.to_datetime() <= now {
        return Err(fail(format!("{} expired on {}", authority.subject(), authority.validity().not_after)));
    }
    params.not_before = params.not_before.max(authority.validity().not_before.to_datetime());
    params.use_authority_key_identifier_extension = true;
    let signer = rcgen::Issuer::from_ca_cert_der(&authorities[0], issuer.key.pair())
        .map_err(|error| fail(format!("the subject of {} is not supported: {error}", authority.subject())))?;
    let certificate = params.signed_by(key.pair(), &signer).map_err(|error| fail(error.to_string()))?;

    // The signer encodes the authority's name anew, and a name that it can't repeat to the byte would break the chain.
    let issued = x509::parse(certificate.der())?;
    if !x509::is_signed_by(&issued, &authority).unwrap_or(false) {
        return Err(fail(format!(
            "the subject {:?} of its authority is not supported",
            authority.subject().to_string()
        )));
    }
    Ok(certificate.pem())
}

fn params(request: &CertificateRequest, now: OffsetDateTime) -> Result<CertificateParams, String> {
    if request.common_name.is_empty() {
        return Err("it has no common name".into());
    }
    let mut params = CertificateParams::default();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    params.not_before = now - BACKDATE;
    params.not_after = now
        .checked_add(Duration::hours(request.validity_hours.into()))
        .ok_or_else(|| format!("{} hours from now is after the year 9999", request.validity_hours))?;
    params.serial_number = Some(serial());

    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(organization) = &request.organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, &request.common_name);

    for name in &request.dns_names {
        let name = name.as_str().try_into().map_err(|_| format!("{name:?} is not a DNS name"))?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params.subject_alt_names.extend(request.ip_addresses.iter().map(|address| SanType::IpAddress(*address)));

    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    if request.is_ca {
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    }
    params.is_ca = match request.is_ca {
        true => IsCa::Ca(BasicConstraints::Unconstrained),
        false => IsCa::ExplicitNoCa,
    };
    params.extended_key_usages = request
        .usages
        .iter()
        .map(|usage| match usage {
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
        })
        .collect();
    Ok(params)
}

/// Random, positive and never zero.
fn serial() -> SerialNumber {
    let mut bytes: [u8; SERIAL_BYTES] = rand::random();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::inventory::EncryptionAlgorithm::{EcdsaP256, Rsa2048};
    use crate::pki::{check, describe, testing};

    const NOW: OffsetDateTime = datetime!(2026-11-22 12:00:00 UTC);

    fn server() -> CertificateRequest {
        CertificateRequest {
            dns_names: vec!["kubernetes".into()],
            ip_addresses: vec!["10.96.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            ..CertificateRequest::leaf("kube-apiserver", vec![Usage::Server], 8760, EcdsaP256)
        }
    }

    #[test]
    fn an_authority_is_what_client_go_makes() {
        let (_, pem) = testing::authority("kubernetes", NOW);
        let certificates = x509::certificates(&pem).unwrap();
        let ca = x509::parse(&certificates[0]).unwrap();
        let usage = ca.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign());
        assert!(usage.value.digital_signature() && usage.value.key_encipherment() && !usage.value.crl_sign());
        let constraints = ca.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca && constraints.value.path_len_constraint.is_none());
        assert!(ca.extended_key_usage().unwrap().is_none());
        ca.verify_signature(None).unwrap();
        let shown = describe(&pem).unwrap();
        assert_eq!(shown.sans, ["kubernetes"]);
        assert_eq!(shown.not_before, NOW - Duration::minutes(5));
        assert_eq!(shown.not_after, NOW + Duration::hours(87_600));
    }

    #[test]
    fn a_leaf_is_what_kubeadm_makes() {
        let (ca_key, ca) = testing::authority("kubernetes", NOW);
        let key = Key::generate(EcdsaP256).unwrap();
        let pem = issue(&server(), &key, Some(&Issuer { cert_pem: &ca, key: &ca_key }), NOW).unwrap();
        let certificates = x509::certificates(&pem).unwrap();
        let leaf = x509::parse(&certificates[0]).unwrap();
        let usage = leaf.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.digital_signature() && usage.value.key_encipherment());
        assert!(!usage.value.key_cert_sign() && !leaf.is_ca());
        assert!(leaf.basic_constraints().unwrap().unwrap().critical);
        let extended = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && !extended.client_auth && !extended.any);
        assert_eq!(describe(&pem).unwrap().sans, ["kubernetes", "10.96.0.1", "fd00::1"]);
        assert_eq!(check(&pem, Some(key.to_pem()).as_ref().map(testing::expose), Some(&ca), &server(), NOW), []);
    }

    #[test]
    fn a_leaf_does_not_begin_before_its_authority() {
        let (ca_key, ca) = testing::authority("kubernetes", NOW);
        let issuer = Issuer { cert_pem: &ca, key: &ca_key };
        let begin = |now| describe(&issue(&server(), &ca_key, Some(&issuer), now).unwrap()).unwrap().not_before;
        assert_eq!(begin(NOW - Duration::minutes(3)), NOW - Duration::minutes(5));
        assert_eq!(begin(NOW + Duration::days(3)), NOW + Duration::days(3) - Duration::minutes(5));
    }

    #[test]
    fn serials_differ() {
        let (_, a) = testing::authority("kubernetes", NOW);
        let (_, b) = testing::authority("kubernetes", NOW);
        assert_ne!(describe(&a).unwrap().serial, describe(&b).unwrap().serial);
    }

    #[test]
    fn rsa_and_ecdsa_mix() {
        let rsa = Key::from_pem(testing::KEYS[0].0).unwrap();
        let ca_request = CertificateRequest::authority("kubernetes", 24, Rsa2048);
        let ca = issue(&ca_request, &rsa, None, NOW).unwrap();
        let key = Key::generate(EcdsaP256).unwrap();
        let leaf = issue(&server(), &key, Some(&Issuer { cert_pem: &ca, key: &rsa }), NOW).unwrap();
        assert_eq!(check(&leaf, None, Some(&ca), &server(), NOW), []);
        assert_eq!(describe(&leaf).unwrap().algorithm, "ECDSA P-256");
        assert_eq!(describe(&ca).unwrap().algorithm, "RSA 2048");
    }

    #[test]
    fn signs_with_an_authority_that_kubeadm_made() {
        let key = Key::from_pem(testing::KUBEADM_CA_KEY).unwrap();
        let issuer = Issuer { cert_pem: testing::KUBEADM_CA, key: &key };
        let later = NOW + Duration::days(1);
        let pem = issue(&server(), &Key::generate(EcdsaP256).unwrap(), Some(&issuer), later).unwrap();
        assert_eq!(check(&pem, None, Some(testing::KUBEADM_CA), &server(), later), []);
    }

    #[test]
    fn refuses_what_would_not_work() {
        let (ca_key, ca) = testing::authority("kubernetes", NOW);
        let other = Key::generate(EcdsaP256).unwrap();
        let fail = |request: &CertificateRequest, issuer: Option<&Issuer<'_>>, now| {
            issue(request, &other, issuer, now).unwrap_err().to_string()
        };
        let good = Issuer { cert_pem: &ca, key: &ca_key };
        assert!(fail(&server(), None, NOW).ends_with("only a certificate authority signs itself"));
        let swapped = Issuer { cert_pem: &ca, key: &other };
        assert!(fail(&server(), Some(&swapped), NOW).contains("does not belong to its certificate"));
        assert!(fail(&server(), Some(&good), NOW + Duration::days(3651)).contains("CN=kubernetes expired on"));
        let leaf = issue(&server(), &other, Some(&good), NOW).unwrap();
        let not_ca = Issuer { cert_pem: &leaf, key: &other };
        assert!(fail(&server(), Some(&not_ca), NOW).contains("CN=kube-apiserver is not a certificate authority"));
        let endless = CertificateRequest { validity_hours: u32::MAX, ..server() };
        assert!(fail(&endless, Some(&good), NOW).contains("year 9999"));
        let unnamed = CertificateRequest { common_name: String::new(), ..server() };
        assert!(fail(&unnamed, Some(&good), NOW).contains("no common name"));
    }
}
