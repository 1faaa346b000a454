//! Controller manager and scheduler ask the API server that their kubeconfigs lead to. They read them when they start.

use async_trait::async_trait;
use camino::Utf8Path;
use serde::Deserialize;

use crate::engine::{Change, Planned, Probe, Result, Step};
use crate::manifest::StaticPod;

use super::kubeconfig_server::server;

pub struct RestartControllers;

const READERS: [(StaticPod, &str); 2] = [
    (StaticPod::ControllerManager, "/etc/kubernetes/controller-manager.conf"),
    (StaticPod::Scheduler, "/etc/kubernetes/scheduler.conf"),
];

/// A container that was started with a kubeconfig that leads elsewhere.
#[derive(Debug, PartialEq)]
pub struct Outdated {
    name: &'static str,
    container: String,
    server: String,
}

#[async_trait]
impl Step for RestartControllers {
    type Observed = Vec<Outdated>;

    fn id(&self) -> &str {
        "restart-controllers"
    }

    fn title(&self) -> String {
        "Start controllers anew that ask another API server".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Vec<Outdated>> {
        let mut outdated = Vec::new();
        for (pod, path) in READERS {
            let wanted = match probe.read_text(Utf8Path::new(path)).await {
                Err(failure) if failure.is_unforeseen() => continue,
                text => text?.as_deref().and_then(server).map(String::from),
            };
            let Some(wanted) = wanted else { continue };
            let Some((container, process)) = running(probe, pod).await? else { continue };
            // A file that is written anew is another one; the container has the one that was there when it started.
            let mounted = format!("/proc/{process}/root{path}");
            let used = probe.read_text(Utf8Path::new(&mounted)).await.ok().flatten();
            let is_other = used.as_deref().and_then(server).is_some_and(|used| used != wanted);
            if is_other {
                outdated.push(Outdated { name: pod.name(), container, server: wanted });
            }
        }
        Ok(outdated)
    }

    fn diff(&self, outdated: Vec<Outdated>) -> Planned {
        let stop = |Outdated { name, container, server }| Change::Run {
            argv: ["crictl", "stop", "--timeout=10", &container].map(String::from).into(),
            why: format!("{name}: start anew, to ask {server}"),
            undo: None,
        };
        Planned::of(outdated.into_iter().map(stop).collect())
    }
}

/// The component's container that runs, and its process.
async fn running(probe: &dyn Probe, pod: StaticPod) -> Result<Option<(String, u32)>> {
    #[derive(Deserialize)]
    struct Inspected {
        info: Info,
    }
    #[derive(Deserialize)]
    struct Info {
        #[serde(default)]
        pid: u32,
    }
    let name = format!("^{}$", pod.name());
    // Where crictl is yet to come, as on a host that kubeadm made.
    let Ok(listed) = probe.query(&["crictl", "ps", "-q", "--name", &name]).await else { return Ok(None) };
    let Some(id) = listed.stdout.lines().next().filter(|id| !id.is_empty()) else { return Ok(None) };
    let inspected = probe.query(&["crictl", "inspect", id]).await?;
    // It may be gone by now, or half there.
    let process = serde_json::from_str::<Inspected>(&inspected.stdout).ok().map(|inspected| inspected.info.pid);
    Ok(process.filter(|process| *process > 0).map(|process| (id.to_string(), process)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    fn kubeconfig(address: &str) -> String {
        format!("clusters:\n- cluster:\n    server: https://{address}:6443\n  name: x\n")
    }

    fn host(used: &str) -> FakeHost {
        let ps = |name: &str| format!("crictl ps -q --name ^{name}$");
        FakeHost::default()
            .file(READERS[0].1, kubeconfig("10.0.0.1"))
            .file(READERS[1].1, kubeconfig("10.0.0.1"))
            .file("/proc/77/root/etc/kubernetes/scheduler.conf", kubeconfig(used))
            .answer(&ps("kube-controller-manager"), 0, "")
            .answer(&ps("kube-scheduler"), 0, "abc\n")
            .answer("crictl inspect abc", 0, r#"{"info": {"pid": 77}}"#)
    }

    #[tokio::test]
    async fn one_that_asks_another_server_is_started_anew() {
        let observed = RestartControllers.observe(&host("10.0.0.9")).await.unwrap();
        let Planned::Changes(changes) = RestartControllers.diff(observed) else { panic!("no change") };
        assert_eq!(
            changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["kube-scheduler: start anew, to ask https://10.0.0.1:6443 (`crictl stop --timeout=10 abc`)"]
        );
    }

    #[tokio::test]
    async fn others_go_on() {
        for host in [host("10.0.0.1"), FakeHost::default()] {
            let observed = RestartControllers.observe(&host).await.unwrap();
            assert_eq!(RestartControllers.diff(observed), Planned::Satisfied);
        }
    }
}
