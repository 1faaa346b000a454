//! A file that describes a cluster: an inventory, or kubeadm's configuration.

use camino::Utf8Path;

use crate::inventory::{self, Cluster};
use crate::kubeadm::is_kubeadm;

use super::exit::Problem;
use super::{kubeadm, up};

/// The cluster of an inventory, or of kubeadm's configuration, and whether it is the latter.
pub fn load(path: &Utf8Path) -> Result<(Cluster, bool), Problem> {
    match inventory::text(path).ok().filter(|text| is_kubeadm(text)) {
        Some(text) => Ok((kubeadm::cluster(&text, path)?, true)),
        None => Ok((up::load(path)?, false)),
    }
}
