//! Patches: changes that users have made to what is rendered, as `kubeadm init --patches` makes them.
//!
//! Pure: a patch and a document in, another document out. `strategic` is Kubernetes' own way, `json` is RFC 6902.

mod json;
mod strategic;

use serde_json::{Map, Value};

use crate::inventory::{Patch, PatchTarget, PatchType};

/// What can't be done to a document. Reads well after "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("apply patch {number} of {target} (type {kind}): {problem}")]
pub struct PatchError {
    /// From 1, among those of the target.
    pub number: usize,
    pub target: &'static str,
    pub kind: &'static str,
    pub problem: String,
}

/// Applies those of the patches that are for a target, in their order.
pub fn patched(patches: &[Patch], target: PatchTarget, mut document: Value) -> Result<Value, PatchError> {
    let own = patches.iter().filter(|patch| patch.target == target);
    for (index, patch) in own.enumerate() {
        document = apply(patch, document).map_err(|problem| PatchError {
            number: index + 1,
            target: target.name(),
            kind: patch.kind.name(),
            problem,
        })?;
    }
    Ok(document)
}

fn apply(patch: &Patch, mut document: Value) -> Result<Value, String> {
    match patch.kind {
        PatchType::Json => json::apply(&mut document, &patch.patch)?,
        PatchType::Merge => merge(&mut document, &patch.patch),
        PatchType::Strategic => strategic::merge(&mut document, &patch.patch)?,
    }
    match document {
        Value::Object(_) => Ok(document),
        _ => Err("nothing with fields is left".into()),
    }
}

/// JSON Merge Patch: maps are merged, a null removes, everything else is replaced.
fn merge(document: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *document = patch.clone();
        return;
    };
    if !document.is_object() {
        *document = Value::Object(Map::new());
    }
    let Some(fields) = document.as_object_mut() else { return };
    for (name, value) in patch {
        match value {
            Value::Null => drop(fields.remove(name)),
            value => merge(fields.entry(name).or_insert(Value::Null), value),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patch(kind: PatchType, patch: Value) -> Patch {
        Patch { target: PatchTarget::Etcd, kind, patch }
    }

    #[test]
    fn merging_follows_the_rfc() {
        // RFC 7386, appendix A.
        for (document, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = document.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, result, "{document} + {patch}");
        }
    }

    #[test]
    fn patches_are_applied_in_their_order_and_to_their_target_only() {
        let patches = [
            patch(PatchType::Merge, json!({"a": 1, "b": 1})),
            Patch { target: PatchTarget::KubeScheduler, ..patch(PatchType::Merge, json!({"a": 9})) },
            patch(PatchType::Json, json!([{"op": "replace", "path": "/a", "value": 2}])),
            patch(PatchType::Strategic, json!({"b": 3})),
        ];
        assert_eq!(patched(&patches, PatchTarget::Etcd, json!({})).unwrap(), json!({"a": 2, "b": 3}));
        assert_eq!(patched(&patches, PatchTarget::KubeApiserver, json!({})).unwrap(), json!({}));
    }

    #[test]
    fn a_patch_that_does_not_fit_is_told_by_its_number() {
        let patches =
            [patch(PatchType::Merge, json!({"a": 1})), patch(PatchType::Json, json!([{"op": "remove", "path": "/b"}]))];
        let error = patched(&patches, PatchTarget::Etcd, json!({})).unwrap_err();
        assert_eq!(error.to_string(), "apply patch 2 of etcd (type json): operation 1 (remove): there is no /b");
    }
}
