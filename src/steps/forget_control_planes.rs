//! Control planes that are gone for good, and from the inventory: etcd and the cluster know nothing more of them. The same for
//! members of etcd on hosts of their own, which are no nodes, and for members that were added and never started.
//!
//! One that answers, or whose kubelet was heard of a short while ago, is somebody's and may only be booting: it is reported and stays.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;
use time::OffsetDateTime;

use crate::engine::{AnyStep, Change, Evidence, Failure, Hint, MemberAction, Planned, Probe, Remark, Result};
use crate::etcd::{self, Client, Member};
use crate::inventory::{API_PORT, CONTROL_PLANE};
use crate::kube::health::{self, Health};
use crate::kube::{Connector, View, node};
use crate::manifest::{etcd_client_url, etcd_peer_url};
use crate::resource::etcd_credentials;

use super::{Make, etcd_member};

/// How old a node's lease must be for the node to be gone. Servers take minutes to boot, and a kubelet renews its lease every 10 s.
const LEASE_AGE: Duration = Duration::from_secs(300);
/// How long nothing may answer in its place, watched by this step. An etcd that restarts is back in seconds, and so has one that is
/// about to join started by then.
const WATCH: Duration = Duration::from_secs(120);

pub struct ForgetControlPlanes {
    kube: Connector,
    /// Whether each member is a control plane, and so a node.
    are_nodes: bool,
    known: Vec<String>,
    /// The peer URLs of all hosts of the inventory: a member that has not started has no name.
    peer_urls: Vec<String>,
    /// All hosts of the inventory, where etcd is elsewhere and knows no control planes.
    hosts: Option<Vec<String>>,
    endpoint: String,
    /// Then one look must do: nothing is waited for.
    is_dry_run: bool,
    deadline: Duration,
    /// Since when each is silent, by its label.
    silent: Mutex<BTreeMap<String, Instant>>,
    remarks: Mutex<Vec<String>>,
}

/// One that the inventory does not have.
struct Stranger {
    label: String,
    /// As "a member of etcd".
    what: &'static str,
    answers: bool,
    /// How old its node's lease is. None where it has none.
    lease_age: Option<Duration>,
    /// What forgets it.
    changes: Vec<Change>,
}

#[derive(Debug, PartialEq)]
enum Fate {
    Answers,
    /// Its lease is of this age.
    Heard(Duration),
    /// It is silent, but has not been watched for long enough.
    Watched,
    Gone,
}

pub fn step(make: &Make<'_>) -> Result<ForgetControlPlanes> {
    let context = make.context;
    Ok(ForgetControlPlanes {
        kube: make.services.kube.clone(),
        are_nodes: true,
        known: context.cluster.control_planes().map(|host| host.name.clone()).collect(),
        hosts: context
            .cluster
            .etcd_endpoints()
            .map(|_| context.cluster.hosts.iter().map(|host| host.name.clone()).collect()),
        peer_urls: context.cluster.hosts.iter().map(|host| etcd_peer_url(host.address)).collect(),
        endpoint: etcd_client_url(context.host()?.address),
        is_dry_run: context.inputs.is_dry_run,
        deadline: context.ready_deadline() + WATCH,
        silent: Mutex::default(),
        remarks: Mutex::default(),
    })
}

/// Of the hosts that run etcd alone.
pub fn of_etcd(make: &Make<'_>) -> Result<ForgetControlPlanes> {
    let known = make.context.cluster.etcd_hosts().map(|host| host.name.clone()).collect();
    Ok(ForgetControlPlanes { are_nodes: false, known, hosts: None, ..step(make)? })
}

#[async_trait]
impl AnyStep for ForgetControlPlanes {
    fn id(&self) -> &str {
        if self.are_nodes { "forget-control-planes" } else { "forget-etcd-members" }
    }

    fn title(&self) -> String {
        match self.are_nodes {
            true => "Forget control planes that are gone".into(),
            false => "Forget etcd members that are gone".into(),
        }
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        if let Some(hosts) = &self.hosts {
            return self.by_nodes(hosts, probe).await;
        }
        if !etcd_member::is_wanted(probe).await? {
            return Ok(Planned::Satisfied);
        }
        let Some(credentials) = etcd_credentials(probe).await? else { return Ok(Planned::Satisfied) };
        let endpoints = [self.endpoint.clone()];
        let members = match Client::find(&endpoints, &credentials).await {
            Ok((_, members)) => members,
            // A plan of a cluster that is yet to be made.
            Err(failure) if failure.retryable => return Ok(Planned::after("an answer of etcd")),
            Err(failure) => return Err(failure),
        };
        let others: Vec<Member> = members.into_iter().filter(|member| self.is_unknown(member)).collect();
        if others.is_empty() {
            return Ok(Planned::Satisfied);
        }
        let view = self.kube.view(probe).await?;
        let mut strangers = Vec::new();
        for (member, answers) in others.iter().zip(etcd::listening(&others).await) {
            match self.stranger(member, answers, view.as_ref()).await {
                Ok(stranger) => strangers.push(stranger),
                Err(failure) if failure.retryable => return Ok(Planned::after("an answer of the API server")),
                Err(failure) => return Err(failure),
            }
        }
        Ok(self.decide(strangers))
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, _probe: &dyn Probe) -> Evidence {
        Evidence { hint: Some(Hint::CheckEtcd), ..Evidence::default() }
    }

