//! `kboot.lock`: what an inventory's open ends resolved to, so that tomorrow's run uses what today's did.
//!
//! An inventory says `v1.37.2` and `containerd.io 2.*`; a repository says what that is today. The lock keeps the answers: versions
//! and digests of packages, digests of images, digests of what kboot renders, and the hosts' keys. Hosts answer ([`Resolved`]); this
//! module puts answers together, tells what moved, and holds a host's answers against a lock. Pure: it knows the file's text,
//! and neither hosts nor how they are asked. Nothing secret is in a lock, and no time.

mod compose;
mod digest;
mod format;
mod installed;
mod moves;
mod resolved;
mod verify;

#[cfg(test)]
mod samples;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::inventory::{ApiVersion, Cluster};

pub use compose::{Answer, Answers, Composed, compose};
pub use format::{HEAD, head, parse, print};
pub use installed::{Begun, Installed, installed};
pub use moves::{Move, moves};
pub use resolved::{ImageDigests, Question, Resolved};
pub use verify::{uncovered, verify};

/// The file's name, beside the inventory.
pub const FILE: &str = "kboot.lock";

/// A lock file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lock {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// Always `Lock`.
    pub kind: Kind,
    /// The name of the cluster that it is for.
    pub cluster: String,
    /// The Kubernetes version that it was resolved for, as `v1.37.2`.
    pub kubernetes: String,
    /// Packages by the platform that they are for, as `debian-bookworm-amd64`.
    pub packages: BTreeMap<String, Packages>,
    /// Images' digests by their references.
    #[schemars(extend("additionalProperties" = {"type": "string", "format": "digest"}))]
    pub images: BTreeMap<String, String>,
    /// Digests of the cluster's objects as kboot renders them, by `Kind namespace/name`.
    #[schemars(extend("additionalProperties" = {"type": "string", "format": "digest"}))]
    pub objects: BTreeMap<String, String>,
    /// The inventory's hosts, by their names.
    pub hosts: BTreeMap<String, LockedHost>,
}

/// The packages of a platform, by their names.
pub type Packages = BTreeMap<String, Package>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    Lock,
}

/// One version of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    /// As dpkg has it.
    pub version: String,
    /// The .deb's, as the repository's signed index says.
    #[schemars(extend("format" = "sha256"))]
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedHost {
    /// Whose packages it takes.
    pub platform: String,
    /// Its SSH key, as `ssh-ed25519 AAAA…`.
    pub host_key: String,
    /// Digests of the files that kboot renders for it, by their paths.
    #[schemars(extend("additionalProperties" = {"type": "string", "format": "digest"}))]
    pub files: BTreeMap<String, String>,
}

/// What of a lock a host's steps use. Travels to the agents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    pub packages: BTreeMap<String, Packages>,
    pub images: BTreeMap<String, String>,
    /// Whether nothing but what is locked may be used; else it is what is locked where something is.
    pub is_strict: bool,
}

impl Lock {
    /// One that has nothing yet.
    pub fn empty(cluster: &Cluster) -> Self {
        Self {
            api_version: ApiVersion::V1Alpha1,
            kind: Kind::Lock,
            cluster: cluster.name.clone(),
            kubernetes: cluster.kubernetes.version.clone(),
            packages: BTreeMap::new(),
            images: BTreeMap::new(),
            objects: BTreeMap::new(),
            hosts: BTreeMap::new(),
        }
    }

    pub fn pins(&self, is_strict: bool) -> Pins {
        Pins { packages: self.packages.clone(), images: self.images.clone(), is_strict }
    }
}

/// A lock that a run uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InUse {
    pub lock: Lock,
    /// Whether nothing but what is locked may be used.
    pub is_strict: bool,
}

impl InUse {
    /// The cluster with the hosts' keys as they are locked, so that no other is accepted.
    pub fn pinned(&self, cluster: &Cluster) -> Cluster {
        let mut cluster = cluster.clone();
        if self.is_strict {
            for host in &mut cluster.hosts {
                if let Some(locked) = self.lock.hosts.get(&host.name) {
                    host.ssh.host_key = Some(locked.host_key.clone());
                }
            }
        }
        cluster
    }
}

impl Pins {
    /// The packages that are locked for a platform; none where it is not covered.
    pub fn platform(&self, platform: &str) -> Option<&Packages> {
        self.packages.get(platform)
    }
}
