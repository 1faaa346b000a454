//! Kubeconfigs: built as kubeadm names things, read, checked and merged. Text in, text out; no files.

mod check;
mod files;
mod merge;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde_yaml::{Mapping, Value};
use zeroize::Zeroizing;

pub use check::{KubeconfigProblem, check};
pub use files::{BOOTSTRAP_USER, ROTATED_CLIENT_PEM, WantedKubeconfig, cluster_kubeconfigs};
pub use merge::merge;

/// One way to reach one cluster: what a kubeconfig's current context leads to.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    /// The cluster's name in the file.
    pub cluster: String,
    /// As `https://10.0.0.1:6443`.
    pub server: String,
    pub authority: Authority,
    /// The user's name in the file.
    pub user: String,
    pub credentials: Credentials,
}

/// By which the server is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// PEM, one or more certificates.
    Pem(String),
    /// A path.
    File(String),
    /// The system's own, or none.
    Unspecified,
}

/// By which the server knows the user. Its debug form shows no key and no token.
#[derive(Clone)]
pub enum Credentials {
    Certificate {
        cert_pem: String,
        key_pem: SecretString,
    },
    Token(SecretString),
    /// Paths; one file may hold both.
    Files {
        cert: String,
        key: String,
    },
    /// None, or a kind that kboot does not use: a command, a password, a token file.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigError {
    #[error("read the kubeconfig: {0}")]
    Unreadable(String),
    #[error("read the kubeconfig: it has no current context")]
    NoContext,
    #[error("read the kubeconfig: {kind} {name:?} is referred to but not there")]
    Missing { kind: &'static str, name: String },
    #[error("read the kubeconfig: {field} is not base64 of text")]
    Encoding { field: &'static str },
    #[error("merge the kubeconfig: {kind} {name:?} is there already and belongs to another cluster")]
    Taken { kind: &'static str, name: String },
    #[error("merge the kubeconfig: its certificate authority is not included")]
    NotSelfContained,
}

impl KubeconfigError {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Taken { .. } => {
                "give the new context another name, or remove the old entry with `kubectl config delete-context` and `kubectl config delete-cluster`"
            }
            Self::NotSelfContained => "fetch the kubeconfig from a control plane's /etc/kubernetes/admin.conf",
            _ => "look at the file with `kubectl config view --kubeconfig FILE`",
        }
    }
}

impl Kubeconfig {
    /// kubeadm's name for the context.
    pub fn context(&self) -> String {
        format!("{}@{}", self.user, self.cluster)
    }

    /// The file as client-go writes it, keys in its order.
    pub fn to_yaml(&self) -> SecretString {
        let context = self.context();
        let file = mapping([
            ("apiVersion", "v1".into()),
            ("clusters", vec![named(&self.cluster, "cluster", self.cluster_value())].into()),
            ("contexts", vec![named(&context, "context", context_value(&self.cluster, &self.user))].into()),
            ("current-context", context.as_str().into()),
            ("kind", "Config".into()),
            ("users", vec![named(&self.user, "user", self.user_value())].into()),
        ]);
        emit(&file)
    }

