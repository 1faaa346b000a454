//! Kubernetes' strategic merge patch, as far as pods, Deployments, DaemonSets and configurations need it.
//!
//! Maps are merged and nulls remove. Lists are replaced, but for those whose items have an identity: there an item is laid over
//! the one of the same identity, or added. Source: the `patchStrategy` and `patchMergeKey` tags of k8s.io/api 1.37, and the
//! order of merged lists of k8s.io/apimachinery's strategicpatch.

use serde_json::{Map, Value};

/// Lists whose items are merged, and the field by which an item is known.
const MERGED: [(&str, &str); 15] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("ports", "containerPort"),
    ("imagePullSecrets", "name"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
    ("schedulingGates", "name"),
    ("resourceClaims", "name"),
    ("ownerReferences", "uid"),
    ("conditions", "type"),
];
/// Lists of plain values that are merged.
const MERGED_VALUES: [&str; 1] = ["finalizers"];

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";

pub fn merge(document: &mut Value, patch: &Value) -> Result<(), String> {
    let (Value::Object(fields), Value::Object(patch)) = (document, patch) else {
        return Err("it is not a map of fields".into());
    };
    merge_map(fields, patch)
}

fn merge_map(fields: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), String> {
    match directive(patch)? {
        None => {}
        Some(Directive::Replace) => {
            *fields = bare(patch);
            return Ok(());
        }
        Some(Directive::Delete) => {
            fields.clear();
            return Ok(());
        }
    }
    if let Some(kept) = patch.get(RETAIN) {
        let kept = kept.as_array().ok_or(format!("`{RETAIN}` takes a list"))?;
        fields.retain(|name, _| kept.iter().any(|keep| keep == name.as_str()));
    }
    for (name, value) in patch.iter().filter(|(name, _)| *name != RETAIN) {
        if let Some(word) = name.strip_prefix('$') {
            return Err(format!("`${word}` is no directive that kboot knows; there are `{DIRECTIVE}` and `{RETAIN}`"));
        }
        match (fields.get_mut(name), value) {
            (_, Value::Null) => drop(fields.remove(name)),
            (Some(Value::Object(inner)), Value::Object(value)) => merge_map(inner, value)?,
            (Some(Value::Array(items)), Value::Array(value)) => merge_list(name, items, value)?,
            (_, value) => {
                if let Some(value) = added(value) {
                    fields.insert(name.clone(), value);
                }
            }
        }
    }
    Ok(())
}

