//! Walks a playbook on all hosts at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};

use super::phase_steps::PhaseSteps;
use super::rolling::Turns;
use super::{Phase, Playbook, PlaybookError};
use crate::agent::{Client, PhaseRun};
use crate::engine::{Cancel, Drift, Event, Failure, Hint, Kind, Mode, Outcome, PlannedStep, Result, RunInfo, Sink};
use crate::facts::Facts;
use crate::inventory::{Cluster, Host};
use crate::steps::task::PhaseItem;
use crate::steps::{Context, Giver, Inputs, Outputs, Receiver, Secrets, unasked};

/// A host that takes part: an agent runs there and its facts are known.
pub struct Member {
    pub host: String,
    pub client: Arc<Client>,
    pub facts: Facts,
}

/// What is to be run.
pub struct Plan<'a> {
    pub playbook: &'a Playbook,
    pub cluster: &'a Cluster,
    /// The hosts that it is for; nobody waits for others.
    pub hosts: Vec<String>,
    pub mode: Mode,
    pub run: RunInfo,
    pub drift: Drift,
    pub wait_lock: std::time::Duration,
    pub inputs: Inputs,
    /// What of the run is secret; what hosts give is added.
    pub secrets: Mutex<Secrets>,
    pub cancel: Cancel,
    /// Where a saved plan is carried out: what it has for a phase, by the names of host and phase.
    pub planned_steps: Option<&'a PlannedSteps<'a>>,
}

/// What a host may do in a phase.
pub type PlannedSteps<'a> = dyn Fn(&str, &str) -> Vec<PlannedStep> + Sync + 'a;

/// How far a phase is, over all hosts that take part in it.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    left: usize,
    succeeded: usize,
}

type Gates = BTreeMap<String, watch::Sender<Progress>>;

/// Runs the playbook to its end on every member; one host's failure stops only what needs that host. How it ended is in the events.
/// Returned are the hosts on which an earlier run began the plan that is carried out.
pub async fn run(plan: &Plan<'_>, members: &[Member], events: &mpsc::UnboundedSender<Event>) -> BTreeSet<String> {
    let facts = members.iter().map(|member| (member.host.as_str(), &member.facts));
    let phase_steps = match plan.playbook.phase_steps(plan.cluster, facts) {
        Ok(phase_steps) => phase_steps,
        Err(error) => {
            refuse(&error, events);
            return BTreeSet::new();
        }
    };
    let shared = Shared {
        inputs: Mutex::new(plan.inputs.clone()),
        gates: gates(plan, members),
        turns: turns(plan, members),
        phase_steps,
        begun: Mutex::default(),
    };
    join_all(members.iter().map(|member| async {
        let result = Walk { plan, member, shared: &shared, events }.walk().await;
        if plan.mode == Mode::Apply {
            end(member, result, events).await;
        }
    }))
    .await;
    shared.begun.into_inner().expect("no panic while held")
}

/// Has the host write down how the run ended. An agent that is gone can't, and that has been told.
async fn end(member: &Member, result: Result<()>, events: &mpsc::UnboundedSender<Event>) {
    let sink = Sink::new(&member.host, events.clone());
    let outcome = if result.is_ok() { Outcome::Changed } else { Outcome::Failed };
    match member.client.end(outcome).await {
        Ok(None) => {}
        Ok(Some(millis)) => sink.emit(Kind::Journalled { millis }),
        Err(failure) if result.is_ok() => sink.emit(Kind::Failed { failure }),
        Err(_) => {}
    }
}

/// Tells what can't be filled in, before anything is begun.
fn refuse(error: &PlaybookError, events: &mpsc::UnboundedSender<Event>) {
    let sink = Sink::new("", events.clone()).phase("playbook");
    for (cause, hint) in error.causes() {
        sink.emit(Kind::Failed { failure: Failure { hint: hint.map(Hint::text), ..Failure::new(cause) } });
    }
}

