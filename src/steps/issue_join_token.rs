//! A bootstrap token. `up` makes one of its own for the hosts that join in the run; `init` makes one for people, or those that the user
//! wants.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::bootstrap::Token;
use crate::bootstrap::token_secret::{
    self, DEFAULT_GROUP, DEFAULT_LIFETIME, Grant, Listed, NAMESPACE, RUN_DESCRIPTION,
};
use crate::engine::{Change, Planned, Probe, Result, Step};
use crate::kube::Connector;

use super::issue_certificates::path;
use super::{Join, JoinToken, Make, Outbox};

/// How long the token of a run lives, should nobody delete it.
const RUN_LIFETIME: time::Duration = time::Duration::hours(1);

/// A token that ends sooner than this is not relied on.
const MARGIN: time::Duration = time::Duration::minutes(10);

pub struct IssueJoinToken {
    kube: Connector,
    server: String,
    join_token: JoinToken,
    candidate: Option<Token>,
    /// The user's own.
    wanted: Vec<(Token, Grant)>,
    outputs: Outbox,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> Result<IssueJoinToken> {
    let join_token = make.context.inputs.join_token;
    let candidate = match join_token {
        JoinToken::Unneeded => None,
        JoinToken::ForRun | JoinToken::ForPeople => Some(make.services.own_token()?.copy()),
    };
    let wanted = make.context.secrets.tokens.iter().map(|(token, grant)| (token.copy(), grant.clone()));
    Ok(IssueJoinToken {
        kube: make.services.kube.clone(),
        server: format!("https://{}", make.context.cluster.endpoint()),
        join_token,
        candidate,
        wanted: wanted.collect(),
        outputs: make.outputs.clone(),
        deadline: make.context.ready_deadline(),
    })
}

pub enum Observed {
    /// Nobody has to join.
    Unneeded,
    NoAnswer,
    Found {
        has_usable: bool,
        /// The ids of all tokens, usable or not.
        ids: Vec<String>,
        now: OffsetDateTime,
    },
}

#[async_trait]
impl Step for IssueJoinToken {
    type Observed = Observed;

    fn id(&self) -> &str {
        "issue-join-token"
    }

