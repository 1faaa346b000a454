//! The way to a run's hosts, and what becomes of those that it can do without.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::engine::{Event, Failure, Hint, Kind, Mode, Sink, millis_since, now_millis};
use crate::fleet::Fleet;
use crate::inventory::Host;
use crate::playbook::Member;
use crate::preflight::Exchange;

use super::{Job, Reach};

/// A control plane that was to help hosts to leave, and why it can't be asked.
pub struct Unreached {
    host: String,
    cause: String,
}

/// Where no control plane that stays was reached, says what becomes of the nodes that leave.
pub fn tell_helpless(job: &Job<'_>, members: &[Member], missing: &[Unreached], events: &mpsc::UnboundedSender<Event>) {
    if let Some(survivor) = job.survivor {
        for Unreached { host, cause } in missing {
            let text =
                format!("{host} can't be reached ({cause}) and is given up: with its data it must not come back");
            let hint =
                Hint::text(format!("should it come back: `kboot reset -i INVENTORY --host {host}`, then `kboot up`"));
            Sink::new(survivor, events.clone()).emit(Kind::Warning { text, hint: Some(hint) });
        }
        return;
    }
    // Others that stay have nothing to do with it.
    let helps = |host: &str| job.is_helper(host) && job.cluster.host(host).is_some_and(Host::is_control_plane);
    let missing: Vec<&Unreached> = missing.iter().filter(|one| helps(&one.host)).collect();
    if missing.is_empty() || members.iter().any(|member| helps(&member.host)) {
        return;
    }
    // Said of one that leaves: the helpers themselves are no part of what is to be done.
    let names = job.leaving.join(" ");
    let asked: Vec<String> = missing.iter().map(|one| format!("{} can't be asked: {}", one.host, one.cause)).collect();
    let text = format!("the nodes {names} stay in the cluster, for {}", asked.join("; "));
    let hint = Some(Hint::text(format!("once it can: `kubectl delete node {names}`")));
    Sink::new(&job.leaving[0], events.clone()).emit(Kind::Warning { text, hint });
}

/// How long an answer may take before the run says whose it waits for.
const NOTICE: Duration = Duration::from_secs(2);

/// Waits for a host's answer, and says so when it takes long.
pub async fn noticed<T>(sink: &Sink, answer: impl Future<Output = T>) -> T {
    tokio::pin!(answer);
    if let Ok(answer) = tokio::time::timeout(NOTICE, &mut answer).await {
        return answer;
    }
    sink.emit(Kind::Silent { millis: NOTICE.as_millis() as u64 });
    answer.await
}

/// Gets an agent to run on a host and asks it for facts. What goes wrong is told as an event, but for a helper's.
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
                // A dry run leaves nothing on the host, not even itself; nor does what takes the host out of the cluster.
                let leaves = job.survivor.is_none() && job.leaving.contains(&host.name);
                let stays = job.mode == Mode::Apply && !leaves;
                fleet.agent(job.cluster, host, stays).await?
            }
        };
        let asked = now_millis();
        let facts = client.facts().await?;
        Ok::<_, Failure>((client, facts, Exchange { asked, answered: now_millis() }))
    };
    match noticed(&sink, attempt).await {
        Ok((client, facts, exchange)) => {
            // Whether a helper is needed turns out later.
            if !job.is_helper(host) {
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

/// Hosts and the ways to them know nothing of inventories; the command that a hint gives should work as it stands.
pub fn name_inventory(hint: &mut Option<Hint>, path: &str) {
    *hint = hint.take().map(|hint| hint.with_inventory(path));
}
