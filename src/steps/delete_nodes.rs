//! The cluster knows nothing more of the nodes that leave it.

use async_trait::async_trait;

use crate::engine::{AnyStep, Change, Result, Text};
use crate::kube::View;

use super::Make;
use super::parting::{Lenient, Parting};

struct DeleteNodes {
    nodes: Vec<String>,
}

pub fn step(make: &Make<'_>) -> impl AnyStep + use<> {
    Lenient::new(make, DeleteNodes { nodes: make.context.inputs.leaving.clone() })
}

#[async_trait]
impl Parting for DeleteNodes {
    fn id(&self) -> &str {
        "delete-nodes"
    }

    fn title(&self) -> String {
        "Delete the nodes that leave".into()
    }

    async fn changes(&self, view: &View) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for name in &self.nodes {
            if view.get("v1", "Node", None, name).await?.is_some() {
                changes.push(Change::delete_node(name));
            }
        }
        Ok(changes)
    }

    fn omitted(&self, cause: &Text) -> String {
        let names = self.nodes.join(" ");
        format!("the nodes {names} stay in the cluster: {cause}; once it answers: `kubectl delete node {names}`")
    }
}
