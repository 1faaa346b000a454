//! What a certificate shall say: plain data that travels in a plan.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::inventory::EncryptionAlgorithm;

/// A wanted certificate, without its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateRequest {
    /// The subject's common name: for a client, the user name.
    pub common_name: String,
    /// The subject's organization: for a client, the group. None of kubeadm's certificates has more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<IpAddr>,
    /// Extended key usages; none for a certificate authority.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usages: Vec<Usage>,
    #[serde(default)]
    pub is_ca: bool,
    /// From now on; the certificate also reaches five minutes back, as kubeadm's do.
    pub validity_hours: u32,
    /// Of the new key.
    pub algorithm: EncryptionAlgorithm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Usage {
    Client,
    Server,
}

impl CertificateRequest {
    /// A certificate authority. Its name is also its only DNS name, as client-go does it.
    pub fn authority(name: &str, validity_hours: u32, algorithm: EncryptionAlgorithm) -> Self {
        Self { dns_names: vec![name.into()], is_ca: true, ..Self::leaf(name, vec![], validity_hours, algorithm) }
    }

    /// A client certificate.
    pub fn client(user: &str, group: Option<&str>, validity_hours: u32, algorithm: EncryptionAlgorithm) -> Self {
        Self {
            organization: group.map(String::from),
            ..Self::leaf(user, vec![Usage::Client], validity_hours, algorithm)
        }
    }

    pub(super) fn leaf(name: &str, usages: Vec<Usage>, validity_hours: u32, algorithm: EncryptionAlgorithm) -> Self {
        Self {
            common_name: name.into(),
            organization: None,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            usages,
            is_ca: false,
            validity_hours,
            algorithm,
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// The subject and the names, as a plan shows them.
impl fmt::Display for CertificateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CN={}", self.common_name)?;
        if let Some(organization) = &self.organization {
            write!(f, ", O={organization}")?;
        }
        let names = self.dns_names.iter().cloned().chain(self.ip_addresses.iter().map(ToString::to_string));
        let names: Vec<String> = names.collect();
        if !names.is_empty() && !self.is_ca {
            write!(f, ", for {}", names.join(" "))?;
        }
        write!(f, ", {} days", self.validity_hours / 24)
    }
}
