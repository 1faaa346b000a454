//! The other etcd members look for this host's at the address that the host has now: before it is started anew there, and while enough of
//! them answer without it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{AnyStep, Change, Evidence, Hint, MemberAction, MemberChange, Planned, Probe, Result};
use crate::etcd::{self, Client, Member};
use crate::manifest::{self, StaticPod, etcd_client_url, etcd_peer_url, paths};
use crate::resource::etcd_credentials;

use super::{Context, evidence};

/// Who sets it decides where a member is found.
const OWN_URLS: &str = "initial-advertise-peer-urls";

pub struct MoveEtcdMember {
    member: String,
    peer_url: String,
    /// Client URLs: this host's own first, then those of the others.
    endpoints: Vec<String>,
    /// Whether members of this cluster are where their hosts are.
    is_ours: bool,
    deadline: Duration,
}

pub fn step(context: &Context) -> Result<MoveEtcdMember> {
    let (cluster, host) = (&context.cluster, context.host()?);
    let loopback: IpAddr = match host.address {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let others = cluster.control_planes().filter(|other| other.name != host.name);
    let others = others.filter(|other| !context.inputs.joining.contains(&other.name)).map(|other| other.address);
    Ok(MoveEtcdMember {
        member: host.name.clone(),
        peer_url: etcd_peer_url(host.address),
        endpoints: [loopback].into_iter().chain(others).map(etcd_client_url).collect(),
        is_ours: cluster.external_etcd().is_none() && !cluster.control_plane.etcd.extra_args.contains_key(OWN_URLS),
        deadline: context.ready_deadline(),
    })
}

#[async_trait]
impl AnyStep for MoveEtcdMember {
    fn id(&self) -> &str {
        "move-etcd-member"
    }

    fn title(&self) -> String {
        "Have etcd's members find this host's where it is".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        if !self.is_ours {
            return Ok(Planned::Satisfied);
        }
        let manifest = probe.read_text(Utf8Path::new(&paths::static_pod(StaticPod::Etcd))).await?;
        let Some(manifest) = manifest else { return Ok(Planned::Satisfied) };
        let Some(credentials) = etcd_credentials(probe).await? else { return Ok(Planned::Satisfied) };
        let is_alone = self.endpoints.len() == 1;
        let has_moved = manifest::flag(&manifest, OWN_URLS).is_some_and(|url| url != self.peer_url);
        let members = match Client::find(&self.endpoints, &credentials).await {
            Ok((_, members)) => members,
            // Nobody has to find one that is alone: it starts at its new address, and is told of it then. One that stays where it is
            // may well be about to be started.
            Err(failure) if failure.retryable && (is_alone || !has_moved) => return Ok(Planned::Satisfied),
            Err(failure) if failure.retryable => return Ok(Planned::after("an answer of the other etcd members")),
            Err(failure) => return Err(failure),
        };
        if self.is_found(&members) {
            return Ok(Planned::Satisfied);
        }
        let healthy = etcd::healthy(&members, &credentials).await;
        Ok(self.next(&members, &healthy))
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        Evidence { lines: evidence::containers(probe, &["etcd"]).await, hint: Some(Hint::EtcdMoves) }
    }
}

impl MoveEtcdMember {
    /// Whether it is known by its URL alone. One that has not started has no name and is about to join.
    fn is_found(&self, members: &[Member]) -> bool {
        let own = members.iter().find(|member| member.name == self.member);
        own.is_none_or(|own| own.peer_urls == [self.peer_url.as_str()])
    }

    /// Pure: the change, once the others can do without it for a moment. Two can never do without each other.
    fn next(&self, members: &[Member], healthy: &[u64]) -> Planned {
        let votes = members.iter().filter(|member| !member.is_learner).count();
        let others = members.iter().filter(|member| !member.is_learner && member.name != self.member);
        let (answering, silent): (Vec<&Member>, Vec<&Member>) = others.partition(|other| healthy.contains(&other.id));
        if answering.len() < votes / 2 + 1 && !silent.is_empty() {
            let silent: Vec<&str> = silent.into_iter().map(Member::label).collect();
            return Planned::after(format!(
                "the etcd member {} to answer: too few would be left while this one starts anew",
                silent.join(" and ")
            ));
        }
        Planned::Changes(vec![Change::SetMember(MemberChange {
            action: MemberAction::Move,
            member: self.member.clone(),
            peer_url: self.peer_url.clone(),
            endpoints: self.endpoints.clone(),
        })])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;
    use crate::inventory::Role;
    use crate::preflight::samples::sample;
    use crate::steps::Inputs;

    fn context(change: impl FnOnce(&mut Context)) -> Context {
        let mut sample = sample();
        sample.cluster.hosts[2].roles = vec![Role::ControlPlane];
        let facts = sample.facts["n1"].clone();
        let mut context = Context {
            cluster: sample.cluster,
            host: "n1".into(),
            facts,
            inputs: Inputs::default(),
            secrets: Default::default(),
        };
        change(&mut context);
        context
    }

    fn member(id: u64, url: &str) -> Member {
        Member { id, name: format!("n{id}"), peer_urls: vec![url.into()], client_urls: Vec::new(), is_learner: false }
    }

    fn three() -> Vec<Member> {
        vec![
            member(1, "https://10.77.0.99:2380"),
            member(2, "https://10.77.0.12:2380"),
            member(3, "https://10.77.0.13:2380"),
        ]
    }

    fn shown(members: &[Member], healthy: &[u64]) -> String {
        match step(&context(|_| ())).unwrap().next(members, healthy) {
            Planned::Changes(changes) => changes[0].to_string(),
            Planned::After { what } => format!("after {what}"),
            other => panic!("{other:?}"),
        }
    }

    const MOVE: &str = "have the etcd member n1 known by https://10.77.0.11:2380";

    #[test]
    fn its_own_member_is_asked_first_and_joining_hosts_never() {
        let endpoints = |change: fn(&mut Context)| step(&context(change)).unwrap().endpoints;
        assert_eq!(endpoints(|_| ()), ["https://127.0.0.1:2379", "https://10.77.0.13:2379"]);
        assert_eq!(endpoints(|context| context.inputs.joining = ["n3".into()].into()), ["https://127.0.0.1:2379"]);
    }

    #[test]
    fn it_is_moved_once_the_others_can_do_without_it() {
        assert_eq!(shown(&three(), &[1, 2, 3]), MOVE);
        // Where its address is gone it does not answer itself.
        assert_eq!(shown(&three(), &[2, 3]), MOVE);
        let waits = "after the etcd member n3 to answer: too few would be left while this one starts anew";
        assert_eq!(shown(&three(), &[1, 2]), waits);
        assert_eq!(shown(&three()[..1], &[]), MOVE);
        assert_eq!(shown(&three()[..2], &[1, 2]), MOVE);
        assert!(shown(&three()[..2], &[1]).starts_with("after the etcd member n2"));
        let mut learning = three();
        learning[2].is_learner = true;
        assert_eq!(shown(&learning, &[1, 2]), MOVE);
        let five = [three(), vec![member(4, "https://a:2380"), member(5, "https://b:2380")]].concat();
        assert_eq!(shown(&five, &[1, 2, 3, 4]), MOVE);
        assert!(shown(&five, &[1, 2, 3]).contains("n4 and n5 to answer"));
    }

    #[test]
    fn one_that_is_known_by_its_address_alone_is_found() {
        let step = step(&context(|_| ())).unwrap();
        let mut members = three();
        assert!(!step.is_found(&members));
        members[0].peer_urls.push("https://10.77.0.11:2380".into());
        assert!(!step.is_found(&members));
        members[0].peer_urls.remove(0);
        assert!(step.is_found(&members));
        assert!(step.is_found(&[member(2, "https://10.77.0.12:2380")]));
    }

    #[tokio::test]
    async fn where_there_is_no_member_nothing_is_asked() {
        let bare = FakeHost::default();
        assert_eq!(step(&context(|_| ())).unwrap().plan(&bare).await.unwrap(), Planned::Satisfied);
        let elsewhere = context(|context| {
            let args = &mut context.cluster.control_plane.etcd.extra_args;
            args.insert(OWN_URLS.into(), "https://etcd.example.com:2380".into());
        });
        assert_eq!(step(&elsewhere).unwrap().plan(&bare).await.unwrap(), Planned::Satisfied);
    }
}
