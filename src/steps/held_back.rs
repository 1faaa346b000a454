//! The kubelet waits up to five minutes before it starts a container again that has ended a few times (CrashLoopBackOff). What it died
//! of before this run may have been mended since: a kubelet that is restarted starts it at once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8Path;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use crate::engine::{Change, Probe, Result, UnitChange};
use crate::manifest::{StaticPod, paths};

use super::start_kubelet::UNIT;
use super::static_pod_state::{Container, Earlier, Wanted};

/// A kubelet that has run for this long and does not hold a container back has started it again.
const PAUSE: Duration = Duration::minutes(1);

/// Belongs to one wait, which restarts the kubelet at most once.
#[derive(Default)]
pub(super) struct HeldBack {
    earlier: Mutex<Earlier>,
    is_released: AtomicBool,
}

impl HeldBack {
    /// What has the kubelet start these pods, where one has ended before the first look and is still not started again.
    pub async fn release(&self, probe: &dyn Probe, pods: &[StaticPod]) -> Result<Option<Change>> {
        if self.is_released.load(Ordering::Relaxed) {
            return Ok(None);
        }
        for pod in pods {
            let path = paths::static_pod(*pod);
            let text = match probe.read_text(Utf8Path::new(&path)).await {
                Err(failure) if failure.is_unforeseen() => continue,
                text => text?,
            };
            // Another step says what is wrong with a manifest.
            let Some(Ok(wanted)) = text.map(|text| Wanted::parse(pod.name(), &text)) else { continue };
            let Some(container) = newest(probe, *pod).await? else { continue };
            if self.ended_long_ago(&wanted, &container) && is_long_ago(kubelet_start(probe).await?) {
                self.is_released.store(true, Ordering::Relaxed);
                return Ok(Some(restart(*pod)));
            }
        }
        Ok(None)
    }

    fn ended_long_ago(&self, wanted: &Wanted, container: &Container) -> bool {
        let mut earlier = self.earlier.lock().expect("no panic while held");
        is_long_ago(wanted.ended_before(container, &mut earlier))
    }
}

fn is_long_ago(moment: Option<OffsetDateTime>) -> bool {
    moment.is_some_and(|moment| OffsetDateTime::now_utc() - moment > PAUSE)
}

/// When the kubelet's process was started, if it runs.
async fn kubelet_start(probe: &dyn Probe) -> Result<Option<OffsetDateTime>> {
    let argv = ["systemctl", "show", UNIT, "--property=ExecMainStartTimestamp", "--timestamp=unix"];
    let shown = probe.query(&argv).await?;
    let seconds = shown.text().trim_start_matches("ExecMainStartTimestamp=@").parse().ok();
    Ok(seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok()))
}

fn restart(pod: StaticPod) -> Change {
    let restart = Some(format!("it holds {} back, which ended before", pod.name()));
    Change::SetUnit(UnitChange { unit: UNIT.into(), restart, ..UnitChange::default() })
}

/// The component's container that was made last.
pub(super) async fn newest(probe: &dyn Probe, pod: StaticPod) -> Result<Option<Container>> {
    #[derive(Deserialize)]
    struct List {
        containers: Vec<Listed>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Listed {
        id: String,
        /// Nanoseconds since 1970.
        created_at: String,
    }
    let name = format!("^{}$", pod.name());
    // Where crictl is yet to come, as in a plan for a bare host, there is none.
    let Ok(output) = probe.query(&["crictl", "ps", "-a", "--name", &name, "-o", "json"]).await else { return Ok(None) };
    // While containerd starts anew nobody knows.
    let Ok(list) = serde_json::from_str::<List>(&output.stdout) else { return Ok(None) };
    let age = |listed: &&Listed| listed.created_at.parse::<u128>().unwrap_or_default();
    let Some(last) = list.containers.iter().max_by_key(age) else { return Ok(None) };
    let output = probe.query(&["crictl", "inspect", &last.id]).await?;
    // It may be gone by now, or half there.
    Ok(serde_json::from_str(&output.stdout).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::format_description::well_known::Rfc3339;

    use super::*;
    use crate::engine::fake::FakeHost;

    const MANIFEST: &str = "spec: {containers: [{name: etcd, image: e, command: [etcd]}]}";

    /// An etcd that was started and has ended so long ago, in seconds.
    fn host(attempt: u32, ended: Option<i64>, kubelet_runs_for: i64) -> FakeHost {
        let list = json!({"containers": [{"id": "a", "createdAt": "5"}, {"id": "b", "createdAt": "7"}]});
        let ago = |seconds: i64| OffsetDateTime::now_utc() - Duration::seconds(seconds);
        let finished = ended.map(|ended| ago(ended).format(&Rfc3339).unwrap()).unwrap_or_default();
        let state = if ended.is_some() { "CONTAINER_EXITED" } else { "CONTAINER_RUNNING" };
        let inspected = json!({
            "info": {"config": {
                "command": ["etcd"], "image": {"user_specified_image": "e"}, "metadata": {"attempt": attempt},
            }},
            "status": {"state": state, "exitCode": 1, "startedAt": "2026-11-22T20:41:30Z", "finishedAt": finished},
        });
        let start = format!("ExecMainStartTimestamp=@{}\n", ago(kubelet_runs_for).unix_timestamp());
        FakeHost::default()
            .file("/etc/kubernetes/manifests/etcd.yaml", MANIFEST)
            .answer("crictl ps -a --name ^etcd$ -o json", 0, &list.to_string())
            .answer("crictl inspect b", 0, &inspected.to_string())
            .answer("systemctl show kubelet.service --property=ExecMainStartTimestamp --timestamp=unix", 0, &start)
    }

    async fn released(held: &HeldBack, host: &FakeHost) -> Option<String> {
        held.release(host, &StaticPod::ALL).await.unwrap().map(|change| change.to_string())
    }

    #[tokio::test]
    async fn what_ended_before_the_run_is_started_once_more_at_once() {
        let held = HeldBack::default();
        let ended = host(7, Some(120), 3600);
        let restart = "kubelet.service: restart (it holds etcd back, which ended before)";
        assert_eq!(released(&held, &ended).await.as_deref(), Some(restart));
        assert_eq!(released(&held, &ended).await, None);
    }

    #[tokio::test]
    async fn what_the_kubelet_is_about_to_start_is_left_to_it() {
        for host in [host(7, Some(5), 3600), host(7, Some(120), 5), host(0, None, 3600), FakeHost::default()] {
            assert_eq!(released(&HeldBack::default(), &host).await, None);
        }
        // It ended while it was waited for.
        let held = HeldBack::default();
        for host in [host(2, None, 3600), host(2, Some(120), 3600), host(3, Some(120), 3600)] {
            assert_eq!(released(&held, &host).await, None);
        }
    }
}
