//! The pods of the nodes that leave the cluster have gone elsewhere, as far as their disruption budgets let them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;

use crate::engine::{AnyStep, Change, Evidence, Planned, Probe, Remark, Result};
use crate::kube::{Connector, View};

use super::Make;

/// How long an API server that does not answer is waited for: a node can be reset without it.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct DrainNodes {
    kube: Connector,
    nodes: Vec<String>,
    seconds: u64,
    course: Mutex<Course>,
}

/// How far the step is. Draining is tried once.
#[derive(Default)]
struct Course {
    began: Option<Instant>,
    is_tried: bool,
    remarks: Vec<String>,
}

pub fn step(make: &Make<'_>) -> DrainNodes {
    let inputs = &make.context.inputs;
    DrainNodes {
        kube: make.services.kube.clone(),
        nodes: inputs.leaving.clone(),
        seconds: inputs.drain_seconds,
        course: Mutex::default(),
    }
}

impl DrainNodes {
    async fn changes(&self, view: &View) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for node in &self.nodes {
            let Some(object) = view.get("v1", "Node", None, node).await? else { continue };
            let pods = evictable(&view.pods_on(node).await?);
            let is_cordoned = object["spec"]["unschedulable"] == true;
            if !pods.is_empty() || !is_cordoned {
                changes.push(Change::DrainNode { node: node.clone(), pods, seconds: self.seconds });
            }
        }
        Ok(changes)
    }
}

#[async_trait]
impl AnyStep for DrainNodes {
    fn id(&self) -> &str {
        "drain-nodes"
    }

    fn title(&self) -> String {
        "Drain the nodes that leave".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let is_late = {
            let mut course = self.course.lock().expect("no panic while held");
            if course.is_tried {
                return Ok(Planned::Satisfied);
            }
            course.began.get_or_insert_with(Instant::now).elapsed() > PATIENCE
        };
        let found = match self.kube.view(probe).await? {
            Some(view) => self.changes(&view).await,
            None => Ok(Vec::new()),
        };
        let mut course = self.course.lock().expect("no panic while held");
        match found {
            Ok(changes) => {
                course.is_tried = true;
                Ok(Planned::of(changes))
            }
            Err(failure) if failure.retryable && !is_late => Ok(Planned::after("an answer of the API server")),
            Err(failure) => {
                course.is_tried = true;
                course.remarks.push(format!("no node is drained: {}", failure.cause));
                Ok(Planned::Satisfied)
            }
        }
    }

    fn deadline(&self) -> Duration {
        PATIENCE * 3
    }

    async fn evidence(&self, _probe: &dyn Probe) -> Evidence {
        Evidence::default()
    }

    /// Pods that don't go are told; they end with their node.
    fn is_lenient(&self) -> bool {
        true
    }

    async fn remarks(&self, _probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(self.course.lock().expect("no panic while held").remarks.iter().cloned().map(Remark::Warning).collect())
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
