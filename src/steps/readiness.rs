//! Whether pods are ready by their own word. A kubelet asks a readiness probe at times of its own: flannel's for the first time ten
//! seconds after its start. Here the same question is asked through the API server, now.

use serde_json::Value;

use crate::engine::Result;
use crate::kube::View;

/// Whether as many pods as a DaemonSet wants answer the question of its readiness probe. False where it can't be asked so.
pub(super) async fn all_answer(view: &View, daemon_set: &Value) -> Result<bool> {
    let Some(question) = question(daemon_set) else { return Ok(false) };
    let namespace = daemon_set["metadata"]["namespace"].as_str().unwrap_or_default();
    let pods = view.list("v1", "Pod", Some(namespace), &labels(daemon_set)).await?;
    if pods.is_empty()
        || pods.len() as u64 != daemon_set["status"]["desiredNumberScheduled"].as_u64().unwrap_or_default()
    {
        return Ok(false);
    }
    for pod in &pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        // Before a pod runs there is nobody to ask.
        if pod["status"]["phase"] != "Running" {
            return Ok(false);
        }
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{}/proxy{}", question.port, question.path);
        if view.raw(&path).await.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
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

fn labels(daemon_set: &Value) -> String {
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
    fn a_selector_becomes_a_query() {
        let set = json!({"spec": {"selector": {"matchLabels": {"app": "flannel", "k8s-app": "flannel"}}}});
        assert_eq!(labels(&set), "app=flannel,k8s-app=flannel");
    }
}
