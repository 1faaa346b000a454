//! Manifests: YAML documents, each an object of the cluster.

use serde::Deserialize as _;
use serde_json::Value;

/// Why a text is no manifest, and about which byte of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub message: String,
    pub offset: usize,
}

/// The objects of all documents; lists are taken apart.
pub fn parse(text: &str) -> Result<Vec<Value>, Problem> {
    let mut objects = Vec::new();
    for (number, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let value = Value::deserialize(document).map_err(|error| {
            let offset = error.location().map_or(0, |location| location.index().min(text.len()));
            Problem { message: format!("not valid YAML: {error}"), offset: boundary(text, offset) }
        })?;
        // A separator at the end, or a document of comments only.
        if value.is_null() {
            continue;
        }
        let found = match value["items"].as_array() {
            Some(items) if value["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => items.clone(),
            _ => vec![value],
        };
        for object in found {
            check(&object).map_err(|why| Problem { message: format!("document {}: {why}", number + 1), offset: 0 })?;
            objects.push(object);
        }
    }
    match objects.is_empty() {
        true => Err(Problem { message: "holds no object".into(), offset: 0 }),
        false => Ok(objects),
    }
}

/// Whether an object has what the API needs to know which it is.
pub fn check(object: &Value) -> Result<(), String> {
    let fields = [
        ("apiVersion", &object["apiVersion"]),
        ("kind", &object["kind"]),
        ("metadata.name", &object["metadata"]["name"]),
    ];
    match fields.into_iter().find(|(_, value)| value.as_str().is_none_or(str::is_empty)) {
        Some((field, _)) => Err(format!("an object needs the field `{field}`")),
        None => Ok(()),
    }
}

fn boundary(text: &str, offset: usize) -> usize {
    (0..=offset).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: b}}\n";
        let names: Vec<Value> = parse(text).unwrap().iter().map(|object| object["metadata"]["name"].clone()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn what_is_no_object_is_told() {
        assert_eq!(parse("").unwrap_err().message, "holds no object");
        let missing = parse("apiVersion: v1\nkind: ConfigMap\n").unwrap_err().message;
        assert_eq!(missing, "document 1: an object needs the field `metadata.name`");
        assert!(parse("a: [").unwrap_err().message.starts_with("not valid YAML"));
    }
}
