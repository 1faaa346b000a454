//! What a host is asked, and what it answers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Package, Packages};

/// What is to be found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Versions to stay at, by package; one that does not fit the inventory is passed over.
    pub pins: BTreeMap<String, String>,
    /// Packages to look up besides those that the inventory asks for.
    pub names: BTreeSet<String>,
    /// Whether to look up all packages, or only those that would be installed.
    pub is_whole: bool,
    /// Whether registries are asked for all images, or only for those that the host does not have.
    pub is_fresh: bool,
    /// Certificate authorities, PEM, for hosts that have none yet.
    pub roots: Option<String>,
}

/// What a host would get.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    pub platform: String,
    /// What apt would take of the packages that were asked for.
    pub candidates: Packages,
    /// What would be installed now, with what comes along.
    pub installs: Packages,
    /// Packages whose pins do not fit the inventory, and were passed over.
    pub unfit: BTreeSet<String>,
    pub images: BTreeMap<String, ImageDigests>,
    /// Digests of the cluster's objects; only a control plane renders those.
    pub objects: BTreeMap<String, String>,
    /// Digests of the host's files.
    pub files: BTreeMap<String, String>,
}

/// What is behind an image's tag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDigests {
    /// On the host; None where the host does not have it.
    pub host: Option<String>,
    /// In the registry; None where that was not asked.
    pub registry: Option<String>,
}

impl Resolved {
    /// All packages of the answer.
    pub fn packages(&self) -> impl Iterator<Item = (&String, &Package)> {
        let others = self.installs.iter().filter(|(name, _)| !self.candidates.contains_key(*name));
        self.candidates.iter().chain(others)
    }
}
