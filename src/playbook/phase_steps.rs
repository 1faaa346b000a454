//! What each phase is on each host: a playbook's tasks filled in with what is known of the host.

use std::collections::BTreeMap;

use serde_json::Value;

use super::fill::Values;
use super::model::{Phase, Playbook};
use super::source::{Findings, PlaybookError};
use super::written::Hosts;
use crate::engine::Item;
use crate::facts::Facts;
use crate::inventory::Cluster;
use crate::inventory::reading::{did_you_mean, quote};
use crate::steps::task::{PhaseItem, Task};

/// By phase and host.
#[derive(Debug, Default)]
pub struct PhaseSteps(BTreeMap<(String, String), Vec<PhaseItem>>);

impl PhaseSteps {
    /// A phase's work on a host that takes part in it.
    pub fn steps(&self, phase: &str, host: &str) -> Vec<PhaseItem> {
        self.0.get(&(phase.to_string(), host.to_string())).cloned().unwrap_or_default()
    }
}

impl Playbook {
    /// Checks everything that can be checked with the inventory and before any host is asked: names of hosts, and all templates
    /// that need no facts.
    pub(super) fn check(&self, cluster: &Cluster, findings: &mut Findings) {
        for phase in &self.phases {
            check_hosts(phase, cluster, findings);
        }
        let found = cluster.hosts.iter().map(|host| {
            let mut findings = Findings::default();
            self.fill(cluster, &host.name, None, &mut findings);
            (host.name.as_str(), findings)
        });
        findings.absorb(found.collect());
    }

    /// Fills in all phases for the hosts whose facts are given.
    pub fn phase_steps<'a>(
        &self,
        cluster: &Cluster,
        hosts: impl IntoIterator<Item = (&'a str, &'a Facts)>,
    ) -> Result<PhaseSteps, PlaybookError> {
        let mut found = Vec::new();
        let mut steps = PhaseSteps::default();
        for (host, facts) in hosts {
            let mut findings = Findings::default();
            steps.0.extend(self.fill(cluster, host, Some(facts), &mut findings));
            found.push((host, findings));
        }
        let mut findings = Findings::default();
        findings.absorb(found);
        findings.result()?;
        Ok(steps)
    }

    /// One host's work. Where a task can't be told, it is left out: either that is a mistake, or there are no facts yet.
    fn fill(
        &self,
        cluster: &Cluster,
        host: &str,
        facts: Option<&Facts>,
        findings: &mut Findings,
    ) -> Vec<((String, String), Vec<PhaseItem>)> {
        let Some(host) = cluster.host(host) else { return Vec::new() };
        let vars = self.vars_of(cluster, &host.vars);
        let values = Values::new(cluster, host, &vars, facts);
        // Who plays which part is not known here: its phase's work is at hand for whoever it will be.
        let phases = self.phases.iter().filter(|phase| phase.hosts.may_match(host));
        let filled = phases.map(|phase| {
            let steps =
                phase.steps.iter().filter_map(|item| complete(&item.map(&mut |draft| draft.fill(&values, findings))));
            ((phase.name.clone(), host.name.clone()), steps.collect())
        });
        filled.collect()
    }

    fn vars_of(&self, cluster: &Cluster, of_host: &BTreeMap<String, Value>) -> Value {
        let layers = [&self.vars, &cluster.vars, of_host, &self.overrides];
        let pairs = layers.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
        Value::Object(pairs.collect())
    }
}

/// An item whose tasks are all there.
fn complete(item: &Item<Option<Task>>) -> Option<PhaseItem> {
    let is_whole = item.leaves().iter().all(|leaf| !matches!(leaf, Item::Task(None)));
    let task = |task: &Option<Task>| task.clone().expect("each is there");
    is_whole.then(|| item.map(&mut |found| task(found)))
}

fn check_hosts(phase: &Phase, cluster: &Cluster, findings: &mut Findings) {
    let Hosts::Names(names) = &phase.hosts else { return };
    let known: Vec<&str> = cluster.hosts.iter().map(|host| host.name.as_str()).collect();
    for (index, name) in names.iter().enumerate().filter(|(_, name)| !known.contains(&name.as_str())) {
        let hint = did_you_mean(name, &known).unwrap_or_else(|| format!("it has {}", known.join(", ")));
        let place = phase.place.key("hosts").index(index);
        findings.add(&place, format!("the inventory has no host {}", quote(name)), Some(hint));
    }
}
