//! Everything that any host can be sent, for every playbook, role, phase and mode: no secret that is not on the list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use camino::Utf8Path;

use super::run::phase_run;
use super::{BUILTIN, Member, Plan, Playbook, builtin};
use crate::agent::{Client, Request};
use crate::engine::{Cancel, Drift, Mode, RunInfo};
use crate::inventory::{Cluster, Role};
use crate::preflight::samples::sample;
use crate::steps::secret_samples::{AUTHORITIES, CERTIFICATE_KEY, ETCD_AUTHORITY, ETCD_CLIENT, JOIN, USER};
use crate::steps::{Inputs, JoinToken, Secrets};

/// One of each part that a host may play.
const HOSTS: [(&str, Role); 8] = [
    ("leader", Role::ControlPlane),
    ("joining-control-plane", Role::ControlPlane),
    ("control-plane", Role::ControlPlane),
    ("worker", Role::Worker),
    ("joining-worker", Role::Worker),
    ("etcd-leader", Role::Etcd),
    ("joining-etcd", Role::Etcd),
    ("etcd", Role::Etcd),
];

/// Playbook, phase, host, secret. Everything else is a leak.
const ALLOWED: [(&str, &str, &str, &str); 29] = [
    ("up", "etcd-members", "joining-etcd", ETCD_AUTHORITY),
    ("up", "control-plane", "leader", ETCD_CLIENT),
    ("up", "control-plane", "control-plane", ETCD_CLIENT),
    ("up", "bootstrap", "leader", USER),
    ("up", "join-control-plane", "joining-control-plane", AUTHORITIES),
    ("up", "join-control-plane", "joining-control-plane", ETCD_CLIENT),
    ("up", "balancer", "joining-worker", JOIN),
    ("init", "control-plane", "leader", ETCD_CLIENT),
    ("init", "control-plane", "joining-control-plane", ETCD_CLIENT),
    ("init", "control-plane", "control-plane", ETCD_CLIENT),
    ("init", "cluster", "leader", USER),
    ("init", "cluster", "leader", CERTIFICATE_KEY),
    ("join", "join", "joining-worker", JOIN),
    ("join", "join-control-plane", "joining-control-plane", AUTHORITIES),
    ("join", "join-control-plane", "joining-control-plane", ETCD_CLIENT),
    // A playbook that has every step for every host gets no host more than its part allows.
    ("greedy", "all", "leader", ETCD_CLIENT),
    ("greedy", "all", "leader", USER),
    ("greedy", "all", "leader", CERTIFICATE_KEY),
    ("greedy", "all", "joining-control-plane", AUTHORITIES),
    ("greedy", "all", "joining-control-plane", ETCD_CLIENT),
    ("greedy", "all", "control-plane", ETCD_CLIENT),
    ("greedy", "all", "joining-worker", JOIN),
    ("greedy", "all", "joining-etcd", ETCD_AUTHORITY),
    ("greedy", "parallel", "joining-control-plane", AUTHORITIES),
    ("greedy", "named", "joining-worker", JOIN),
    ("greedy", "leaving", "joining-worker", JOIN),
    ("greedy", "leaving", "leader", ETCD_CLIENT),
    ("greedy", "leaving", "joining-control-plane", ETCD_CLIENT),
    ("greedy", "leaving", "control-plane", ETCD_CLIENT),
];

fn cluster() -> Cluster {
    let mut cluster = sample().cluster;
    let host = cluster.hosts[0].clone();
    let hosts = HOSTS.iter().enumerate().map(|(at, (name, role))| {
        let address = format!("10.77.0.{}", 11 + at).parse().unwrap();
        crate::inventory::Host { name: (*name).into(), address, roles: vec![*role], ..host.clone() }
    });
    cluster.hosts = hosts.collect();
    cluster
}

