//! The members of etcd that leave with their hosts. Refused where those that stay could not decide anything any more.
//!
//! A control plane that stays does it for all; a host that is taken out by itself does it for itself, as far as etcd answers.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::engine::{AnyStep, Change, Evidence, Failure, MemberAction, Planned, Probe, Remark, Result};
use crate::etcd::{self, Client, Member};
use crate::manifest::etcd_client_url;
use crate::resource::etcd_credentials;

use super::{Context, Make, etcd_member};

/// How long a host that leaves by itself waits for an etcd that does not answer: it can be reset without it.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct RemoveEtcdMembers {
    task: Task,
    /// Where a control plane that stays has done it, nobody needs to leave by itself.
    is_needed: bool,
    /// A host's member has the host's name.
    leaving: Vec<String>,
    /// Client URLs of the members to ask.
    endpoints: Vec<String>,
    /// What becomes of the cluster's state where that is not on this host.
    stays: Option<String>,
    /// Whether members are on hosts of their own: a control plane is their client, and can do without none of them.
    is_client: bool,
    deadline: Duration,
    course: Mutex<Course>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Looks whether they may go, and removes none.
    Check,
    /// Removes them, from a control plane that stays.
    Remove,
    /// Removes this host's own.
    Leave,
}

#[derive(Default)]
struct Course {
    began: Option<Instant>,
    remark: Option<String>,
}

pub fn step(make: &Make<'_>, task: Task) -> Result<RemoveEtcdMembers> {
    let context = make.context;
    let leaving = context.inputs.leaving.clone();
    let is_client = task != Task::Leave && context.cluster.has_etcd_hosts();
    let mut asked: Vec<_> = match task {
        Task::Leave => vec![context.host()?],
        Task::Check | Task::Remove => context.cluster.members().collect(),
    };
    if is_client {
        // Those that leave still answer, and may be all that are known.
        asked.sort_by_key(|host| leaving.contains(&host.name));
    } else if task != Task::Leave {
        asked.retain(|host| !leaving.contains(&host.name));
    }
    Ok(RemoveEtcdMembers {
        task,
        is_needed: task != Task::Leave || context.inputs.leader.is_none(),
        leaving,
        endpoints: asked.into_iter().map(|host| etcd_client_url(host.address)).collect(),
        stays: if context.facts.node.uses_etcd_elsewhere() { stays(context) } else { None },
        is_client,
        deadline: context.ready_deadline(),
        course: Mutex::default(),
    })
}

#[async_trait]
impl AnyStep for RemoveEtcdMembers {
    fn id(&self) -> &str {
        match self.task {
            Task::Check => "check-etcd-majority",
            Task::Remove => "remove-etcd-members",
            Task::Leave => "leave-etcd",
        }
    }

    fn title(&self) -> String {
        match self.task {
            Task::Check => "See that etcd keeps its majority".into(),
            Task::Remove => "Remove the etcd members that leave".into(),
            Task::Leave => "Leave etcd".into(),
        }
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        if let Some(remark) = self.stays.as_ref().filter(|_| self.task == Task::Leave && self.is_needed) {
            self.course.lock().expect("no panic while held").remark = Some(remark.clone());
        }
        // etcd may be somebody else's, on hosts of its own.
        if !self.is_needed || !self.is_client && !etcd_member::is_wanted(probe).await? {
            return Ok(Planned::Satisfied);
        }
        let Some(credentials) = etcd_credentials(probe).await? else { return Ok(Planned::Satisfied) };
        let members = match Client::find(&self.endpoints, &credentials).await {
            Ok((_, members)) => members,
            Err(failure) if failure.retryable && self.task != Task::Leave => {
                return Ok(Planned::after("an answer of etcd"));
            }
            Err(failure) if failure.retryable => return Ok(self.go_without(&failure)),
            Err(failure) => return Err(failure),
        };
        let is_leaving = |member: &&Member| self.leaving.contains(&member.name);
        let voters = members.iter().filter(|member| !member.is_learner);
        if self.is_client && voters.clone().all(|member| is_leaving(&member)) {
            return Err(self.nothing_left());
        }
        // Where all leave there is nobody who would miss them.
        if !members.iter().any(|member| is_leaving(&member)) || voters.clone().all(|member| is_leaving(&member)) {
            return Ok(Planned::Satisfied);
        }
        let healthy = etcd::healthy(&members, &credentials).await;
        refuse_loss(&members, &healthy, &self.leaving)?;
        if self.task == Task::Check {
            return Ok(Planned::Satisfied);
        }
        Ok(Planned::Changes(members.iter().filter(is_leaving).map(|member| self.remove(member, &members)).collect()))
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        let found = match etcd_credentials(probe).await {
            Ok(Some(credentials)) => Client::find(&self.endpoints, &credentials).await.err(),
            _ => None,
        };
        let hint = "without a majority of its members etcd changes nothing: bring back a control plane that is down, or reset all \
                    hosts of the inventory";
        Evidence { lines: found.map(|failure| failure.evidence).unwrap_or_default(), hint: Some(hint.into()) }
    }

