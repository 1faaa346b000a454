//! JSON Patch (RFC 6902): operations, one after another; the first that can't be done ends it.

use serde_json::Value;

/// How many bytes copies may add to a document: copied into itself again and again, it doubles each time.
const BUDGET: usize = 4 << 20;
/// What a value takes beside its text.
const VALUE: usize = 32;

pub fn apply(document: &mut Value, operations: &Value) -> Result<(), String> {
    let operations = operations.as_array().ok_or("it is not a list of operations")?;
    let mut budget = BUDGET;
    for (index, operation) in operations.iter().enumerate() {
        let name = operation["op"].as_str().unwrap_or_default();
        perform(document, name, operation, &mut budget).map_err(|problem| match name {
            "" => format!("operation {}: {problem}", index + 1),
            name => format!("operation {} ({name}): {problem}", index + 1),
        })?;
    }
    Ok(())
}

fn perform(document: &mut Value, name: &str, operation: &Value, budget: &mut usize) -> Result<(), String> {
    let text = |field: &str| operation[field].as_str().ok_or_else(|| format!("it has no `{field}`"));
    let value = || operation.get("value").cloned().ok_or("it has no `value`");
    match name {
        "add" => add(document, text("path")?, value()?),
        "remove" => remove(document, text("path")?).map(drop),
        "replace" => {
            let (path, value) = (text("path")?, value()?);
            *find_mut(document, path)? = value;
            Ok(())
        }
        "move" => {
            let (from, path) = (text("from")?, text("path")?);
            if path.starts_with(&format!("{from}/")) {
                return Err(format!("{from} can't be moved into itself"));
            }
            let value = remove(document, from)?;
            add(document, path, value)
        }
        "copy" => {
            let value = find(document, text("from")?)?;
            *budget = budget.checked_sub(size(value)).ok_or("copies make the document too large")?;
            let value = value.clone();
            add(document, text("path")?, value)
        }
        "test" => {
            let (path, value) = (text("path")?, value()?);
            match find(document, path)? {
                found if *found == value => Ok(()),
                found => Err(format!("{path} is {found}, not {value}")),
            }
        }
        "" => Err("it has no `op`".into()),
        _ => Err("the operations are add, remove, replace, move, copy and test".into()),
    }
}

/// About how many bytes a value takes.
fn size(value: &Value) -> usize {
    VALUE
        + match value {
            Value::Array(items) => items.iter().map(size).sum(),
            Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + size(value)).sum(),
            Value::String(text) => text.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let Some((parent, key)) = split(path)? else {
        *document = value;
        return Ok(());
    };
    match find_mut(document, parent)? {
        Value::Object(fields) => {
            fields.insert(key, value);
        }
        Value::Array(items) => {
            let index = if key == "-" { items.len() } else { index(&key, items.len() + 1, path)? };
            items.insert(index, value);
        }
        _ => return Err(format!("{parent} has nothing inside it")),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, String> {
    let Some((parent, key)) = split(path)? else { return Err("the whole document can't be removed".into()) };
    match find_mut(document, parent)? {
        Value::Object(fields) => fields.remove(&key).ok_or_else(|| missing(path)),
        Value::Array(items) => {
            let index = index(&key, items.len(), path)?;
            Ok(items.remove(index))
        }
        _ => Err(missing(path)),
    }
}

fn find<'a>(document: &'a Value, path: &str) -> Result<&'a Value, String> {
    check(path)?;
    document.pointer(path).ok_or_else(|| missing(path))
}

fn find_mut<'a>(document: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    check(path)?;
    document.pointer_mut(path).ok_or_else(|| missing(path))
}

/// What a path's last part is in, and that part; None for the whole document.
fn split(path: &str) -> Result<Option<(&str, String)>, String> {
    check(path)?;
    let parts = path.rsplit_once('/');
    Ok(parts.map(|(parent, key)| (parent, key.replace("~1", "/").replace("~0", "~"))))
}

fn check(path: &str) -> Result<(), String> {
    if path.is_empty() || path.starts_with('/') {
        Ok(())
    } else {
        Err(format!("the path {path:?} does not begin with /"))
    }
}

fn missing(path: &str) -> String {
    format!("there is no {path}")
}

