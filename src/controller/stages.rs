//! The stages of a run: connect, check, find the roles, carry out. A stage that finds an error reports it, and the run ends there.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::checks::{checked, etcd_checked, is_as_planned, verified};
use super::job::Job;
use super::reach::{Unreached, reach, tell_helpless};
use super::signals::Stoppable;
use crate::agent::Client;
use crate::engine::{Cancel, Event, Failure, Kind, Sink};
use crate::facts::Facts;
use crate::fleet::Fleet;
use crate::inventory::Cluster;
use crate::plan;
use crate::playbook::{self, Member, Plan, RunRoles};
use crate::preflight::Exchange;
use crate::steps::{Inputs, Secrets};

type Events = mpsc::UnboundedSender<Event>;

pub async fn run(
    job: &Job<'_>,
    keys: BTreeMap<String, Vec<u8>>,
    secrets: Secrets,
    events: &Events,
) -> Result<(), Failure> {
    let fleet = Fleet::new(crate::report::ask_secret);
    let Reached { mut members, clocks, facts, missing } = connect(job, &fleet, events).await;
    if !checked(job, &facts, &clocks, events) {
        return Ok(());
    }
    tell_helpless(job, &members, &missing, events);
    let mut cluster = job.cluster.clone();
    cluster.hosts.retain(|host| takes_part(job, &facts, &host.name));
    let Some(roles) = roles(job, &cluster, &facts, events) else { return Ok(()) };
    members.retain(|member| !job.intent.is_helper(&member.host) || roles.leader.as_ref() == Some(&member.host));
    let mut inputs = Inputs {
        leader: roles.leader,
        etcd_leader: roles.etcd_leader,
        joining: roles.joining,
        failed: job.hosts().into_iter().filter(|host| !facts.contains_key(host)).collect(),
        keys,
        has_containers: facts.values().any(Facts::is_container),
        ..job.known_inputs()
    };
    (job.inputs)(&facts, &mut inputs)?;
    if !etcd_checked(job, &facts, &members, (&inputs, &secrets), events).await {
        return Ok(());
    }
    if let Some(in_use) = job.lock.filter(|in_use| in_use.is_strict)
        && !verified(job, &in_use.lock, &members, &inputs, events).await
    {
        return Ok(());
    }
    let hosts = job.hosts().into_iter().filter(|host| takes_part(job, &facts, host)).collect();
    carry_out(job, &cluster, hosts, &members, (inputs, secrets), events).await;
    Ok(())
}

/// The hosts that answer.
struct Reached {
    members: Vec<Member>,
    clocks: BTreeMap<String, Exchange>,
    facts: BTreeMap<String, Facts>,
    /// Hosts that do not answer, without which the run continues.
    missing: Vec<Unreached>,
}

async fn connect(job: &Job<'_>, fleet: &Fleet, events: &Events) -> Reached {
    let hosts = job.hosts();
    let answers = join_all(hosts.iter().map(|host| reach(job, fleet, host, events))).await;
    let mut reached =
        Reached { members: Vec::new(), clocks: BTreeMap::new(), facts: BTreeMap::new(), missing: Vec::new() };
    for answer in answers {
        match answer {
            Ok((member, exchange)) => {
                reached.clocks.insert(member.host.clone(), exchange);
                reached.facts.insert(member.host.clone(), member.facts.clone());
                reached.members.push(member);
            }
            Err(unreached) => reached.missing.extend(unreached),
        }
    }
    reached
}

/// The run does not wait for a host that does not answer, if it continues without it.
fn takes_part(job: &Job<'_>, facts: &BTreeMap<String, Facts>, host: &str) -> bool {
    !job.can_do_without(host) || facts.contains_key(host)
}

/// The host that leads and the hosts that join. If no host can lead, reports it and returns None.
fn roles(job: &Job<'_>, cluster: &Cluster, facts: &BTreeMap<String, Facts>, events: &Events) -> Option<RunRoles> {
    let mut staying = cluster.clone();
    staying.hosts.retain(|host| !job.intent.leaving().contains(&host.name));
    match playbook::run_roles(&staying, |name| facts.get(name).map(|facts| &facts.node)) {
        Ok(roles) => Some(roles),
        Err(_) if job.intent.reverts() => Some(RunRoles::default()),
        Err(failure) => {
            Sink::new("", events.clone()).phase("preflight").emit(Kind::Failed { failure });
            None
        }
    }
}

async fn carry_out(
    job: &Job<'_>,
    cluster: &Cluster,
    hosts: Vec<String>,
    members: &[Member],
    (inputs, secrets): (Inputs, Secrets),
    events: &Events,
) {
    let cancel = Cancel::default();
    let saved = job.intent.saved_plan();
    let planned_steps = saved.map(|saved| |host: &str, phase: &str| plan::planned_steps(&saved.hosts, host, phase));
    let mut plan = Plan {
        playbook: &job.playbook,
        cluster,
        hosts,
        mode: job.mode,
        run: job.run_info(),
        drift: job.drift,
        wait_lock: job.wait_lock,
        inputs,
        secrets: secrets.into(),
        cancel: cancel.clone(),
        planned_steps: None,
    };
    let clients: Vec<Arc<Client>> = members.iter().map(|member| member.client.clone()).collect();
    let _stoppable = Stoppable::new(cancel, clients);
    if let (Some(saved), Some(planned_steps)) = (saved, &planned_steps) {
        if !is_as_planned(saved, &mut plan, members, events).await {
            return;
        }
        plan.planned_steps = Some(planned_steps);
    }
    playbook::run(&plan, members, events).await;
}
