//! The kubeconfigs of the administrators, of the kubelet and of the control plane's components.

use camino::Utf8PathBuf;

use crate::engine::{Failure, Result};
use crate::pki::kubeconfig::cluster_kubeconfigs;
use crate::resource::{ClientKubeconfig, Converge};

use super::Context;
use super::issue_certificates::{layout, path};

pub fn step(context: &Context) -> Result<Converge> {
    let wanted = cluster_kubeconfigs(&layout(context)?).map_err(|error| Failure::new(format!("failed to {error}")))?;
    // As with kubeadm, only the first control plane has the one that no RBAC rule binds.
    let wanted = wanted.into_iter().filter(|wanted| context.begins_cluster() || wanted.file != "super-admin.conf");
    let files = wanted.map(|wanted| ClientKubeconfig {
        path: Utf8PathBuf::from(format!("/etc/kubernetes/{}", wanted.file)),
        wanted,
        authority: (path("ca.crt"), path("ca.key")),
    });
    Ok(Converge::new("write-kubeconfigs", "Write kubeconfigs").with_all(files))
}