    /// Reads what the current context leads to.
    pub fn parse(text: &str) -> Result<Self, KubeconfigError> {
        let file: Value = serde_yaml::from_str(text).map_err(|error| KubeconfigError::Unreadable(error.to_string()))?;
        if !file.is_mapping() {
            return Err(KubeconfigError::Unreadable("it is not a mapping".into()));
        }
        let current = text_of(&file, "current-context").filter(|name| !name.is_empty());
        let current = current.ok_or(KubeconfigError::NoContext)?;
        let context = find(&file, "contexts", "context", &current)?;
        let cluster_name = text_of(context, "cluster").unwrap_or_default();
        let user_name = text_of(context, "user").unwrap_or_default();
        let cluster = find(&file, "clusters", "cluster", &cluster_name)?;
        let user = find(&file, "users", "user", &user_name)?;

        let authority = match decoded(cluster, "certificate-authority-data")? {
            Some(pem) => Authority::Pem(pem.to_string()),
            None => text_of(cluster, "certificate-authority").map_or(Authority::Unspecified, Authority::File),
        };
        let cert_pem = decoded(user, "client-certificate-data")?;
        let key_pem = decoded(user, "client-key-data")?;
        let files = (text_of(user, "client-certificate"), text_of(user, "client-key"));
        let credentials = match (cert_pem, key_pem, text_of(user, "token"), files) {
            (Some(cert), Some(key), ..) => {
                Credentials::Certificate { cert_pem: cert.to_string(), key_pem: key.as_str().into() }
            }
            (_, _, Some(token), _) => Credentials::Token(token.into()),
            (_, _, _, (Some(cert), Some(key))) => Credentials::Files { cert, key },
            _ => Credentials::Other,
        };
        let server = text_of(cluster, "server").unwrap_or_default();
        Ok(Self { cluster: cluster_name, server, authority, user: user_name, credentials })
    }

    /// The same with the client certificate that the kubelet renews by itself, as kubeadm's `kubelet-finalize` phase has it.
    pub fn rotated(mut self) -> Self {
        self.credentials = Credentials::Files { cert: ROTATED_CLIENT_PEM.into(), key: ROTATED_CLIENT_PEM.into() };
        self
    }

    fn cluster_value(&self) -> Value {
        let mut cluster = Mapping::new();
        match &self.authority {
            Authority::Pem(pem) => {
                cluster.insert("certificate-authority-data".into(), STANDARD.encode(pem).into());
            }
            Authority::File(path) => {
                cluster.insert("certificate-authority".into(), path.as_str().into());
            }
            Authority::Unspecified => {}
        }
        cluster.insert("server".into(), self.server.as_str().into());
        cluster.into()
    }

    fn user_value(&self) -> Value {
        match &self.credentials {
            Credentials::Certificate { cert_pem, key_pem } => mapping([
                ("client-certificate-data", STANDARD.encode(cert_pem).into()),
                ("client-key-data", STANDARD.encode(key_pem.expose_secret()).into()),
            ]),
            Credentials::Token(token) => mapping([("token", token.expose_secret().into())]),
            Credentials::Files { cert, key } => {
                mapping([("client-certificate", cert.as_str().into()), ("client-key", key.as_str().into())])
            }
            Credentials::Other => Mapping::new().into(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate { .. } => f.write_str("Certificate(redacted)"),
            Self::Token(_) => f.write_str("Token(redacted)"),
            Self::Files { cert, key } => f.debug_struct("Files").field("cert", cert).field("key", key).finish(),
            Self::Other => f.write_str("Other"),
        }
    }
}

fn emit(file: &Value) -> SecretString {
    serde_yaml::to_string(file).expect("a tree of strings can be written").into()
}

fn mapping<const N: usize>(entries: [(&str, Value); N]) -> Value {
    entries.into_iter().map(|(key, value)| (Value::from(key), value)).collect::<Mapping>().into()
}

/// An entry of a list, its keys in alphabetical order as client-go has them.
fn named(name: &str, kind: &str, value: Value) -> Value {
    match kind < "name" {
        true => mapping([(kind, value), ("name", name.into())]),
        false => mapping([("name", name.into()), (kind, value)]),
    }
}

fn context_value(cluster: &str, user: &str) -> Value {
    mapping([("cluster", cluster.into()), ("user", user.into())])
}

fn text_of(value: &Value, key: &str) -> Option<String> {
    Some(value.get(key)?.as_str()?.to_owned())
}

/// The entry of that name in a list such as `clusters`.
fn find<'a>(file: &'a Value, list: &str, kind: &'static str, name: &str) -> Result<&'a Value, KubeconfigError> {
    let entries = file.get(list).and_then(Value::as_sequence).map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))
        .and_then(|entry| entry.get(kind))
        .ok_or_else(|| KubeconfigError::Missing { kind, name: name.into() })
}

