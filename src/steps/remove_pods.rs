//! No pod runs any more. A runtime that is there and does not run is started for it: pods outlive their runtime.

use async_trait::async_trait;
use camino::Utf8Path;
use serde::Deserialize;

use crate::engine::{Change, Failure, Planned, Probe, Result, Step, UnitChange};

const RUNTIME: &str = "containerd.service";
/// Where the runtime keeps what it knows of running pods.
const SANDBOXES: &str = "/run/containerd/io.containerd.runtime.v2.task/k8s.io";

pub struct RemovePods;

pub enum Observed {
    /// The pods' sandboxes.
    Pods(Vec<Sandbox>),
    /// The runtime has pods and does not run.
    Stopped,
    /// None, or no runtime that answers: what still runs then ends with its control group. Each pod has a process that holds it
    /// and ends after it; those that did not.
    Without { shims: Vec<String> },
}

#[async_trait]
impl Step for RemovePods {
    type Observed = Observed;

    fn id(&self) -> &str {
        "remove-pods"
    }

    fn title(&self) -> String {
        "Remove all pods".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Observed> {
        let output = probe.query(&["crictl", "pods", "-o", "json"]).await?;
        if output.is_success() {
            let list: List = serde_json::from_str(&output.stdout)
                .map_err(|error| Failure::new(format!("failed to read crictl's list of pods: {error}")))?;
            if !list.items.is_empty() {
                return Ok(Observed::Pods(list.items));
            }
            return Ok(Observed::Without { shims: shims(probe).await? });
        }
        let unit = probe.query(&["systemctl", "show", RUNTIME, "--property=LoadState,ActiveState"]).await?;
        let says = |field: &str| unit.stdout.lines().any(|line| line == field);
        let left = probe.list(Utf8Path::new(SANDBOXES)).await?.unwrap_or_default();
        Ok(match (says("LoadState=loaded"), says("ActiveState=active") || says("ActiveState=activating")) {
            (true, false) if !left.is_empty() && output.code != Some(127) => Observed::Stopped,
            _ => Observed::Without { shims: shims(probe).await? },
        })
    }

    fn diff(&self, observed: Observed) -> Planned {
        let sandboxes = match observed {
            Observed::Stopped => {
                let unit = RUNTIME.into();
                let change = UnitChange { unit, start: Some(true), ..UnitChange::default() };
                return Planned::Changes(vec![Change::SetUnit(change)]);
            }
            Observed::Without { shims } if shims.is_empty() => return Planned::Satisfied,
            Observed::Without { shims } => {
                let shims = shims.join(" ");
                // A killed process takes a moment to go.
                let script = format!(
                    "kill -9 {shims}; for p in {shims}; do n=0; while kill -0 $p && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done; done 2>/dev/null; true"
                );
                return Planned::Changes(vec![Change::shell("end what still holds pods that are gone", script)]);
            }
            Observed::Pods(sandboxes) => sandboxes,
        };
        let names: Vec<&str> = sandboxes.iter().map(|sandbox| sandbox.metadata.name.as_str()).collect();
        let why = format!("stop and remove the pods {}", names.join(", "));
        let argv = ["crictl", "--timeout", "60s", "rmp", "--force"]
            .map(String::from)
            .into_iter()
            .chain(sandboxes.iter().map(|s| s.id.clone()));
        Planned::Changes(vec![Change::Run { argv: argv.collect(), why, undo: None }])
    }
}

/// The processes by which containerd holds Kubernetes' pods, and nobody else's.
async fn shims(probe: &dyn Probe) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in probe.list(Utf8Path::new("/proc")).await?.unwrap_or_default() {
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // One that has ended meanwhile.
        let Ok(Some(command)) = probe.read(Utf8Path::new(&format!("/proc/{name}/cmdline"))).await else { continue };
        let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
        let is_shim = words[0].ends_with(b"/containerd-shim-runc-v2");
        if is_shim && words.windows(2).any(|pair| pair == [b"-namespace".as_slice(), b"k8s.io".as_slice()]) {
            found.push(name);
        }
    }
    Ok(found)
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Sandbox>,
}

#[derive(Deserialize)]
pub struct Sandbox {
    id: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    const SHOW: &str = "systemctl show containerd.service --property=LoadState,ActiveState";

    async fn planned(host: FakeHost) -> Planned {
        RemovePods.diff(RemovePods.observe(&host).await.unwrap())
    }

    #[tokio::test]
    async fn a_stopped_runtime_with_pods_is_started_first() {
        let sign = format!("{SANDBOXES}/a/init.pid");
        let host = || FakeHost::default().answer("crictl pods -o json", 1, "");
        let stopped = "LoadState=loaded\nActiveState=inactive\n";
        let Planned::Changes(changes) = planned(host().answer(SHOW, 0, stopped).file(&sign, "")).await else {
            panic!("no change")
        };
        assert_eq!(changes[0].to_string(), "containerd.service: start");
        assert_eq!(planned(host().answer(SHOW, 0, stopped)).await, Planned::Satisfied);
        let broken = "LoadState=loaded\nActiveState=active\n";
        assert_eq!(planned(host().answer(SHOW, 0, broken).file(&sign, "")).await, Planned::Satisfied);
    }

    #[tokio::test]
    async fn a_shim_whose_pod_is_gone_is_ended_and_no_other_runtimes() {
        let shim = |namespace: &str| format!("/usr/bin/containerd-shim-runc-v2\0-namespace\0{namespace}\0-id\0a\0");
        let host = FakeHost::default()
            .answer("crictl pods -o json", 0, "{}")
            .file("/proc/7/cmdline", shim("k8s.io"))
            .file("/proc/8/cmdline", shim("moby"))
            .file("/proc/9/cmdline", "");
        let Planned::Changes(changes) = planned(host).await else { panic!("no change") };
        assert!(changes[0].to_string().starts_with("end what still holds pods that are gone (`sh -c kill -9 7;"));
    }

    #[tokio::test]
    async fn all_pods_go_at_once() {
        let list =
            r#"{"items": [{"id": "1a", "metadata": {"name": "etcd-n1"}}, {"id": "2b", "metadata": {"name": "web"}}]}"#;
        let Planned::Changes(changes) = planned(FakeHost::default().answer("crictl pods -o json", 0, list)).await
        else {
            panic!("no change")
        };
        assert_eq!(
            changes[0].to_string(),
            "stop and remove the pods etcd-n1, web (`crictl --timeout 60s rmp --force 1a 2b`)"
        );
    }
}
