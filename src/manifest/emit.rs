//! Writes YAML as kubeadm does: block style, keys sorted, strings plain where they can be.
//!
//! Kubernetes reads YAML 1.1, where `on` is a boolean and `1:30` a number; emitters for YAML 1.2 leave those unquoted.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddrV4};

use serde_json::Value;

/// The document with a trailing newline.
pub(super) fn emit(document: &Value) -> String {
    let mut text = String::new();
    match document {
        Value::Object(map) if !map.is_empty() => block(document, 0, false, &mut text),
        Value::Array(items) if !items.is_empty() => block(document, 0, false, &mut text),
        _ => {
            text.push_str(&scalar(document));
            text.push('\n');
        }
    }
    text
}

/// Writes a map or list that isn't empty. `is_inline`: the cursor stands behind a `- `, where the first key goes.
fn block(value: &Value, indent: usize, is_inline: bool, text: &mut String) {
    let mut is_first = true;
    let mut start = |text: &mut String| {
        if !(is_inline && is_first) {
            text.extend(std::iter::repeat_n(' ', indent));
        }
        is_first = false;
    };
    match value {
        Value::Object(map) => {
            // Whether serde_json's own maps are sorted depends on what else is in the build.
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in entries {
                start(text);
                text.push_str(&string(key));
                text.push(':');
                match value {
                    Value::Object(map) if !map.is_empty() => {
                        text.push('\n');
                        block(value, indent + 2, false, text);
                    }
                    Value::Array(items) if !items.is_empty() => {
                        text.push('\n');
                        block(value, indent, false, text);
                    }
                    Value::String(lines) if is_literal(lines) => literal(lines, indent + 2, text),
                    value => writeln!(text, " {}", scalar(value)).expect("a string takes everything"),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                start(text);
                text.push_str("- ");
                match item {
                    Value::Object(map) if !map.is_empty() => block(item, indent + 2, true, text),
                    Value::Array(items) if !items.is_empty() => block(item, indent + 2, true, text),
                    item => {
                        text.push_str(&scalar(item));
                        text.push('\n');
                    }
                }
            }
        }
        _ => unreachable!("only maps and lists are blocks"),
    }
}

fn literal(lines: &str, indent: usize, text: &mut String) {
    text.push_str(" |\n");
    for line in lines.lines() {
        if !line.is_empty() {
            text.extend(std::iter::repeat_n(' ', indent));
        }
        text.push_str(line);
        text.push('\n');
    }
}

/// Lines that a `|` block gives back as they are; YAML 1.1 has line breaks beyond `\n`.
fn is_literal(text: &str) -> bool {
    text.ends_with('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with([' ', '\n'])
        && text.chars().all(|c| c == '\n' || !c.is_control() && !['\u{2028}', '\u{2029}', '\u{feff}'].contains(&c))
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        // JSON's other scalars, and what is empty, are YAML.
        value => value.to_string(),
    }
}

fn string(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { Value::from(text).to_string() }
}

fn is_plain(text: &str) -> bool {
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '/' || first == '_');
    // Three dashes begin a document.
    (starts_well || text.starts_with("--") && !text.starts_with("---"))
        && text.chars().all(|character| character == ' ' || character.is_ascii_graphic())
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with([':', ' '])
        && !is_word(text)
        && !is_number(text)
}

/// YAML 1.1's booleans and null.
fn is_word(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whatever may be a number or a date in any of YAML's notations. Addresses look like it, and are not.
fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|character| character.is_ascii_hexdigit() || "xXoO_.:+-TtZz ".contains(character))
        && text.parse::<IpAddr>().is_err()
        && text.parse::<SocketAddrV4>().is_err()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_level() {
        let value = json!({"b": "x", "a": {"d": [{"f": 1, "e": null}, "g", [], {}, [1, [2]]], "c": -1}, "e": 1.5});
        let text =
            "a:\n  c: -1\n  d:\n  - e: null\n    f: 1\n  - g\n  - []\n  - {}\n  - - 1\n    - - 2\nb: x\ne: 1.5\n";
        assert_eq!(emit(&value), text);
    }

    #[test]
    fn strings_that_yaml_1_1_takes_for_something_else_are_quoted() {
        let ambiguous = [
            "on",
            "OFF",
            "yes",
            "No",
            "y",
            "N",
            "true",
            "null",
            "~",
            "1e3",
            "0x1",
            "017",
            "1_000",
            "1:30",
            "",
            "5",
            ".5",
            "-1",
            "+1",
            ".inf",
            "2026-11-22",
            "2026-11-22T10:00:00Z",
            "a: b",
            "a #b",
            "a:",
            " a",
            "a ",
            "- a",
            "*",
            "=",
            "<<",
            "{a}",
            "a\tb",
            "é",
            "---",
            "--- a",
        ];
        for text in ambiguous {
            assert_eq!(emit(&json!({ "a": text })), format!("a: {}\n", json!(text)));
        }
    }

    #[test]
    fn what_kubeadm_leaves_plain_is_plain() {
        let plain = [
            "--controllers=*,bootstrapsigner",
            "https://127.0.0.1:2379",
            "10.96.0.10",
            "10.0.0.1:6443",
            "10.244.0.0/16",
            "100m",
            "170Mi",
            "87600h0m0s",
            "v1.37.2",
            "system:nodes",
            "/etc/kubernetes/pki",
            "a#b",
            "a:b",
        ];
        for text in plain {
            assert_eq!(emit(&json!({ "a": text })), format!("a: {text}\n"));
        }
    }

    #[test]
    fn lines_are_a_literal_block() {
        assert_eq!(emit(&json!({"a": {"b": "x:\n\n  - y\n"}})), "a:\n  b: |\n    x:\n\n      - y\n");
        for text in ["x\ny", "\nx\n", " x\n", "x\n\n", "x\r\n", "x\u{2028}y\n"] {
            assert_eq!(emit(&json!({ "a": text })), format!("a: {}\n", json!(text)));
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["\\PC{0,12}", "[-+0-9.:eExX_ #\n'\"a-c]{0,10}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z:# 0-9-]{0,6}", inner, 0..5)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn reading_gives_back_what_was_written(value in values()) {
            let text = emit(&value);
            let read: Value = serde_yaml::from_str(&text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
            prop_assert_eq!(read, value, "{}", text);
        }
    }
}
