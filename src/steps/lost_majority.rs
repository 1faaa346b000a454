//! An etcd that can decide nothing, because too few of its members are left: whoever waits for it on this host waits in vain.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::engine::hint::HostWord;
use crate::engine::{Failure, Hint, Probe, Result};
use crate::etcd::Survey;
use crate::manifest::etcd_peer_url;
use crate::resource::etcd_credentials;

use super::{Context, etcd_member};

/// How long members may be away, as while they start.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often they are asked.
const INTERVAL: Duration = Duration::from_secs(2);

/// Watches the cluster's etcd while something else is waited for.
pub(super) struct LostMajority {
    /// Where members are asked, this host's own first.
    peer_urls: Vec<String>,
    course: Mutex<Course>,
}

#[derive(Default)]
struct Course {
    asked: Option<Instant>,
    lost_since: Option<Instant>,
}

impl LostMajority {
    pub fn new(context: &Context) -> Self {
        let mut hosts: Vec<_> = context.cluster.control_planes().collect();
        hosts.sort_by_key(|host| host.name != context.host);
        Self {
            peer_urls: hosts.into_iter().map(|host| etcd_peer_url(host.address)).collect(),
            course: Mutex::default(),
        }
    }

    /// An error once too few members have answered for a while.
    pub async fn check(&self, probe: &dyn Probe) -> Result<()> {
        let now = Instant::now();
        {
            let mut course = self.course.lock().expect("no panic while held");
            if course.asked.is_some_and(|asked| now - asked < INTERVAL) {
                return Ok(());
            }
            course.asked = Some(now);
        }
        let survey = self.survey(probe).await?;
        let lost = survey.filter(|survey| !survey.quorum().holds() && !survey.has_leader());
        let mut course = self.course.lock().expect("no panic while held");
        let Some(survey) = lost else {
            course.lost_since = None;
            return Ok(());
        };
        let since = *course.lost_since.get_or_insert(now);
        if since.elapsed() < PATIENCE { Ok(()) } else { Err(failure(&survey)) }
    }

    /// None where no member answers.
    async fn survey(&self, probe: &dyn Probe) -> Result<Option<Survey>> {
        if !etcd_member::is_wanted(probe).await? {
            return Ok(None);
        }
        let Some(credentials) = etcd_credentials(probe).await? else { return Ok(None) };
        for url in &self.peer_urls {
            if let Ok(survey) = Survey::by(url, &credentials).await {
                return Ok(Some(survey));
            }
        }
        Ok(None)
    }
}

fn failure(survey: &Survey) -> Failure {
    let answering = survey.voters().find(|seen| seen.answers).map_or("HOST", |seen| seen.member.label());
    Failure::new(format!("etcd has lost its majority: {survey}"))
        .evidence(survey.silent())
        .hint(Hint::Recover { from: HostWord::of(answering) })
}
