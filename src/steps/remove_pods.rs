//! No pod runs any more.

use async_trait::async_trait;
use serde::Deserialize;

use crate::engine::{Change, Failure, Planned, Probe, Result, Step};

pub struct RemovePods;

#[async_trait]
impl Step for RemovePods {
    /// The pods' sandboxes; none where no runtime answers.
    type Observed = Vec<Sandbox>;

    fn id(&self) -> &str {
        "remove-pods"
    }

    fn title(&self) -> String {
        "Remove all pods".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Vec<Sandbox>> {
        let output = probe.query(&["crictl", "pods", "-o", "json"]).await?;
        if !output.is_success() {
            return Ok(Vec::new());
        }
        let list: List = serde_json::from_str(&output.stdout)
            .map_err(|error| Failure::new(format!("failed to read crictl's list of pods: {error}")))?;
        Ok(list.items)
    }

    fn diff(&self, sandboxes: Vec<Sandbox>) -> Planned {
        if sandboxes.is_empty() {
            return Planned::Satisfied;
        }
        let names: Vec<&str> = sandboxes.iter().map(|sandbox| sandbox.metadata.name.as_str()).collect();
        let why = format!("stop and remove the pods {}", names.join(", "));
        let argv =
            ["crictl", "rmp", "--force"].map(String::from).into_iter().chain(sandboxes.iter().map(|s| s.id.clone()));
        Planned::Changes(vec![Change::Run { argv: argv.collect(), why, undo: None }])
    }
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Sandbox>,
}

#[derive(Deserialize)]
pub struct Sandbox {
    id: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}