fn index(key: &str, end: usize, path: &str) -> Result<usize, String> {
    let is_plain = key == "0" || key.bytes().all(|byte| byte.is_ascii_digit()) && !key.starts_with('0');
    key.parse().ok().filter(|index| is_plain && *index < end).ok_or_else(|| missing(path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(document: Value, operations: Value) -> Result<Value, String> {
        let mut document = document;
        apply(&mut document, &operations).map(|()| document)
    }

    #[test]
    fn every_operation() {
        // RFC 6902, appendix A.
        for (document, operation, result) in [
            (json!({"a": 1}), json!({"op": "add", "path": "/b", "value": 2}), json!({"a": 1, "b": 2})),
            (json!({"a": [1, 3]}), json!({"op": "add", "path": "/a/1", "value": 2}), json!({"a": [1, 2, 3]})),
            (json!({"a": [1]}), json!({"op": "add", "path": "/a/-", "value": [2]}), json!({"a": [1, [2]]})),
            (json!({"a": 1}), json!({"op": "add", "path": "", "value": {"b": 1}}), json!({"b": 1})),
            (json!({"a": 1, "b": 2}), json!({"op": "remove", "path": "/a"}), json!({"b": 2})),
            (json!({"a": [1, 2]}), json!({"op": "remove", "path": "/a/0"}), json!({"a": [2]})),
            (json!({"a": 1}), json!({"op": "replace", "path": "/a", "value": null}), json!({"a": null})),
            (
                json!({"a": {"b": 1}, "c": {}}),
                json!({"op": "move", "from": "/a/b", "path": "/c/d"}),
                json!({"a": {}, "c": {"d": 1}}),
            ),
            (json!({"a": [1, 2, 3]}), json!({"op": "move", "from": "/a/0", "path": "/a/2"}), json!({"a": [2, 3, 1]})),
            (json!({"a": 1}), json!({"op": "copy", "from": "/a", "path": "/b"}), json!({"a": 1, "b": 1})),
            (
                json!({"a/b": 1, "m~n": 2}),
                json!({"op": "test", "path": "/a~1b", "value": 1}),
                json!({"a/b": 1, "m~n": 2}),
            ),
            (json!({"a/b": 1, "m~n": 2}), json!({"op": "remove", "path": "/m~0n"}), json!({"a/b": 1})),
        ] {
            assert_eq!(patched(document.clone(), json!([operation])), Ok(result), "{document} + {operation}");
        }
    }

    #[test]
    fn copies_have_an_end() {
        let copies = |count: usize, from: &str| {
            let operation = |index| json!({"op": "copy", "from": from, "path": format!("/b{index}")});
            (0..count).map(operation).collect::<Value>()
        };
        assert!(patched(json!({"a": "x"}), copies(10, "")).is_ok());
        let problem = patched(json!({"a": "x"}), copies(41, "")).unwrap_err();
        assert!(problem.ends_with("(copy): copies make the document too large"), "{problem}");
        assert!(patched(json!({"a": "x".repeat(1 << 20)}), copies(3, "/a")).is_ok());
        assert!(patched(json!({"a": "x".repeat(1 << 20)}), copies(4, "/a")).is_err());
    }

    #[test]
    fn what_can_t_be_done() {
        for (operation, problem) in [
            (json!({"op": "add", "path": "/b/c", "value": 1}), "operation 1 (add): there is no /b"),
            (json!({"op": "add", "path": "/a/4", "value": 1}), "operation 1 (add): there is no /a/4"),
            (json!({"op": "add", "path": "/a/01", "value": 1}), "operation 1 (add): there is no /a/01"),
            (json!({"op": "add", "path": "/a"}), "operation 1 (add): it has no `value`"),
            (json!({"op": "add", "path": "a", "value": 1}), "operation 1 (add): the path \"a\" does not begin with /"),
            (json!({"op": "remove", "path": "/b"}), "operation 1 (remove): there is no /b"),
            (json!({"op": "remove", "path": "/a/-"}), "operation 1 (remove): there is no /a/-"),
            (json!({"op": "replace", "path": "/b", "value": 1}), "operation 1 (replace): there is no /b"),
            (json!({"op": "move", "from": "/a", "path": "/a/0"}), "operation 1 (move): /a can't be moved into itself"),
            (json!({"op": "test", "path": "/a/0", "value": 2}), "operation 1 (test): /a/0 is 1, not 2"),
            (
                json!({"op": "put", "path": "/a"}),
                "operation 1 (put): the operations are add, remove, replace, move, copy and test",
            ),
            (json!({"path": "/a"}), "operation 1: it has no `op`"),
            (json!("add"), "operation 1: it has no `op`"),
        ] {
            assert_eq!(patched(json!({"a": [1]}), json!([operation])), Err(problem.into()));
        }
        assert_eq!(patched(json!({}), json!({"op": "add"})), Err("it is not a list of operations".into()));
    }
}
