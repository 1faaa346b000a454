//! The pods of the nodes that leave the cluster have gone elsewhere, as far as their disruption budgets let them.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use serde_json::Value;

use crate::engine::{AnyStep, Change, Result, Text};
use crate::kube::View;

use super::Make;
use super::parting::{Lenient, Parting};

struct DrainNodes {
    nodes: Vec<String>,
    seconds: u64,
    /// Draining is tried once: pods that don't go are told, and end with their node.
    is_tried: AtomicBool,
}

pub fn step(make: &Make<'_>) -> impl AnyStep + use<> {
    let inputs = &make.context.inputs;
    let drain =
        DrainNodes { nodes: inputs.leaving.clone(), seconds: inputs.drain_seconds, is_tried: AtomicBool::default() };
    Lenient::new(make, drain)
}

#[async_trait]
impl Parting for DrainNodes {
    fn id(&self) -> &str {
        "drain-nodes"
    }

    fn title(&self) -> String {
        "Drain the nodes that leave".into()
    }

    async fn changes(&self, view: &View) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        if self.is_tried.load(Ordering::Relaxed) {
            return Ok(changes);
        }
        for node in &self.nodes {
            let Some(object) = view.get("v1", "Node", None, node).await? else { continue };
            let pods = evictable(&view.pods_on(node).await?);
            let is_cordoned = object["spec"]["unschedulable"] == true;
            if !pods.is_empty() || !is_cordoned {
                changes.push(Change::DrainNode { node: node.clone(), pods, seconds: self.seconds });
            }
        }
        self.is_tried.store(true, Ordering::Relaxed);
        Ok(changes)
    }

    fn omitted(&self, cause: &Text) -> String {
        format!("no node is drained: {cause}")
    }
}

/// Those that can be somewhere else: a DaemonSet's and static pods belong to the node, and what has ended needs no place.
fn evictable(pods: &[Value]) -> Vec<String> {
    let is_bound = |pod: &Value| {
        let owners = pod["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
        pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string()
            || owners.iter().any(|owner| owner["kind"] == "DaemonSet" && owner["controller"] == true)
    };
    let has_ended = |pod: &Value| matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let name = |pod: &Value| {
        let metadata = &pod["metadata"];
        Some(format!("{}/{}", metadata["namespace"].as_str()?, metadata["name"].as_str()?))
    };
    pods.iter().filter(|pod| !is_bound(pod) && !has_ended(pod)).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_pods_that_can_run_elsewhere_are_evicted() {
        let pod = |name: &str, more: Value, phase: &str| {
            let mut metadata = json!({"namespace": "a", "name": name});
            metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"metadata": metadata, "status": {"phase": phase}})
        };
        let owner = |kind: &str| json!({"ownerReferences": [{"kind": kind, "controller": true}]});
        let pods = [
            pod("web", owner("ReplicaSet"), "Running"),
            pod("proxy", owner("DaemonSet"), "Running"),
            pod("etcd", json!({"annotations": {"kubernetes.io/config.mirror": "x"}}), "Running"),
            pod("job", owner("Job"), "Succeeded"),
            pod("alone", json!({}), "Pending"),
        ];
        assert_eq!(evictable(&pods), ["a/web", "a/alone"]);
    }
}
