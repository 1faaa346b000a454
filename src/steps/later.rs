//! Steps of which nothing can be told before those in front of them are done: what they find is what is left by then.

use async_trait::async_trait;

use crate::engine::{AnyStep, Planned, Probe, Result};

use super::Context;

/// The step, or in a plan its announcement without changes.
pub fn later(context: &Context, step: impl AnyStep + 'static) -> Box<dyn AnyStep> {
    if context.inputs.is_dry_run { Box::new(Announced(step)) } else { Box::new(step) }
}

struct Announced<S>(S);

#[async_trait]
impl<S: AnyStep> AnyStep for Announced<S> {
    fn id(&self) -> &str {
        self.0.id()
    }

    fn title(&self) -> String {
        self.0.title()
    }

    async fn plan(&self, _: &dyn Probe) -> Result<Planned> {
        Ok(Planned::after("what the steps before it leave"))
    }
}