fn merge_list(name: &str, items: &mut Vec<Value>, patch: &[Value]) -> Result<(), String> {
    if MERGED_VALUES.contains(&name) {
        let new: Vec<Value> = patch.iter().filter(|value| !items.contains(value)).cloned().collect();
        items.extend(new);
        return Ok(());
    }
    let Some((_, key)) = MERGED.iter().find(|(list, _)| *list == name) else {
        *items = patch.iter().filter_map(added).collect();
        return Ok(());
    };
    // What stands in the patch besides items: the whole list is to be replaced, or an item to be deleted.
    let mut rest = Vec::new();
    let mut is_replaced = false;
    for item in patch {
        let fields = item.as_object().ok_or_else(|| format!("an item of `{name}` has no fields"))?;
        let identity = fields.get(*key);
        match directive(fields)? {
            None if identity.is_none() => {
                return Err(format!("an item of `{name}` lacks `{key}`, by which it is known"));
            }
            None => rest.push((identity, fields)),
            Some(Directive::Replace) => is_replaced = true,
            Some(Directive::Delete) if identity.is_none() => {
                return Err(format!("an item of `{name}` that is to be deleted lacks `{key}`, by which it is known"));
            }
            Some(Directive::Delete) => items.retain(|item| item.get(*key) != identity),
        }
    }
    if is_replaced {
        *items = rest.into_iter().map(|(_, fields)| Value::Object(bare(fields))).collect();
        return Ok(());
    }
    let order: Vec<Value> = items.iter().filter_map(|item| item.get(*key).cloned()).collect();
    let mut patched = Vec::new();
    for (identity, fields) in rest {
        let position = items.iter().position(|item| item.get(*key) == identity);
        let mut merged = match position.map(|index| items.remove(index)) {
            Some(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        merge_map(&mut merged, fields)?;
        patched.push(Value::Object(merged));
    }
    *items =
        interleave(std::mem::take(items), patched, |item| order.iter().position(|known| item.get(*key) == Some(known)));
    Ok(())
}

/// The items that the patch left alone and those that it has, each in their own order, and as they stood before where that can be.
/// New ones come first.
fn interleave(left: Vec<Value>, patched: Vec<Value>, place: impl Fn(&Value) -> Option<usize>) -> Vec<Value> {
    let mut all = Vec::new();
    let mut left = left.into_iter().peekable();
    for item in patched {
        while let (Some(before), Some(own)) = (left.peek().and_then(&place), place(&item)) {
            if before > own {
                break;
            }
            all.extend(left.next());
        }
        all.push(item);
    }
    all.extend(left);
    all
}

enum Directive {
    Replace,
    Delete,
}

fn directive(patch: &Map<String, Value>) -> Result<Option<Directive>, String> {
    match patch.get(DIRECTIVE).map(|word| word.as_str().unwrap_or_default()) {
        None | Some("merge") => Ok(None),
        Some("replace") => Ok(Some(Directive::Replace)),
        Some("delete") => Ok(Some(Directive::Delete)),
        Some(_) => Err(format!("`{DIRECTIVE}` takes `merge`, `replace` or `delete`")),
    }
}

/// A value that comes to stand where none was: without directives and nulls. None if it says that there is to be none.
fn added(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(fields) if matches!(directive(fields), Ok(Some(Directive::Delete))) => None,
        Value::Object(fields) => Some(Value::Object(bare(fields))),
        Value::Array(items) => Some(items.iter().filter_map(added).collect()),
        value => Some(value.clone()),
    }
}

fn bare(fields: &Map<String, Value>) -> Map<String, Value> {
    let fields = fields.iter().filter(|(name, _)| !name.starts_with('$'));
    fields.filter_map(|(name, value)| Some((name.clone(), added(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(mut document: Value, patch: Value) -> Value {
        merge(&mut document, &patch).unwrap();
        document
    }

    #[test]
    fn maps_are_merged_and_nulls_remove() {
        let pod = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"hostNetwork": true, "priority": 1}});
        let patch = json!({"metadata": {"labels": {"b": "2"}, "annotations": {"c": "3", "d": null}}, "spec": {"priority": null}});
        assert_eq!(
            merged(pod, patch),
            json!({"metadata": {"labels": {"a": "1", "b": "2"}, "annotations": {"c": "3"}}, "spec": {"hostNetwork": true}})
        );
    }

    #[test]
    fn items_with_an_identity_are_merged_and_other_lists_are_replaced() {
        let pod = json!({"spec": {
            "containers": [{
                "name": "kube-apiserver",
                "command": ["kube-apiserver", "--v=1"],
                "env": [{"name": "A", "value": "1"}],
                "volumeMounts": [{"mountPath": "/a", "name": "a"}, {"mountPath": "/b", "name": "b", "readOnly": true}],
                "ports": [{"containerPort": 6443, "name": "https"}],
                "resources": {"requests": {"cpu": "250m"}},
            }],
            "volumes": [{"name": "a", "hostPath": {"path": "/a"}}],
        }});
        let patch = json!({"spec": {"containers": [{
            "name": "kube-apiserver",
            "command": ["kube-apiserver"],
            "env": [{"name": "B", "value": "2"}],
            "volumeMounts": [{"mountPath": "/b", "readOnly": null}, {"mountPath": "/c", "name": "c"}],
            "ports": [{"containerPort": 6443, "hostPort": 6443}],
            "resources": {"requests": {"memory": "1Gi"}, "limits": {"cpu": "1"}},
        }]}});
        assert_eq!(
            merged(pod, patch),
            json!({"spec": {
                "containers": [{
                    "name": "kube-apiserver",
                    "command": ["kube-apiserver"],
                    "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
                    "volumeMounts": [{"mountPath": "/a", "name": "a"}, {"mountPath": "/b", "name": "b"}, {"mountPath": "/c", "name": "c"}],
                    "ports": [{"containerPort": 6443, "name": "https", "hostPort": 6443}],
                    "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"cpu": "1"}},
                }],
                "volumes": [{"name": "a", "hostPath": {"path": "/a"}}],
            }})
        );
    }

    #[test]
    fn merged_lists_keep_their_order() {
        let list = |names: &[&str]| json!({"env": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
        for (before, patch, after) in [
            (&["a", "b", "c"][..], &["b"][..], &["a", "b", "c"][..]),
            (&["a", "b"], &["x"], &["x", "a", "b"]),
            (&["a", "b", "c"], &["c", "x", "a"], &["b", "c", "x", "a"]),
            (&[], &["x", "y"], &["x", "y"]),
        ] {
            assert_eq!(merged(list(before), list(patch)), list(after), "{before:?} + {patch:?}");
        }
    }

    #[test]
    fn directives() {
        let pod = || json!({"spec": {"volumes": [{"name": "a"}, {"name": "b"}], "affinity": {"x": {"y": 1}}, "strategy": {"type": "A", "z": 1}}});
        let patch = json!({"spec": {"volumes": [{"name": "a", "$patch": "delete"}]}});
        assert_eq!(merged(pod(), patch)["spec"]["volumes"], json!([{"name": "b"}]));
        let patch = json!({"spec": {"volumes": [{"name": "c"}, {"$patch": "replace"}]}});
        assert_eq!(merged(pod(), patch)["spec"]["volumes"], json!([{"name": "c"}]));
        let patch = json!({"spec": {"affinity": {"$patch": "replace", "z": 2}}});
        assert_eq!(merged(pod(), patch)["spec"]["affinity"], json!({"z": 2}));
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "B"}}});
        assert_eq!(merged(pod(), patch)["spec"]["strategy"], json!({"type": "B"}));
        let patch = json!({"spec": {"new": {"$patch": "delete"}}});
        assert_eq!(merged(pod(), patch), pod());
    }

    #[test]
    fn what_does_not_fit() {
        let told = |patch: Value| merge(&mut json!({"containers": [{"name": "a"}]}), &patch).unwrap_err();
        assert_eq!(told(json!([])), "it is not a map of fields");
        assert_eq!(
            told(json!({"containers": [{"image": "x"}]})),
            "an item of `containers` lacks `name`, by which it is known"
        );
        assert_eq!(told(json!({"containers": ["x"]})), "an item of `containers` has no fields");
        assert_eq!(told(json!({"$patch": "drop"})), "`$patch` takes `merge`, `replace` or `delete`");
        assert_eq!(
            told(json!({"$setElementOrder/containers": []})),
            "`$setElementOrder/containers` is no directive that kboot knows; there are `$patch` and `$retainKeys`"
        );
    }
}
