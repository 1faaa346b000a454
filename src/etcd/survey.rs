//! How each member is by its own word, also where too few are left to answer for the cluster.
//!
//! A member that has started without the others answers nothing to clients. Its peers' port tells who belongs to the cluster all the same.

use std::fmt;

use futures_util::future::join_all;
use reqwest::Response;
use serde::Deserialize;

use super::api::{StatusRequest, StatusResponse};
use super::connection::Connection;
use super::{Credentials, Member, PATIENCE, Quorum, in_order};
use crate::engine::{Failure, Result};

/// The most that is read of a list of members, in bytes: a thousand times what seven members take.
const MOST: usize = 1 << 20;

/// What a member says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    pub id: u64,
    pub cluster_id: u64,
    pub version: String,
    /// Of the key space: the last write that it has applied.
    pub revision: i64,
    pub has_leader: bool,
    /// Of its database file, in bytes.
    pub size: u64,
    pub in_use: u64,
    /// None where it does not say.
    pub quota: Option<u64>,
    /// The members, by their IDs, that have set the alarm that there is no room: then none takes writes.
    pub full: Vec<u64>,
    /// Alarms, and that it has no leader.
    pub complaints: Vec<String>,
}

impl Condition {
    /// Asks the member at a client URL. A member that has lost the others answers, one that has started without them does not.
    pub async fn of(endpoint: &str, credentials: &Credentials) -> Result<Self> {
        let silent = |why: String| Failure::new(format!("{endpoint} does not tell how it is: {why}")).retryable();
        let status = async { Connection::open(endpoint, credentials).await?.call(StatusRequest {}).await }.await;
        let status = status.map_err(|error| silent(error.to_string()))?;
        Self::read(status).ok_or_else(|| silent("its answer has no header".into()))
    }

    pub(super) fn read(status: StatusResponse) -> Option<Self> {
        let header = status.header?;
        let bytes = |count: i64| u64::try_from(count).unwrap_or_default();
        Some(Self {
            id: header.member_id,
            cluster_id: header.cluster_id,
            version: status.version,
            revision: header.revision,
            has_leader: status.leader != 0,
            size: bytes(status.db_size),
            in_use: bytes(status.db_size_in_use),
            quota: Some(bytes(status.db_size_quota)).filter(|quota| *quota > 0),
            full: status.errors.iter().filter_map(|error| full(error)).collect(),
            complaints: status.errors.iter().map(|text| text.trim().to_owned()).collect(),
        })
    }
}

/// The member in an alarm of that kind, which reads `memberID:1234 alarm:NOSPACE`.
fn full(error: &str) -> Option<u64> {
    let words = || error.split_whitespace();
    let id = words().find_map(|word| word.strip_prefix("memberID:"))?;
    words().any(|word| word == "alarm:NOSPACE").then(|| id.parse().ok()).flatten()
}

/// A cluster as one of its members knows it, with what each of them says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    pub members: Vec<Surveyed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    pub member: Member,
    /// Whether it is there and of the same cluster. One that lost its data and began anew is not.
    pub answers: bool,
    pub condition: Option<Condition>,
}

impl Survey {
    /// Asks the member at this peer URL who the members are, and then each of them.
    pub async fn by(peer_url: &str, credentials: &Credentials) -> Result<Self> {
        let members = peers(peer_url, credentials).await?;
        let own = members.iter().find(|member| member.is_at(peer_url)).map(|member| member.id);
        let asked = members.iter().map(|member| async move {
            let url = member.peer_urls.first().map_or("", String::as_str);
            let (theirs, condition) = tokio::join!(peers(url, credentials), condition(member, credentials));
            let knows = |id: u64| theirs.as_ref().is_ok_and(|theirs| theirs.iter().any(|other| other.id == id));
            let answers = knows(member.id) && own.is_none_or(knows);
            Surveyed { member: member.clone(), answers, condition: condition.filter(|found| found.id == member.id) }
        });
        Ok(Self { members: join_all(asked).await })
    }

    pub fn voters(&self) -> impl Iterator<Item = &Surveyed> {
        self.members.iter().filter(|seen| !seen.member.is_learner)
    }

    pub fn quorum(&self) -> Quorum {
        Quorum { votes: self.voters().count(), answering: self.voters().filter(|seen| seen.answers).count() }
    }

    /// The one at this peer URL.
    pub fn at(&self, peer_url: &str) -> Option<&Surveyed> {
        self.members.iter().find(|seen| seen.member.is_at(peer_url))
    }

    /// Whether some member says that there is a leader, which takes a majority.
    pub fn has_leader(&self) -> bool {
        self.voters().any(|seen| seen.answers && seen.condition.as_ref().is_some_and(|found| found.has_leader))
    }

