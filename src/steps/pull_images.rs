//! Images on the host before their pods ask for them. The kubelet would pull them, too, but later and one by one.

use crate::engine::Result;
use crate::inventory::Cluster;
use crate::manifest;
use crate::resource::{Converge, Images};

use super::{Context, unrendered};

/// What the API server needs to answer.
pub fn first(context: &Context) -> Converge {
    pull(
        "pull-first-images",
        "Pull the images of etcd and the API server",
        context,
        &["pause", "etcd", "kube-apiserver"],
        Vec::new(),
    )
}

/// What else a control plane runs.
pub fn other(context: &Context) -> Result<Converge> {
    let names = ["kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"];
    Ok(pull("pull-other-images", "Pull the other images", context, &names, network(&context.cluster)?))
}

/// What every node runs.
pub fn node(context: &Context) -> Result<Converge> {
    let network = network(&context.cluster)?;
    Ok(pull("pull-node-images", "Pull the node's images", context, &["pause", "kube-proxy"], network))
}

fn pull(id: &'static str, title: &str, context: &Context, names: &[&str], more: Vec<String>) -> Converge {
    let images = names.iter().map(|name| context.cluster.image(name)).chain(more).collect();
    Converge::new(id, title).deadline(context.install_deadline()).with(Images(images))
}

fn network(cluster: &Cluster) -> Result<Vec<String>> {
    let objects = manifest::pod_network(cluster).map_err(unrendered)?;
    Ok(manifest::images(&objects).into_iter().collect())
}
