//! The checks before a run begins: preflight checks, a lock, a saved plan. If a check fails, the run reports it and changes nothing.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::agent::ResolveRun;
use crate::engine::{Event, Failure, Hint, Kind, Mode, Sink};
use crate::facts::Facts;
use crate::lock::{self, Lock, Question};
use crate::plan::{self, SavedPlan};
use crate::playbook::{self, Member, Plan};
use crate::preflight::{self, Check, Exchange, ExpectedData, Finding, Severity};
use crate::steps::{Context, Handout, Inputs, Receiver, Secret, Secrets};

use super::intent::EndpointMove;
use super::job::Job;
use super::reach::noticed;
use super::roots::roots;

/// Reports the findings of the preflight checks. Returns whether the run continues.
pub fn checked(
    job: &Job<'_>,
    facts: &BTreeMap<String, Facts>,
    clocks: &BTreeMap<String, Exchange>,
    events: &mpsc::UnboundedSender<Event>,
) -> bool {
    let Some(ignore) = &job.ignore else { return true };
    let mut findings = ignore.apply(preflight::check(job.cluster, facts, clocks));
    let is_moved = |finding: &Finding| matches!(finding.check, Check::ClusterEndpoint | Check::NodeAddress);
    findings.retain(|finding| !job.intent.is_endpoint_move(EndpointMove::AddNew) || !is_moved(finding));
    tell(&findings, events)
}

/// Makes the control planes check an external etcd, or the etcd hosts their own, and reports the findings. Returns whether the run
/// continues.
pub async fn etcd_checked(
    job: &Job<'_>,
    facts: &BTreeMap<String, Facts>,
    members: &[Member],
    (inputs, secrets): (&Inputs, &Secrets),
    events: &mpsc::UnboundedSender<Event>,
) -> bool {
    let is_external = job.cluster.external_etcd().is_some();
    let has_etcd = is_external || job.cluster.has_etcd_hosts();
    let Some(ignore) = job.ignore.as_ref().filter(|_| !job.intent.reverts() && has_etcd) else { return true };
    let is_asked = |member: &&Member| {
        let Some(host) = job.cluster.host(&member.host) else { return false };
        if is_external { host.is_control_plane() } else { host.is_etcd() && member.facts.node.has_etcd_data }
    };
    let receiver = |host| Receiver { host, inputs, needs: [Secret::EtcdClient].into(), mode: job.mode };
    let asked = members.iter().filter(is_asked).map(|member| async {
        let host = job.cluster.host(&member.host);
        let handout = host.map(|host| secrets.for_host(&receiver(host))).unwrap_or_default();
        let sink = Sink::new(&member.host, events.clone()).phase("preflight");
        let view = noticed(&sink, member.client.etcd(context(job, member, inputs, handout))).await;
        (&member.host, view)
    });
    let (mut views, mut is_whole) = (BTreeMap::new(), true);
    for (host, view) in join_all(asked).await {
        match view {
            Ok(view) => views.extend(view.map(|view| (host.clone(), view))),
            Err(failure) => {
                is_whole = false;
                Sink::new(host, events.clone()).phase("preflight").emit(Kind::Failed { failure });
            }
        }
    }
    let expected = ExpectedData::of(job.cluster, facts, inputs.leader.as_deref());
    let mut findings = preflight::external_etcd(&views, expected);
    // A run may repair kboot's own etcd, so only findings about its data count.
    findings.retain(|finding| is_external || finding.check == Check::ExternalEtcdData);
    tell(&ignore.apply(findings), events) && is_whole
}

/// The context that a host gets with a question.
fn context(job: &Job<'_>, member: &Member, inputs: &Inputs, secrets: Handout) -> Context {
    Context {
        cluster: job.cluster.clone(),
        host: member.host.clone(),
        facts: member.facts.clone(),
        inputs: inputs.clone(),
        secrets,
    }
}

/// Reports findings. Returns whether the run continues.
fn tell(findings: &[Finding], events: &mpsc::UnboundedSender<Event>) -> bool {
    let mut may_go_on = true;
    for finding in findings {
        let sink = Sink::new(finding.host.as_deref().unwrap_or_default(), events.clone()).phase("preflight");
        let sink = sink.step(&finding.check.to_string());
        let (text, hint) = (finding.text.clone(), finding.hint.clone());
        match finding.severity {
            Severity::Warning => sink.emit(Kind::Warning { text: text.into(), hint: Some(Hint::text(hint)) }),
            Severity::Error => {
                may_go_on = false;
                sink.emit(Kind::Failed { failure: Failure::new(text).hint_text(hint) });
            }
        }
    }
    may_go_on
}

/// Asks every host what it would install, and reports what differs from the lock. Returns whether nothing differs.
pub async fn verified(
    job: &Job<'_>,
    lock: &Lock,
    members: &[Member],
    inputs: &Inputs,
    events: &mpsc::UnboundedSender<Event>,
) -> bool {
    let asked = members.iter().map(|member| async {
        let context = context(job, member, inputs, Handout::default());
        let locked = lock.packages.get(&context.platform()).into_iter().flatten();
        let pins = locked.map(|(name, package)| (name.clone(), package.version.clone())).collect();
        let question = Question { pins, roots: roots(), ..Question::default() };
        let sink = Sink::new(&member.host, events.clone()).phase("lock");
        let resolved = noticed(&sink, member.client.resolve(ResolveRun { question, context }, &sink));
        let failures = match resolved.await {
            Ok(resolved) => lock::verify(lock, &member.host, &resolved),
            Err(failure) => vec![failure],
        };
        for failure in &failures {
            sink.emit(Kind::Failed { failure: failure.clone() });
        }
        failures.is_empty()
    });
    join_all(asked).await.into_iter().all(|is_kept| is_kept)
}

/// Makes a new plan, and reports where hosts differ from the saved plan. Changes nothing.
pub async fn is_as_planned(
    saved: &SavedPlan,
    plan: &mut Plan<'_>,
    members: &[Member],
    events: &mpsc::UnboundedSender<Event>,
) -> bool {
    let (sender, mut inbox) = mpsc::unbounded_channel();
    let mode = std::mem::replace(&mut plan.mode, Mode::Plan);
    let begun = playbook::run(plan, members, &sender).await;
    plan.mode = mode;
    drop(sender);
    let mut now = plan::Hosts::new();
    let mut is_whole = true;
    while let Some(event) = inbox.recv().await {
        plan::collect(&mut now, &event);
        if matches!(event.kind, Kind::Failed { .. }) {
            is_whole = false;
            let _ = events.send(event);
        }
    }
    let moved = plan::moved(&saved.hosts, &now, &begun);
    for (host, lines) in &moved {
        let failure = Failure::new("the host is no longer as the plan saw it, and nothing was changed")
            .evidence(lines)
            .hint_text(format!("see what is to be done now, and plan again: kboot plan -i {}", saved.inventory));
        Sink::new(host, events.clone()).emit(Kind::Failed { failure });
    }
    is_whole && moved.is_empty()
}
