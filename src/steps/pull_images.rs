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

const FIRST_STEP: &str = "pull-first-images";
const OTHER_STEP: &str = "pull-other-images";

/// What etcd needs, on hosts of its own.
pub fn of_etcd(context: &Context) -> Converge {
    let images = OF_ETCD.iter().map(|name| context.locked_image(context.cluster.image(name))).collect();
    Converge::new("pull-etcd-images", "Pull etcd's images").deadline(context.install_deadline()).with(Images(images))
}

/// What the API server needs to answer.
pub fn first(context: &Context) -> Converge {
    pull(FIRST_STEP, "Pull the images of etcd and the API server", context, &FIRST, Vec::new())
}

/// What else a control plane runs.
pub fn other(context: &Context) -> Result<Converge> {
    Ok(pull(OTHER_STEP, "Pull the other images", context, &OTHER, network(&context.cluster)?))
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
pub const CONTROL_PLANE_IMAGE_STEPS: [&str; 2] = [FIRST_STEP, OTHER_STEP];

/// The images that a control plane runs.
pub fn control_plane_images(cluster: &Cluster) -> Result<Vec<String>> {
    images(cluster, FIRST.into_iter().chain(OTHER))
}

/// All images that this host pulls with a lock.
pub(super) fn all(context: &Context) -> Result<Vec<String>> {
    let (host, cluster) = (context.host()?, &context.cluster);
    if host.is_etcd() {
        return Ok(OF_ETCD.iter().map(|name| cluster.image(name)).collect());
    }
    if host.is_control_plane() {
        return control_plane_images(cluster);
    }
    images(cluster, NODE.into_iter().chain(["coredns"]))
}

/// Those of these images that anything runs, and the pod network's.
fn images(cluster: &Cluster, names: impl Iterator<Item = &'static str>) -> Result<Vec<String>> {
    let names = names.filter(|name| is_run(name, cluster));
    Ok(names.map(|name| cluster.image(name)).chain(network(cluster)?).collect())
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