    async fn remarks(&self, _probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(self.remarks.lock().expect("no panic while held").iter().cloned().map(Remark::Warning).collect())
    }
}

impl ForgetControlPlanes {
    /// Pure but for the clock.
    fn decide(&self, strangers: Vec<Stranger>) -> Planned {
        let (mut told, mut watched, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        for Stranger { label, what, answers, lease_age, changes: forgets } in strangers {
            match self.fate(&label, answers, lease_age) {
                Fate::Answers => told.push(format!(
                    "{label} is {what} and runs, but the inventory does not have it: put it back, or take it out of the cluster with \
                     `kboot reset` on that host"
                )),
                Fate::Heard(age) => told.push(format!(
                    "{label} is {what} and does not answer, and the inventory does not have it; its kubelet was heard of {} s ago, \
                     so it may only be booting: to have it forgotten, run the same command again once that is {} min ago",
                    age.as_secs(),
                    LEASE_AGE.as_secs() / 60,
                )),
                Fate::Watched => watched.push(label),
                Fate::Gone => changes.extend(forgets),
            }
        }
        *self.remarks.lock().expect("no panic while held") = told;
        if watched.is_empty() {
            return Planned::of(changes);
        }
        let minutes = WATCH.as_secs() / 60;
        let names = watched.join(", ");
        Planned::until(
            changes,
            format!("{names} to answer: not in the inventory, and forgotten after {minutes} min of silence"),
        )
    }

    fn fate(&self, label: &str, answers: bool, lease_age: Option<Duration>) -> Fate {
        let mut silent = self.silent.lock().expect("no panic while held");
        let heard = lease_age.filter(|age| *age < LEASE_AGE);
        if answers || heard.is_some() {
            silent.remove(label);
            return heard.filter(|_| !answers).map_or(Fate::Answers, Fate::Heard);
        }
        let since = *silent.entry(label.into()).or_insert_with(Instant::now);
        if self.is_dry_run || since.elapsed() >= WATCH { Fate::Gone } else { Fate::Watched }
    }

    /// Where etcd is elsewhere, which control planes there are is told by their Nodes.
    async fn by_nodes(&self, hosts: &[String], probe: &dyn Probe) -> Result<Planned> {
        let Some(view) = self.kube.view(probe).await? else { return Ok(Planned::Satisfied) };
        match nodes(&view, hosts).await {
            Ok(strangers) => Ok(self.decide(strangers)),
            Err(failure) if failure.retryable => Ok(Planned::after("an answer of the API server")),
            Err(failure) => Err(failure),
        }
    }

    /// One without a name has not started; it is no stranger if its host is about to join.
    fn is_unknown(&self, member: &Member) -> bool {
        match member.has_started() {
            true => !self.known.contains(&member.name),
            false => !self.peer_urls.iter().any(|url| member.is_at(url)),
        }
    }

    async fn stranger(&self, member: &Member, answers: bool, view: Option<&View>) -> Result<Stranger> {
        let remove = member.change(MemberAction::Remove, vec![self.endpoint.clone()]);
        let (mut lease_age, mut changes) = (None, Vec::new());
        if self.are_nodes && member.has_started() {
            let view = view.ok_or_else(|| Failure::new("this host has no way to the API server").retryable())?;
            lease_age = self::lease_age(view, &member.name).await?;
            if view.get("v1", "Node", None, &member.name).await?.is_some() {
                // The node first: its member is how this is found again after an interruption.
                changes.push(Change::delete_node(&member.name));
            }
        }
        changes.push(remove);
        Ok(Stranger { label: member.label().into(), what: "a member of etcd", answers, lease_age, changes })
    }
}

/// The control planes that are none of these hosts.
async fn nodes(view: &View, hosts: &[String]) -> Result<Vec<Stranger>> {
    let mut strangers = Vec::new();
    for node in view.list("v1", "Node", None, CONTROL_PLANE).await? {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        if hosts.iter().any(|host| host == name) {
            continue;
        }
        strangers.push(Stranger {
            label: name.into(),
            what: "a control plane",
            answers: node::is_ready(&node) || answers(&node).await,
            lease_age: lease_age(view, name).await?,
            changes: vec![Change::delete_node(name)],
        });
    }
    Ok(strangers)
}

async fn lease_age(view: &View, node: &str) -> Result<Option<Duration>> {
    let lease = view.get("coordination.k8s.io/v1", "Lease", Some("kube-node-lease"), node).await?;
    Ok(lease.as_ref().and_then(|lease| node::lease_age(lease, OffsetDateTime::now_utc())))
}

async fn answers(node: &Value) -> bool {
    let Some(address) = node::internal_address(node) else { return false };
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_string() };
    health::ask(&format!("https://{host}:{API_PORT}/livez")).await != Health::Unwell
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(is_dry_run: bool) -> ForgetControlPlanes {
        ForgetControlPlanes {
            kube: Connector::default(),
            are_nodes: true,
            known: vec!["n1".into()],
            peer_urls: vec!["https://10.0.0.1:2380".into(), "https://10.0.0.2:2380".into()],
            hosts: None,
            endpoint: "https://10.0.0.1:2379".into(),
            is_dry_run,
            deadline: WATCH,
            silent: Mutex::default(),
            remarks: Mutex::default(),
        }
    }

