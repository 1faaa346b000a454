//! An etcd cluster's members: who they are, which of them answer, and how they come and go. Knows etcd's API and nothing of
//! Kubernetes or of hosts.

mod api;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
mod obstacle;
mod quorum;
#[cfg(test)]
mod real_tests;
#[cfg(test)]
mod samples;
mod survey;

use std::time::Duration;

use futures_util::future::join_all;

use crate::engine::{Change, Failure, Hint, MemberAction, MemberChange, Result};
use api::{
    AlarmRequest, Call, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest, RangeRequest,
};
use connection::{Connection, Error};
use obstacle::listens;

pub use obstacle::{Obstacle, obstacle};
pub use quorum::{Quorum, without};
pub use survey::{Condition, Survey, Surveyed};

/// How long one member may take to be reached, and to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// PEM: by what the members are known, and as whom they are asked.
#[derive(Clone)]
pub struct Credentials {
    pub authority: Vec<u8>,
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: u64,
    /// Empty until it has started.
    pub name: String,
    pub peer_urls: Vec<String>,
    /// Empty until it has started.
    pub client_urls: Vec<String>,
    /// It gets all data and has no vote.
    pub is_learner: bool,
}

impl Member {
    pub fn has_started(&self) -> bool {
        !self.name.is_empty()
    }

    pub fn is_at(&self, peer_url: &str) -> bool {
        self.peer_urls.iter().any(|url| url == peer_url)
    }

    /// What becomes of it, through the members at these client URLs.
    pub fn change(&self, action: MemberAction, endpoints: Vec<String>) -> Change {
        Change::SetMember(MemberChange {
            action,
            member: self.name.clone(),
            peer_url: self.peer_urls.first().cloned().unwrap_or_default(),
            endpoints,
        })
    }

    /// Its name, or where it is to be.
    pub fn label(&self) -> &str {
        match self.name.as_str() {
            "" => self.peer_urls.first().map_or("a member without a name", String::as_str),
            name => name,
        }
    }

    /// One with a vote, at 10.0.0.ID.
    #[cfg(test)]
    pub fn sample(id: u64, name: &str) -> Self {
        let url = |port: u16| vec![format!("https://10.0.0.{id}:{port}")];
        Self { id, name: name.into(), peer_urls: url(2380), client_urls: url(2379), is_learner: false }
    }
}

impl From<api::Member> for Member {
    fn from(member: api::Member) -> Self {
        let api::Member { id, name, peer_urls, client_urls, is_learner } = member;
        Self { id, name, peer_urls, client_urls, is_learner }
    }
}

/// A conversation with one of a cluster's members.
pub struct Client(Connection);

impl Client {
    /// The first of these members that answers, and who belongs to the cluster by its word. A learner does not answer. One that has lost
    /// the others still does, for what it knows.
    pub async fn find(endpoints: &[String], credentials: &Credentials) -> Result<(Self, Vec<Member>)> {
        let mut said = Vec::new();
        for endpoint in endpoints {
            let attempt = async {
                let mut connection = Connection::open(endpoint, credentials).await?;
                let members = members(&mut connection).await?;
                Ok::<_, Error>((Self(connection), members))
            };
            match attempt.await {
                Ok(found) => return Ok(found),
                Err(error) => said.push(format!("{endpoint}: {error}")),
            }
        }
        Err(Failure::new("no member of etcd answers for the cluster").evidence(said).hint(Hint::CheckEtcd).retryable())
    }

    /// Adds a member that gets the data and has no vote yet.
    pub async fn add_learner(&mut self, peer_url: &str) -> Result<()> {
        let request = MemberAddRequest { peer_urls: vec![peer_url.to_owned()], is_learner: true };
        self.call(request, "add a member to etcd").await.map(drop)
    }

    /// Gives a learner its vote. Retryable while it has not caught up.
    pub async fn promote(&mut self, id: u64) -> Result<()> {
        self.call(MemberPromoteRequest { id }, "give an etcd member its vote").await.map(drop)
    }

