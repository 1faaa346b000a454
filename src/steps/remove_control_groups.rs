//! The kubelet's control groups are gone, and with them whatever a pod still runs.

use async_trait::async_trait;

use crate::baseline::pod_cgroups;
use crate::engine::{Change, Planned, Probe, Result, Step};

pub struct RemoveControlGroups;

#[async_trait]
impl Step for RemoveControlGroups {
    type Observed = Vec<String>;

    fn id(&self) -> &str {
        "remove-control-groups"
    }

    fn title(&self) -> String {
        "Remove the pods' control groups".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Vec<String>> {
        pod_cgroups(probe).await
    }

    fn diff(&self, groups: Vec<String>) -> Planned {
        Planned::of(groups.into_iter().map(|path| Change::RemoveControlGroup { path: path.into() }).collect())
    }
}
