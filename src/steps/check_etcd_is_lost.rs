//! Before a recovery: etcd has lost its majority, this host's data are fit to go on with, and there is room for a copy of them. What may
//! be lost is told.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{AnyStep, Evidence, Failure, Hint, Planned, Probe, Remark, Result};
use crate::etcd::Survey;
use crate::facts::Recovery;
use crate::manifest::etcd_peer_url;
use crate::resource::etcd_credentials;

use super::etcd_member::{self, DATA};
use super::recover_etcd::FOLDER;
use super::{Make, evidence};

/// How long an etcd that has just been started is waited for.
const DEADLINE: Duration = Duration::from_secs(10);
/// What is left on the disk beside the copy, in bytes.
const SPARE: u64 = 128 << 20;

pub struct CheckEtcdIsLost {
    host: String,
    peer_url: String,
    remarks: Mutex<Vec<String>>,
}

pub fn step(make: &Make<'_>) -> Result<CheckEtcdIsLost> {
    let host = make.context.host()?;
    Ok(CheckEtcdIsLost { host: host.name.clone(), peer_url: etcd_peer_url(host.address), remarks: Mutex::default() })
}

#[async_trait]
impl AnyStep for CheckEtcdIsLost {
    fn id(&self) -> &str {
        "check-etcd-is-lost"
    }

    fn title(&self) -> String {
        "See that etcd has lost its majority".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let has_manifest = etcd_member::is_wanted(probe).await?;
        let has_data = probe.list(Utf8Path::new(DATA)).await?.is_some();
        if !has_manifest || !has_data {
            return Err(Failure::new(format!("{} has no member of etcd with data to go on with", self.host))
                .hint(Hint::RecoverFromData));
        }
        let Some(credentials) = etcd_credentials(probe).await? else {
            return Err(Failure::new("this host lacks the certificates by which its API server asks etcd")
                .hint(Hint::CheckExpiration));
        };
        let begun = Recovery::read(probe).await?.filter(|recovery| !recovery.is_done);
        let survey = match Survey::by(&self.peer_url, &credentials).await {
            Ok(survey) => survey,
            // It was stopped for that.
            Err(_) if begun.is_some() => return Ok(Planned::Satisfied),
            Err(failure) if failure.retryable => return Ok(Planned::after("etcd on this host to answer")),
            Err(failure) => return Err(failure),
        };
        if survey.quorum().holds() && begun.is_some() {
            return Ok(Planned::Satisfied);
        }
        self.judge(&survey)?;
        if begun.is_none() {
            make_sure_of_room(probe).await?;
        }
        *self.remarks.lock().expect("no panic while held") = told(&self.host, &self.peer_url, &survey);
        Ok(Planned::Satisfied)
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        Evidence { lines: evidence::containers(probe, &["etcd"]).await, hint: Some(Hint::StartSurvivor) }
    }

    async fn remarks(&self, _probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(self.remarks.lock().expect("no panic while held").iter().cloned().map(Remark::Warning).collect())
    }
}

impl CheckEtcdIsLost {
    fn judge(&self, survey: &Survey) -> Result<()> {
        if survey.quorum().holds() {
            return Err(Failure::new(format!("{survey}: etcd has its majority, and there is nothing to recover"))
                .evidence(survey.silent())
                .hint(Hint::RunUp));
        }
        if survey.has_leader() {
            return Err(Failure::new(format!("{survey} from here, but they have a leader: etcd still decides"))
                .evidence(survey.silent())
                .hint(Hint::CheckReach));
        }
        if survey.at(&self.peer_url).is_some_and(|own| own.member.is_learner) {
            return Err(Failure::new(format!("{} was still joining etcd: its data may be incomplete", self.host))
                .hint(Hint::RecoverFromOther));
        }
        Ok(())
    }
}

/// What people should know before they go on.
fn told(host: &str, peer_url: &str, survey: &Survey) -> Vec<String> {
    let own = survey.at(peer_url).and_then(|own| own.condition.as_ref());
    let others: Vec<&str> =
        survey.members.iter().filter(|seen| !seen.member.is_at(peer_url)).map(|seen| seen.member.label()).collect();
    let at = own.map(|own| format!(" as of revision {}", own.revision)).unwrap_or_default();
    let mut lines = vec![format!(
        "{survey}; etcd goes on with {host}'s data{at} and without {}: what they wrote and {host} had not got yet is lost",
        others.join(", ")
    )];
    for seen in survey.voters().filter(|seen| seen.answers && !seen.member.is_at(peer_url)) {
        let (Some(own), Some(theirs)) = (own, &seen.condition) else { continue };
        if theirs.revision > own.revision {
            let name = seen.member.label();
            lines.push(format!(
                "{name} has newer data, of revision {} against {}: `--from {name}` loses less",
                theirs.revision, own.revision
            ));
        }
    }
    lines
}

