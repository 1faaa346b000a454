//! The kinds of thing that kboot keeps on a host, each with how it is observed, compared and changed.
//!
//! A [`Resource`] is the wanted state of one such thing. [`Converge`] makes a step of a list of them. [`LocalHost`] is the one
//! interpreter of changes. Nothing here knows what Kubernetes needs; that is what the steps are for.

mod apt;
mod apt_fetch;
mod apt_key;
mod apt_lock;
mod apt_options;
mod apt_removal;
mod apt_run;
mod attributes;
mod ca_certificates;
mod certificate;
mod cgroup;
mod command;
mod converge;
mod dpkg;
mod drain;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
mod guarded;
mod image;
mod kernel;
mod kubeconfig;
mod local;
mod member;
mod network;
mod nftables;
mod node;
mod object;
mod registry;
mod removal;
mod scratch;
mod state;
mod unit;
mod vetted;

pub use apt::{CandidateAtLeast, Held, Installed, Package, Removed, SoleSource};
pub use apt_key::{AptKey, KeySource};
pub use apt_removal::{Removal, marked_manual, removal};
pub use certificate::{Certificate, KeyPair, Names};
pub use converge::{AnyResource, Converge, Resource};
pub use dpkg::{PackageState, Status as DpkgStatus};
pub use file::{Absent, Directory, Edited, File, remove_temporaries};
pub use guarded::{Condition, Guarded};
pub use image::Images;
pub use image::digests as image_digests;
pub use kernel::{Module, SwapOff, Sysctl};
pub use kubeconfig::ClientKubeconfig;
pub use local::LocalHost;
pub use member::etcd_credentials;
pub use network::LinksAbsent;
pub use node::Node;
pub use object::{ObjectAbsent, Objects};
pub use registry::digest as registry_digest;
pub use scratch::Scratch;
pub use state::state;
pub use unit::{Unit, unit_runs};
