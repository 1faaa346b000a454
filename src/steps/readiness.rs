//! Whether pods are ready by their own word. A kubelet asks a readiness probe at times of its own: flannel's for the first time ten
//! seconds after its start. Here the same question is asked through the API server, now.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::engine::Result;
use crate::kube::View;
// Pods tell it as nodes do.
use crate::kube::node::is_ready;

/// Whether as many pods as a DaemonSet or a Deployment wants are ready, or answer the question of their readiness probe. Those on the
/// nodes to do without need not; on others there must be one at least.
pub(super) async fn all_ready(view: &View, owner: &Value, wanted: u64, without: &BTreeSet<String>) -> Result<bool> {
    let namespace = owner["metadata"]["namespace"].as_str().unwrap_or_default();
    let pods = view.list("v1", "Pod", Some(namespace), &labels(owner)).await?;
    let Some(unsure) = unsure(&pods, wanted, without) else { return Ok(false) };
    let question = question(owner);
    for name in unsure {
        let Some(question) = &question else { return Ok(false) };
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{}/proxy{}", question.port, question.path);
        if view.raw(&path).await.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The pods that run and may be ready without the cluster's knowing yet. None if one is missing or does not run: there is nobody to ask.
fn unsure<'a>(pods: &'a [Value], wanted: u64, without: &BTreeSet<String>) -> Option<Vec<&'a str>> {
    let is_elsewhere = |pod: &&Value| pod["spec"]["nodeName"].as_str().is_some_and(|node| without.contains(node));
    let mut needed = pods.iter().filter(|pod| !is_elsewhere(pod)).peekable();
    if needed.peek().is_none() || (pods.len() as u64) < wanted {
        return None;
    }
    let silent = needed.filter(|pod| !is_ready(pod));
    silent.map(|pod| pod["metadata"]["name"].as_str().filter(|_| pod["status"]["phase"] == "Running")).collect()
}

#[derive(Debug, PartialEq)]
struct Question {
    port: u64,
    path: String,
}

/// What the readiness probe of the only container asks; None if it has none, or one that is for the node's own ears.
fn question(daemon_set: &Value) -> Option<Question> {
    let containers = daemon_set["spec"]["template"]["spec"]["containers"].as_array()?;
    let [container] = containers.as_slice() else { return None };
    let get = &container["readinessProbe"]["httpGet"];
    if get["host"].is_string() || get["scheme"].as_str().is_some_and(|scheme| scheme != "HTTP") {
        return None;
    }
    let port = http_port(container)?;
    Some(Question { port, path: get["path"].as_str().unwrap_or("/").into() })
}

/// The port of a container's readiness probe, which may have a name.
pub(super) fn http_port(container: &Value) -> Option<u64> {
    match &container["readinessProbe"]["httpGet"]["port"] {
        Value::String(name) => {
            let ports = container["ports"].as_array()?;
            ports.iter().find(|port| port["name"] == name.as_str())?["containerPort"].as_u64()
        }
        number => number.as_u64(),
    }
}

/// A selector of its pods.
pub(super) fn labels(daemon_set: &Value) -> String {
    let labels = daemon_set["spec"]["selector"]["matchLabels"].as_object();
    let pairs =
        labels.into_iter().flatten().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(container: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": [container]}}}})
    }

    #[test]
    fn the_port_may_be_a_name() {
        let named = json!({
            "ports": [{"name": "x", "containerPort": 1}, {"name": "healthz", "containerPort": 8081}],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "healthz"}},
        });
        assert_eq!(question(&with(named)), Some(Question { port: 8081, path: "/readyz".into() }));
        let number = json!({"readinessProbe": {"httpGet": {"port": 80, "scheme": "HTTP"}}});
        assert_eq!(question(&with(number)), Some(Question { port: 80, path: "/".into() }));
    }

    #[test]
    fn not_every_probe_can_be_asked_from_elsewhere() {
        assert_eq!(question(&with(json!({}))), None);
        assert_eq!(question(&with(json!({"readinessProbe": {"exec": {"command": ["true"]}}}))), None);
        let of = |get: Value| question(&with(json!({"readinessProbe": {"httpGet": get}})));
        assert_eq!(of(json!({"host": "127.0.0.1", "port": 6784})), None);
        assert_eq!(of(json!({"scheme": "HTTPS", "port": 443})), None);
        assert_eq!(of(json!({"port": "unknown"})), None);
    }

    #[test]
    fn pods_on_nodes_to_do_without_are_not_waited_for() {
        let pod = |name: &str, phase: &str, ready: &str| {
            json!({"metadata": {"name": name}, "spec": {"nodeName": format!("on-{name}")}, "status": {
                "phase": phase, "conditions": [{"type": "Ready", "status": ready}],
            }})
        };
        let pods = [pod("a", "Running", "True"), pod("b", "Running", "False"), pod("c", "Pending", "False")];
        let without = |nodes: &[&str]| nodes.iter().map(ToString::to_string).collect::<BTreeSet<String>>();
        assert_eq!(unsure(&pods, 3, &without(&[])), None);
        assert_eq!(unsure(&pods, 3, &without(&["on-c"])), Some(vec!["b"]));
        assert_eq!(unsure(&pods, 3, &without(&["on-b", "on-c"])), Some(vec![]));
        assert_eq!(unsure(&pods, 3, &without(&["on-a", "on-b", "on-c"])), None);
        assert_eq!(unsure(&pods[..2], 3, &without(&["on-b", "on-c"])), None);
    }

    #[test]
    fn a_selector_becomes_a_query() {
        let set = json!({"spec": {"selector": {"matchLabels": {"app": "flannel", "k8s-app": "flannel"}}}});
        assert_eq!(labels(&set), "app=flannel,k8s-app=flannel");
    }
}