async fn make_sure_of_room(probe: &dyn Probe) -> Result<()> {
    let mut needed = SPARE;
    for folder in ["snap", "wal"] {
        let folder = Utf8Path::new(DATA).join(folder);
        for name in probe.list(&folder).await?.unwrap_or_default() {
            needed += probe.stat(&folder.join(name)).await?.map_or(0, |metadata| metadata.size);
        }
    }
    let output = probe.query(&["df", "--output=avail", "-B1", "/var/lib"]).await?;
    let Some(free) = output.stdout.lines().nth(1).and_then(|line| line.trim().parse::<u64>().ok()) else {
        return Ok(());
    };
    if free >= needed {
        return Ok(());
    }
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(Failure::new(format!(
        "a copy of etcd's data is kept in {FOLDER}, for which there is no room: it takes {} MiB, and {} are free",
        mebibytes(needed),
        mebibytes(free)
    ))
    .hint(Hint::MakeRoom))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;
    use crate::etcd::{Condition, Member, Surveyed};

    fn seen(name: &str, revision: Option<i64>) -> Surveyed {
        let member = Member { peer_urls: vec![format!("https://{name}:2380")], ..Member::sample(1, name) };
        let condition = revision.map(|revision| Condition { revision, ..Condition::default() });
        Surveyed { member, answers: condition.is_some(), condition }
    }

    fn check(host: &str) -> CheckEtcdIsLost {
        CheckEtcdIsLost { host: host.into(), peer_url: format!("https://{host}:2380"), remarks: Mutex::default() }
    }

    #[test]
    fn a_majority_that_is_there_is_not_recovered() {
        let mut survey = Survey { members: vec![seen("n1", Some(7)), seen("n2", None), seen("n3", Some(7))] };
        let failure = check("n3").judge(&survey).unwrap_err();
        assert_eq!(
            failure.cause,
            "2 of 3 members answer, and it takes 2: etcd has its majority, and there is nothing to recover"
        );
        survey.members[0] = seen("n1", None);
        check("n3").judge(&survey).unwrap();
        survey.members[2].condition.as_mut().unwrap().has_leader = true;
        assert!(check("n3").judge(&survey).unwrap_err().cause.contains("have a leader"));
    }

    #[test]
    fn one_that_was_joining_is_no_survivor() {
        let mut survey = Survey { members: vec![seen("n1", None), seen("n2", None), seen("n3", Some(7))] };
        survey.members[2].member.is_learner = true;
        assert!(check("n3").judge(&survey).unwrap_err().cause.contains("still joining"));
    }

    #[test]
    fn what_may_be_lost_is_told_and_who_has_more() {
        let members =
            vec![seen("n1", None), seen("n2", None), seen("n3", None), seen("n4", Some(7)), seen("n5", Some(9))];
        let lines = told("n4", "https://n4:2380", &Survey { members });
        assert_eq!(
            lines,
            [
                "2 of 5 members answer, and it takes 3; etcd goes on with n4's data as of revision 7 and without n1, n2, n3, n5: what \
                 they wrote and n4 had not got yet is lost",
                "n5 has newer data, of revision 9 against 7: `--from n5` loses less",
            ]
        );
    }

    #[tokio::test]
    async fn a_disk_without_room_for_the_copy_is_told() {
        let host = |free: &str| {
            let answer = format!("Avail\n{free}\n");
            FakeHost::default()
                .answer("df --output=avail -B1 /var/lib", 0, &answer)
                .file("/var/lib/etcd/member/snap/db", "x")
        };
        make_sure_of_room(&host("134217728")).await.unwrap();
        let failure = make_sure_of_room(&host("1048576")).await.unwrap_err();
        assert!(failure.cause.ends_with("it takes 128 MiB, and 1 are free"), "{}", failure.cause);
    }
}
