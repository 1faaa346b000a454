//! The members of etcd that leave with their hosts. Refused where those that stay could not decide anything any more.
//!
//! A control plane that stays does it for all; a host that is taken out by itself does it for itself, as far as etcd answers.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::engine::{AnyStep, Change, Evidence, Failure, Hint, MemberAction, Planned, Probe, Remark, Result};
use crate::etcd::{self, Client, Member};
use crate::manifest::{etcd_client_url, etcd_peer_url};
use crate::resource::etcd_credentials;

use super::{Context, Make, etcd_member};

/// How long a host that leaves by itself waits for an etcd that does not answer: it can be reset without it.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct RemoveEtcdMembers {
    task: Task,
    /// Where a control plane that stays has done it, nobody needs to leave by itself.
    is_needed: bool,
    leaving: Leaving,
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

/// The hosts that leave. A host's member has the host's name once it has started, and the host's peer URL from the moment it is added.
struct Leaving {
    names: Vec<String>,
    peer_urls: Vec<String>,
}

impl Leaving {
    fn has(&self, member: &Member) -> bool {
        self.names.contains(&member.name) || self.peer_urls.iter().any(|url| member.is_at(url))
    }

    fn ids(&self, members: &[Member]) -> Vec<u64> {
        members.iter().filter(|member| self.has(member)).map(|member| member.id).collect()
    }

    /// Says what would be left, where that is too little.
    fn refuse_loss(&self, members: &[Member], healthy: &[u64]) -> Result<()> {
        let left = etcd::without(members, healthy, &self.ids(members));
        if left.holds() {
            return Ok(());
        }
        let silent = members.iter().filter(|m| !m.is_learner && !healthy.contains(&m.id) && !self.has(m));
        let names = self.names.join(" ");
        Err(Failure::new(format!("without {names} etcd would lose its majority: {left}"))
            .evidence(silent.map(|member| format!("{} does not answer", member.label())))
            .hint(Hint::ReplaceSilentMembers))
    }
}

#[derive(Default)]
struct Course {
    began: Option<Instant>,
    remark: Option<String>,
}

pub fn step(make: &Make<'_>, task: Task) -> Result<RemoveEtcdMembers> {
    let context = make.context;
    let names = context.inputs.leaving.clone();
    let at = context.cluster.hosts.iter().filter(|host| names.contains(&host.name));
    let peer_urls = at.map(|host| etcd_peer_url(host.address)).collect();
    let is_client = task != Task::Leave && context.cluster.has_etcd_hosts();
    let mut asked: Vec<_> = match task {
        Task::Leave => vec![context.host()?],
        Task::Check | Task::Remove => context.cluster.members().collect(),
    };
    if is_client {
        // Those that leave still answer, and may be all that are known.
        asked.sort_by_key(|host| names.contains(&host.name));
    } else if task != Task::Leave {
        asked.retain(|host| !names.contains(&host.name));
    }
    Ok(RemoveEtcdMembers {
        task,
        is_needed: task != Task::Leave || context.inputs.leader.is_none(),
        leaving: Leaving { names, peer_urls },
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
        let mut voters = members.iter().filter(|member| !member.is_learner);
        let all_leave = voters.all(|member| self.leaving.has(member));
        if self.is_client && all_leave {
            return Err(self.nothing_left());
        }
        let leaving = self.leaving.ids(&members);
        // Where all leave there is nobody who would miss them.
        if leaving.is_empty() || all_leave {
            return Ok(Planned::Satisfied);
        }
        let healthy = etcd::healthy(&members, &credentials).await;
        self.leaving.refuse_loss(&members, &healthy)?;
        if self.task == Task::Check {
            return Ok(Planned::Satisfied);
        }
        Ok(Planned::Changes(self.removals(&members)))
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        let found = match etcd_credentials(probe).await {
            Ok(Some(credentials)) => Client::find(&self.endpoints, &credentials).await.err(),
            _ => None,
        };
        Evidence { lines: found.map(|failure| failure.evidence).unwrap_or_default(), hint: Some(Hint::RestoreMajority) }
    }

    async fn remarks(&self, _probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(self.course.lock().expect("no panic while held").remark.iter().cloned().map(Remark::Warning).collect())
    }
}

impl RemoveEtcdMembers {
    /// A member that leaves is not asked about itself: the answer would not come.
    fn removals(&self, members: &[Member]) -> Vec<Change> {
        let (leaving, staying): (Vec<&Member>, Vec<&Member>) =
            members.iter().partition(|member| self.leaving.has(member));
        let voters = staying.into_iter().filter(|member| !member.is_learner);
        let endpoints: Vec<String> = voters.flat_map(|member| member.client_urls.clone()).collect();
        leaving.into_iter().map(|member| member.change(MemberAction::Remove, endpoints.clone())).collect()
    }

    fn nothing_left(&self) -> Failure {
        let names = self.leaving.names.join(" ");
        Failure::new(format!(
            "without {names} the control planes that stay would have no etcd, nor the cluster its state"
        ))
        .hint(Hint::AddEtcdHosts)
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

    /// Hosts nN at 10.0.0.N.
    fn leaving(ids: &[u64]) -> Leaving {
        Leaving {
            names: ids.iter().map(|id| format!("n{id}")).collect(),
            peer_urls: ids.iter().map(|id| format!("https://10.0.0.{id}:2380")).collect(),
        }
    }

    #[test]
    fn a_majority_must_be_left() {
        let members = [Member::sample(1, "n1"), Member::sample(2, "n2"), Member::sample(3, "n3")];
        leaving(&[1]).refuse_loss(&members, &[1, 2, 3]).unwrap();
        leaving(&[1]).refuse_loss(&members, &[2, 3]).unwrap();
        let failure = leaving(&[2]).refuse_loss(&members, &[1, 2]).unwrap_err();
        assert_eq!(
            failure.cause,
            "without n2 etcd would lose its majority: 1 of 2 members would answer, and it takes 2"
        );
        assert_eq!(failure.evidence, ["n3 does not answer"]);
    }

    #[test]
    fn a_learner_that_never_started_leaves_with_its_host() {
        let unstarted = Member { client_urls: Vec::new(), is_learner: true, ..Member::sample(3, "") };
        let members = [Member::sample(1, "n1"), Member::sample(2, "n2"), unstarted];
        let step = |leaving: Leaving| RemoveEtcdMembers {
            task: Task::Remove,
            is_needed: true,
            leaving,
            endpoints: Vec::new(),
            stays: None,
            is_client: false,
            deadline: Duration::ZERO,
            course: Mutex::default(),
        };
        let [Change::SetMember(change)] = &step(leaving(&[3])).removals(&members)[..] else { panic!("no change") };
        assert_eq!(change.to_string(), "remove the etcd member at https://10.0.0.3:2380, which never started");
        assert_eq!(change.endpoints, ["https://10.0.0.1:2379", "https://10.0.0.2:2379"]);
        // It has no name: that of a host of which nothing is known is none either.
        assert!(step(leaving(&[4])).removals(&members).is_empty());
    }
}
