//! Nothing of kboot itself is left on the host, once all else is as it was.

use async_trait::async_trait;
use camino::Utf8Path;

use crate::baseline::{Baseline, Difference};
use crate::engine::{Change, Journal, Planned, Probe, Result, Step};

use super::Context;
use super::protected::{Minding, Protected};
use super::recover_etcd::COPY;

/// Where kboot keeps its journal, its baseline and its agent.
const FOLDER: &str = "/var/lib/kboot";

pub struct RemoveOwnTraces {
    keeps_packages: bool,
}

pub fn step(context: &Context) -> RemoveOwnTraces {
    RemoveOwnTraces { keeps_packages: context.inputs.keeps_packages() }
}

pub struct Observed {
    /// What takes it away, the copies of etcd's data by their names.
    removal: Vec<Change>,
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
        if names.is_empty() {
            return Ok(Observed { removal: Vec::new(), left: Vec::new() });
        }
        let folder = Utf8Path::new(FOLDER);
        let protected = Protected::of(probe, false).await?;
        let is_mounted = protected.is_mounted(&probe.canonical(folder).await?);
        let (copies, others): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| name.starts_with(COPY));
        let mut removal = protected.emptying(probe, folder, copies, |_| Minding::Mounts).await?;
        removal.extend(match is_mounted {
            true => protected.emptying(probe, folder, others, |_| Minding::Mounts).await?,
            false => protected.removal(probe, folder, Minding::Mounts).await?,
        });
        Ok(Observed { removal, left: Baseline::differences(probe).await?.unwrap_or_default() })
    }

    fn diff(&self, Observed { removal, left }: Observed) -> Planned {
        if self.keeps_packages || left.iter().any(Difference::is_of_a_node) {
            return Planned::Satisfied;
        }
        Planned::of(removal)
    }
}
