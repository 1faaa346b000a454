//! The pin of a certificate authority: the SHA-256 of its public key, as kubeadm's `--discovery-token-ca-cert-hash` has it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{PkiError, x509};

const FORMAT: &str = "sha256";

/// SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469's pin), written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CaHash([u8; 32]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaHashError {
    #[error("read the CA hash {0:?}: it must be \"sha256:\" and 64 hexadecimal digits")]
    Prefix(String),
    #[error("read the CA hash {value:?}: kind {format:?} is not known, only \"sha256\"")]
    Format { value: String, format: String },
    #[error("read the CA hash {value:?}: there are {found} digits after \"sha256:\" instead of 64")]
    Length { value: String, found: usize },
    #[error("read the CA hash {value:?}: {digit:?} is not a hexadecimal digit")]
    Digit { value: String, digit: char },
}

/// The pin of the first certificate of a PEM file.
pub fn ca_hash(cert_pem: &str) -> Result<CaHash, PkiError> {
    Ok(ca_hashes(cert_pem)?[0])
}

/// The pins of all certificates of a PEM file; at least one.
pub fn ca_hashes(cert_pem: &str) -> Result<Vec<CaHash>, PkiError> {
    let hash = |der| Ok(CaHash(Sha256::digest(x509::parse(der)?.public_key().raw).into()));
    x509::certificates(cert_pem)?.iter().map(hash).collect()
}

impl FromStr for CaHash {
    type Err = CaHashError;

    fn from_str(value: &str) -> Result<Self, CaHashError> {
        let (format, digits) = value.split_once(':').ok_or_else(|| CaHashError::Prefix(value.into()))?;
        if !format.eq_ignore_ascii_case(FORMAT) {
            return Err(CaHashError::Format { value: value.into(), format: format.into() });
        }
        if let Some(digit) = digits.chars().find(|digit| !digit.is_ascii_hexdigit()) {
            return Err(CaHashError::Digit { value: value.into(), digit });
        }
        if digits.len() != 64 {
            return Err(CaHashError::Length { value: value.into(), found: digits.len() });
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let nibble = |digit: u8| (digit as char).to_digit(16).expect("checked to be hexadecimal above") as u8;
            *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
        }
        Ok(Self(hash))
    }
}

impl TryFrom<String> for CaHash {
    type Error = CaHashError;

    fn try_from(value: String) -> Result<Self, CaHashError> {
        value.parse()
    }
}

impl From<CaHash> for String {
    fn from(hash: CaHash) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for CaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FORMAT}:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::testing;

    #[test]
    fn agrees_with_openssl() {
        // openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | sha256sum
        let hash = ca_hash(testing::KUBEADM_CA).unwrap();
        assert_eq!(hash.to_string(), "sha256:f4240a92282d6d78a0e8949066054df6fcc905658d67b6a6255b962b096826de");
        assert_eq!(hash.to_string().to_uppercase().parse::<CaHash>().unwrap(), hash);
    }

    #[test]
    fn bundles_have_several() {
        let bundle = [testing::KUBEADM_CA, testing::KUBEADM_RSA_CA].concat();
        let one = |pem| ca_hash(pem).unwrap();
        assert_eq!(ca_hashes(&bundle).unwrap(), [one(testing::KUBEADM_CA), one(testing::KUBEADM_RSA_CA)]);
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |value: &str| value.parse::<CaHash>().unwrap_err();
        assert!(matches!(error("abcd"), CaHashError::Prefix(_)));
        assert!(matches!(error("sha512:abcd"), CaHashError::Format { .. }));
        assert!(matches!(error("sha256:abcd"), CaHashError::Length { found: 4, .. }));
        assert!(matches!(error("sha256:"), CaHashError::Length { found: 0, .. }));
        let wrong = format!("sha256:{}g", "0".repeat(63));
        assert!(matches!(error(&wrong), CaHashError::Digit { digit: 'g', .. }));
        assert!(error("sha256:ab").to_string().contains("there are 2 digits after"));
    }

    #[test]
    fn travels_as_a_string() {
        let hash = ca_hash(testing::KUBEADM_CA).unwrap();
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(json, format!("\"{hash}\""));
        assert_eq!(serde_json::from_str::<CaHash>(&json).unwrap(), hash);
        assert!(serde_json::from_str::<CaHash>("\"sha256:00\"").is_err());
    }
}
