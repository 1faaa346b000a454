//! Cluster objects compared field by field: `spec.replicas: 1 -> 2`.
//!
//! Only the fields of the object that is applied count: what the API server or somebody else added beside them stays as it is
//! (server-side apply), so it is no difference. Lists of plain values are owned as a whole, and there what is gone is told as well.

use similar::{Algorithm, ChangeTag, capture_diff_slices};

use serde_json::Value;

use super::{Line, Page, Style, diff};

/// What becomes of an object: all of a new one, the differences of an old one.
pub(super) fn page(before: Option<&Value>, after: &Value) -> Page {
    let Some(before) = before else { return whole(after) };
    let mut page = Page::new();
    compare("", Some(before), after, &mut page);
    page
}

fn whole(object: &Value) -> Page {
    match serde_yaml::to_string(object) {
        Ok(text) => diff::added(&text),
        Err(_) => diff::added(&object.to_string()),
    }
}

fn compare(path: &str, before: Option<&Value>, after: &Value, page: &mut Page) {
    // A null that nobody has is the way of saying nothing.
    if before == Some(after) || (before.is_none() && after.is_null()) {
        return;
    }
    match (before, after) {
        (Some(Value::Object(before)), Value::Object(after)) => {
            for (key, value) in after {
                compare(&field(path, key), before.get(key), value, page);
            }
        }
        (Some(Value::Array(before)), Value::Array(after)) => match (by_name(before), by_name(after)) {
            (Some(before), Some(after)) => {
                for (name, value) in after {
                    let old = before.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
                    compare(&format!("{path}[{name}]"), old, value, page);
                }
            }
            _ => compare_lists(path, before, after, page),
        },
        (Some(Value::String(before)), Value::String(after)) if before.contains('\n') || after.contains('\n') => {
            page.push(Line::of(Style::Notable, format!("{path}:")));
            page.append_indented(2, diff::page(before, after));
        }
        (Some(before), after) => {
            page.push(Line::of(Style::Notable, format!("{path}: {} -> {}", short(before), short(after))));
        }
        (None, Value::Object(fields)) if !fields.is_empty() => {
            for (key, value) in fields {
                compare(&field(path, key), None, value, page);
            }
        }
        (None, after) => page.push(Line::of(Style::Good, format!("+ {path}: {}", short(after)))),
    }
}

/// Lists whose items have no name: what is in one and not in the other, in order.
fn compare_lists(path: &str, before: &[Value], after: &[Value], page: &mut Page) {
    let (before, after): (Vec<String>, Vec<String>) =
        (before.iter().map(short).collect(), after.iter().map(short).collect());
    for change in capture_diff_slices(Algorithm::Myers, &before, &after)
        .iter()
        .flat_map(|part| part.iter_changes(&before, &after).collect::<Vec<_>>())
    {
        let (mark, style) = match change.tag() {
            ChangeTag::Insert => ('+', Style::Good),
            ChangeTag::Delete => ('-', Style::Bad),
            ChangeTag::Equal => continue,
        };
        page.push(Line::of(style, format!("{mark} {path}[]: {}", change.value())));
    }
}

/// The items of a list by their `name`, if each has one of its own: containers, volumes, ports, variables.
fn by_name(items: &[Value]) -> Option<Vec<(&str, &Value)>> {
    let named: Vec<(&str, &Value)> =
        items.iter().map(|item| Some((item["name"].as_str()?, item))).collect::<Option<_>>()?;
    let mut names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    (names.len() == items.len()).then_some(named)
}

/// `spec.replicas`, `metadata.labels["node.kubernetes.io/role"]`.
fn field(path: &str, key: &str) -> String {
    let is_plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    match (is_plain, path.is_empty()) {
        (true, true) => key.to_string(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{}]", Value::from(key)),
    }
}

/// A value on one line; texts without quotes where nobody could take them for something else.
fn short(value: &Value) -> String {
    match value.as_str() {
        Some(text) if is_plain_text(text) => text.to_string(),
        _ => value.to_string(),
    }
}

fn is_plain_text(text: &str) -> bool {
    let looks_like_another = text.parse::<f64>().is_ok() || matches!(text, "true" | "false" | "null");
    let has_odd_ends = text.trim() != text || text.starts_with(['"', '[', '{']);
    !text.is_empty() && !looks_like_another && !has_odd_ends && !text.contains('\n')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(before: Value, after: Value) -> String {
        page(Some(&before), &after).render(false)
    }

    #[test]
    fn fields_are_compared_one_by_one() {
        let before = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "coredns", "uid": "1", "labels": {"k8s-app": "kube-dns", "old": "stays"}},
            "spec": {"replicas": 1, "template": {"spec": {
                "containers": [
                    {"name": "coredns", "image": "coredns:v1.12.0", "args": ["-conf", "/etc/coredns/Corefile"], "imagePullPolicy": "IfNotPresent"},
                    {"name": "sidecar", "image": "left alone"}
                ],
                "tolerations": [{"key": "a", "operator": "Exists"}]
            }}},
            "status": {"replicas": 1}
        });
        let after = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "coredns", "creationTimestamp": null, "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}},
            "spec": {"replicas": 2, "template": {"spec": {
                "priorityClassName": "system-cluster-critical",
                "containers": [{"name": "coredns", "image": "coredns:v1.13.1", "args": ["-conf", "/etc/coredns/Corefile", "-quiet"], "resources": {"limits": {"memory": "170Mi"}}}],
                "tolerations": [{"key": "b", "operator": "Exists"}],
                "volumes": [{"name": "tmp", "emptyDir": {}}]
            }}}
        });
        insta::assert_snapshot!(shown(before, after));
    }

    #[test]
    fn longer_texts_are_compared_by_line() {
        let before = json!({"data": {"Corefile": ".:53 {\n    errors\n    health\n}\n", "one": "x"}});
        let after = json!({"data": {"Corefile": ".:53 {\n    errors\n    ready\n}\n", "one": "y"}});
        insta::assert_snapshot!(shown(before, after));
    }

    #[test]
    fn an_object_that_is_as_wanted_has_no_difference() {
        let wanted = json!({"spec": {"replicas": 2, "list": [1, 2], "gone": null}});
        let live = json!({"spec": {"replicas": 2, "list": [1, 2], "default": true}, "status": {}});
        assert_eq!(shown(live, wanted), "");
    }

    #[test]
    fn texts_that_look_like_something_else_are_quoted() {
        let before = json!({"a": "1", "b": true, "c": "", "d": "x", "e": [1], "f": null});
        let after = json!({"a": 1, "b": "true", "c": " ", "d": "{x", "e": {"x": 1}, "f": "null"});
        assert_eq!(
            shown(before, after),
            "a: \"1\" -> 1\nb: true -> \"true\"\nc: \"\" -> \" \"\nd: x -> \"{x\"\ne: [1] -> {\"x\":1}\nf: null -> \"null\"\n"
        );
    }

    #[test]
    fn lists_with_a_name_twice_are_compared_in_order() {
        let before = json!({"ports": [{"name": "dns", "port": 53}, {"name": "dns", "port": 54}]});
        let after = json!({"ports": [{"name": "dns", "port": 53}, {"name": "dns", "port": 55}]});
        assert_eq!(
            shown(before, after),
            "- ports[]: {\"name\":\"dns\",\"port\":54}\n+ ports[]: {\"name\":\"dns\",\"port\":55}\n"
        );
    }
}
