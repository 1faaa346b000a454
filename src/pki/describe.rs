//! A certificate in words, for plans and errors.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use time::OffsetDateTime;
use time::macros::format_description;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::public_key::PublicKey;

use super::{PkiError, Usage, x509};

/// What a certificate says. Its display form is one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// As `CN=kube-apiserver`.
    pub subject: String,
    pub common_name: String,
    pub organizations: Vec<String>,
    pub issuer: String,
    /// DNS names, then IP addresses.
    pub sans: Vec<String>,
    pub usages: Vec<Usage>,
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
    pub is_ca: bool,
    /// In hexadecimal.
    pub serial: String,
    /// Of the key, as `ECDSA P-256` or `RSA 2048`.
    pub algorithm: String,
}

/// Describes the first certificate of a PEM file.
pub fn describe(pem: &str) -> Result<Description, PkiError> {
    let certificates = x509::certificates(pem)?;
    Ok(of(&x509::parse(&certificates[0])?))
}

pub(super) fn of(certificate: &X509Certificate<'_>) -> Description {
    let (dns_names, addresses) = sans(certificate);
    let usage = certificate.extended_key_usage().ok().flatten().map(|extension| extension.value);
    let usages = [
        (Usage::Server, usage.is_some_and(|usage| usage.server_auth)),
        (Usage::Client, usage.is_some_and(|usage| usage.client_auth)),
    ];
    Description {
        subject: certificate.subject().to_string(),
        common_name: certificate
            .subject()
            .iter_common_name()
            .filter_map(|name| name.as_str().ok())
            .last()
            .unwrap_or_default()
            .to_owned(),
        organizations: certificate
            .subject()
            .iter_organization()
            .filter_map(|name| name.as_str().ok())
            .map(String::from)
            .collect(),
        issuer: certificate.issuer().to_string(),
        sans: dns_names.into_iter().chain(addresses.iter().map(IpAddr::to_string)).collect(),
        usages: usages.into_iter().filter(|(_, set)| *set).map(|(usage, _)| usage).collect(),
        not_before: certificate.validity().not_before.to_datetime(),
        not_after: certificate.validity().not_after.to_datetime(),
        is_ca: certificate.is_ca(),
        serial: certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
        algorithm: algorithm(certificate),
    }
}

/// The subject's alternative names that Kubernetes uses.
pub(super) fn sans(certificate: &X509Certificate<'_>) -> (Vec<String>, Vec<IpAddr>) {
    let (mut names, mut addresses) = (Vec::new(), Vec::new());
    let extension = certificate.subject_alternative_name().ok().flatten();
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
                let v6 = || <[u8; 16]>::try_from(*bytes).map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
                addresses.extend(v4.or_else(|_| v6()).ok());
            }
            _ => {}
        }
    }
    (names, addresses)
}

fn algorithm(certificate: &X509Certificate<'_>) -> String {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("ECDSA P-{}", point.key_size()),
        _ => format!("algorithm {}", certificate.public_key().algorithm.algorithm),
    }
}

/// The day, which is as precise as a plan needs it.
pub(super) fn day(time: OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day]")).unwrap_or_else(|_| time.to_string())
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.subject, self.algorithm)?;
        match (self.is_ca, self.issuer == self.subject) {
            (true, true) => write!(f, ", certificate authority")?,
            (true, false) => write!(f, ", certificate authority under {}", self.issuer)?,
            (false, _) => write!(f, ", signed by {}", self.issuer)?,
        }
        if !self.usages.is_empty() {
            let usages: Vec<_> = self.usages.iter().map(Usage::to_string).collect();
            write!(f, ", for {}", usages.join(" and "))?;
        }
        if !self.sans.is_empty() && !self.is_ca {
            write!(f, ", as {}", self.sans.join(" "))?;
        }
        write!(f, ", valid from {} to {}", day(self.not_before), day(self.not_after))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::pki::testing;

    #[test]
    fn kubeadms_certificates_read_well() {
        assert_eq!(
            describe(testing::KUBEADM_CA).unwrap().to_string(),
            "CN=kubernetes, ECDSA P-256, certificate authority, valid from 2026-11-22 to 2036-11-19"
        );
        assert_eq!(
            describe(testing::KUBEADM_RSA_APISERVER).unwrap().to_string(),
            "CN=kube-apiserver, RSA 2048, signed by CN=kubernetes, for server, as cp.example.test extra.example.test \
             kubernetes kubernetes.default kubernetes.default.svc kubernetes.default.svc.cluster.local n1 10.96.0.1 \
             10.77.0.11 203.0.113.9, valid from 2026-11-22 to 2027-11-22"
        );
    }

    #[test]
    fn fields_are_as_openssl_shows_them() {
        let shown = describe(testing::KUBEADM_CA).unwrap();
        assert_eq!(shown.serial, "1bdc48b02a4e49c7");
        assert_eq!(shown.not_before, datetime!(2026-11-22 17:30:46 UTC));
        assert_eq!(shown.not_after, datetime!(2036-11-19 17:35:46 UTC));
        assert_eq!((shown.common_name.as_str(), shown.organizations.len()), ("kubernetes", 0));
    }

    #[test]
    fn nonsense_is_an_error() {
        assert_eq!(describe("").unwrap_err().to_string(), "read the certificate: there is no PEM certificate in it");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(describe(broken).unwrap_err().to_string().starts_with("read the certificate: it is malformed"));
    }
}