fn decoded(value: &Value, field: &'static str) -> Result<Option<Zeroizing<String>>, KubeconfigError> {
    let Some(encoded) = value.get(field).and_then(Value::as_str).filter(|encoded| !encoded.is_empty()) else {
        return Ok(None);
    };
    let bytes = STANDARD.decode(encoded.trim()).map_err(|_| KubeconfigError::Encoding { field })?;
    let text = String::from_utf8(bytes).map_err(|_| KubeconfigError::Encoding { field })?;
    Ok(Some(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::testing;

    #[test]
    fn what_kubeadm_wrote_comes_back_to_the_byte() {
        let admin = Kubeconfig::parse(testing::KUBEADM_ADMIN_CONF).unwrap();
        assert_eq!((admin.cluster.as_str(), admin.user.as_str()), ("kubernetes", "kubernetes-admin"));
        assert_eq!(admin.server, "https://cp.example.test:6443");
        assert_eq!(admin.to_yaml().expose_secret(), testing::KUBEADM_ADMIN_CONF);
    }

    #[test]
    fn tokens_and_files_survive_too() {
        let admin = Kubeconfig::parse(testing::KUBEADM_ADMIN_CONF).unwrap();
        let with_token =
            Kubeconfig { credentials: Credentials::Token("abcdef.0123456789abcdef".into()), ..admin.clone() };
        let again = Kubeconfig::parse(with_token.to_yaml().expose_secret()).unwrap();
        assert!(matches!(again.credentials, Credentials::Token(token) if token.expose_secret().starts_with("abcdef.")));
        let again = Kubeconfig::parse(admin.rotated().to_yaml().expose_secret()).unwrap();
        let Credentials::Files { cert, key } = again.credentials else { panic!("{again:?}") };
        assert_eq!((cert.as_str(), key.as_str()), (ROTATED_CLIENT_PEM, ROTATED_CLIENT_PEM));
    }

    #[test]
    fn reads_what_the_kubelet_writes_for_itself() {
        let text = "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority: /etc/kubernetes/pki/ca.crt\n    \
                    server: https://10.0.0.1:6443\n  name: default-cluster\ncontexts:\n- context:\n    cluster: \
                    default-cluster\n    namespace: default\n    user: default-auth\n  name: default-context\n\
                    current-context: default-context\nkind: Config\nusers:\n- name: default-auth\n  user:\n    \
                    client-certificate: /a.pem\n    client-key: /b.pem\n";
        let parsed = Kubeconfig::parse(text).unwrap();
        assert_eq!(parsed.authority, Authority::File("/etc/kubernetes/pki/ca.crt".into()));
        assert!(matches!(parsed.credentials, Credentials::Files { cert, key } if cert == "/a.pem" && key == "/b.pem"));
    }

    #[test]
    fn debug_shows_no_key() {
        let admin = Kubeconfig::parse(testing::KUBEADM_ADMIN_CONF).unwrap();
        let shown = format!("{admin:?}");
        assert!(shown.contains("Certificate(redacted)") && !shown.contains("PRIVATE"), "{shown}");
        let token = Credentials::Token("abcdef.0123456789abcdef".into());
        assert_eq!(format!("{token:?}"), "Token(redacted)");
    }

    #[test]
    fn broken_files_are_errors() {
        let error = |text: &str| Kubeconfig::parse(text).unwrap_err();
        assert!(matches!(error(""), KubeconfigError::Unreadable(_)));
        assert!(matches!(error("a: [b"), KubeconfigError::Unreadable(_)));
        assert!(matches!(error("kind: Config"), KubeconfigError::NoContext));
        assert_eq!(
            error("current-context: x").to_string(),
            "read the kubeconfig: context \"x\" is referred to but not there"
        );
        let broken = testing::KUBEADM_ADMIN_CONF.replace("client-key-data: ", "client-key-data: '*'#");
        assert_eq!(error(&broken), KubeconfigError::Encoding { field: "client-key-data" });
    }
}
