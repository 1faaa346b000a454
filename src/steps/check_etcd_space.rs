//! etcd has room for what is to be written. Where it was full and has room again, its alarm is cleared.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use crate::engine::{AnyStep, Evidence, Failure, Hint, MemberAction, Planned, Probe, Result};
use crate::etcd::{Client, Condition, Member};
use crate::manifest::etcd_client_url;
use crate::resource::etcd_credentials;

use super::{Make, etcd_member};

/// etcd's own, where it tells none.
const DEFAULT_QUOTA: u64 = 2 << 30;

pub struct CheckEtcdSpace {
    endpoint: String,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> Result<CheckEtcdSpace> {
    let endpoint = etcd_client_url(make.context.host()?.address);
    Ok(CheckEtcdSpace { endpoint, deadline: make.context.ready_deadline() })
}

#[async_trait]
impl AnyStep for CheckEtcdSpace {
    fn id(&self) -> &str {
        "check-etcd-space"
    }

    fn title(&self) -> String {
        "See that etcd has room".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        if !etcd_member::is_wanted(probe).await? {
            return Ok(Planned::Satisfied);
        }
        let Some(credentials) = etcd_credentials(probe).await? else { return Ok(Planned::Satisfied) };
        let own = match Condition::of(&self.endpoint, &credentials).await {
            Ok(own) => own,
            // A plan of a cluster that is yet to be made.
            Err(failure) if failure.retryable => return Ok(Planned::after("an answer of etcd")),
            Err(failure) => return Err(failure),
        };
        if own.full.is_empty() {
            return Ok(Planned::Satisfied);
        }
        let (_, members) = Client::find(std::slice::from_ref(&self.endpoint), &credentials).await?;
        let asked = members.into_iter().filter(Member::has_started).map(|member| async {
            let url = member.client_urls.first().cloned().unwrap_or_default();
            let condition = Condition::of(&url, &credentials).await.ok();
            (member, condition)
        });
        self.judge(&own.full, &join_all(asked).await)
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, _probe: &dyn Probe) -> Evidence {
        Evidence { hint: Some(Hint::CheckEtcd), ..Evidence::default() }
    }
}

impl CheckEtcdSpace {
    /// Pure: `full` are the members that have set the alarm. One that does not answer has nothing to say of its room.
    fn judge(&self, full: &[u64], members: &[(Member, Option<Condition>)]) -> Result<Planned> {
        let alarming = || members.iter().filter(|(member, _)| full.contains(&member.id));
        if members.iter().filter_map(|(_, condition)| condition.as_ref()).all(has_room) {
            let endpoints = || vec![self.endpoint.clone()];
            let cleared = alarming().map(|(member, _)| member.change(MemberAction::ClearNoSpace, endpoints()));
            return Ok(Planned::of(cleared.collect()));
        }
        let names: Vec<&str> = alarming().map(|(member, _)| member.label()).collect();
        let size = |(member, condition): &(Member, Option<Condition>)| {
            let (name, condition) = (member.label(), condition.as_ref()?);
            let [size, in_use, quota] = [condition.size, condition.in_use, quota(condition)].map(gibibytes);
            Some(format!("{name}: the database has {size}, of which {in_use} are in use, and may have {quota}"))
        };
        Err(Failure::new(format!("etcd takes no more writes: {} set the alarm NOSPACE", names.join(", ")))
            .evidence(members.iter().filter_map(size))
            .hint(Hint::MakeRoomInEtcd))
    }
}

fn quota(condition: &Condition) -> u64 {
    condition.quota.unwrap_or(DEFAULT_QUOTA)
}

/// Not so little that the alarm would be back at once.
fn has_room(condition: &Condition) -> bool {
    let quota = quota(condition);
    condition.size < quota - quota / 10
}

fn gibibytes(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes < f64::from(1 << 30) => format!("{:.1} MiB", bytes / f64::from(1 << 20)),
        bytes => format!("{:.2} GiB", bytes / f64::from(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(sizes: &[(u64, u64)]) -> Result<Planned> {
        let member = |(index, (size, in_use)): (usize, &(u64, u64))| {
            let id = index as u64 + 1;
            let member = Member::sample(id, &format!("n{id}"));
            let condition = Condition { size: *size, in_use: *in_use, quota: Some(16 << 20), ..Condition::default() };
            (member, Some(condition))
        };
        let members: Vec<_> = sizes.iter().enumerate().map(member).collect();
        CheckEtcdSpace { endpoint: String::new(), deadline: Duration::ZERO }.judge(&[2], &members)
    }

    #[test]
    fn who_is_full_is_told_with_the_sizes() {
        let failure = judged(&[(8 << 20, 1 << 20), (16 << 20, 1 << 20)]).unwrap_err();
        assert_eq!(failure.cause, "etcd takes no more writes: n2 set the alarm NOSPACE");
        assert_eq!(
            failure.evidence[1],
            "n2: the database has 16.0 MiB, of which 1.0 MiB are in use, and may have 16.0 MiB"
        );
        judged(&[(15 << 20, 1 << 20), (1 << 20, 1 << 20)]).unwrap_err();
    }

    #[test]
    fn the_alarm_goes_once_all_have_room() {
        let changes = judged(&[(1 << 20, 1 << 20), (14 << 20, 1 << 20)]).unwrap().into_changes();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].to_string(), "clear the alarm NOSPACE of the etcd member n2");
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!([gibibytes(5 << 29), gibibytes(3 << 19)], ["2.50 GiB", "1.5 MiB"]);
    }
}
