//! This host's own member of etcd: where its files are.

use camino::Utf8Path;

use crate::engine::{Probe, Result};
use crate::manifest::{StaticPod, paths};

pub const FOLDER: &str = "/var/lib/etcd";
/// What etcd makes there.
pub const DATA: &str = "/var/lib/etcd/member";

/// Whether the host is to have a member: etcd may be somebody else's, on hosts of its own.
pub async fn is_wanted(probe: &dyn Probe) -> Result<bool> {
    Ok(probe.stat(Utf8Path::new(&paths::static_pod(StaticPod::Etcd))).await?.is_some())
}
