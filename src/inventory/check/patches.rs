//! Patches: whether each is of a kind with its type. Whether it fits its target is known once that is rendered.

use serde_json::Value;

use super::Findings;
use crate::inventory::mistake::Mistake;
use crate::inventory::path::Path;
use crate::inventory::types::{Cluster, Patch, PatchType};

pub fn check(cluster: &Cluster, findings: &mut Findings) {
    for (index, patch) in cluster.patches.iter().enumerate() {
        if let Err((message, hint)) = shape(patch) {
            findings.add(Mistake::new(Path::of("patches").index(index).key("patch"), message).hint(hint));
        }
    }
}

fn shape(patch: &Patch) -> Result<(), (&'static str, &'static str)> {
    match (patch.kind, &patch.patch) {
        (PatchType::Json, Value::Array(operations)) => match operations
            .iter()
            .all(|operation| operation["op"].is_string())
        {
            true => Ok(()),
            false => Err(("has an operation without `op`", "each is like `{op: add, path: /spec/priority, value: 1}`")),
        },
        (PatchType::Json, _) => {
            Err(("takes a list of operations", "each is like `{op: add, path: /spec/priority, value: 1}`"))
        }
        (PatchType::Strategic | PatchType::Merge, Value::Object(_)) => Ok(()),
        (PatchType::Strategic | PatchType::Merge, Value::Array(_)) => {
            Err(("takes fields, not a list", "a list of operations is of `type: json`"))
        }
        (PatchType::Strategic | PatchType::Merge, _) => {
            Err(("takes fields", "those of the target that are to be changed, as `spec: {priority: 1}`"))
        }
    }
}
