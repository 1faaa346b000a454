//! Why discovery failed, and what to do about it.

use time::OffsetDateTime;

use crate::bootstrap::token_secret::timestamp;
use crate::pki::{CaHash, PkiError};

const NEW_TOKEN: &str =
    "on a control plane, `kboot token create --print-join-command` makes a new token and prints the whole command";

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DiscoveryError {
    #[error(transparent)]
    Endpoint(PkiError),
    #[error("discover the cluster: there is no CA hash to know it by")]
    NoPins,
    #[error("reach the API server at {server}: {reason}")]
    Unreachable { server: String, reason: String },
    #[error("reach the API server at {server}: it did not answer in time")]
    TimedOut { server: String },
    #[error("discover the cluster at {server}: what answers there is not a Kubernetes API server: {reason}")]
    NotKubernetes { server: String, reason: String },
    #[error("discover the cluster at {server}: it does not publish its cluster-info: {reason}")]
    NoClusterInfo { server: String, reason: String },
    #[error("use the token {id}: it expired on {}", timestamp(*at))]
    TokenExpired { id: String, at: OffsetDateTime },
    #[error("use the token {id}: the cluster does not know it; it may have expired or be another cluster's")]
    TokenUnknown { id: String },
    #[error("use the token {id}: the signature of cluster-info does not match it, so its second half is wrong")]
    BadSignature { id: String },
    #[error("read cluster-info: {reason}")]
    Malformed { reason: String },
    #[error("verify the cluster's CA: its hash is {}, expected was {}", list(found), list(expected))]
    CaMismatch { found: Vec<CaHash>, expected: Vec<CaHash> },
    #[error("verify the API server at {server}: {reason}")]
    Untrusted { server: String, reason: String },
    #[error("verify cluster-info: {server} gave another one when asked again over a verified connection")]
    Changed { server: String },
}

impl DiscoveryError {
    /// Whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }

    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Endpoint(_) => "give it as HOST:PORT, for example 10.0.0.1:6443".into(),
            Self::NoPins => format!(
                "add --discovery-token-ca-cert-hash; {NEW_TOKEN}. \
                 --insecure-skip-ca-verification trusts whoever knows the token"
            ),
            Self::Unreachable { server, .. } | Self::TimedOut { server } => format!(
                "see whether `curl -k {server}/livez` answers from here; if it does on the control plane itself, \
                 look for a firewall in between, else at `crictl ps -a` there"
            ),
            Self::NotKubernetes { .. } => "check the address and the port; the API server's default is 6443".into(),
            Self::NoClusterInfo { .. } => "the cluster was not made for joining with tokens, or is still being made; \
                 on a control plane, `kubectl -n kube-public get configmap cluster-info` shows it"
                .into(),
            Self::TokenExpired { .. } | Self::TokenUnknown { .. } => NEW_TOKEN.into(),
            Self::BadSignature { .. } => format!("copy the token again, it was cut or mistyped; or: {NEW_TOKEN}"),
            Self::Malformed { .. } => {
                "on a control plane, `kubectl -n kube-public get configmap cluster-info -o yaml` shows it".into()
            }
            Self::CaMismatch { .. } => format!(
                "either the hash is another cluster's or an old one ({NEW_TOKEN}), or someone answers in the \
                 cluster's place: compare with a control plane's own before going on"
            ),
            Self::Untrusted { .. } => "check that this host's clock is right and that the API server's certificate \
                 names the address (`openssl x509 -noout -text -in /etc/kubernetes/pki/apiserver.crt`); otherwise \
                 something between here and the cluster answers in its place"
                .into(),
            Self::Changed { .. } => "try again; if it stays so, something between here and the cluster answers in its \
                 place"
                .into(),
        }
    }
}

fn list(hashes: &[CaHash]) -> String {
    hashes.iter().map(CaHash::to_string).collect::<Vec<_>>().join(" or ")
}
