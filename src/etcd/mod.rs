//! An etcd cluster's members: who they are, which of them answer, and how they come and go. Knows etcd's API (through a client
//! library) and nothing of Kubernetes or of hosts.

mod obstacle;
mod quorum;
mod survey;

use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, Certificate, ConnectOptions, Error, GetOptions, Identity, MemberAddOptions,
    TlsOptions,
};
use futures_util::future::join_all;

use crate::engine::{Change, Failure, MemberAction, MemberChange, Result};

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

/// A conversation with one of a cluster's members.
pub struct Client(etcd_client::Client);

impl Client {
    /// The first of these members that answers, and who belongs to the cluster by its word. A learner does not answer. One that has lost
    /// the others still does, for what it knows.
    pub async fn find(endpoints: &[String], credentials: &Credentials) -> Result<(Self, Vec<Member>)> {
        let mut said = Vec::new();
        for endpoint in endpoints {
            let attempt = async {
                let mut client = connect(endpoint, credentials).await?;
                let members = members(&mut client).await?;
                Ok::<_, Error>((Self(client), members))
            };
            match attempt.await {
                Ok(found) => return Ok(found),
                Err(error) => said.push(format!("{endpoint}: {}", words(&error))),
            }
        }
        Err(Failure::new("no member of etcd answers for the cluster")
            .evidence(said)
            .hint("see on a control plane how etcd is: `crictl ps -a --name etcd` and `crictl logs ID`")
            .retryable())
    }

    /// Adds a member that gets the data and has no vote yet.
    pub async fn add_learner(&mut self, peer_url: &str) -> Result<()> {
        let options = MemberAddOptions::new().with_is_learner();
        let added = self.0.member_add([peer_url], Some(options)).await;
        added.map(drop).map_err(|error| explain(&error, "add a member to etcd"))
    }

    /// Gives a learner its vote. Retryable while it has not caught up.
    pub async fn promote(&mut self, id: u64) -> Result<()> {
        self.0.member_promote(id).await.map(drop).map_err(|error| explain(&error, "give an etcd member its vote"))
    }

    pub async fn remove(&mut self, id: u64) -> Result<()> {
        self.0.member_remove(id).await.map(drop).map_err(|error| explain(&error, "remove a member of etcd"))
    }

    /// Has the others look for a member at another URL.
    pub async fn move_to(&mut self, id: u64, peer_url: &str) -> Result<()> {
        let moved = self.0.member_update(id, vec![peer_url.to_string()]).await;
        moved.map(drop).map_err(|error| explain(&error, "give an etcd member another address"))
    }

    /// Whether there is any key that begins so. Only a majority of the members can tell.
    pub async fn has_keys(endpoint: &str, credentials: &Credentials, prefix: &str) -> Result<bool> {
        let options = GetOptions::new().with_prefix().with_limit(1).with_keys_only();
        let attempt = async { connect(endpoint, credentials).await?.get(prefix, Some(options)).await };
        let found = in_time(attempt).await;
        found.map(|found| found.count() > 0).map_err(|error| explain(&error, "read from etcd"))
    }

    /// Takes back a member's alarm that its database is full. The whole cluster takes writes again if no other has one.
    pub async fn clear_no_space(&mut self, id: u64) -> Result<()> {
        let mut options = AlarmOptions::new();
        options.with_member(id);
        let cleared = self.0.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(options)).await;
        cleared.map(drop).map_err(|error| explain(&error, "clear an alarm of etcd"))
    }

    pub async fn members(&mut self) -> Result<Vec<Member>> {
        members(&mut self.0).await.map_err(|error| explain(&error, "list etcd's members"))
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

async fn connect(endpoint: &str, credentials: &Credentials) -> std::result::Result<etcd_client::Client, Error> {
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(&credentials.authority))
        .identity(Identity::from_pem(&credentials.certificate, &credentials.key));
    let options = ConnectOptions::new().with_tls(tls).with_connect_timeout(PATIENCE).with_timeout(PATIENCE);
    etcd_client::Client::connect([endpoint], Some(options)).await
}

async fn members(client: &mut etcd_client::Client) -> std::result::Result<Vec<Member>, Error> {
    let listed = in_time(client.member_list()).await?;
    let member = |member: &etcd_client::Member| Member {
        id: member.id(),
        name: member.name().into(),
        peer_urls: member.peer_urls().to_vec(),
        client_urls: member.client_urls().to_vec(),
        is_learner: member.is_learner(),
    };
    Ok(in_order(listed.members().iter().map(member)))
}

/// By their names: etcd has them by their IDs, which are as chance would have it.
fn in_order(members: impl Iterator<Item = Member>) -> Vec<Member> {
    let mut members: Vec<Member> = members.collect();
    members.sort_by(|one, other| one.label().cmp(other.label()));
    members
}

/// Of a member that can't be reached the library waits for ever to be able to ask.
async fn in_time<T>(asked: impl Future<Output = std::result::Result<T, Error>>) -> std::result::Result<T, Error> {
    let answer = tokio::time::timeout(PATIENCE * 2, asked).await;
    answer.unwrap_or_else(|_| Err(Error::EndpointError("it does not answer".into())))
}

/// What etcd says, without the library's frame around it.
fn words(error: &Error) -> String {
    match error {
        Error::GRpcStatus(status) => status.message().to_string(),
        other => other.to_string(),
    }
}

/// What etcd refuses for the moment: another learner is there, this one is behind, members have only just connected, or it was done by
/// an attempt whose answer was lost, and the member that was asked who belongs to the cluster does not know of it yet.
const PASSING: [&str; 9] = [
    "too many learner members",
    "unhealthy cluster",
    "leader changed",
    "timed out",
    "Timeout expired",
    "no leader",
    "can only promote a learner member",
    "member not found",
    "Peer URLs already exists",
];

fn explain(error: &Error, what: &str) -> Failure {
    let said = words(error);
    let failure = Failure::new(format!("failed to {what}: {said}"));
    let is_passing = PASSING.iter().any(|words| said.contains(words)) || !matches!(error, Error::GRpcStatus(_));
    if is_passing { failure.retryable() } else { failure }
}
