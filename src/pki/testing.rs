//! What the tests of certificates share: fixtures that kubeadm 1.37.2 and OpenSSL made (in `testdata/`; nothing else uses
//! these keys), and short ways to make new ones.

use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;

use super::{CertificateRequest, Key, issue};
use crate::inventory::EncryptionAlgorithm;

/// Private keys, each with the public key that OpenSSL derives from it. The first is RSA.
pub const KEYS: [(&str, &str); 5] = [
    (include_str!("testdata/rsa-pkcs8.key"), include_str!("testdata/rsa-pkcs8.pub")),
    (include_str!("testdata/kubeadm-rsa-ca.key"), include_str!("testdata/kubeadm-rsa-ca.pub")),
    (include_str!("testdata/kubeadm-ca.key"), include_str!("testdata/kubeadm-ca.pub")),
    // With a block EC PARAMETERS in front, as `openssl ecparam` writes it.
    (include_str!("testdata/ec-p384-sec1.key"), include_str!("testdata/ec-p384-sec1.pub")),
    (include_str!("testdata/ec-p256-pkcs8.key"), include_str!("testdata/ec-p256-pkcs8.pub")),
];
pub const ED25519_KEY: &str = include_str!("testdata/ed25519.key");

/// Made on 2026-11-22 17:35:46 UTC for node n1, 10.77.0.11 and endpoint cp.example.test:6443, with two extra SANs.
pub const KUBEADM_CA: &str = include_str!("testdata/kubeadm-ca.crt");
pub const KUBEADM_CA_KEY: &str = include_str!("testdata/kubeadm-ca.key");
pub const KUBEADM_APISERVER: &str = include_str!("testdata/kubeadm-apiserver.crt");
pub const KUBEADM_APISERVER_KEY: &str = include_str!("testdata/kubeadm-apiserver.key");
pub const KUBEADM_RSA_CA: &str = include_str!("testdata/kubeadm-rsa-ca.crt");
pub const KUBEADM_RSA_APISERVER: &str = include_str!("testdata/kubeadm-rsa-apiserver.crt");
pub const KUBEADM_ADMIN_CONF: &str = include_str!("testdata/kubeadm-admin.conf");

/// A new certificate authority of ten years, and its key.
pub fn authority(name: &str, now: OffsetDateTime) -> (Key, String) {
    let key = Key::generate(EncryptionAlgorithm::EcdsaP256).unwrap();
    let request = CertificateRequest::authority(name, 87_600, EncryptionAlgorithm::EcdsaP256);
    let pem = issue(&request, &key, None, now).unwrap();
    (key, pem)
}

pub fn expose(secret: &SecretString) -> &str {
    secret.expose_secret()
}
