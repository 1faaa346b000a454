//! Steps of which nothing can be told before those in front of them are done: what they find is what is left by then.

use std::time::Duration;

use async_trait::async_trait;

use crate::engine::{AnyStep, Evidence, Planned, Probe, Remark, Result};

use super::Context;

/// A step that a plan announces without its changes.
pub struct Later<S> {
    step: S,
    is_rehearsal: bool,
}

impl<S> Later<S> {
    pub fn new(context: &Context, step: S) -> Self {
        Self { step, is_rehearsal: context.inputs.is_rehearsal }
    }
}

#[async_trait]
impl<S: AnyStep> AnyStep for Later<S> {
    fn id(&self) -> &str {
        self.step.id()
    }

    fn title(&self) -> String {
        self.step.title()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        if self.is_rehearsal {
            Ok(Planned::after("what the steps before it leave"))
        } else {
            self.step.plan(probe).await
        }
    }

    fn deadline(&self) -> Duration {
        self.step.deadline()
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        self.step.evidence(probe).await
    }

    fn is_lenient(&self) -> bool {
        self.step.is_lenient()
    }

    async fn remarks(&self, probe: &dyn Probe) -> Result<Vec<Remark>> {
        if self.is_rehearsal { Ok(Vec::new()) } else { self.step.remarks(probe).await }
    }
}