struct Shared {
    phase_steps: PhaseSteps,
    /// With the hosts that have failed so far, for those that come later.
    inputs: Mutex<Inputs>,
    gates: Gates,
    begun: Mutex<BTreeSet<String>>,
    turns: BTreeMap<String, Turns>,
}

/// Nobody is disturbed by a dry run.
fn turns(plan: &Plan<'_>, members: &[Member]) -> BTreeMap<String, Turns> {
    let phases = plan.playbook.phases.iter().filter(|_| plan.mode == Mode::Apply);
    let limited = phases.filter_map(|phase| Some((phase, phase.max_unavailable.as_ref()?)));
    let turns = |(phase, max): (&Phase, &super::MaxUnavailable)| {
        let hosts = members.iter().filter(|member| takes_part(plan, phase, member)).count();
        (phase.name.clone(), Turns::new(&phase.name, max.of(hosts)))
    };
    limited.map(turns).collect()
}

fn gates(plan: &Plan<'_>, members: &[Member]) -> Gates {
    let gate = |phase: &Phase| {
        let left = members.iter().filter(|member| takes_part(plan, phase, member)).count();
        (phase.name.clone(), watch::Sender::new(Progress { left, succeeded: 0 }))
    };
    plan.playbook.phases.iter().map(gate).collect()
}

fn takes_part(plan: &Plan<'_>, phase: &Phase, member: &Member) -> bool {
    plan.cluster.host(&member.host).is_some_and(|host| phase.hosts.matches(host, &plan.inputs))
}

/// One host's way through the playbook.
struct Walk<'a> {
    plan: &'a Plan<'a>,
    member: &'a Member,
    shared: &'a Shared,
    events: &'a mpsc::UnboundedSender<Event>,
}

