//! What tells why a component does not come up: the kubelet's journal, containers that ended, their last words.

use serde::Deserialize;

use crate::engine::Probe;

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
