//! The join tokens of runs go once every host has joined, also those of runs that were cut off.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::bootstrap::token_secret::{self, NAMESPACE, RUN_DESCRIPTION};
use crate::engine::{AnyStep, Change, Planned, Probe, Result};
use crate::kube::Connector;

use super::later::later;
use super::{JoinToken, Make};

pub struct DeleteJoinToken {
    kube: Connector,
    /// A kubelet that has not joined yet still tries the token, which then ends by itself.
    is_awaited: bool,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> Box<dyn AnyStep> {
    let inputs = &make.context.inputs;
    let step = DeleteJoinToken {
        kube: make.services.kube.clone(),
        is_awaited: inputs.unregistered.intersection(&inputs.failed).next().is_some(),
        deadline: make.context.ready_deadline(),
    };
    match inputs.join_token {
        JoinToken::ForRun => later(make.context, step),
        JoinToken::Unneeded | JoinToken::ForPeople => Box::new(step),
    }
}

#[async_trait]
impl AnyStep for DeleteJoinToken {
    fn id(&self) -> &str {
        "delete-join-token"
    }

    fn title(&self) -> String {
        "Delete the join token".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        if self.is_awaited {
            return Ok(Planned::Satisfied);
        }
        let Some(view) = self.kube.view(probe).await? else { return Ok(Planned::after("the API server")) };
        match view.list("v1", "Secret", Some(NAMESPACE), "").await {
            Err(failure) if failure.retryable => Ok(Planned::after("an answer of the API server")),
            Err(failure) => Err(failure),
            Ok(secrets) => Ok(Planned::of(deletions(&secrets))),
        }
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }
}

fn deletions(secrets: &[Value]) -> Vec<Change> {
    let tokens = secrets.iter().filter_map(|secret| token_secret::from_secret(secret).ok());
    let of_runs = tokens.filter(|listed| listed.grant.description.as_deref() == Some(RUN_DESCRIPTION));
    let delete = |listed: token_secret::Listed| Change::DeleteObject {
        api_version: "v1".into(),
        kind: "Secret".into(),
        namespace: Some(NAMESPACE.into()),
        name: listed.token.secret_name(),
    };
    of_runs.map(delete).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::token_secret::{Grant, secret_object};

    #[test]
    fn what_people_were_given_stays() {
        let secret = |id: &str, description: Option<&str>| {
            let grant = Grant { description: description.map(String::from), ..Grant::join(None) };
            secret_object(&format!("{id}.0123456789abcdef").parse().unwrap(), &grant)
        };
        let secrets = [
            secret("aaaaaa", Some("made by kboot for joining nodes")),
            secret("bbbbbb", Some(RUN_DESCRIPTION)),
            secret("cccccc", None),
            serde_json::json!({"kind": "Secret", "metadata": {"name": "x"}, "data": {}}),
        ];
        let names: Vec<String> = deletions(&secrets).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["delete Secret kube-system/bootstrap-token-bbbbbb"]);
    }
}
