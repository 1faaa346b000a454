//! Rendered templates as data: parsed, merged, searched.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::template::{RenderError, Template, render};

/// The images that objects run, for those who pull ahead of time.
pub fn images(objects: &[Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    objects.iter().for_each(|object| collect_images(object, &mut found));
    found
}

/// Renders a template and reads it as one YAML document.
pub(super) fn document(template: Template, values: &impl serde::Serialize) -> Result<Value, RenderError> {
    let text = render(template, values)?;
    serde_yaml::from_str(&text).map_err(|source| RenderError::Yaml { template: template.path(), source })
}

/// Renders a template and reads it as a series of API objects.
pub(super) fn objects(template: Template, values: &impl serde::Serialize) -> Result<Vec<Value>, RenderError> {
    let text = render(template, values)?;
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        let object =
            Value::deserialize(document).map_err(|source| RenderError::Yaml { template: template.path(), source })?;
        // A comment before the first `---` is an empty document.
        if !object.is_null() {
            objects.push(object);
        }
    }
    Ok(objects)
}

/// Lays `over` over `base`: maps are merged, everything else is replaced.
pub(super) fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

fn collect_images(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_images(item, found)),
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("containers" | "initContainers", Value::Array(containers)) => {
                        found.extend(containers.iter().filter_map(|c| c["image"].as_str()).map(str::to_owned));
                    }
                    _ => collect_images(value, found),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_are_merged_and_the_rest_is_replaced() {
        let mut base = json!({"a": {"b": 1, "c": [1, 2]}, "d": true});
        merge(&mut base, &json!({"a": {"c": [3], "e": null}, "f": {"g": 1}}));
        assert_eq!(base, json!({"a": {"b": 1, "c": [3], "e": null}, "d": true, "f": {"g": 1}}));
    }

    #[test]
    fn images_of_all_containers() {
        let pod = json!({"spec": {"initContainers": [{"image": "b"}], "containers": [{"image": "a"}, {"image": "b"}]}});
        assert_eq!(images(&[json!({"spec": {"template": pod}})]), ["a".to_owned(), "b".to_owned()].into());
    }
}
