//! Reading certificates: the little that the others share.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::oid::Oid;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;

use super::PkiError;

/// The arc of ECDSA's keys and signatures.
const ANSI_X9_62: &str = "1.2.840.10045.";

/// The certificates of a PEM file, in its order; at least one.
pub(super) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PkiError::Certificate(error.to_string()))?;
    if found.is_empty() {
        return Err(PkiError::Certificate("there is no PEM certificate in it".into()));
    }
    Ok(found)
}

pub(super) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, PkiError> {
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|error| PkiError::Certificate(format!("it is malformed: {error}")))?;
    if !rest.is_empty() {
        return Err(PkiError::Certificate("it is malformed: there are bytes after it".into()));
    }
    Ok(certificate)
}

/// Whether `parent` is the issuer by name and by signature. An error says that the signature is of a kind that can't be
/// checked here.
pub(super) fn is_signed_by(child: &X509Certificate<'_>, parent: &X509Certificate<'_>) -> Result<bool, X509Error> {
    if child.issuer().as_raw() != parent.subject().as_raw() {
        return Ok(false);
    }
    // A key of another family can't have made the signature; the verifier would call that unsupported.
    let is_elliptic = |oid: &Oid<'_>| oid.to_id_string().starts_with(ANSI_X9_62);
    if is_elliptic(&child.signature_algorithm.algorithm) != is_elliptic(&parent.public_key().algorithm.algorithm) {
        return Ok(false);
    }
    match child.verify_signature(Some(parent.public_key())) {
        Ok(()) => Ok(true),
        Err(X509Error::SignatureVerificationError) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the certificate may sign others: CA:TRUE and, if key usages are named, certificate signing among them.
pub(super) fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    let usage = certificate.key_usage().ok().flatten();
    certificate.is_ca() && usage.is_none_or(|usage| usage.value.key_cert_sign())
}