    pub async fn remove(&mut self, id: u64) -> Result<()> {
        self.call(MemberRemoveRequest { id }, "remove a member of etcd").await.map(drop)
    }

    /// Has the others look for a member at another URL.
    pub async fn move_to(&mut self, id: u64, peer_url: &str) -> Result<()> {
        let request = MemberUpdateRequest { id, peer_urls: vec![peer_url.to_owned()] };
        self.call(request, "give an etcd member another address").await.map(drop)
    }

    /// Whether there is any key that begins so. Only a majority of the members can tell.
    pub async fn has_keys(endpoint: &str, credentials: &Credentials, prefix: &str) -> Result<bool> {
        let attempt = async { Connection::open(endpoint, credentials).await?.call(RangeRequest::count(prefix)).await };
        let found = attempt.await;
        found.map(|found| found.count > 0).map_err(|error| explain(&error, "read from etcd"))
    }

    /// Takes back a member's alarm that its database is full. The whole cluster takes writes again if no other has one.
    pub async fn clear_no_space(&mut self, id: u64) -> Result<()> {
        let request = AlarmRequest { action: api::DEACTIVATE, member_id: id, alarm: api::NO_SPACE };
        self.call(request, "clear an alarm of etcd").await.map(drop)
    }

    pub async fn members(&mut self) -> Result<Vec<Member>> {
        members(&mut self.0).await.map_err(|error| explain(&error, "list etcd's members"))
    }

    async fn call<R: Call>(&mut self, request: R, what: &str) -> Result<R::Answer> {
        self.0.call(request).await.map_err(|error| explain(&error, what))
    }
}

