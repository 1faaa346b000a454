//! Steps that take a node apart. On a host that has no trace of a node, and that kboot has not changed, they find nothing to do:
//! whatever bears a name that a node's parts use as well is somebody else's there, and no baseline says so.

use async_trait::async_trait;

use crate::engine::{AnyStep, Planned, Probe, Result};

/// The step, or where there is no node to be taken apart, one of the same name without changes.
pub fn of_node(has_traces: bool, step: Box<dyn AnyStep>) -> Box<dyn AnyStep> {
    if has_traces { step } else { Box::new(Idle(step)) }
}

struct Idle(Box<dyn AnyStep>);

#[async_trait]
impl AnyStep for Idle {
    fn id(&self) -> &str {
        self.0.id()
    }

    fn title(&self) -> String {
        self.0.title()
    }

    async fn plan(&self, _: &dyn Probe) -> Result<Planned> {
        Ok(Planned::Satisfied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;
    use crate::steps::remove_pods::RemovePods;

    fn of(has_traces: bool) -> Box<dyn AnyStep> {
        of_node(has_traces, Box::new(RemovePods))
    }

    #[tokio::test]
    async fn a_host_without_a_node_is_not_even_looked_at() {
        // It has no answer to any question, and somebody's pods.
        let step = of(false);
        assert_eq!((step.id(), step.plan(&FakeHost::default()).await.unwrap()), ("remove-pods", Planned::Satisfied));
        let list = r#"{"items": [{"id": "1a", "metadata": {"name": "web"}}]}"#;
        let host = FakeHost::default().answer("crictl pods -o json", 0, list);
        assert_eq!(of(true).plan(&host).await.unwrap().into_changes().len(), 1);
    }
}
