//! CoreDNS answers, and kube-proxy and the pod network run on every node, but for those of hosts that have failed.
//!
//! A kubelet waits up to five minutes before it starts a container again that has ended a few times (CrashLoopBackOff). What it died of
//! before this run may have been mended since: a pod that is deleted comes back without that pause.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::engine::{AnyStep, Change, Evidence, Hint, Planned, Probe, Result};
use crate::inventory::{Cluster, Cni};
use crate::kube::{Connector, View};

use super::{Make, evidence, readiness};

/// A pause that is longer than this is of a container that has ended a few times already.
const PAUSE: time::Duration = time::Duration::minutes(1);

pub struct WaitForAddons {
    kube: Connector,
    workloads: Workloads,
    deadline: Duration,
}

/// Kind, namespace and name.
pub(super) type Workload = (&'static str, &'static str, &'static str);

pub fn step(make: &Make<'_>) -> WaitForAddons {
    WaitForAddons {
        kube: make.services.kube.clone(),
        workloads: Workloads::new(workloads(&make.context.cluster), make.context.inputs.failed.clone()),
        deadline: make.context.ready_deadline(),
    }
}

/// What runs on every node.
pub(super) fn on_nodes(cluster: &Cluster) -> Vec<Workload> {
    let proxy = cluster.kube_proxy.enabled.then_some(("DaemonSet", "kube-system", "kube-proxy"));
    let network = match cluster.network.cni {
        Cni::Flannel => Some(("DaemonSet", "kube-flannel", "kube-flannel-ds")),
        Cni::Weave => Some(("DaemonSet", "kube-system", "weave-net")),
        Cni::None => None,
    };
    proxy.into_iter().chain(network).collect()
}

fn workloads(cluster: &Cluster) -> Vec<Workload> {
    let mut workloads = on_nodes(cluster);
    // Without a pod network CoreDNS waits for the one that its owner has yet to bring.
    if cluster.dns.enabled && cluster.network.cni != Cni::None {
        workloads.push(("Deployment", "kube-system", "coredns"));
    }
    workloads
}

/// What is to be available.
pub(super) struct Workloads {
    all: Vec<Workload>,
    /// The nodes whose pods nobody waits for.
    without: BTreeSet<String>,
    /// Only the first look tells what happened before the wait.
    has_looked: AtomicBool,
}

impl Workloads {
    pub fn new(all: Vec<Workload>, without: BTreeSet<String>) -> Self {
        Self { all, without, has_looked: AtomicBool::default() }
    }

    /// Waits for all of them. Pods that a kubelet held back before the wait are deleted first.
    pub async fn plan(&self, kube: &Connector, probe: &dyn Probe) -> Result<Planned> {
        let missing = self.missing(kube, probe).await?;
        if missing.is_empty() {
            return Ok(Planned::Satisfied);
        }
        let mut releases = Vec::new();
        if !self.has_looked.swap(true, Ordering::Relaxed) {
            // Where the API server has just gone, the wait goes on without it.
            releases = self.held_back(kube, probe).await.unwrap_or_default();
        }
        Ok(Planned::until(releases, missing.join(", ")))
    }

    /// Those that are not available yet, in words.
    async fn missing(&self, kube: &Connector, probe: &dyn Probe) -> Result<Vec<String>> {
        let Some(view) = kube.view(probe).await? else { return Ok(vec!["the API server".into()]) };
        let mut missing = Vec::new();
        for workload in &self.all {
            match self.lacking(&view, workload).await {
                Ok(lacking) => missing.extend(lacking),
                Err(failure) if failure.retryable => return Ok(vec!["the API server".into()]),
                Err(failure) => return Err(failure),
            }
        }
        Ok(missing)
    }

    async fn held_back(&self, kube: &Connector, probe: &dyn Probe) -> Result<Vec<Change>> {
        let Some(view) = kube.view(probe).await? else { return Ok(Vec::new()) };
        let mut changes = Vec::new();
        for (kind, namespace, name) in &self.all {
            let Some(owner) = view.get("apps/v1", kind, Some(namespace), name).await? else { continue };
            let pods = view.list("v1", "Pod", Some(namespace), &readiness::labels(&owner)).await?;
            let now = OffsetDateTime::now_utc();
            let held = pods.iter().filter(|pod| is_held_back(pod, now));
            changes.extend(held.map(|pod| Change::DeleteObject {
                api_version: "v1".into(),
                kind: "Pod".into(),
                namespace: Some((*namespace).into()),
                name: pod["metadata"]["name"].as_str().unwrap_or_default().into(),
            }));
        }
        Ok(changes)
    }

    /// The workload's name if it is not available, neither by its state nor by its pods' own word.
    async fn lacking(&self, view: &View, (kind, namespace, name): &Workload) -> Result<Option<String>> {
        let object = view.get("apps/v1", kind, Some(namespace), name).await?;
        let Some(lacking) = unavailable(kind, name, object.as_ref()) else { return Ok(None) };
        let Some(object) = object else { return Ok(Some(lacking)) };
        let wanted = wanted(kind, &object);
        let is_there = is_seen(&object)
            && is_updated(&object, wanted)
            && readiness::all_ready(view, &object, wanted, &self.without).await?;
        Ok((!is_there).then_some(lacking))
    }
}

/// Whether a container of it ended a while ago and is not started again yet.
fn is_held_back(pod: &Value, now: OffsetDateTime) -> bool {
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let mut containers = statuses.iter().filter_map(|field| pod["status"][*field].as_array()).flatten();
    containers.any(|container| {
        let ended = container["lastState"]["terminated"]["finishedAt"].as_str();
        let ended = ended.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        container["state"]["waiting"]["reason"] == "CrashLoopBackOff" && ended.is_some_and(|ended| now - ended > PAUSE)
    })
}

/// Why pods don't come up.
pub(super) async fn evidence(kube: &Connector, probe: &dyn Probe) -> Evidence {
    let mut lines = evidence::pods(kube, probe).await;
    lines.extend(evidence::kubelet(probe).await);
    Evidence { lines, hint: Some(Hint::Pods) }
}

#[async_trait]
impl AnyStep for WaitForAddons {
    fn id(&self) -> &str {
        "wait-for-addons"
    }

    fn title(&self) -> String {
        "Wait until the addons are available".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        self.workloads.plan(&self.kube, probe).await
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        evidence(&self.kube, probe).await
    }
}

fn unavailable(kind: &str, name: &str, object: Option<&Value>) -> Option<String> {
    let Some(object) = object else { return Some(format!("{name} (not there)")) };
    let wanted = wanted(kind, object);
    let available =
        number(&object["status"][if kind == "DaemonSet" { "numberAvailable" } else { "availableReplicas" }]);
    let is_available = is_seen(object) && wanted > 0 && available >= wanted && is_updated(object, wanted);
    (!is_available).then(|| name.to_string())
}

/// How many pods it is to have.
fn wanted(kind: &str, object: &Value) -> u64 {
    match kind {
        "DaemonSet" => number(&object["status"]["desiredNumberScheduled"]),
        _ => object["spec"]["replicas"].as_u64().unwrap_or(1),
    }
}

/// Whether its state is that of the object as it is now.
fn is_seen(object: &Value) -> bool {
    number(&object["status"]["observedGeneration"]) >= number(&object["metadata"]["generation"])
}

/// Whether all its pods are of the template as it is now. Those of a DaemonSet that its owner replaces by hand may be older.
fn is_updated(object: &Value, wanted: u64) -> bool {
    let status = &object["status"];
    match object["spec"]["updateStrategy"]["type"].as_str() {
        Some("OnDelete") => true,
        Some(_) => number(&status["updatedNumberScheduled"]) >= wanted,
        None => number(&status["updatedReplicas"]) >= wanted && number(&status["replicas"]) <= wanted,
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::samples::sample;
    use serde_json::json;

    #[test]
    fn what_is_not_installed_is_not_waited_for() {
        let mut cluster = sample().cluster;
        let names = |cluster: &Cluster| workloads(cluster).into_iter().map(|(_, _, name)| name).collect::<Vec<_>>();
        assert_eq!(names(&cluster), ["kube-proxy", "kube-flannel-ds", "coredns"]);
        (cluster.kube_proxy.enabled, cluster.dns.enabled) = (false, false);
        assert_eq!(names(&cluster), ["kube-flannel-ds"]);
        (cluster.dns.enabled, cluster.network.cni) = (true, Cni::None);
        assert_eq!(names(&cluster), Vec::<&str>::new());
    }

    #[test]
    fn a_pod_whose_pause_began_before_the_wait_is_made_again() {
        let now = OffsetDateTime::parse("2026-11-30T09:10:00Z", &Rfc3339).unwrap();
        let held = |reason: &str, ended: &str| {
            let container = json!({
                "restartCount": 9, "state": {"waiting": {"reason": reason}},
                "lastState": {"terminated": {"exitCode": 1, "finishedAt": ended}},
            });
            let running = json!({"state": {"running": {}}});
            is_held_back(&json!({"status": {"containerStatuses": [running, container]}}), now)
        };
        assert!(held("CrashLoopBackOff", "2026-11-30T09:08:00Z"));
        // The first pauses are short, and end by themselves.
        assert!(!held("CrashLoopBackOff", "2026-11-30T09:09:50Z"));
        assert!(!held("ImagePullBackOff", "2026-11-30T09:08:00Z"));
        // However often one was started that runs now.
        let runs = json!({"restartCount": 9, "state": {"running": {}}, "lastState": {"terminated": {"finishedAt": "2026-11-30T09:08:00Z"}}});
        assert!(!is_held_back(&json!({"status": {"containerStatuses": [runs]}}), now));
    }

    #[test]
    fn a_daemon_set_is_available_when_all_its_pods_are() {
        let of = |wanted: u64, available: u64, updated: u64, observed: u64| {
            json!({
                "metadata": {"generation": 2}, "spec": {"updateStrategy": {"type": "RollingUpdate"}},
                "status": {
                    "desiredNumberScheduled": wanted, "numberAvailable": available,
                    "updatedNumberScheduled": updated, "observedGeneration": observed,
                },
            })
        };
        assert_eq!(unavailable("DaemonSet", "p", Some(&of(3, 3, 3, 2))), None);
        assert!(unavailable("DaemonSet", "p", Some(&of(3, 2, 3, 2))).is_some());
        assert!(unavailable("DaemonSet", "p", Some(&of(3, 3, 2, 2))).is_some());
        assert!(unavailable("DaemonSet", "p", Some(&of(3, 3, 3, 1))).is_some());
        assert!(unavailable("DaemonSet", "p", Some(&of(0, 0, 0, 2))).is_some());
        assert!(unavailable("DaemonSet", "p", None).is_some());
    }

    #[test]
    fn a_deployment_is_available_when_its_old_pods_are_gone() {
        let of = |replicas: u64, updated: u64| json!({"spec": {"replicas": 2}, "status": {"replicas": replicas, "availableReplicas": 2, "updatedReplicas": updated}});
        assert_eq!(unavailable("Deployment", "p", Some(&of(2, 2))), None);
        assert!(unavailable("Deployment", "p", Some(&of(3, 2))).is_some());
        assert!(unavailable("Deployment", "p", Some(&of(2, 1))).is_some());
    }
}
