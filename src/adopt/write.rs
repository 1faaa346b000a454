//! The inventory's text: what differs from the defaults, in the example's order, with a word where somebody will ask.

use serde_json::{Value, json};
use serde_yaml::{Mapping, Value as Yaml};
use time::OffsetDateTime;

use super::Draft;
use crate::inventory::{Cluster, Host};

const WIDTH: usize = 120;

/// The fields after `apiVersion` and `kind`, in the order of the example, and what is said of them.
const SECTIONS: [(&str, &str); 17] = [
    ("name", ""),
    ("endpoint", "How nodes and people reach the API server."),
    ("kubernetes", ""),
    ("network", ""),
    ("certificates", "Those that are there stay; new ones are made like this."),
    (
        "controlPlane",
        "Flags, mounts and environment of the control plane's pods, as they are. ownFlags: whether kboot may set three flags \
         beyond kubeadm's; with true the API server and the controller manager are started again.",
    ),
    ("kubelet", "Fields of KubeletConfiguration, and flags."),
    ("kubeProxy", "Fields of KubeProxyConfiguration."),
    ("dns", ""),
    ("patches", "What these pods and files have beyond what kboot would write."),
    ("sysctls", ""),
    ("packages", "Where new hosts get packages from; the nodes keep the sources that they have."),
    (
        "containerd",
        "The nodes keep their /etc/containerd/config.toml; false has kboot write it, and containerd restarted.",
    ),
    ("images", ""),
    ("ssh", ""),
    ("timeouts", ""),
    ("vars", ""),
];

/// Shown with all that they have, as what a cluster is known by.
const WHOLE: [&str; 2] = ["kubernetes", "network"];

pub fn inventory(draft: &Draft<'_>, now: OffsetDateTime) -> String {
    let cluster = &draft.cluster;
    let mut text = head(draft, now);
    text.push_str("apiVersion: kboot/v1alpha1\nkind: Cluster\n");
    let value = yaml(cluster);
    let default =
        yaml(&Cluster { hosts: Vec::new(), ..Cluster::single(Host::new("", [0, 0, 0, 0].into(), Vec::new())) });
    for (field, comment) in SECTIONS {
        let value = match (value.get(field), default.get(field)) {
            (None, _) => continue,
            (Some(value), _) if WHOLE.contains(&field) || field == "name" => value.clone(),
            // A repository that is given is given whole.
            (Some(value), default) if field == "packages" => parts(value, default),
            (Some(value), default) => differing(value, default),
        };
        if is_empty(&value) {
            continue;
        }
        text.push('\n');
        text.push_str(&commented(comment, "# "));
        text.push_str(&block(field, value));
    }
    text.push_str("\nhosts:\n");
    let hosts: Vec<String> = cluster.hosts.iter().map(|host| self::host(draft, host)).collect();
    text.push_str(&hosts.join("\n"));
    text
}

fn head(draft: &Draft<'_>, now: OffsetDateTime) -> String {
    let names: Vec<&str> = draft.nodes.keys().map(String::as_str).collect();
    let date = now.date();
    let mut text = commented(
        &format!(
            "The cluster {}, which kubeadm made, as `kboot adopt` read it from {} on {date}. `kboot plan -i` with this file shows what \
             `kboot up` would do to it; docs/adopt.md says what of that is always so.",
            draft.cluster.name,
            names.join(", ")
        ),
        "# ",
    );
    if !draft.notes.is_empty() {
        text.push_str("#\n# To be known:\n");
        for note in &draft.notes {
            let mut lines = wrapped(note, WIDTH - 6).into_iter();
            text.extend(lines.next().map(|line| format!("#   - {line}\n")));
            text.extend(lines.map(|line| format!("#     {line}\n")));
        }
    }
    text
}

fn host(draft: &Draft<'_>, host: &Host) -> String {
    let mut text = String::new();
    if !draft.nodes.contains_key(&host.name) {
        text.push_str("  # not looked at\n");
    }
    let value = json!(host);
    let mut begin = "  - ";
    for field in ["name", "address", "roles", "labels", "taints", "ssh"] {
        if let Some(value) = value.get(field) {
            text.push_str(&format!("{begin}{field}: {}\n", flow(value)));
            begin = "    ";
        }
    }
    text
}

/// As YAML's values, which keep the order of fields.
fn yaml(cluster: &Cluster) -> Yaml {
    serde_yaml::to_value(cluster).expect("the types have string keys only")
}

/// Without what is as by default.
fn differing(value: &Yaml, default: Option<&Yaml>) -> Yaml {
    let (Yaml::Mapping(fields), Some(Yaml::Mapping(defaults))) = (value, default) else {
        return if Some(value) == default { Yaml::Null } else { value.clone() };
    };
    let fields = fields.iter().map(|(name, value)| (name.clone(), differing(value, defaults.get(name))));
    Yaml::Mapping(fields.filter(|(_, value)| !is_empty(value)).collect())
}

/// The same of the fields of this one alone.
fn parts(value: &Yaml, default: Option<&Yaml>) -> Yaml {
    let fields = value.as_mapping().into_iter().flatten();
    let others = fields.filter(|(name, value)| default.and_then(|default| default.get(name)) != Some(value));
    Yaml::Mapping(others.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// No field of an inventory whose default is another is empty.
fn is_empty(value: &Yaml) -> bool {
    match value {
        Yaml::Null => true,
        Yaml::Mapping(fields) => fields.is_empty(),
        Yaml::Sequence(items) => items.is_empty(),
        _ => false,
    }
}

fn block(field: &str, value: Yaml) -> String {
    let fields: Mapping = [(Yaml::from(field), value)].into_iter().collect();
    serde_yaml::to_string(&fields).expect("its keys are strings, and writing to memory does not fail")
}

/// A value in one line, as `{disk: ssd}`.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{}: {}", scalar(key), flow(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Quoted, unless it is a plain word for every reader of YAML.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let is_address = text.split('.').count() == 4 && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let begins_plain = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_plain = text.chars().all(is_letter) && !WORDS.contains(&text.to_lowercase().as_str());
    if is_address || (begins_plain && is_plain) { text.to_owned() } else { json!(text).to_string() }
}

fn commented(text: &str, begin: &str) -> String {
    wrapped(text, WIDTH - begin.len()).into_iter().map(|line| format!("{begin}{line}\n")).collect()
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_one_line() {
        assert_eq!(flow(&json!({"disk": "ssd", "a/b": "1"})), r#"{a/b: "1", disk: ssd}"#);
        assert_eq!(flow(&json!(["dedicated=db:NoSchedule"])), r#"["dedicated=db:NoSchedule"]"#);
        for (text, written) in [
            ("n1", "n1"),
            ("10.0.0.1", "10.0.0.1"),
            ("1", "\"1\""),
            ("yes", "\"yes\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
        ] {
            assert_eq!(scalar(text), written);
        }
    }

    #[test]
    fn only_what_differs_is_written() {
        let read = |text: &str| -> Yaml { serde_yaml::from_str(text).unwrap() };
        let default = read("{a: 1, b: {c: 2, d: 3}, e: []}");
        let value = read("{f: x, b: {d: 4, c: 2}, a: 1, e: [1]}");
        assert_eq!(differing(&value, Some(&default)), read("{f: x, b: {d: 4}, e: [1]}"));
        assert_eq!(differing(&default, Some(&default)), read("{}"));
        assert_eq!(parts(&value, Some(&default)), read("{f: x, b: {d: 4, c: 2}, e: [1]}"));
        assert_eq!(block("b", read("{d: 4, c: 2}")), "b:\n  d: 4\n  c: 2\n");
    }
}
