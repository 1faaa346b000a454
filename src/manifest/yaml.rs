//! Rendered templates as data: parsed and merged.

use serde_json::Value;

use super::template::{RenderError, Template, render};

/// Renders a template and reads it as one YAML document.
pub(super) fn document(template: Template, values: &impl serde::Serialize) -> Result<Value, RenderError> {
    let text = render(template, values)?;
    serde_yaml::from_str(&text).map_err(|source| RenderError::Yaml { template: template.path(), source })
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
}
