//! What tells why a component does not come up: the kubelet's journal, containers that ended, their last words.

use serde::Deserialize;
use serde_json::Value;

use crate::engine::Probe;
use crate::kube::Connector;

const LINES: &str = "8";

/// The end of the kubelet's journal.
pub async fn kubelet(probe: &dyn Probe) -> Vec<String> {
    let argv = ["journalctl", "-u", "kubelet.service", "-n", LINES, "--no-pager", "-o", "cat"];
    let Ok(output) = probe.query(&argv).await else { return Vec::new() };
    output.stdout.lines().map(|line| format!("kubelet: {line}")).collect()
}

/// Containers of these names that are not running, and the end of their logs.
pub async fn containers(probe: &dyn Probe, names: &[&str]) -> Vec<String> {
    let Ok(output) = probe.query(&["crictl", "ps", "-a", "-o", "json"]).await else { return Vec::new() };
    let Ok(list) = serde_json::from_str::<List>(&output.stdout) else {
        return vec![format!("crictl: {}", output.stderr.lines().last().unwrap_or("no answer"))];
    };
    let mut lines = Vec::new();
    for name in names {
        // Newest first, as crictl lists them.
        let Some(container) = list.containers.iter().find(|container| container.metadata.name == *name) else {
            lines.push(format!("{name}: no container was made"));
            continue;
        };
        let state = container.state.trim_start_matches("CONTAINER_").to_lowercase();
        lines.push(format!("{name}: {state}, started {} times", container.metadata.attempt + 1));
        if let Ok(log) = probe.query(&["crictl", "logs", "--tail", LINES, &container.id]).await {
            lines.extend(log.stdout.lines().chain(log.stderr.lines()).map(|line| format!("{name}: {line}")));
        }
    }
    lines
}

/// The cluster's pods that have a container which waits for something, and for what.
pub async fn pods(kube: &Connector, probe: &dyn Probe) -> Vec<String> {
    let Ok(Some(view)) = kube.view(probe).await else { return Vec::new() };
    view.list("v1", "Pod", None, "").await.unwrap_or_default().iter().filter_map(trouble).collect()
}

/// Why a pod's container waits, if it does.
fn trouble(pod: &Value) -> Option<String> {
    let name = pod["metadata"]["name"].as_str()?;
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let containers = statuses.iter().filter_map(|field| pod["status"][*field].as_array()).flatten();
    let waiting = containers.map(|container| &container["state"]["waiting"]).find(|waiting| waiting.is_object())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    Some(format!("pod {name}: {} {}", text(&waiting["reason"]), text(&waiting["message"])))
}

#[derive(Deserialize)]
struct List {
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    id: String,
    state: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    attempt: u32,
}
