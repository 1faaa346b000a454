//! Nothing of kboot itself is left on the host, once all else is as it was.

use async_trait::async_trait;
use camino::Utf8Path;

use crate::baseline::{Baseline, Difference};
use crate::engine::{Change, Journal, Planned, Probe, Result, Step};

use super::Context;

/// Where kboot keeps its journal, its baseline and its agent.
const FOLDER: &str = "/var/lib/kboot";

pub struct RemoveOwnTraces {
    keeps_packages: bool,
}

pub fn step(context: &Context) -> RemoveOwnTraces {
    RemoveOwnTraces { keeps_packages: context.inputs.keeps_packages() }
}

pub struct Observed {
    is_there: bool,
    /// What another reset may still be able to take away, by the journal that would go.
    left: Vec<Difference>,
}

#[async_trait]
impl Step for RemoveOwnTraces {
    type Observed = Observed;

    fn id(&self) -> &str {
        "remove-own-traces"
    }

    fn title(&self) -> String {
        "Remove kboot's own files".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Observed> {
        let mut names = probe.list(Utf8Path::new(FOLDER)).await?.unwrap_or_default();
        // One in which nothing was ever written goes by itself.
        if probe.stat(Utf8Path::new(Journal::PATH)).await?.is_some_and(|journal| journal.size == 0) {
            names.retain(|name| !Journal::PATH.ends_with(name.as_str()));
        }
        let is_there = !names.is_empty();
        let left = if is_there { Baseline::differences(probe).await?.unwrap_or_default() } else { Vec::new() };
        Ok(Observed { is_there, left })
    }

    fn diff(&self, Observed { is_there, left }: Observed) -> Planned {
        if !is_there || self.keeps_packages || left.iter().any(Difference::is_of_a_node) {
            return Planned::Satisfied;
        }
        Planned::Changes(vec![Change::Remove { path: FOLDER.into() }])
    }
}