impl Walk<'_> {
    async fn walk(&self) -> Result<()> {
        if !self.plan.playbook.phases.iter().any(|phase| takes_part(self.plan, phase, self.member)) {
            Sink::new(&self.member.host, self.events.clone()).emit(Kind::Idle);
        }
        let mut result = Ok(());
        for phase in &self.plan.playbook.phases {
            if !takes_part(self.plan, phase, self.member) {
                continue;
            }
            let sink = self.sink(phase);
            if result.is_ok() {
                result = self.ready(phase, &sink).await;
                if let Err(failure) = &result {
                    sink.emit(Kind::Note { text: failure.cause.clone() });
                }
            }
            match &result {
                Ok(()) => result = self.in_turn(phase, &sink).await,
                Err(_) => sink.emit(Kind::PhaseFinished { outcome: Outcome::Skipped, millis: 0 }),
            }
            let succeeded = usize::from(result.is_ok());
            if result.is_err() {
                self.inputs().failed.insert(self.member.host.clone());
            }
            self.shared.gates[&phase.name].send_modify(|progress| {
                progress.left -= 1;
                progress.succeeded += succeeded;
            });
        }
        result
    }

    fn sink(&self, phase: &Phase) -> Sink {
        Sink::new(&self.member.host, self.events.clone()).phase(&phase.name)
    }

    fn inputs(&self) -> MutexGuard<'_, Inputs> {
        self.shared.inputs.lock().expect("no panic while held")
    }

    /// Waits for what the phase needs of other hosts.
    async fn ready(&self, phase: &Phase, sink: &Sink) -> Result<()> {
        for name in &phase.after {
            self.wait_for(name, sink).await?;
        }
        if self.plan.cancel.is_cancelled() { Err(Failure::interrupted()) } else { Ok(()) }
    }

    /// Waits until another phase has ended everywhere. It must have succeeded somewhere, if it is for any host at all.
    async fn wait_for(&self, name: &str, sink: &Sink) -> Result<()> {
        let plan = self.plan;
        let mut progress = self.shared.gates[name].subscribe();
        let phase = plan.playbook.phases.iter().find(|phase| phase.name == name).expect("checked when it was read");
        if progress.borrow().left > 0 && !takes_part(plan, phase, self.member) {
            sink.emit(Kind::Waiting { what: format!("the other hosts' phase {name}").into() });
        }
        let ended = *progress.wait_for(|progress| progress.left == 0).await.expect("the sender outlives the walk");
        let is_for_nobody = phase_size(plan, phase) == 0;
        if ended.succeeded == 0 && !is_for_nobody {
            return Err(Failure::new(format!("not tried, for the phase {name} failed on the hosts that it needs"))
                .hint_text("mend what failed there, then run the same command again"));
        }
        Ok(())
    }

    /// One phase, once it is the host's turn.
    async fn in_turn(&self, phase: &Phase, sink: &Sink) -> Result<()> {
        let Some(turns) = self.shared.turns.get(&phase.name).filter(|_| self.member.facts.node.is_member()) else {
            return self.one(phase).await;
        };
        if turns.are_all_taken() {
            sink.emit(Kind::Waiting { what: "the hosts before it to be done".into() });
        }
        let skipped = |failure: Failure| {
            sink.emit(Kind::Note { text: failure.cause.clone() });
            sink.emit(Kind::PhaseFinished { outcome: Outcome::Skipped, millis: 0 });
            failure
        };
        let _place = turns.take().await.map_err(skipped)?;
        if self.plan.cancel.is_cancelled() {
            return Err(skipped(Failure::interrupted()));
        }
        let result = self.one(phase).await;
        if result.is_err() {
            turns.failed(&self.member.host);
        }
        result
    }

    async fn one(&self, phase: &Phase) -> Result<()> {
        let Self { plan, member, shared, events } = self;
        let steps = shared.phase_steps.steps(&phase.name, &member.host);
        let inputs = self.inputs().clone();
        let outputs = member.client.run(phase_run(plan, member, phase, steps, inputs)?, events).await?;
        self.accept(phase, outputs).inspect_err(|failure| {
            self.sink(phase).emit(Kind::Failed { failure: failure.clone() });
        })
    }

    /// Takes what the host gives, if it is asked for that in this phase.
    fn accept(&self, phase: &Phase, outputs: Outputs) -> Result<()> {
        let Self { plan, member, shared, .. } = self;
        if outputs.has_begun {
            if plan.run.plan.is_none() {
                return Err(unasked("it said that a plan was begun"));
            }
            shared.begun.lock().expect("no panic while held").insert(member.host.clone());
        }
        let inputs = self.inputs();
        let (host, cluster, mode) = (member.host.as_str(), plan.cluster, plan.mode);
        let from = Giver { host, cluster, inputs: &inputs, gives: phase.gives(), mode };
        plan.secrets.lock().expect("no panic while held").accept(outputs, &from)
    }
}

/// What one host gets for one phase: everything that is sent to it is in here.
pub(super) fn phase_run(
    plan: &Plan<'_>,
    member: &Member,
    phase: &Phase,
    steps: Vec<PhaseItem>,
    inputs: Inputs,
) -> Result<PhaseRun> {
    let Member { host, facts, .. } = member;
    let entry = plan.cluster.host(host).ok_or_else(|| Failure::new(format!("the inventory has no host {host}")))?;
    let to = Receiver { host: entry, inputs: &inputs, needs: phase.needs(), mode: plan.mode };
    let secrets = plan.secrets.lock().expect("no panic while held").for_host(&to);
    Ok(PhaseRun {
        phase: phase.name.clone(),
        steps,
        mode: plan.mode,
        run: plan.run.clone(),
        drift: plan.drift,
        wait_lock: plan.wait_lock,
        planned_steps: plan.planned_steps.map(|planned_steps| planned_steps(host, &phase.name)),
        context: Context { cluster: plan.cluster.clone(), host: host.clone(), facts: facts.clone(), inputs, secrets },
    })
}

fn phase_size(plan: &Plan<'_>, phase: &Phase) -> usize {
    let takes_part = |host: &&Host| plan.hosts.contains(&host.name) && phase.hosts.matches(host, &plan.inputs);
    plan.cluster.hosts.iter().filter(takes_part).count()
}
