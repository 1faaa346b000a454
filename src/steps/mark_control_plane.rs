//! The label and the taint by which a control plane's node is known.

use crate::engine::Result;
use crate::manifest;
use crate::resource::{Converge, Node};

use super::Make;

pub fn step(make: &Make<'_>) -> Result<Converge> {
    let host = make.context.host()?;
    let labels = manifest::node_labels(host).into_iter().collect();
    let taints = make.context.cluster.node_taints(host);
    Ok(Converge::new("mark-control-plane", "Mark the control plane's node")
        .deadline(make.context.ready_deadline())
        .with(Node {
            kube: make.services.kube.clone(),
            name: host.name.clone(),
            labels,
            taints,
            is_needed: true,
            is_former: false,
        }))
}
