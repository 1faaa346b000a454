//! The inventory's labels and taints on the other nodes that have registered.

use crate::manifest;
use crate::resource::{Converge, Node};

use super::Make;

pub fn step(make: &Make<'_>) -> Converge {
    let (cluster, inputs) = (&make.context.cluster, &make.context.inputs);
    // The control plane's own has its marks already, before anything could be placed there.
    let others = cluster.nodes().filter(|host| host.name != make.context.host);
    let nodes = others.map(|host| Node {
        kube: make.services.kube.clone(),
        name: host.name.clone(),
        labels: manifest::node_labels(host).into_iter().collect(),
        taints: cluster.node_taints(host),
        // A host that failed to join has no node to be marked.
        is_needed: inputs.unregistered.contains(&host.name) && !inputs.failed.contains(&host.name),
        // In a plan it is still there.
        is_former: inputs.is_dry_run && inputs.bare.contains(&host.name),
    });
    Converge::new("label-nodes", "Label and taint the nodes").deadline(make.context.ready_deadline()).with_all(nodes)
}
