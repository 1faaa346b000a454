//! An etcd that is not kboot's, as a host sees it. Plain data: the looking is done elsewhere.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdView {
    /// In the order in which they were named.
    pub endpoints: Vec<EtcdEndpoint>,
    /// Whether an API server's keys are there; or why that can't be told, though an endpoint answers.
    pub has_data: Option<Result<bool, String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdEndpoint {
    pub url: String,
    pub state: EtcdState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EtcdState {
    Answers {
        /// `3.7.0`
        version: String,
        /// The cluster's id, in hexadecimal.
        cluster: String,
        /// What it complains of, in its own words: alarms, that it has no leader.
        complaints: Vec<String>,
    },
    /// Nothing answers there, or not as etcd does.
    Silent { reason: String },
    /// What answers can't prove that it is the one that was meant.
    Untrusted { reason: String },
    /// It does not take this cluster for one of its clients.
    Refuses { reason: String },
}

impl EtcdView {
    /// Whether any endpoint answers.
    pub fn answers(&self) -> bool {
        self.endpoints.iter().any(|endpoint| matches!(endpoint.state, EtcdState::Answers { .. }))
    }
}
