//! A step that is nothing but a list of resources.

use std::time::Duration;

use async_trait::async_trait;

use crate::engine::{AnyStep, Change, Evidence, Planned, Probe, Result};

/// The wanted state of one thing on a host.
#[async_trait]
pub trait Resource: Send + Sync {
    type Observed: Send;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed>;

    /// What differs. Pure.
    fn diff(&self, observed: Self::Observed) -> Result<Planned>;
}

/// A resource whatever it observes.
#[async_trait]
pub trait AnyResource: Send + Sync {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned>;
}

#[async_trait]
impl<R: Resource> AnyResource for R {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        self.diff(self.observe(probe).await?)
    }
}

/// Brings resources, in their order, to the state that they name.
pub struct Converge {
    id: String,
    title: String,
    deadline: Duration,
    resources: Vec<Box<dyn AnyResource>>,
}

impl Converge {
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Self {
        Self { id: id.into(), title: title.into(), deadline: Duration::from_secs(300), resources: Vec::new() }
    }

    pub fn with(mut self, resource: impl AnyResource + 'static) -> Self {
        self.resources.push(Box::new(resource));
        self
    }

    pub fn with_all(mut self, resources: impl IntoIterator<Item = impl AnyResource + 'static>) -> Self {
        self.resources.extend(resources.into_iter().map(|r| Box::new(r) as Box<dyn AnyResource>));
        self
    }

    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }
}

#[async_trait]
impl AnyStep for Converge {
    fn id(&self) -> &str {
        &self.id
    }

    fn title(&self) -> String {
        self.title.clone()
    }

    /// All changes up to the first resource that has to wait for something.
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let mut changes: Vec<Change> = Vec::new();
        for resource in &self.resources {
            match resource.plan(probe).await? {
                Planned::Satisfied => {}
                Planned::Changes(more) => changes.extend(more),
                after if changes.is_empty() => return Ok(after),
                Planned::After { .. } => break,
            }
        }
        Ok(Planned::of(changes))
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, _probe: &dyn Probe) -> Evidence {
        Evidence::default()
    }
}
