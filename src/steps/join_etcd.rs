//! This host's etcd is a voting member of the cluster's: it is added as a learner, started, and given its vote once it has caught up.
//!
//! etcd takes one learner at a time, so hosts that join at once wait for each other here, whoever runs them. What an earlier attempt
//! left is known by the member's peer URL, from the moment that it is added.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{
    AnyStep, Change, Evidence, Failure, FileMode, Hint, MemberAction, MemberChange, Planned, Probe, Result,
};
use crate::etcd::{Client, Member};
use crate::inventory::Cluster;
use crate::kube::Connector;
use crate::manifest::{self, EtcdMember, NodeValues, StaticPod, etcd_client_url, etcd_peer_url, paths};
use crate::resource::{AnyResource, Converge, Directory, File, etcd_credentials};

use super::held_back::HeldBack;
use super::{Make, etcd_member, evidence, unrendered};

pub struct JoinEtcd {
    step: Converge,
    membership: Membership,
}

pub fn step(make: &Make<'_>) -> Result<JoinEtcd> {
    let context = make.context;
    let host = context.host()?;
    let inputs = &context.inputs;
    let peers = context.cluster.members().filter(|other| !inputs.joining.contains(&other.name));
    let leader = if host.is_etcd() { &inputs.etcd_leader } else { &inputs.leader };
    // First the one that surely answers.
    let mut peers: Vec<_> = peers.collect();
    peers.sort_by_key(|peer| leader.as_ref() != Some(&peer.name));
    let endpoints: Vec<String> = peers.into_iter().map(|peer| etcd_client_url(peer.address)).collect();
    let membership = Membership {
        cluster: context.cluster.clone(),
        name: host.name.clone(),
        address: host.address,
        endpoints,
        kube: make.services.kube.clone(),
        is_new: inputs.joining.contains(&host.name) || !host.is_etcd(),
        held: Arc::default(),
    };
    let step = Converge::new("join-etcd", "Join the cluster's etcd").deadline(context.ready_deadline());
    if !context.cluster.is_member(host) {
        // Nobody joins it: the API servers are its clients.
        return Ok(JoinEtcd { step, membership });
    }
    let step = step
        .with(Directory::new(etcd_member::FOLDER, FileMode::PRIVATE_DIRECTORY))
        .with(Directory::new(paths::MANIFESTS, FileMode(0o700)))
        .with(membership.clone());
    Ok(JoinEtcd { step, membership })
}

#[async_trait]
impl AnyStep for JoinEtcd {
    fn id(&self) -> &str {
        self.step.id()
    }

    fn title(&self) -> String {
        self.step.title()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        self.step.plan(probe).await
    }

    fn deadline(&self) -> Duration {
        AnyStep::deadline(&self.step)
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        if let Some(in_the_way) = self.membership.in_the_way(probe).await {
            return in_the_way;
        }
        let mut lines = evidence::containers(probe, &["etcd"]).await;
        lines.extend(evidence::kubelet(probe).await);
        Evidence { lines, hint: Some(Hint::EtcdJoins) }
    }
}

#[derive(Clone)]
struct Membership {
    cluster: Cluster,
    name: String,
    address: std::net::IpAddr,
    /// Client URLs of the other members. None where no inventory says who they are: then the cluster does.
    endpoints: Vec<String>,
    kube: Connector,
    /// Whether it may have to be added. One that is none has data: it may still have to get its vote.
    is_new: bool,
    held: Arc<HeldBack>,
}

/// What kubeadm notes on etcd's pods.
const CLIENT_URLS: &str = "kubeadm.kubernetes.io/etcd.advertise-client-urls";

