//! kubeadm's configuration, taken as it is: InitConfiguration, ClusterConfiguration, JoinConfiguration, KubeletConfiguration and
//! KubeProxyConfiguration, in one file and in any order, and kubeadm's folders of patches.
//!
//! A file becomes the [`Cluster`](crate::inventory::Cluster) that it describes, and what it says of the run. `read` parts it into
//! documents and compares each with the shape of its kind (`types`); `init` and `join` carry every field over into an inventory, by
//! a [`draft`] that remembers where each came from; the inventory's own checks then read that, and what they find is told in the
//! file's words and places. A field that kboot has no use for is refused or warned of, never passed over.
//!
//! Pure functions of text. It knows the inventory's types and bootstrap tokens, and nothing of steps or of this machine: what the
//! file leaves to the machine comes in as [`Here`]. Source of what fields mean: k8s.io/kubernetes 1.37, cmd/kubeadm/app.

mod component;
mod draft;
mod init;
mod join;
mod node;
mod patches;
mod phases;
mod read;
mod span;
mod types;

use std::net::IpAddr;

use time::OffsetDateTime;

use crate::bootstrap::token_secret::Grant;
use crate::bootstrap::{CertificateKey, Token};
use crate::inventory::{Cluster, Mistakes};

pub use init::init;
pub use join::{Discovery, Join, join};
pub use patches::{PatchFileError, patches};
pub use phases::{Command, Counterpart, counterpart, phases_of};
pub use read::is_kubeadm;

/// The machine, where the file leaves it open.
#[derive(Debug, Clone)]
pub struct Here {
    /// The node's name: by a flag or else the host's.
    pub name: String,
    /// None where the machine has no address that others could be told.
    pub address: Option<IpAddr>,
    pub now: OffsetDateTime,
}

/// What a file says for `init`.
#[derive(Debug)]
pub struct Init {
    /// Checked, with this machine as its only host.
    pub cluster: Cluster,
    /// Tokens that are to be there, with all that they may. None makes kboot's own.
    pub tokens: Vec<(Token, Grant)>,
    /// By which the authorities are encrypted, if they are to be uploaded.
    pub certificate_key: Option<CertificateKey>,
    pub options: Options,
    /// What a person should know, though it is no mistake.
    pub warnings: Mistakes,
}

/// What a file says of the run, and not of the cluster.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub is_dry_run: bool,
    /// Names of preflight checks; kubeadm's, of which kboot may not have all.
    pub ignore_preflight: Vec<String>,
    pub skips_preflight: bool,
    /// Whether the authorities stay out of the cluster, whatever the command line says.
    pub skips_upload: bool,
    /// Steps that are left out.
    pub skipped_steps: Vec<String>,
    /// Whether nobody is to be told how to join.
    pub skips_join_command: bool,
    /// The folder with patches, as it is written.
    pub patches: Option<String>,
    /// `systemd` or `cgroupfs`, which kboot takes from the host; the host must agree.
    pub cgroup_driver: Option<String>,
}
