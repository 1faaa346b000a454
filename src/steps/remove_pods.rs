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
    /// No runtime answers: what still runs ends with its control group.
    NoAnswer,
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
            return Ok(Observed::Pods(list.items));
        }
        let unit = probe.query(&["systemctl", "show", RUNTIME, "--property=LoadState,ActiveState"]).await?;
        let says = |field: &str| unit.stdout.lines().any(|line| line == field);
        let left = probe.list(Utf8Path::new(SANDBOXES)).await?.unwrap_or_default();
        Ok(match (says("LoadState=loaded"), says("ActiveState=active") || says("ActiveState=activating")) {
            (true, false) if !left.is_empty() && output.code != Some(127) => Observed::Stopped,
            _ => Observed::NoAnswer,
        })
    }

    fn diff(&self, observed: Observed) -> Planned {
        let sandboxes = match observed {
            Observed::Stopped => {
                let unit = RUNTIME.into();
                let change = UnitChange { unit, start: Some(true), ..UnitChange::default() };
                return Planned::Changes(vec![Change::SetUnit(change)]);
            }
            Observed::NoAnswer => return Planned::Satisfied,
            Observed::Pods(sandboxes) if sandboxes.is_empty() => return Planned::Satisfied,
            Observed::Pods(sandboxes) => sandboxes,
        };
        let names: Vec<&str> = sandboxes.iter().map(|sandbox| sandbox.metadata.name.as_str()).collect();
        let why = format!("stop and remove the pods {}", names.join(", "));
        let argv =
            ["crictl", "rmp", "--force"].map(String::from).into_iter().chain(sandboxes.iter().map(|s| s.id.clone()));
        Planned::Changes(vec![Change::Run { argv: argv.collect(), why, undo: None }])
    }
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
    async fn all_pods_go_at_once() {
        let list = r#"{"items": [{"id": "1a", "metadata": {"name": "etcd-n1"}}, {"id": "2b", "metadata": {"name": "web"}}]}"#;
        let Planned::Changes(changes) = planned(FakeHost::default().answer("crictl pods -o json", 0, list)).await else {
            panic!("no change")
        };
        assert_eq!(changes[0].to_string(), "stop and remove the pods etcd-n1, web (`crictl rmp --force 1a 2b`)");
    }
}
