//! Connects to a run's hosts, and warns about hosts without which the run continues.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::engine::hint::INVENTORY;
use crate::engine::{Event, Failure, Hint, Kind, Mode, Sink, Text, millis_since, now_millis};
use crate::fleet::Fleet;
use crate::inventory::Host;
use crate::playbook::Member;
use crate::preflight::Exchange;

use super::job::{Job, Reach};

/// A host that can't be reached and without which the run continues, and the cause.
pub struct Unreached {
    host: String,
    cause: Text,
}

/// Warns about control planes that can't be reached. After a recovery, they must not come back with their data. In a reset, the nodes
/// that leave stay in the cluster if no other control plane can be reached.
pub fn tell_helpless(job: &Job<'_>, members: &[Member], missing: &[Unreached], events: &mpsc::UnboundedSender<Event>) {
    if let Some(survivor) = job.intent.survivor() {
        for Unreached { host, cause } in missing {
            let text =
                format!("{host} can't be reached ({cause}) and is given up: with its data it must not come back");
            let hint =
                Hint::text(format!("should it come back: `kboot reset -i {INVENTORY} --host {host}`, then `kboot up`"));
            Sink::new(survivor, events.clone()).emit(Kind::Warning { text: text.into(), hint: Some(hint) });
        }
        return;
    }
    // Other hosts that stay can't delete nodes.
    let helps = |host: &str| job.intent.is_helper(host) && job.cluster.host(host).is_some_and(Host::is_control_plane);
    let missing: Vec<&Unreached> = missing.iter().filter(|one| helps(&one.host)).collect();
    if missing.is_empty() || members.iter().any(|member| helps(&member.host)) {
        return;
    }
    // The warning is for a host that leaves, because the helpers are not part of the report.
    let leaving = job.intent.leaving();
    let names = leaving.join(" ");
    let asked: Vec<String> = missing.iter().map(|one| format!("{} can't be asked: {}", one.host, one.cause)).collect();
    let text = format!("the nodes {names} stay in the cluster, for {}", asked.join("; "));
    let hint = Some(Hint::text(format!("once it can: `kubectl delete node {names}`")));
    Sink::new(&leaving[0], events.clone()).emit(Kind::Warning { text: text.into(), hint });
}

/// How long an answer may take before the run reports that it waits for the host.
const NOTICE: Duration = Duration::from_secs(2);

/// Waits for a host's answer, and reports that if it takes long.
pub async fn noticed<T>(sink: &Sink, answer: impl Future<Output = T>) -> T {
    tokio::pin!(answer);
    if let Ok(answer) = tokio::time::timeout(NOTICE, &mut answer).await {
        return answer;
    }
    sink.emit(Kind::Silent { millis: NOTICE.as_millis() as u64 });
    answer.await
}

/// Starts an agent on a host and asks it for facts. Reports a failure as an event, unless the run continues without the host.
pub async fn reach(
    job: &Job<'_>,
    fleet: &Fleet,
    host: &str,
    events: &mpsc::UnboundedSender<Event>,
) -> Result<(Member, Exchange), Option<Unreached>> {
    let sink = Sink::new(host, events.clone());
    let started = Instant::now();
    let attempt = async {
        let client = match job.reach {
            Reach::Here => crate::agent::serve_here(),
            Reach::Ssh => {
                let host =
                    job.cluster.host(host).ok_or_else(|| Failure::new(format!("the inventory has no host {host}")))?;
                // A dry run leaves nothing on the host, not even the agent. Neither does a run that takes the host out of the cluster.
                let stays = job.mode == Mode::Apply && !job.intent.clears(&host.name);
                fleet.agent(job.cluster, host, stays).await?
            }
        };
        let asked = now_millis();
        let facts = client.facts().await?;
        Ok::<_, Failure>((client, facts, Exchange { asked, answered: now_millis() }))
    };
    match noticed(&sink, attempt).await {
        Ok((client, facts, exchange)) => {
            // The run knows only later whether it needs a helper.
            if !job.intent.is_helper(host) {
                sink.emit(Kind::Connected { millis: millis_since(started) });
            }
            Ok((Member { host: host.into(), client: Arc::new(client), facts }, exchange))
        }
        Err(failure) => {
            if job.can_do_without(host) {
                return Err(Some(Unreached { host: host.into(), cause: failure.cause }));
            }
            sink.emit(Kind::Failed { failure });
            Err(None)
        }
    }
}

/// Adds the inventory's path to a hint, so that its command works unchanged. The code that connects to hosts does not know the path.
pub fn name_inventory(hint: &mut Option<Hint>, path: &str) {
    *hint = hint.take().map(|hint| hint.with_inventory(path));
}