/// Of these members, those that answer: each is asked by itself, all at once.
pub async fn healthy(members: &[Member], credentials: &Credentials) -> Vec<u64> {
    let asked = members
        .iter()
        .filter(|member| !member.is_learner)
        .map(|member| async { Client::find(&member.client_urls, credentials).await.ok().map(|_| member.id) });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Whether anything listens at a client or peer URL of each, be it another etcd. One that can be asked by nobody here may be well.
pub async fn listening(members: &[Member]) -> Vec<bool> {
    let any = |member: &Member| {
        let urls: Vec<String> = member.peer_urls.iter().chain(&member.client_urls).cloned().collect();
        async move { join_all(urls.iter().map(|url| listens(url))).await.contains(&true) }
    };
    join_all(members.iter().map(any)).await
}

async fn members(connection: &mut Connection) -> std::result::Result<Vec<Member>, Error> {
    let listed = connection.call(MemberListRequest {}).await?;
    Ok(in_order(listed.members.into_iter().map(Member::from)))
}

/// By their names: etcd has them by their IDs, which are as chance would have it.
fn in_order(members: impl Iterator<Item = Member>) -> Vec<Member> {
    let mut members: Vec<Member> = members.collect();
    members.sort_by(|one, other| one.label().cmp(other.label()));
    members
}

/// What etcd refuses for the moment: another learner is there, this one is behind, members have only just connected, or it was done by
/// an attempt whose answer was lost, and the member that was asked who belongs to the cluster does not know of it yet.
const PASSING: [&str; 8] = [
    "too many learner members",
    "unhealthy cluster",
    "leader changed",
    "timed out",
    "no leader",
    "can only promote a learner member",
    "member not found",
    "Peer URLs already exists",
];

fn explain(error: &Error, what: &str) -> Failure {
    let is_passing = match error {
        Error::Unreachable(_) => true,
        Error::Refused(said) => PASSING.iter().any(|words| said.contains(words)),
    };
    let failure = Failure::new(format!("failed to {what}: {error}"));
    if is_passing { failure.retryable() } else { failure }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::api::{MemberListResponse, RangeResponse};
    use super::samples::{Stub, authority, credentials, later, signed};
    use super::*;

    #[tokio::test]
    async fn each_call_goes_to_its_method() {
        let ca = authority("etcd-ca");
        let member = |id, name: &str| api::Member { id, name: name.into(), ..api::Member::default() };
        let list = MemberListResponse { members: vec![member(7, "n2"), member(9, "n1")] }.encode_to_vec();
        let mut answers = vec![Ok(list)];
        answers.extend(vec![Ok(Vec::new()); 5]);
        answers.push(Ok(RangeResponse { count: 2 }.encode_to_vec()));
        let etcd = Stub::start(&ca, answers).await;
        let credentials = credentials(&ca, signed(&ca, "client", later()));
        // The first one is not there.
        let endpoints = ["https://127.0.0.1:1".to_owned(), etcd.url.clone()];

        let (mut client, members) = Client::find(&endpoints, &credentials).await.unwrap();
        let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!((names, members[1].id), (vec!["n1", "n2"], 7));
        client.add_learner("a").await.unwrap();
        client.promote(5).await.unwrap();
        client.remove(6).await.unwrap();
        client.move_to(7, "b").await.unwrap();
        client.clear_no_space(8).await.unwrap();
        drop(client);
        assert!(Client::has_keys(&etcd.url, &credentials, "k").await.unwrap());

        let expected: [(&str, &[u8]); 7] = [
            ("Cluster/MemberList", &[]),
            ("Cluster/MemberAdd", &[0x0a, 1, b'a', 0x10, 1]),
            ("Cluster/MemberPromote", &[0x08, 5]),
            ("Cluster/MemberRemove", &[0x08, 6]),
            ("Cluster/MemberUpdate", &[0x08, 7, 0x12, 1, b'b']),
            ("Maintenance/Alarm", &[0x08, 2, 0x10, 8, 0x18, 1]),
            ("KV/Range", &[0x0a, 1, b'k', 0x12, 1, b'l', 0x48, 1]),
        ];
        let expected = expected.map(|(method, bytes)| (format!("/etcdserverpb.{method}"), bytes.to_vec()));
        assert_eq!(etcd.calls(), expected);
    }

    #[tokio::test]
    async fn one_of_whose_ports_one_is_open_is_there() {
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (open, closed) = (format!("https://{}", open.local_addr().unwrap()), "https://127.0.0.1:1".to_owned());
        let member = |peer: &String, client: &[&String]| Member {
            peer_urls: vec![peer.clone()],
            client_urls: client.iter().map(ToString::to_string).collect(),
            ..Member::sample(1, "n1")
        };
        let members = [
            member(&open, &[&closed]),
            member(&closed, &[&closed, &open]),
            member(&closed, &[&closed]),
            member(&closed, &[]),
        ];
        assert_eq!(listening(&members).await, [true, true, false, false]);
    }

    #[tokio::test]
    async fn what_passes_is_tried_again_and_the_rest_is_not() {
        let ca = authority("etcd-ca");
        let behind = "etcdserver: can only promote a learner member which is in sync with leader";
        let etcd = Stub::start(&ca, vec![Ok(Vec::new()), Err(behind), Err("etcdserver: permission denied")]).await;
        let credentials = credentials(&ca, signed(&ca, "client", later()));
        let (mut client, _) = Client::find(std::slice::from_ref(&etcd.url), &credentials).await.unwrap();
        let passing = client.promote(5).await.unwrap_err();
        assert_eq!(passing.cause, format!("failed to give an etcd member its vote: {behind}"));
        assert!(passing.retryable);
        assert!(!client.promote(5).await.unwrap_err().retryable);
        // It hangs up: whether it did it is not known.
        assert!(client.promote(5).await.unwrap_err().retryable);
        let nobody = Client::find(&["https://127.0.0.1:1".to_owned()], &credentials).await.err().unwrap();
        assert!(nobody.retryable && nobody.evidence[0].contains("Connection refused"), "{nobody:?}");
    }
}