    async fn remarks(&self, _probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(self.course.lock().expect("no panic while held").remark.iter().cloned().map(Remark::Warning).collect())
    }
}

impl RemoveEtcdMembers {
    /// A member that leaves is not asked about itself: the answer would not come.
    fn remove(&self, member: &Member, all: &[Member]) -> Change {
        let staying = all.iter().filter(|other| !other.is_learner && !self.leaving.contains(&other.name));
        member.change(MemberAction::Remove, staying.flat_map(|other| other.client_urls.clone()).collect())
    }

    fn nothing_left(&self) -> Failure {
        let names = self.leaving.join(" ");
        Failure::new(format!(
            "without {names} the control planes that stay would have no etcd, nor the cluster its state"
        ))
        .hint("put other hosts with the role `etcd` beside them first, or reset all hosts; nothing was changed")
    }

    fn go_without(&self, failure: &Failure) -> Planned {
        let mut course = self.course.lock().expect("no panic while held");
        let is_late = course.began.get_or_insert_with(Instant::now).elapsed() > PATIENCE;
        if !is_late {
            return Planned::after("an answer of etcd");
        }
        course.remark = Some(format!(
            "should there be other control planes, this host stays a member of their etcd: {}; `kboot reset -i INVENTORY --host \
             NAME` removes it",
            failure.cause
        ));
        Planned::Satisfied
    }
}

/// The state that outlives a control plane.
fn stays(context: &Context) -> Option<String> {
    let staying = context.cluster.etcd_hosts().filter(|host| !context.inputs.leaving.contains(&host.name));
    let names: Vec<&str> = staying.map(|host| host.name.as_str()).collect();
    match (context.cluster.has_etcd_hosts(), &names[..]) {
        (true, []) => None,
        (true, names) => Some(format!(
            "etcd on {} keeps the cluster's state, and a new cluster is not begun over it: reset these hosts as well",
            names.join(", ")
        )),
        (false, _) => Some(
            "the etcd that this control plane used is not kboot's, and keeps the cluster's state: `etcdctl del --prefix /registry/` \
             empties it, and a new cluster is not begun over it"
                .into(),
        ),
    }
}

/// Says what would be left, where that is too little.
fn refuse_loss(members: &[Member], healthy: &[u64], leaving: &[String]) -> Result<()> {
    let left = etcd::without(members, healthy, leaving);
    if left.holds() {
        return Ok(());
    }
    let silent = members.iter().filter(|m| !m.is_learner && !healthy.contains(&m.id) && !leaving.contains(&m.name));
    let names = leaving.join(" ");
    Err(Failure::new(format!("without {names} etcd would lose its majority: {left}"))
        .evidence(silent.map(|member| format!("{} does not answer", member.label())))
        .hint("bring back or replace those that do not answer first; nothing was changed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_outlives_a_control_plane_is_told() {
        let told = |leaving: &[&str]| {
            let sample = crate::preflight::samples::sample().with_etcd_host();
            let facts = sample.facts["n1"].clone();
            let leaving = leaving.iter().map(ToString::to_string).collect();
            let inputs = super::super::Inputs { leaving, ..Default::default() };
            stays(&Context { cluster: sample.cluster, host: "n1".into(), facts, inputs, secrets: Default::default() })
        };
        assert!(told(&["n1"]).unwrap().starts_with("etcd on n3 keeps the cluster's state"));
        assert_eq!(told(&["n1", "n2", "n3"]), None);
    }

    #[test]
    fn a_majority_must_be_left() {
        let members = [Member::sample(1, "n1"), Member::sample(2, "n2"), Member::sample(3, "n3")];
        refuse_loss(&members, &[1, 2, 3], &["n1".into()]).unwrap();
        refuse_loss(&members, &[2, 3], &["n1".into()]).unwrap();
        let failure = refuse_loss(&members, &[1, 2], &["n2".into()]).unwrap_err();
        assert_eq!(
            failure.cause,
            "without n2 etcd would lose its majority: 1 of 2 members would answer, and it takes 2"
        );
        assert_eq!(failure.evidence, ["n3 does not answer"]);
    }
}