    fn title(&self) -> String {
        "Issue a join token".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Observed> {
        if self.join_token == JoinToken::Unneeded {
            return Ok(Observed::Unneeded);
        }
        let (Some(view), Some(ca_pem)) = (self.kube.view(probe).await?, probe.read_text(&path("ca.crt")).await?) else {
            return Ok(Observed::NoAnswer);
        };
        let secrets = match view.list("v1", "Secret", Some(NAMESPACE), "").await {
            Err(failure) if failure.retryable => return Ok(Observed::NoAnswer),
            other => other?,
        };
        let now = OffsetDateTime::now_utc();
        let tokens: Vec<Listed> = secrets.iter().filter_map(|secret| token_secret::from_secret(secret).ok()).collect();
        let ids = tokens.iter().map(|listed| listed.token.id().to_owned()).collect();
        let own = self.candidate.as_ref().filter(|own| tokens.iter().any(|listed| listed.token == **own));
        let has_usable = match self.join_token {
            // Somebody else's token may end, or be known to others.
            JoinToken::ForRun => own.is_some(),
            JoinToken::ForPeople | JoinToken::Unneeded => tokens.iter().any(|token| is_usable(token, now)),
        };
        if let Some(own) = own.filter(|_| self.join_token == JoinToken::ForRun) {
            let join = Join { server: self.server.clone(), ca_pem, token: own.copy() };
            self.outputs.lock().expect("no panic while held").join = Some(join);
        }
        Ok(Observed::Found { has_usable, ids, now })
    }

    fn diff(&self, observed: Observed) -> Planned {
        if let Observed::Found { ids, .. } = &observed
            && !self.wanted.is_empty()
        {
            let missing = self.wanted.iter().filter(|(token, _)| !ids.iter().any(|id| id == token.id()));
            let apply = |(token, grant): &(Token, Grant)| Change::ApplyObject {
                object: token_secret::secret_object(token, grant),
                before: None,
            };
            return Planned::of(missing.map(apply).collect());
        }
        match (observed, &self.candidate) {
            (Observed::Unneeded | Observed::Found { has_usable: true, .. }, _) => Planned::Satisfied,
            (Observed::NoAnswer, _) => Planned::after("an answer of the API server"),
            (Observed::Found { now, .. }, Some(token)) => {
                let (lifetime, description) = match self.join_token {
                    JoinToken::ForRun => (RUN_LIFETIME, RUN_DESCRIPTION),
                    JoinToken::ForPeople | JoinToken::Unneeded => (DEFAULT_LIFETIME, "made by kboot for joining nodes"),
                };
                let expires = now + lifetime;
                let grant = Grant { description: Some(description.into()), ..Grant::join(Some(expires)) };
                let object = token_secret::secret_object(token, &grant);
                Planned::Changes(vec![Change::ApplyObject { object, before: None }])
            }
            (Observed::Found { .. }, None) => Planned::after("a join token"),
        }
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }
}

/// Whether a node can join with it, for some time to come.
fn is_usable(listed: &Listed, now: OffsetDateTime) -> bool {
    let grant = &listed.grant;
    !listed.is_expired(now + MARGIN)
        && ["authentication", "signing"].iter().all(|usage| grant.usages.iter().any(|known| known == usage))
        && grant.groups.iter().any(|group| group == DEFAULT_GROUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str) -> Token {
        format!("{id}.0123456789abcdef").parse().unwrap()
    }

    fn step(wanted: &[&str]) -> IssueJoinToken {
        IssueJoinToken {
            kube: Connector::default(),
            server: "https://10.0.0.1:6443".into(),
            join_token: JoinToken::ForPeople,
            candidate: Some(token("aaaaaa")),
            wanted: wanted.iter().map(|id| (token(id), Grant::join(None))).collect(),
            outputs: Outbox::default(),
            deadline: Duration::ZERO,
        }
    }

    fn made(planned: &Planned) -> Vec<String> {
        let Planned::Changes(changes) = planned else { return Vec::new() };
        let name = |change: &Change| match change {
            Change::ApplyObject { object, .. } => object["metadata"]["name"].as_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        changes.iter().map(name).collect()
    }

    fn found(has_usable: bool, ids: &[&str]) -> Observed {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        Observed::Found { has_usable, ids, now: OffsetDateTime::UNIX_EPOCH }
    }

    #[test]
    fn a_run_s_own_token_lives_for_an_hour() {
        let lifetime = |join_token| {
            let planned = IssueJoinToken { join_token, ..step(&[]) }.diff(found(false, &[]));
            let Planned::Changes(changes) = planned else { panic!("{planned:?}") };
            let Change::ApplyObject { object, .. } = &changes[0] else { panic!("{changes:?}") };
            token_secret::from_secret(object).unwrap().grant.expires.unwrap() - OffsetDateTime::UNIX_EPOCH
        };
        assert_eq!(lifetime(JoinToken::ForRun), time::Duration::hours(1));
        assert_eq!(lifetime(JoinToken::ForPeople), time::Duration::hours(24));
    }

    #[test]
    fn without_a_usable_token_the_candidate_is_made() {
        assert_eq!(made(&step(&[]).diff(found(false, &["cccccc"]))), ["bootstrap-token-aaaaaa"]);
        assert_eq!(step(&[]).diff(found(true, &["cccccc"])), Planned::Satisfied);
    }

    #[test]
    fn the_user_s_tokens_are_made_where_they_are_missing_and_no_other() {
        let step = step(&["bbbbbb", "cccccc"]);
        assert_eq!(made(&step.diff(found(true, &["cccccc"]))), ["bootstrap-token-bbbbbb"]);
        assert_eq!(step.diff(found(false, &["bbbbbb", "cccccc"])), Planned::Satisfied);
        assert_eq!(step.diff(Observed::Unneeded), Planned::Satisfied);
    }
}
