//! What the user wants: an inventory file or flags, read, checked and with every default filled in.
//!
//! [`Cluster`] is the one description of a cluster that everything else reads. It is plain data: it travels to the
//! agents as JSON and comes from a file as YAML, with the same names in both. This module knows nothing of hosts'
//! real state, of steps or of SSH sessions.
//!
//! A file becomes a cluster in steps, each a module: `yaml` reads a tree that knows its places, `shape` compares it
//! with the JSON Schema of the types, `read` fills in defaults, `check` holds what must hold beyond types, and
//! `files` looks at the files that are named. Mistakes are collected all the way and told together.

mod advice;
mod check;
mod cluster;
mod defaults;
mod endpoint;
mod etcd;
mod files;
pub(crate) mod format;
mod mistake;
mod one_or_many;
mod path;
mod period;
mod read;
mod schema;
mod shape;
mod types;
mod versions;
mod words;
mod yaml;

pub use advice::{Advice, Field};
pub use cluster::{CONTROL_PLANE, REGISTRY, SshTarget, Taint};
pub use defaults::*;
pub use endpoint::{API_PORT, Balance, CONTROL_PLANES, LOOPBACK};
pub use mistake::{Mistake, Mistakes, UnknownField};
pub use one_or_many::OneOrMany;
pub use path::Path;
pub use period::PeriodError;
pub use read::{InventoryError, Loaded, load, parse, read_document, text};
pub use schema::schema;
pub use types::*;
pub use versions::{RELEASES, Release, Version};

/// How files that people write are read, with the place of every value: for other files than inventories, too.
pub(crate) mod reading {
    pub(crate) use super::check::addons::FIELDS as KUBE_PROXY_FIELDS;
    pub(crate) use super::check::kubelet::FIELDS as KUBELET_FIELDS;
    pub(crate) use super::files::reason;
    pub(crate) use super::format::{self, Flaw};
    pub(crate) use super::mistake::{quote, quote_path};
    pub(crate) use super::schema::of as schema_of;
    #[cfg(test)]
    pub(crate) use super::shape::only_known_keywords;
    pub(crate) use super::shape::shape;
    pub(crate) use super::words::{did_you_mean, nearest};
    pub(crate) use super::yaml::{Kind, Node, Sort};
}

/// The inventory as YAML with every default filled in; it reads as the same cluster again.
pub fn print(cluster: &Cluster) -> String {
    serde_yaml::to_string(cluster).expect("the types have string keys only, and writing to memory does not fail")
}
