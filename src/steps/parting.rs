//! Steps for the nodes that leave, which a host can be reset without: an API server that does not answer for a while is no failure,
//! and what was not done because of it is told.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::engine::{AnyStep, Change, Planned, Probe, Remark, Result, Text};
use crate::kube::{Connector, View};

use super::Make;

/// How long an API server that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is wanted of the cluster for the nodes that leave it.
#[async_trait]
pub trait Parting: Send + Sync {
    fn id(&self) -> &str;

    fn title(&self) -> String;

    async fn changes(&self, view: &View) -> Result<Vec<Change>>;

    /// What to tell when nobody could be asked, and why not.
    fn omitted(&self, cause: &Text) -> String;
}

/// A step that does what is wanted, as far as the cluster lets it.
pub struct Lenient<P> {
    parting: P,
    kube: Connector,
    course: Mutex<Course>,
}

#[derive(Default)]
struct Course {
    began: Option<Instant>,
    /// Why there was no asking.
    remark: Option<String>,
}

impl<P: Parting> Lenient<P> {
    pub fn new(make: &Make<'_>, parting: P) -> Self {
        Self { parting, kube: make.services.kube.clone(), course: Mutex::default() }
    }
}

#[async_trait]
impl<P: Parting> AnyStep for Lenient<P> {
    fn id(&self) -> &str {
        self.parting.id()
    }

    fn title(&self) -> String {
        self.parting.title()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let is_late = {
            let mut course = self.course.lock().expect("no panic while held");
            if course.remark.is_some() {
                return Ok(Planned::Satisfied);
            }
            course.began.get_or_insert_with(Instant::now).elapsed() > PATIENCE
        };
        let found = match self.kube.view(probe).await {
            Ok(Some(view)) => self.parting.changes(&view).await,
            Ok(None) => Ok(Vec::new()),
            // A kubeconfig that can't be read asks nobody, now or later.
            Err(failure) => Err(failure),
        };
        match found {
            Ok(changes) => Ok(Planned::of(changes)),
            Err(failure) if failure.retryable && !is_late => Ok(Planned::after("an answer of the API server")),
            Err(failure) => {
                let remark = self.parting.omitted(&failure.cause);
                self.course.lock().expect("no panic while held").remark = Some(remark);
                Ok(Planned::Satisfied)
            }
        }
    }

    fn deadline(&self) -> Duration {
        PATIENCE * 3
    }

    fn is_lenient(&self) -> bool {
        true
    }

    async fn remarks(&self, _probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(self.course.lock().expect("no panic while held").remark.iter().cloned().map(Remark::Warning).collect())
    }
}