fn inputs(mode: Mode) -> Inputs {
    let names = |names: &[&str]| -> BTreeSet<String> { names.iter().map(ToString::to_string).collect() };
    Inputs {
        leader: Some("leader".into()),
        etcd_leader: Some("etcd-leader".into()),
        joining: names(&["joining-control-plane", "joining-etcd"]),
        unregistered: names(&["joining-control-plane", "joining-worker"]),
        leaving: HOSTS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        join_token: JoinToken::ForRun,
        is_dry_run: mode == Mode::Plan,
        ..Inputs::default()
    }
}

/// With every step that there is for everybody, and in other shapes.
fn greedy() -> Playbook {
    let steps: Vec<&str> = crate::steps::names().collect();
    let text = format!(
        "name: greedy\nphases:\n\
         - {{name: all, hosts: all, steps: [{steps}]}}\n\
         - {{name: parallel, hosts: all, steps: [{{parallel: [[write-authorities], [disable-swap]]}}]}}\n\
         - {{name: named, hosts: [worker, joining-worker], steps: [write-bootstrap-kubeconfig, write-authorities]}}\n\
         - {{name: leaving, hosts: leaving, steps: [write-bootstrap-kubeconfig, write-etcd-credentials]}}\n",
        steps = steps.join(", ")
    );
    super::parse(&text, Utf8Path::new("greedy.yaml")).unwrap()
}

/// All that is sent, as `(playbook, phase, host, secret)`.
fn sent(mode: Mode) -> BTreeSet<(String, String, String, &'static str)> {
    let (cluster, facts) = (cluster(), sample().facts["n1"].clone());
    let mut found = BTreeSet::new();
    let mut requests = 0;
    let playbooks = BUILTIN.iter().map(|(name, _)| builtin(name)).chain([greedy()]);
    for playbook in playbooks {
        let plan = Plan {
            playbook: &playbook,
            cluster: &cluster,
            hosts: cluster.hosts.iter().map(|host| host.name.clone()).collect(),
            mode,
            run: RunInfo::new("kboot up", "", b""),
            drift: Drift::Repair,
            wait_lock: std::time::Duration::ZERO,
            inputs: inputs(mode),
            secrets: Mutex::new(Secrets::sample(&cluster)),
            cancel: Cancel::default(),
            planned_steps: None,
        };
        let phase_steps =
            playbook.phase_steps(&cluster, cluster.hosts.iter().map(|host| (host.name.as_str(), &facts))).unwrap();
        for host in &cluster.hosts {
            let client = Arc::new(Client::new(tokio::io::empty(), tokio::io::sink()));
            let member = Member { host: host.name.clone(), client, facts: facts.clone() };
            for phase in playbook.phases.iter().filter(|phase| phase.hosts.matches(host, &plan.inputs)) {
                let steps = phase_steps.steps(&phase.name, &host.name);
                let run = phase_run(&plan, &member, phase, steps, plan.inputs.clone()).unwrap();
                let line = serde_json::to_string(&Request::Run(Box::new(run))).unwrap();
                requests += 1;
                for secret in [JOIN, USER, AUTHORITIES, ETCD_AUTHORITY, ETCD_CLIENT, CERTIFICATE_KEY] {
                    if line.contains(secret) {
                        found.insert((playbook.name.clone(), phase.name.clone(), host.name.clone(), secret));
                    }
                }
            }
        }
    }
    assert!(requests > 100, "{requests}");
    found
}

#[test]
fn a_run_sends_the_secrets_on_the_list_and_no_other() {
    let of_playbook = |of: &BTreeSet<(String, String, String, &'static str)>| {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (playbook, phase, host, secret) in of {
            all.entry(playbook.clone()).or_default().push(format!("{phase} {host}: {secret}"));
        }
        all
    };
    let allowed = ALLOWED
        .iter()
        .map(|(playbook, phase, host, secret)| (playbook.to_string(), phase.to_string(), host.to_string(), *secret));
    let allowed: BTreeSet<_> = allowed.collect();
    assert_eq!(of_playbook(&sent(Mode::Apply)), of_playbook(&allowed));
}

#[test]
fn a_dry_run_sends_none() {
    assert_eq!(sent(Mode::Plan), BTreeSet::new());
}
