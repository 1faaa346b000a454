//! Private keys: generated, read and written.

use std::fmt;

use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{PkiError, der, rsa};
use crate::inventory::EncryptionAlgorithm;

/// A private key that can sign. Its debug form shows the kind of key and nothing of it.
pub struct Key {
    pair: Zeroizing<KeyPair>,
}

impl Key {
    /// A new key. ECDSA takes microseconds; RSA from some 50 ms (2048 bits) to a second or two (4096 bits).
    pub fn generate(algorithm: EncryptionAlgorithm) -> Result<Self, PkiError> {
        let bits = match algorithm {
            EncryptionAlgorithm::EcdsaP256 => {
                let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
                    .map_err(|error| PkiError::Generate(error.to_string()))?;
                return Ok(Self { pair: pair.into() });
            }
            EncryptionAlgorithm::Rsa2048 => 2048,
            EncryptionAlgorithm::Rsa3072 => 3072,
            EncryptionAlgorithm::Rsa4096 => 4096,
        };
        let key = rsa::generate(bits).map_err(PkiError::Generate)?;
        Self::from_pkcs8(&der::pkcs8(der::Algorithm::Rsa, &key))
            .ok_or_else(|| PkiError::Generate("the new RSA key does not pass its own checks".into()))
    }

    /// Reads the first private key of a PEM file: PKCS#8, or PKCS#1 and SEC 1 as kubeadm writes them. RSA of 2048 to 4096
    /// bits and ECDSA on P-256 and P-384 are known.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        if pem.contains("ENCRYPTED") {
            return Err(PkiError::Key("it is encrypted; Kubernetes' components read only plain keys".into()));
        }
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| match error {
            rustls_pki_types::pem::Error::NoItemsFound => PkiError::Key("there is no PEM private key in it".into()),
            other => PkiError::Key(other.to_string()),
        })?;
        let pair = match &key {
            PrivateKeyDer::Pkcs8(key) => Self::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => Self::from_pkcs8(&der::pkcs8(der::Algorithm::Rsa, key.secret_pkcs1_der())),
            PrivateKeyDer::Sec1(key) => [der::Algorithm::EcP256, der::Algorithm::EcP384]
                .into_iter()
                .find_map(|curve| Self::from_pkcs8(&der::pkcs8(curve, key.secret_sec1_der()))),
            _ => None,
        };
        pair.ok_or_else(|| PkiError::Key("it is neither RSA of 2048 to 4096 bits nor ECDSA on P-256 or P-384".into()))
    }

    /// The key as PKCS#8 PEM, which every Kubernetes component, etcd and kubeadm read.
    pub fn to_pem(&self) -> SecretString {
        self.pair.serialize_pem().into()
    }

    /// The public half as `PUBLIC KEY` PEM (SubjectPublicKeyInfo): what belongs into `sa.pub`.
    pub fn public_key_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// The public half as a certificate holds it (SubjectPublicKeyInfo's bit string).
    pub(super) fn public_key_bits(&self) -> &[u8] {
        self.pair.public_key_raw()
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(der)).ok()?;
        // kubeadm and the service account signer refuse Ed25519.
        (pair.algorithm() != &rcgen::PKCS_ED25519).then(|| Self { pair: pair.into() })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, redacted)", PublicKeyData::algorithm(&*self.pair))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::pki::testing;

    #[test]
    fn keys_survive_pem() {
        let key = Key::generate(EncryptionAlgorithm::EcdsaP256).unwrap();
        let again = Key::from_pem(key.to_pem().expose_secret()).unwrap();
        assert_eq!(again.public_key_pem(), key.public_key_pem());
        assert!(key.public_key_pem().starts_with("-----BEGIN PUBLIC KEY-----\n"));
    }

    #[test]
    fn rsa_keys_have_the_length_that_was_asked_for() {
        // An unoptimised build takes seconds for the longer ones; the ignored test below has them.
        assert_rsa(EncryptionAlgorithm::Rsa2048, 2048);
    }

    #[test]
    #[ignore = "takes half a minute in an unoptimised build"]
    fn long_rsa_keys_have_the_length_that_was_asked_for() {
        assert_rsa(EncryptionAlgorithm::Rsa3072, 3072);
        assert_rsa(EncryptionAlgorithm::Rsa4096, 4096);
    }

    fn assert_rsa(algorithm: EncryptionAlgorithm, bits: usize) {
        use x509_parser::prelude::FromDer;
        use x509_parser::public_key::RSAPublicKey;
        // The bit string of an RSA key is itself a SEQUENCE of modulus and exponent (RFC 8017, A.1.1).
        let key = Key::generate(algorithm).unwrap();
        let (_, numbers) = RSAPublicKey::from_der(key.public_key_bits()).unwrap();
        assert_eq!(numbers.key_size(), bits);
        assert_eq!(numbers.try_exponent().unwrap(), 65_537);
    }

    #[test]
    fn reads_the_formats_that_kubeadm_and_openssl_write() {
        for (pem, public) in testing::KEYS {
            let key = Key::from_pem(pem).unwrap();
            assert_eq!(key.public_key_pem().trim(), public.trim(), "{pem}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_key() {
        let error = |pem: &str| Key::from_pem(pem).unwrap_err().to_string();
        assert_eq!(error("nonsense"), "read the private key: there is no PEM private key in it");
        assert_eq!(
            error(testing::ED25519_KEY),
            "read the private key: it is neither RSA of 2048 to 4096 bits nor ECDSA on P-256 or P-384"
        );
        assert!(error("-----BEGIN ENCRYPTED PRIVATE KEY-----\n").contains("encrypted"));
        assert!(error("-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----\n").starts_with("read the private"));
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let key = Key::from_pem(testing::KEYS[0].0).unwrap();
        let shown = format!("{key:?}");
        assert!(shown.contains("redacted") && shown.len() < 80, "{shown}");
    }
}
