//! The cluster's authorities in a Secret of the cluster, encrypted by a key that people carry to the control planes that join:
//! kubeadm's `kubeadm-certs` (its package phases/copycerts in 1.37), in the same format. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Map, Value, json};
use time::Duration;
use zeroize::Zeroizing;

use super::token_secret::{DEFAULT_GROUP, Grant, NAMESPACE};

/// The Secret's name.
pub const NAME: &str = "kubeadm-certs";
/// How long it stays: kubeadm's own limit.
pub const LIFETIME: Duration = Duration::hours(2);

/// An AES key in hexadecimal, as `--certificate-key` takes it: 32 bytes, or 16.
#[derive(PartialEq, Eq)]
pub struct CertificateKey(Zeroizing<Vec<u8>>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificatesError {
    #[error("read the certificate key: it is 64 hexadecimal digits, or 32")]
    Key,
    #[error("make a random key: the system gives no random numbers")]
    Random,
    #[error("decrypt {0} of the Secret kubeadm-certs: the certificate key is another one")]
    Decrypt(String),
    #[error("read {0} of the Secret kubeadm-certs: it is no text")]
    Content(String),
    #[error("read the Secret kubeadm-certs: it lacks {0}")]
    Missing(String),
}

impl CertificateKey {
    pub fn generate() -> Result<Self, CertificatesError> {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        SystemRandom::new().fill(&mut bytes).map_err(|_| CertificatesError::Random)?;
        Ok(Self(bytes))
    }

    /// In hexadecimal: for whoever is to join, and nobody else.
    pub fn expose(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Another one of the same: no clone comes about by itself.
    pub fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    fn cipher(&self) -> LessSafeKey {
        let algorithm = if self.0.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        LessSafeKey::new(UnboundKey::new(algorithm, &self.0).expect("the length was checked when it was read"))
    }

    /// The nonce, and then what is encrypted with its tag.
    fn encrypt(&self, text: &str) -> Result<Vec<u8>, CertificatesError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| CertificatesError::Random)?;
        let mut bytes = text.as_bytes().to_vec();
        let sealed =
            self.cipher().seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes);
        sealed.map_err(|_| CertificatesError::Random)?;
        Ok([nonce.as_slice(), &bytes].concat())
    }

    fn decrypt(&self, bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = self.cipher().open_in_place(nonce, Aad::empty(), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

impl fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateKey(<redacted>)")
    }
}

impl FromStr for CertificateKey {
    type Err = CertificatesError;

    fn from_str(text: &str) -> Result<Self, CertificatesError> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || ![32, 64].contains(&text.len()) {
            return Err(CertificatesError::Key);
        }
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| CertificatesError::Key);
        Ok(Self(Zeroizing::new((0..text.len()).step_by(2).map(byte).collect::<Result<_, _>>()?)))
    }
}

/// The Secret with these files, by their names in kubeadm's certificates folder. It goes with the Secret of the token that owns it,
/// whose name and uid are given.
pub fn secret(
    files: &BTreeMap<String, String>,
    key: &CertificateKey,
    owner: (&str, &str),
) -> Result<Value, CertificatesError> {
    let mut data = Map::new();
    for (name, text) in files {
        data.insert(field(name), STANDARD.encode(key.encrypt(text)?).into());
    }
    let owner = json!({
        "apiVersion": "v1", "kind": "Secret", "name": owner.0, "uid": owner.1,
        "controller": true, "blockOwnerDeletion": true,
    });
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "ownerReferences": [owner]},
        "type": "Opaque",
        "data": data,
    }))
}

/// The files of these names that the Secret holds.
pub fn read(
    secret: &Value,
    key: &CertificateKey,
    names: &[&str],
) -> Result<BTreeMap<String, String>, CertificatesError> {
    let file = |name: &&str| {
        let encoded = secret["data"][field(name)].as_str().filter(|text| !text.is_empty());
        let encoded = encoded.ok_or_else(|| CertificatesError::Missing((*name).into()))?;
        let bytes = STANDARD.decode(encoded).ok().and_then(|bytes| key.decrypt(&bytes));
        let bytes = bytes.ok_or_else(|| CertificatesError::Decrypt((*name).into()))?;
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| CertificatesError::Content((*name).into()))?;
        Ok(((*name).to_string(), text))
    };
    names.iter().map(file).collect()
}

/// What the token is for that ends the Secret's life: nobody joins by it.
pub fn owner_grant(expires: time::OffsetDateTime) -> Grant {
    Grant {
        description: Some("ends the life of the Secret kubeadm-certs".into()),
        expires: Some(expires),
        usages: Vec::new(),
        groups: Vec::new(),
    }
}

/// Who joins by a token may read the Secret.
pub fn roles() -> [Value; 2] {
    let name = format!("kubeadm:{NAME}");
    let metadata = json!({"name": name, "namespace": NAMESPACE});
    let group = "rbac.authorization.k8s.io";
    [
        json!({
            "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [NAME], "verbs": ["get"]}],
        }),
        json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"apiGroup": group, "kind": "Group", "name": DEFAULT_GROUP}],
        }),
    ]
}

/// `etcd-ca.crt` of `etcd/ca.crt`
fn field(name: &str) -> String {
    name.replace('/', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> BTreeMap<String, String> {
        [("ca.crt", "A"), ("etcd/ca.key", "B\n")].map(|(name, text)| (name.into(), text.into())).into()
    }

    #[test]
    fn what_is_encrypted_is_read_with_the_same_key_only() {
        let key = CertificateKey::generate().unwrap();
        let secret = secret(&files(), &key, ("bootstrap-token-abcdef", "1-2")).unwrap();
        assert_eq!(read(&secret, &key, &["ca.crt", "etcd/ca.key"]).unwrap(), files());
        assert!(secret["data"]["etcd-ca.key"].is_string(), "{secret}");
        let other = CertificateKey::generate().unwrap();
        assert_eq!(read(&secret, &other, &["ca.crt"]), Err(CertificatesError::Decrypt("ca.crt".into())));
        assert_eq!(read(&secret, &key, &["sa.key"]), Err(CertificatesError::Missing("sa.key".into())));
    }

    /// AES-GCM as anybody has it: test case 14 of its specification, 32 zero bytes as key, a zero nonce and 16 zero bytes.
    #[test]
    fn the_format_is_nonce_ciphertext_tag() {
        let key: CertificateKey = "0".repeat(64).parse().unwrap();
        let hex = "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919";
        let mut sealed = vec![0; NONCE_LEN];
        sealed.extend((0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()));
        assert_eq!(key.decrypt(&sealed).unwrap().as_slice(), [0; 16]);
        assert!(key.decrypt(&sealed[..sealed.len() - 1]).is_none() && key.decrypt(b"short").is_none());
    }

    #[test]
    fn keys_are_hexadecimal_and_never_shown() {
        let key = CertificateKey::generate().unwrap();
        assert_eq!(key.expose().parse(), Ok(key.copy()));
        assert_eq!(format!("{key:?}"), "CertificateKey(<redacted>)");
        "ab".repeat(16).parse::<CertificateKey>().unwrap();
        for wrong in ["", "0", &"x".repeat(64), &"0".repeat(63), &"ab".repeat(24), "🦀🦀🦀🦀🦀🦀🦀🦀"] {
            assert_eq!(wrong.parse::<CertificateKey>(), Err(CertificatesError::Key), "{wrong}");
        }
    }
}
