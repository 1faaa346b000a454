//! The kubeconfigs of the administrators, of the kubelet and of the control plane's components.

use camino::Utf8PathBuf;

use crate::engine::{Failure, Result};
use crate::pki::kubeconfig::cluster_kubeconfigs;
use crate::resource::{ClientKubeconfig, Converge};

use super::Context;
use super::issue_certificates::{layout, path};
use super::kubeconfig_server::Server;
use super::wait_for_certificate::KUBELET_CONF;

pub fn step(context: &Context) -> Result<Converge> {
    let wanted = cluster_kubeconfigs(&layout(context)?).map_err(|error| Failure::new(format!("failed to {error}")))?;
    // As with kubeadm, only the first control plane has the one that no RBAC rule binds.
    let wanted = wanted.into_iter().filter(|wanted| context.begins_cluster() || wanted.file != "super-admin.conf");
    let first = context.first_server();
    // With nothing in front, one that joined by hand has the address that it joined by.
    let control_planes = context.cluster.control_planes().map(|host| context.cluster.kubelet_server(host));
    let from = if context.inputs.moves_endpoint { Vec::new() } else { control_planes.collect() };
    let (mut moved, mut files) = (Vec::new(), Vec::new());
    for mut wanted in wanted {
        let file = Utf8PathBuf::from(format!("/etc/kubernetes/{}", wanted.file));
        let is_kubelet = file == KUBELET_CONF;
        if let (true, Some(server)) = (is_kubelet, &first) {
            wanted.server.clone_from(server);
        }
        if !is_kubelet && (context.inputs.moves_endpoint || context.cluster.front().is_none()) {
            moved.push(Server::new(&file, wanted.server.clone()).from(from.clone()));
        }
        // The kubelet's is `ask-own-api-server`'s.
        let keeps_server = is_kubelet;
        let authority = (path("ca.crt"), path("ca.key"));
        files.push(ClientKubeconfig { path: file, wanted, authority, keeps_server });
    }
    Ok(Converge::new("write-kubeconfigs", "Write kubeconfigs").with_all(moved).with_all(files))
}
