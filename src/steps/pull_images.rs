//! Images on the host before their pods ask for them. The kubelet would pull them, too, but later and one by one.

use crate::engine::Result;
use crate::inventory::Cluster;
use crate::manifest;
use crate::resource::{Converge, Images};

use super::{Context, unrendered};

const FIRST: [&str; 3] = ["pause", "etcd", "kube-apiserver"];
const OTHER: [&str; 4] = ["kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"];
const OF_ETCD: [&str; 2] = ["pause", "etcd"];
const NODE: [&str; 2] = ["pause", "kube-proxy"];

/// What etcd needs, on hosts of its own.
pub fn of_etcd(context: &Context) -> Converge {
    let images = OF_ETCD.iter().map(|name| context.locked_image(context.cluster.image(name))).collect();
    Converge::new("pull-etcd-images", "Pull etcd's images").deadline(context.install_deadline()).with(Images(images))
}

/// What the API server needs to answer.
pub fn first(context: &Context) -> Converge {
    pull("pull-first-images", "Pull the images of etcd and the API server", context, &FIRST, Vec::new())
}

/// What else a control plane runs.
pub fn other(context: &Context) -> Result<Converge> {
    Ok(pull("pull-other-images", "Pull the other images", context, &OTHER, network(&context.cluster)?))
}

/// What every node runs.
pub fn node(context: &Context) -> Result<Converge> {
    let mut more = network(&context.cluster)?;
    if context.inputs.lock.is_some() && context.cluster.dns.enabled {
        // Its pods may land here, and no kubelet is to ask a registry for a tag.
        more.push(context.cluster.image("coredns"));
    }
    Ok(pull("pull-node-images", "Pull the node's images", context, &NODE, more))
}

/// The steps that pull a control plane's images.
pub const OF_CONTROL_PLANES: [&str; 2] = ["pull-first-images", "pull-other-images"];

/// The images that a control plane runs.
pub fn of_control_plane(cluster: &Cluster) -> Result<Vec<String>> {
    let names = FIRST.into_iter().chain(OTHER).filter(|name| is_run(name, cluster));
    Ok(names.map(|name| cluster.image(name)).chain(network(cluster)?).collect())
}

/// All images that this host pulls with a lock.
pub(super) fn all(context: &Context) -> Result<Vec<String>> {
    let host = context.host()?;
    if host.is_etcd() {
        return Ok(OF_ETCD.iter().map(|name| context.cluster.image(name)).collect());
    }
    if host.is_control_plane() {
        return of_control_plane(&context.cluster);
    }
    let names = NODE.into_iter().chain(["coredns"]).filter(|name| is_run(name, &context.cluster));
    Ok(names.map(|name| context.cluster.image(name)).chain(network(&context.cluster)?).collect())
}

/// Whether anything runs this image.
fn is_run(name: &str, cluster: &Cluster) -> bool {
    match name {
        "kube-proxy" => cluster.kube_proxy.enabled,
        "coredns" => cluster.dns.enabled,
        "etcd" => cluster.etcd_endpoints().is_none(),
        _ => true,
    }
}

fn pull(id: &'static str, title: &str, context: &Context, names: &[&str], more: Vec<String>) -> Converge {
    let images = names
        .iter()
        .filter(|name| is_run(name, &context.cluster))
        .map(|name| context.cluster.image(name))
        .chain(more)
        .map(|image| context.locked_image(image))
        .collect();
    Converge::new(id, title).deadline(context.install_deadline()).with(Images(images))
}

fn network(cluster: &Cluster) -> Result<Vec<String>> {
    let objects = manifest::pod_network(cluster).map_err(unrendered)?;
    Ok(manifest::images(&objects).into_iter().collect())
}
