//! What tells why a component does not come up: the kubelet's journal, containers that ended, their last words.

use serde::Deserialize;
use serde_json::Value;

use crate::engine::Probe;
use crate::kube::Connector;

const LINES: &str = "8";
const MOST: usize = 8;

/// The last errors in the kubelet's journal; its end where there are none. As it starts it prints its whole configuration, which
/// would hide what it died of.
pub async fn kubelet(probe: &dyn Probe) -> Vec<String> {
    let argv = ["journalctl", "-u", "kubelet.service", "-n", "300", "--no-pager", "-o", "cat"];
    let Ok(output) = probe.query(&argv).await else { return Vec::new() };
    let all: Vec<&str> = output.stdout.lines().collect();
    let errors: Vec<&str> = all.iter().copied().filter(|line| is_error(line)).collect();
    let told = if errors.is_empty() { all } else { errors };
    told[told.len().saturating_sub(MOST)..].iter().map(|line| format!("kubelet: {line}")).collect()
}

/// The end of a service's journal.
pub async fn journal(probe: &dyn Probe, service: &str) -> Vec<String> {
    let unit = format!("{service}.service");
    let argv = ["journalctl", "-u", &unit, "-n", LINES, "--no-pager", "-o", "cat"];
    let Ok(output) = probe.query(&argv).await else { return Vec::new() };
    output.stdout.lines().map(|line| format!("{service}: {line}")).collect()
}

/// As Kubernetes' components write one: `E1122 17:00:00.123456 …`.
fn is_error(line: &str) -> bool {
    line.strip_prefix('E').is_some_and(|rest| rest.len() > 4 && rest.bytes().take(4).all(|byte| byte.is_ascii_digit()))
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

/// The cluster's pods that wait for something, and the nodes that keep pods away, each with the reason.
pub async fn pods(kube: &Connector, probe: &dyn Probe) -> Vec<String> {
    let Ok(Some(view)) = kube.view(probe).await else { return Vec::new() };
    let nodes = view.list("v1", "Node", None, "").await.unwrap_or_default();
    let pods = view.list("v1", "Pod", None, "").await.unwrap_or_default();
    nodes.iter().flat_map(pressure).chain(pods.iter().filter_map(trouble)).collect()
}

/// What a node runs out of. It then takes no further pods, and evicts some.
fn pressure(node: &Value) -> Vec<String> {
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    let is_pressed = |condition: &&Value| {
        condition["status"] == "True" && condition["type"].as_str().is_some_and(|kind| kind.ends_with("Pressure"))
    };
    conditions.filter(is_pressed).map(|condition| format!("node {name}: {}", text(&condition["message"]))).collect()
}

/// Why a pod has no place yet, or a container of it waits, if one does.
fn trouble(pod: &Value) -> Option<String> {
    let name = pod["metadata"]["name"].as_str()?;
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let is_unplaced = |condition: &&Value| condition["type"] == "PodScheduled" && condition["status"] == "False";
    if let Some(condition) = conditions.find(is_unplaced) {
        return Some(format!("pod {name}: {} {}", text(&condition["reason"]), text(&condition["message"])));
    }
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let containers = statuses.iter().filter_map(|field| pod["status"][*field].as_array()).flatten();
    let waiting = containers.map(|container| &container["state"]["waiting"]).find(|waiting| waiting.is_object())?;
    let node = text(&pod["spec"]["nodeName"]);
    Some(format!("pod {name} on {node}: {} {}", text(&waiting["reason"]), text(&waiting["message"])))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_tells_what_it_runs_out_of() {
        let condition =
            |kind: &str, status: &str| json!({"type": kind, "status": status, "message": format!("about {kind}")});
        let conditions =
            [condition("DiskPressure", "True"), condition("MemoryPressure", "False"), condition("Ready", "True")];
        let node = json!({"metadata": {"name": "n1"}, "status": {"conditions": conditions}});
        assert_eq!(pressure(&node), ["node n1: about DiskPressure"]);
    }

    #[test]
    fn a_pod_tells_what_it_waits_for() {
        let pod = |status: Value| json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1"}, "status": status});
        let unplaced = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}]});
        assert_eq!(trouble(&pod(unplaced)).unwrap(), "pod p: Unschedulable no node");
        let waiting =
            json!({"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "404"}}}]});
        assert_eq!(trouble(&pod(waiting)).unwrap(), "pod p on n1: ImagePullBackOff 404");
        assert_eq!(trouble(&pod(json!({"containerStatuses": [{"state": {"running": {}}}]}))), None);
    }

    #[tokio::test]
    async fn the_kubelet_s_last_errors_come_before_what_it_prints_as_it_starts() {
        use crate::engine::fake::FakeHost;
        let argv = "journalctl -u kubelet.service -n 300 --no-pager -o cat";
        let died = "E1122 17:00:00.000001 run.go:72] unknown eviction signal memory.nothing";
        let dump = "\tvolumeStatsAggPeriod: 1m0s\n".repeat(20);
        let told = |journal: String| async move { kubelet(&FakeHost::default().answer(argv, 0, &journal)).await };
        assert_eq!(told(format!("{died}\n{dump}Etc.\n")).await, [format!("kubelet: {died}")]);
        assert_eq!(told(dump).await.len(), MOST);
    }
}
