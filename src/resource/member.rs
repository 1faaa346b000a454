//! Members of the etcd cluster that this host's API server uses, or is to use.

use std::time::{Duration, Instant};

use camino::Utf8Path;

use crate::engine::{Failure, Hint, MemberAction, MemberChange, Probe, Result};
use crate::etcd::{Client, Credentials};

const AUTHORITY: &str = "/etc/kubernetes/pki/etcd/ca.crt";
const CERTIFICATE: &str = "/etc/kubernetes/pki/apiserver-etcd-client.crt";
const KEY: &str = "/etc/kubernetes/pki/apiserver-etcd-client.key";

/// How long etcd may refuse for reasons that pass by themselves: a learner catches up with all of the cluster's data.
const PATIENCE: Duration = Duration::from_secs(120);

/// As whom this host asks etcd: as its API server does. None where it has no such certificate (yet).
pub async fn etcd_credentials(probe: &dyn Probe) -> Result<Option<Credentials>> {
    let mut files = Vec::new();
    for path in [AUTHORITY, CERTIFICATE, KEY] {
        match probe.read(Utf8Path::new(path)).await {
            Err(failure) if failure.is_unforeseen() => return Ok(None),
            read => files.push(read?),
        }
    }
    let [Some(authority), Some(certificate), Some(key)] = <[_; 3]>::try_from(files).expect("there are three") else {
        return Ok(None);
    };
    Ok(Some(Credentials { authority, certificate, key }))
}

pub(super) async fn set(probe: &dyn Probe, change: &MemberChange) -> Result<()> {
    let credentials = etcd_credentials(probe).await?;
    let credentials = credentials.ok_or_else(|| Failure::new(format!("this host has no {CERTIFICATE}")))?;
    let started = Instant::now();
    loop {
        match attempt(change, &credentials).await {
            Err(failure) if failure.retryable && started.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            done => return done,
        }
    }
}

async fn attempt(change: &MemberChange, credentials: &Credentials) -> Result<()> {
    let (mut client, members) = Client::find(&change.endpoints, credentials).await?;
    let known = members.iter().find(|member| member.is_at(&change.peer_url));
    match (change.action, known) {
        (MemberAction::Add, None) => client.add_learner(&change.peer_url).await,
        (MemberAction::Promote, Some(member)) if member.is_learner => client.promote(member.id).await,
        (MemberAction::Promote, None) => {
            Err(Failure::new(format!("{} is no member of etcd any more", change.member)).hint(Hint::AddMemberAgain))
        }
        (MemberAction::Move, None) => match members.iter().find(|member| member.name == change.member) {
            Some(member) => client.move_to(member.id, &change.peer_url).await,
            None => Err(Failure::new(format!("{} is no member of etcd any more", change.member))),
        },
        (MemberAction::Remove, Some(member)) => client.remove(member.id).await,
        (MemberAction::ClearNoSpace, Some(member)) => client.clear_no_space(member.id).await,
        (MemberAction::Add | MemberAction::Promote | MemberAction::Move, Some(_))
        | (MemberAction::Remove | MemberAction::ClearNoSpace, None) => Ok(()),
    }
}