    fn stranger(answers: bool, lease_age: Option<u64>) -> Vec<Stranger> {
        vec![Stranger {
            label: "n9".into(),
            what: "a member of etcd",
            answers,
            lease_age: lease_age.map(Duration::from_secs),
            changes: vec![Change::delete_node("n9")],
        }]
    }

    fn after_the_watch(step: &ForgetControlPlanes) {
        for since in step.silent.lock().unwrap().values_mut() {
            *since = Instant::now().checked_sub(WATCH).unwrap();
        }
    }

    const FORGOTTEN: &str = "n9 to answer: not in the inventory, and forgotten after 2 min of silence";

    #[test]
    fn only_what_is_silent_for_minutes_is_forgotten() {
        let step = step(false);
        let gone = || stranger(false, Some(301));
        assert_eq!(step.decide(gone()), Planned::after(FORGOTTEN));
        after_the_watch(&step);
        assert_eq!(step.decide(gone()), Planned::Changes(vec![Change::delete_node("n9")]));
        // A sign of life begins the watch again.
        for alive in [stranger(true, Some(301)), stranger(false, Some(9))] {
            assert_eq!(step.decide(alive), Planned::Satisfied);
            assert_eq!(step.decide(gone()), Planned::after(FORGOTTEN));
            after_the_watch(&step);
        }
        // Without a node there is no lease.
        assert_eq!(step.decide(stranger(false, None)), Planned::Changes(vec![Change::delete_node("n9")]));
    }

    #[test]
    fn what_may_only_be_booting_is_reported() {
        let step = step(false);
        let told = |strangers| {
            assert_eq!(step.decide(strangers), Planned::Satisfied);
            step.remarks.lock().unwrap().concat()
        };
        let booting = told(stranger(false, Some(40)));
        assert!(booting.contains("its kubelet was heard of 40 s ago") && booting.contains("5 min"), "{booting}");
        // Its client port may be closed to this host.
        assert!(told(stranger(true, Some(1))).starts_with("n9 is a member of etcd and runs, but"));
        assert_eq!(told(Vec::new()), "");
    }

    #[test]
    fn a_plan_does_not_watch() {
        assert_eq!(step(true).decide(stranger(false, Some(301))), Planned::Changes(vec![Change::delete_node("n9")]));
        assert_eq!(step(true).decide(stranger(false, Some(9))), Planned::Satisfied);
    }

    #[tokio::test]
    async fn one_that_never_started_is_known_by_its_peer_url() {
        let step = step(false);
        let unstarted = |id| Member { client_urls: Vec::new(), is_learner: true, ..Member::sample(id, "") };
        assert!(!step.is_unknown(&Member::sample(1, "n1")) && step.is_unknown(&Member::sample(9, "n9")));
        // n2 is about to join, whatever its role was when it was added.
        assert!(!step.is_unknown(&unstarted(2)));
        let lost = unstarted(9);
        assert!(step.is_unknown(&lost));
        // It has no node to ask for.
        let stranger = step.stranger(&lost, false, None).await.unwrap();
        let shown: Vec<String> = stranger.changes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["remove the etcd member at https://10.0.0.9:2380, which never started"]);
        assert_eq!(stranger.lease_age, None);
    }
}
