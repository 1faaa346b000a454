//! Whether a certificate that is there already serves its purpose.

use std::fmt;
use std::net::IpAddr;

use time::{Duration, OffsetDateTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;

use super::describe::{day, sans};
use super::{CertificateRequest, Key, PkiError, Usage, describe, x509};

/// Longest chain from a certificate up to its authority: leaf, two intermediates, root.
const MAX_DEPTH: usize = 4;

/// Something about a certificate that is not as wanted. The display form reads well after "the certificate ".
#[derive(Debug, Clone, PartialEq)]
pub enum Problem {
    Unreadable(PkiError),
    NotYetValid { from: OffsetDateTime },
    Expired { at: OffsetDateTime },
    ExpiresSoon { at: OffsetDateTime },
    UnreadableKey(PkiError),
    WrongKey,
    WrongIssuer { issuer: String },
    UncheckedSignature { algorithm: String },
    WrongCommonName { found: String, wanted: String },
    MissingOrganization(String),
    ExtraOrganization(String),
    MissingSan(String),
    MissingUsage(Usage),
    NotAuthority,
    IsAuthority,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, but someone should know.
    Warning,
    /// It does not work.
    Error,
}

/// Compares the first certificate of `cert_pem` with what is wanted. No problem means that it serves: another algorithm,
/// another validity and more names than wanted are fine.
///
/// `issuer_cert_pem` may be a bundle: any of its certificates may be the authority. Intermediate authorities may follow
/// the certificate in `cert_pem`.
pub fn check(
    cert_pem: &str,
    key_pem: Option<&str>,
    issuer_cert_pem: Option<&str>,
    want: &CertificateRequest,
    now: OffsetDateTime,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    match key_pem.map(Key::from_pem) {
        Some(Err(error)) => problems.push(Problem::UnreadableKey(error)),
        key => match check_readable(cert_pem, key.and_then(Result::ok), issuer_cert_pem, want, now) {
            Ok(found) => problems.extend(found),
            Err(error) => problems.push(Problem::Unreadable(error)),
        },
    }
    problems
}

fn check_readable(
    cert_pem: &str,
    key: Option<Key>,
    issuer_cert_pem: Option<&str>,
    want: &CertificateRequest,
    now: OffsetDateTime,
) -> Result<Vec<Problem>, PkiError> {
    let chain = x509::certificates(cert_pem)?;
    let chain = chain.iter().map(x509::parse).collect::<Result<Vec<_>, _>>()?;
    let (certificate, intermediates) = (&chain[0], &chain[1..]);

    let mut problems: Vec<_> = validity(certificate, now).into_iter().collect();
    if key.is_some_and(|key| certificate.public_key().subject_public_key.data != key.public_key_bits()) {
        problems.push(Problem::WrongKey);
    }
    if let Some(issuer_cert_pem) = issuer_cert_pem {
        let roots = x509::certificates(issuer_cert_pem)?;
        let roots = roots.iter().map(x509::parse).collect::<Result<Vec<_>, _>>()?;
        problems.extend(trust(certificate, intermediates, &roots, MAX_DEPTH));
    }
    problems.extend(identity(certificate, want));
    Ok(problems)
}

fn validity(certificate: &X509Certificate<'_>, now: OffsetDateTime) -> Option<Problem> {
    let from = certificate.validity().not_before.to_datetime();
    let at = certificate.validity().not_after.to_datetime();
    if now < from {
        return Some(Problem::NotYetValid { from });
    }
    if now > at {
        return Some(Problem::Expired { at });
    }
    // A certificate for a few hours is not about to expire all its life.
    let margin = Duration::days(30).min((at - from) / 4);
    (at - now < margin).then_some(Problem::ExpiresSoon { at })
}

fn trust(
    certificate: &X509Certificate<'_>,
    intermediates: &[X509Certificate<'_>],
    roots: &[X509Certificate<'_>],
    depth: usize,
) -> Option<Problem> {
    let wrong = || Problem::WrongIssuer { issuer: certificate.issuer().to_string() };
    if roots.iter().any(|root| root.as_raw() == certificate.as_raw()) {
        return None;
    }
    let mut problem = wrong();
    for (parent, is_root) in roots.iter().map(|root| (root, true)).chain(intermediates.iter().map(|it| (it, false))) {
        match x509::is_signed_by(certificate, parent) {
            Ok(true) if !x509::may_sign(parent) => {}
            Ok(true) if is_root => return None,
            Ok(true) if depth > 1 => match trust(parent, intermediates, roots, depth - 1) {
                None => return None,
                Some(further) => problem = further,
            },
            Err(X509Error::SignatureUnsupportedAlgorithm) => {
                let algorithm = certificate.signature_algorithm.algorithm.to_string();
                problem = Problem::UncheckedSignature { algorithm };
            }
            _ => {}
        }
    }
    Some(problem)
}

fn identity(certificate: &X509Certificate<'_>, want: &CertificateRequest) -> Vec<Problem> {
    let found = describe::of(certificate);
    let mut problems = Vec::new();
    if found.common_name != want.common_name {
        let wanted = want.common_name.clone();
        problems.push(Problem::WrongCommonName { found: found.common_name, wanted });
    }
    let missing = want.organization.iter().filter(|name| !found.organizations.contains(name));
    problems.extend(missing.cloned().map(Problem::MissingOrganization));
    let extra = found.organizations.iter().filter(|name| want.organization.as_ref() != Some(name));
    problems.extend(extra.cloned().map(Problem::ExtraOrganization));

    match (want.is_ca, x509::may_sign(certificate)) {
        (true, false) => problems.push(Problem::NotAuthority),
        (false, true) => problems.push(Problem::IsAuthority),
        _ => {}
    }
    if want.is_ca {
        // Nobody reaches an authority by name, so its names don't matter.
        return problems;
    }
    let (names, addresses) = sans(certificate);
    let missing = want.dns_names.iter().filter(|wanted| !names.iter().any(|name| covers(name, wanted)));
    problems.extend(missing.cloned().map(Problem::MissingSan));
    let missing = want.ip_addresses.iter().filter(|wanted| !addresses.contains(wanted));
    problems.extend(missing.map(IpAddr::to_string).map(Problem::MissingSan));

    let usage = certificate.extended_key_usage().ok().flatten().map(|extension| extension.value);
    // Without the extension, or with anyExtendedKeyUsage, a certificate serves every purpose (RFC 5280, 4.2.1.12).
    if usage.is_some_and(|usage| !usage.any) {
        let missing = want.usages.iter().filter(|wanted| !found.usages.contains(wanted));
        problems.extend(missing.copied().map(Problem::MissingUsage));
    }
    problems
}

/// Whether a name in a certificate stands for the wanted one: the same, or a wildcard for its first label.
fn covers(name: &str, wanted: &str) -> bool {
    if name.eq_ignore_ascii_case(wanted) {
        return true;
    }
    let (Some(parent), Some((label, rest))) = (name.strip_prefix("*."), wanted.split_once('.')) else { return false };
    !label.is_empty() && label != "*" && parent.eq_ignore_ascii_case(rest)
}

impl Problem {
    pub fn severity(&self) -> Severity {
        match self {
            Self::ExpiresSoon { .. }
            | Self::UncheckedSignature { .. }
            | Self::ExtraOrganization(_)
            | Self::IsAuthority => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "can't be read: {}", reason(error)),
            Self::UnreadableKey(error) => write!(f, "has a key that can't be read: {}", reason(error)),
            Self::NotYetValid { from } => write!(f, "is not valid before {from}; is the clock right?"),
            Self::Expired { at } => write!(f, "expired on {}", day(*at)),
            Self::ExpiresSoon { at } => write!(f, "expires on {}", day(*at)),
            Self::WrongKey => f.write_str("does not belong to its private key"),
            Self::WrongIssuer { issuer } => {
                write!(f, "is signed by {issuer}, but not by the certificate authority that is here")
            }
            Self::UncheckedSignature { algorithm } => {
                write!(f, "is signed with algorithm {algorithm}, which kboot can't check")
            }
            Self::WrongCommonName { found, wanted } => {
                write!(f, "has the common name {found:?} instead of {wanted:?}")
            }
            Self::MissingOrganization(name) => write!(f, "lacks the organization {name:?}"),
            Self::ExtraOrganization(name) => write!(f, "has the organization {name:?}, which is not needed"),
            Self::MissingSan(name) => write!(f, "is not valid for {name}"),
            Self::MissingUsage(usage) => write!(f, "is not meant for a {usage}"),
            Self::NotAuthority => f.write_str("is not a certificate authority's"),
            Self::IsAuthority => f.write_str("is a certificate authority's, but need not be"),
        }
    }
}

/// The cause alone: what was read is clear from the words before it.
fn reason(error: &PkiError) -> String {
    match error {
        PkiError::Key(reason) | PkiError::Certificate(reason) => reason.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
