//! The cluster knows nothing more of the nodes that leave it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::engine::{AnyStep, Change, Evidence, Planned, Probe, Remark, Result};
use crate::kube::{Connector, View};

use super::Make;
use super::drain_nodes::PATIENCE;

pub struct DeleteNodes {
    kube: Connector,
    nodes: Vec<String>,
    course: Mutex<Course>,
}

#[derive(Default)]
struct Course {
    began: Option<Instant>,
    /// Why there was no asking.
    remark: Option<String>,
}

pub fn step(make: &Make<'_>) -> DeleteNodes {
    DeleteNodes {
        kube: make.services.kube.clone(),
        nodes: make.context.inputs.leaving.clone(),
        course: Mutex::default(),
    }
}

impl DeleteNodes {
    async fn changes(&self, view: &View) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for name in &self.nodes {
            if view.get("v1", "Node", None, name).await?.is_some() {
                changes.push(Change::DeleteObject {
                    api_version: "v1".into(),
                    kind: "Node".into(),
                    namespace: None,
                    name: name.clone(),
                });
            }
        }
        Ok(changes)
    }
}

#[async_trait]
impl AnyStep for DeleteNodes {
    fn id(&self) -> &str {
        "delete-nodes"
    }

    fn title(&self) -> String {
        "Delete the nodes that leave".into()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let is_late = {
            let mut course = self.course.lock().expect("no panic while held");
            if course.remark.is_some() {
                return Ok(Planned::Satisfied);
            }
            course.began.get_or_insert_with(Instant::now).elapsed() > PATIENCE
        };
        let found = match self.kube.view(probe).await? {
            Some(view) => self.changes(&view).await,
            None => Ok(Vec::new()),
        };
        match found {
            Ok(changes) => Ok(Planned::of(changes)),
            Err(failure) if failure.retryable && !is_late => Ok(Planned::after("an answer of the API server")),
            Err(failure) => {
                let remark = format!(
                    "the nodes {names} stay in the cluster: {cause}; once it answers: `kubectl delete node {names}`",
                    names = self.nodes.join(" "),
                    cause = failure.cause
                );
                self.course.lock().expect("no panic while held").remark = Some(remark);
                Ok(Planned::Satisfied)
            }
        }
    }

    fn deadline(&self) -> Duration {
        PATIENCE * 3
    }

    async fn evidence(&self, _probe: &dyn Probe) -> Evidence {
        Evidence::default()
    }

    fn is_lenient(&self) -> bool {
        true
    }

    async fn remarks(&self, _probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(self.course.lock().expect("no panic while held").remark.iter().cloned().map(Remark::Warning).collect())
    }
}