    /// Those that do not answer, each in words.
    pub fn silent(&self) -> Vec<String> {
        let silent = self.voters().filter(|seen| !seen.answers);
        silent
            .map(|seen| {
                let url = seen.member.peer_urls.first().map_or("", String::as_str);
                format!("{} ({url}) does not answer as a member of this cluster", seen.member.label())
            })
            .collect()
    }
}

/// "1 of 3 members answers, and it takes 2"
impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quorum = self.quorum();
        let verb = if quorum.answering == 1 { "answers" } else { "answer" };
        write!(f, "{} of {} members {verb}, and it takes {}", quorum.answering, quorum.votes, quorum.needed())
    }
}

async fn condition(member: &Member, credentials: &Credentials) -> Option<Condition> {
    let url = member.client_urls.first()?;
    Condition::of(url, credentials).await.ok()
}

/// The members, as the one at this peer URL has them.
async fn peers(peer_url: &str, credentials: &Credentials) -> Result<Vec<Member>> {
    let silent =
        |error: reqwest::Error| Failure::new(format!("etcd does not answer at {peer_url}: {error}")).retryable();
    let identity = [credentials.certificate.as_slice(), credentials.key.as_slice()].join(&b'\n');
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(&credentials.authority).map_err(silent)?)
        .identity(reqwest::Identity::from_pem(&identity).map_err(silent)?)
        .build()
        .map_err(silent)?;
    let answer = client.get(format!("{peer_url}/members")).send().await.map_err(silent)?;
    let text = body(answer.error_for_status().map_err(silent)?).await.map_err(silent)?;
    let text = text.ok_or_else(|| Failure::new(format!("{peer_url}/members has more than {MOST} bytes")))?;
    parse(&text).map_err(|error| Failure::new(format!("{peer_url}/members is not as etcd has it: {error}")))
}

/// The body; None if it has more than [`MOST`] bytes.
async fn body(mut answer: Response) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MOST {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

pub(super) fn parse(text: &[u8]) -> std::result::Result<Vec<Member>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Peer {
        id: u64,
        #[serde(default)]
        name: String,
        #[serde(rename = "peerURLs")]
        peer_urls: Vec<String>,
        #[serde(default, rename = "clientURLs")]
        client_urls: Vec<String>,
        #[serde(default)]
        is_learner: bool,
    }
    let peers: Vec<Peer> = serde_json::from_slice(text)?;
    let member = |peer: Peer| Member {
        id: peer.id,
        name: peer.name,
        peer_urls: peer.peer_urls,
        client_urls: peer.client_urls,
        is_learner: peer.is_learner,
    };
    Ok(in_order(peers.into_iter().map(member)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, answers: bool) -> Surveyed {
        Surveyed { member: Member::sample(1, name), answers, condition: None }
    }

    #[tokio::test]
    async fn a_list_without_an_end_is_not_read() {
        let answer = |length: usize| Response::from(http::Response::new(vec![b' '; length]));
        assert_eq!(body(answer(MOST)).await.unwrap().map(|body| body.len()), Some(MOST));
        assert_eq!(body(answer(MOST + 1)).await.unwrap(), None);
    }

    #[test]
    fn the_arithmetic_is_told() {
        let mut survey = Survey { members: vec![seen("n1", false), seen("n2", false), seen("n3", true)] };
        assert_eq!(survey.to_string(), "1 of 3 members answers, and it takes 2");
        assert!(!survey.quorum().holds() && !survey.has_leader());
        assert_eq!(survey.silent()[0], "n1 (https://10.0.0.1:2380) does not answer as a member of this cluster");
        survey.members[0].answers = true;
        assert_eq!(survey.to_string(), "2 of 3 members answer, and it takes 2");
        assert!(survey.quorum().holds());
        survey.members[1].member.is_learner = true;
        assert_eq!(survey.to_string(), "2 of 2 members answer, and it takes 2");
    }

    #[test]
    fn an_alarm_names_its_member() {
        assert_eq!(full("memberID:13803658152347727308 alarm:NOSPACE "), Some(13_803_658_152_347_727_308));
        assert_eq!(full("memberID:1  alarm:CORRUPT"), None);
        assert_eq!(full("etcdserver: no leader"), None);
    }

    #[test]
    fn what_a_peer_tells_is_read() {
        let text = br#"[{"id":13803658152347727308,"peerURLs":["https://10.0.0.1:2380"],"name":"n1","clientURLs":["https://10.0.0.1:2379"]},
            {"id":5,"peerURLs":["https://10.0.0.2:2380"],"isLearner":true}]"#;
        let members = parse(text).unwrap();
        assert_eq!((members[1].id, members[1].name.as_str()), (13_803_658_152_347_727_308, "n1"));
        assert!(members[0].is_learner && !members[0].has_started());
        parse(b"{}").unwrap_err();
    }
}