#[async_trait]
impl AnyResource for Membership {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let Some(credentials) = etcd_credentials(probe).await? else {
            if !self.is_new {
                return Ok(Planned::after("the certificates by which etcd is asked"));
            }
            return Ok(Planned::until(vec![self.change(MemberAction::Add)], "the certificates by which etcd is asked"));
        };
        let found = match self.endpoints(probe).await {
            Ok(endpoints) => Client::find(&endpoints, &credentials).await.map(|(_, members)| (endpoints, members)),
            Err(failure) => Err(failure),
        };
        let (endpoints, members) = match found {
            Ok(found) => found,
            Err(failure) if failure.retryable => {
                let whose = if self.is_new { "the other etcd members" } else { "etcd" };
                return Ok(Planned::after(format!("an answer of {whose}")));
            }
            Err(failure) => return Err(failure),
        };
        let has_data = probe.list(Utf8Path::new(etcd_member::DATA)).await?.is_some();
        match (Self { endpoints, ..self.clone() }).next(&members, has_data)? {
            Next::Plan(planned) => Ok(planned),
            Next::Write => {
                let file = File::text(paths::static_pod(StaticPod::Etcd), self.manifest(&members)?);
                let planned = AnyResource::plan(&file.mode(FileMode::PRIVATE), probe).await?;
                if planned != Planned::Satisfied {
                    return Ok(planned);
                }
                Ok(match self.held.release(probe, &[StaticPod::Etcd]).await? {
                    Some(restart) => Planned::Changes(vec![restart]),
                    None => Planned::after("etcd to start on this host"),
                })
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Next {
    Plan(Planned),
    /// The manifest must be there, and its member start.
    Write,
}

impl Membership {
    fn peer_url(&self) -> String {
        etcd_peer_url(self.address)
    }

    async fn endpoints(&self, probe: &dyn Probe) -> Result<Vec<String>> {
        if !self.endpoints.is_empty() {
            return Ok(self.endpoints.clone());
        }
        let unknown = || Failure::new("the cluster does not say where its etcd is").retryable();
        let view = self.kube.view(probe).await?.ok_or_else(unknown)?;
        let pods = view.list("v1", "Pod", Some("kube-system"), "component=etcd").await?;
        let others = pods.iter().filter(|pod| pod["spec"]["nodeName"] != self.name.as_str());
        let urls: Vec<String> = others
            .filter_map(|pod| pod["metadata"]["annotations"][CLIENT_URLS].as_str())
            .flat_map(|urls| urls.split(','))
            .map(String::from)
            .collect();
        if urls.is_empty() { Err(unknown()) } else { Ok(urls) }
    }

    /// Another learner, for which etcd takes no further member.
    async fn in_the_way(&self, probe: &dyn Probe) -> Option<Evidence> {
        let credentials = etcd_credentials(probe).await.ok()??;
        let endpoints = self.endpoints(probe).await.ok()?;
        let (_, members) = Client::find(&endpoints, &credentials).await.ok()?;
        self.other_learner(&members).map(told_of)
    }

    fn other_learner<'a>(&self, members: &'a [Member]) -> Option<&'a Member> {
        let peer_url = self.peer_url();
        members.iter().find(|member| member.is_learner && !member.is_at(&peer_url))
    }

    fn change(&self, action: MemberAction) -> Change {
        self.change_of(action, &self.peer_url())
    }

    fn change_of(&self, action: MemberAction, peer_url: &str) -> Change {
        Change::SetMember(MemberChange {
            action,
            member: self.name.clone(),
            peer_url: peer_url.into(),
            endpoints: self.endpoints.clone(),
        })
    }

    /// Pure: what is to be done next by who belongs to the cluster, and whether this host has data.
    fn next(&self, members: &[Member], has_data: bool) -> Result<Next> {
        let peer_url = self.peer_url();
        let own = members.iter().find(|member| member.is_at(&peer_url));
        // Who has a vote waits for nobody else's.
        if !self.is_new && has_data && own.is_some_and(|own| own.has_started() && !own.is_learner) {
            return Ok(Next::Plan(Planned::Satisfied));
        }
        if let Some(other) = self.other_learner(members) {
            return Ok(Next::Plan(Planned::after(format!(
                "the etcd member {} to get its vote: etcd takes one new member at a time",
                other.label()
            ))));
        }
        // The host's former self: it had this name at another address, or the disk that is gone.
        let is_former = |member: &&Member| {
            (member.name == self.name && !member.is_at(&peer_url))
                || (member.is_at(&peer_url) && member.has_started() && !has_data)
        };
        let removed = members.iter().filter(is_former).flat_map(|member| &member.peer_urls);
        let mut changes: Vec<Change> = removed.map(|url| self.change_of(MemberAction::Remove, url)).collect();
        match own {
            Some(own) if own.has_started() && has_data && own.is_learner => {
                Ok(Next::Plan(Planned::Changes(vec![self.change(MemberAction::Promote)])))
            }
            Some(own) if own.has_started() && has_data => Ok(Next::Plan(Planned::of(changes))),
            // Added before, and not seen since.
            Some(own) if !own.has_started() && changes.is_empty() => Ok(Next::Write),
            None if has_data => Err(Failure::new(
                "/var/lib/etcd holds the data of a member that the cluster does not know, or not any more",
            )
            .hint(Hint::ResetEtcdHost)),
            _ => {
                changes.push(self.change(MemberAction::Add));
                Ok(Next::Plan(Planned::Changes(changes)))
            }
        }
    }

    fn manifest(&self, members: &[Member]) -> Result<String> {
        let peer_url = self.peer_url();
        let named = |member: &Member| EtcdMember {
            name: if member.is_at(&peer_url) { self.name.clone() } else { member.label().into() },
            peer_url: member.peer_urls.first().cloned().unwrap_or_default(),
        };
        let values = NodeValues {
            name: self.name.clone(),
            address: self.address,
            ca_folders: Vec::new(),
            has_ca_key: true,
            etcd_members: members.iter().map(named).collect(),
        };
        manifest::static_pod(StaticPod::Etcd, &self.cluster, &values).map_err(unrendered)
    }
}

fn told_of(learner: &Member) -> Evidence {
    let state = if learner.has_started() { "has not got its vote" } else { "was added and has not started" };
    Evidence { lines: vec![format!("the etcd member {} {state}", learner.label())], hint: Some(Hint::OtherLearner) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        let host = serde_json::json!({"name": "n2", "address": "10.0.0.2", "roles": ["control-plane"]});
        Membership {
            cluster: Cluster::single(serde_json::from_value(host).unwrap()),
            name: "n2".into(),
            address: "10.0.0.2".parse().unwrap(),
            endpoints: vec!["https://10.0.0.1:2379".into()],
            kube: Connector::default(),
            is_new: true,
            held: Arc::default(),
        }
    }

    fn member(name: &str, address: &str, is_learner: bool) -> Member {
        Member { peer_urls: vec![format!("https://{address}:2380")], is_learner, ..Member::sample(1, name) }
    }

    fn shown(members: &[Member], has_data: bool) -> Vec<String> {
        match membership().next(members, has_data).unwrap() {
            Next::Plan(Planned::Changes(changes)) => changes.iter().map(ToString::to_string).collect(),
            Next::Plan(Planned::Satisfied) => Vec::new(),
            Next::Plan(Planned::After { what }) => vec![format!("after {what}")],
            Next::Plan(other) => panic!("{other:?}"),
            Next::Write => vec!["write".into()],
        }
    }

    const ADD: &str = "add the etcd member n2 (https://10.0.0.2:2380) as a learner";

    #[test]
    fn from_a_bare_host_to_a_vote() {
        let first = member("n1", "10.0.0.1", false);
        assert_eq!(shown(std::slice::from_ref(&first), false), [ADD]);
        assert_eq!(shown(&[first.clone(), member("", "10.0.0.2", true)], false), ["write"]);
        // It has begun to start.
        assert_eq!(shown(&[first.clone(), member("", "10.0.0.2", true)], true), ["write"]);
        assert_eq!(shown(&[first.clone(), member("n2", "10.0.0.2", true)], true), ["give the etcd member n2 its vote"]);
        assert_eq!(shown(&[first, member("n2", "10.0.0.2", false)], true), Vec::<String>::new());
    }

    #[test]
    fn one_at_a_time() {
        let told = shown(&[member("n1", "10.0.0.1", false), member("n3", "10.0.0.3", true)], false);
        assert_eq!(told, ["after the etcd member n3 to get its vote: etcd takes one new member at a time"]);
        let members = [member("n1", "10.0.0.1", false), member("", "10.0.0.3", true)];
        let told = shown(&members, false);
        assert!(told[0].contains("https://10.0.0.3:2380"), "{told:?}");
        let in_the_way = membership().other_learner(&members).map(told_of).unwrap();
        assert_eq!(in_the_way.lines, ["the etcd member https://10.0.0.3:2380 was added and has not started"]);
        assert_eq!(in_the_way.hint, Some(Hint::OtherLearner));
        assert!(membership().other_learner(&[member("", "10.0.0.2", true)]).is_none(), "it is this host's own");
    }

    #[tokio::test]
    async fn who_has_begun_is_not_added() {
        let alone = Membership { is_new: false, ..membership() };
        let host = crate::engine::fake::FakeHost::default();
        let planned = AnyResource::plan(&alone, &host).await.unwrap();
        assert_eq!(planned, Planned::after("the certificates by which etcd is asked"));
        // Cut off before its vote, it gets that; and who has one does not wait for others.
        let (own, other) = (member("n2", "10.0.0.2", false), member("n3", "10.0.0.3", true));
        assert_eq!(alone.next(&[own, other.clone()], true).unwrap(), Next::Plan(Planned::Satisfied));
        let learner = member("n2", "10.0.0.2", true);
        let promote = Next::Plan(Planned::Changes(vec![alone.change(MemberAction::Promote)]));
        assert_eq!(alone.next(&[learner, member("n1", "10.0.0.1", false)], true).unwrap(), promote);
        assert!(matches!(membership().next(&[other], false).unwrap(), Next::Plan(Planned::After { .. })));
    }

    #[test]
    fn a_former_self_makes_room() {
        let first = member("n1", "10.0.0.1", false);
        let lost_disk = "remove the etcd member n2 (https://10.0.0.2:2380)";
        assert_eq!(shown(&[first.clone(), member("n2", "10.0.0.2", false)], false), [lost_disk, ADD]);
        let moved = "remove the etcd member n2 (https://10.0.0.9:2380)";
        assert_eq!(shown(&[first.clone(), member("n2", "10.0.0.9", false)], false), [moved, ADD]);
        assert_eq!(shown(&[first, member("n2", "10.0.0.9", false), member("n2", "10.0.0.2", false)], true), [moved]);
    }

    #[test]
    fn data_that_nobody_knows_is_not_thrown_away() {
        let failure = membership().next(&[member("n1", "10.0.0.1", false)], true).unwrap_err();
        assert!(failure.cause.contains("/var/lib/etcd") && failure.hint == Some(Hint::ResetEtcdHost));
    }

    #[test]
    fn the_manifest_names_all_members() {
        let text = membership().manifest(&[member("n1", "10.0.0.1", false), member("", "10.0.0.2", true)]).unwrap();
        assert!(text.contains("--initial-cluster=n1=https://10.0.0.1:2380,n2=https://10.0.0.2:2380"), "{text}");
        assert!(text.contains("--initial-cluster-state=existing"), "{text}");
    }
}
