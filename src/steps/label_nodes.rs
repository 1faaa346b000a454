//! The inventory's labels and taints on the nodes that have registered.

use crate::manifest;
use crate::resource::{Converge, Node};

use super::Make;

pub fn step(make: &Make<'_>) -> Converge {
    let cluster = &make.context.cluster;
    let nodes = cluster.hosts.iter().map(|host| Node {
        kube: make.services.kube.clone(),
        name: host.name.clone(),
        labels: manifest::node_labels(host).into_iter().collect(),
        taints: cluster.node_taints(host),
        // A host that failed to join has no node to be marked.
        is_needed: make.context.inputs.joining.contains(&host.name),
    });
    Converge::new("label-nodes", "Label and taint the nodes").deadline(make.context.ready_deadline()).with_all(nodes)
}
