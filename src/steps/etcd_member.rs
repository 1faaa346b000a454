//! This host's own member of etcd: where its files are.

use camino::Utf8Path;

use crate::engine::{Probe, Result};
use crate::manifest::{StaticPod, paths};

pub const FOLDER: &str = "/var/lib/etcd";
/// What etcd makes there.
pub const DATA: &str = "/var/lib/etcd/member";

/// What a recovery puts aside there, with the time at the end.
pub const ASIDE: &str = "before-recovery-";

/// The names in the folder that a member's data have, those that a recovery has put aside included. All else there is somebody's.
pub async fn data(probe: &dyn Probe) -> Result<Vec<String>> {
    let mut names = probe.list(Utf8Path::new(FOLDER)).await?.unwrap_or_default();
    names.retain(|name| name == "member" || name.starts_with(ASIDE));
    Ok(names)
}

/// Whether the host is to have a member: etcd may be somebody else's, on hosts of its own.
pub async fn is_wanted(probe: &dyn Probe) -> Result<bool> {
    Ok(probe.stat(Utf8Path::new(&paths::static_pod(StaticPod::Etcd))).await?.is_some())
}
