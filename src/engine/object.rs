//! Objects of a cluster as data.

use serde_json::Value;

use super::digest::shown;

/// An object without what every write changes and what others own: its status and its bookkeeping.
pub fn comparable(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"] {
            metadata.remove(field);
        }
    }
    object
}

/// A Secret's values become digests; other objects are as they are.
pub(super) fn redact_object(object: &Value) -> Value {
    let mut redacted = object.clone();
    if redacted["kind"] == "Secret" {
        for field in ["data", "stringData"] {
            if let Some(values) = redacted.get_mut(field).and_then(Value::as_object_mut) {
                for value in values.values_mut() {
                    *value = shown(value.as_str().unwrap_or_default().as_bytes()).into();
                }
            }
        }
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bookkeeping_does_not_count_as_a_difference() {
        let a = json!({"metadata": {"name": "x", "resourceVersion": "1", "uid": "a"}, "status": {"a": 1}, "data": {"k": "v"}});
        let b = json!({"metadata": {"name": "x", "resourceVersion": "2"}, "data": {"k": "v"}});
        assert_eq!(comparable(&a), comparable(&b));
        assert_ne!(comparable(&a), comparable(&json!({"metadata": {"name": "x"}, "data": {"k": "w"}})));
    }
}
