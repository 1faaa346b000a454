//! Records of journal format 2, as format 3 has them. In that format, only the text of a change distinguished commands: the texts stand
//! here as they were then, and nowhere else. They are data: what today's changes say is no matter to them.

use serde_json::{Value, json};

use crate::engine::ChangeId;

/// The same record in format 3.
pub(super) fn converted(mut record: Value) -> Value {
    record["version"] = json!(super::VERSION);
    if let Some(id) = record["text"].as_str().and_then(command_of) {
        record["id"] = json!(id);
    }
    for field in ["before", "after"] {
        record.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().for_each(convert_trace);
    }
    record
}

/// The id of `WHY (`ARGV`)`, which is what a command was written as.
fn command_of(text: &str) -> Option<ChangeId> {
    let (_, argv) = text.strip_suffix("`)")?.rsplit_once(" (`")?;
    Some(ChangeId::of_command(&[argv.to_owned()]))
}

fn convert_trace(trace: &mut Value) {
    let Some(fields) = trace.as_object_mut() else { return };
    let Some(subject) = fields.remove("thing") else { return };
    let typed = match (subject.as_str(), fields.get("why").and_then(Value::as_str)) {
        (Some("command"), Some(why)) if fields.get("undo").is_none_or(Value::is_null) => typed(why),
        _ => None,
    };
    let Some(typed) = typed else {
        fields.insert("subject".into(), subject);
        return;
    };
    fields.retain(|name, _| name != "why" && name != "undo");
    fields.extend(typed.as_object().cloned().into_iter().flatten());
}

/// What a command without a way back was about.
fn typed(why: &str) -> Option<Value> {
    let member = |action: &str, name: &str| json!({"subject": "member", "action": action, "member": name});
    let words: Vec<&str> = why.split(' ').collect();
    Some(match words[..] {
        ["add", "the", "etcd", "member", name, ..] => member("add", name),
        ["give", "the", "etcd", "member", name, "its", "vote"] => member("promote", name),
        ["remove", "the", "etcd", "member", "at", url, ..] => member("remove", url.trim_end_matches(',')),
        ["remove", "the", "etcd", "member", name, ..] => member("remove", name),
        ["clear", "the", "alarm", "NOSPACE", "of", "the", "etcd", "member", name] => member("clear-no-space", name),
        ["have", "the", "etcd", "member", name, "known", "by", _] => member("move", name),
        ["mark", "the", "node", node, ..] => json!({"subject": "marks", "node": node.trim_end_matches(':')}),
        ["drain", "the", "node", node, ..] => json!({"subject": "drain", "node": node.trim_end_matches(':')}),
        ["remove", _, "rules", "and", "chains", .., "from", program] => {
            json!({"subject": "filter-rules", "program": program})
        }
        ["remove", "the", "packet", "filter's", "table", family, table] => {
            json!({"subject": "filter-table", "family": family, "table": table})
        }
        ["remove", "the", "control", "group", path] => json!({"subject": "control-group", "path": path}),
        ["delete", "Pod", name] => {
            let (namespace, name) = name.split_once('/').unwrap_or(("", name));
            json!({"subject": "pod", "namespace": namespace, "name": name})
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Entry, Journal, MemberAction, State, Subject, Trace};

    fn subject(why: &str) -> Subject {
        let before = json!([{"thing": "command", "why": why, "undo": null, "state": "unknown", "reason": "r"}]);
        let entry = json!({"version": 2, "run": "1", "at": 1, "record": "done", "change": 0, "after": before});
        let records = Journal::parse(entry.to_string().as_bytes()).unwrap();
        let [record] = &records[..] else { panic!("{records:?}") };
        let Entry::Done { after, .. } = &record.entry else { panic!("{record:?}") };
        assert_eq!(after[0].state, State::Unknown { reason: "r".into() });
        after[0].subject.clone()
    }

    #[test]
    fn what_the_texts_of_then_were_about_is_typed() {
        let member = |action, member: &str| Subject::Member { member: member.into(), action };
        for (why, expected) in [
            ("add the etcd member n2 (https://10.0.0.2:2380) as a learner", member(MemberAction::Add, "n2")),
            ("give the etcd member n2 its vote", member(MemberAction::Promote, "n2")),
            ("remove the etcd member n1 (https://10.0.0.1:2380)", member(MemberAction::Remove, "n1")),
            (
                "remove the etcd member at https://10.0.0.1:2380, which never started",
                member(MemberAction::Remove, "https://10.0.0.1:2380"),
            ),
            ("clear the alarm NOSPACE of the etcd member n1", member(MemberAction::ClearNoSpace, "n1")),
            ("have the etcd member n1 known by https://10.0.0.1:2380", member(MemberAction::Move, "n1")),
            ("mark the node n1: label a=b", Subject::Marks { node: "n1".into() }),
            ("drain the node n1: evict a/b, c/d", Subject::Drain { node: "n1".into() }),
            ("drain the node n1", Subject::Drain { node: "n1".into() }),
            (
                "remove 12 rules and chains of Kubernetes and the pod network from ip6tables",
                Subject::FilterRules { program: "ip6tables".into() },
            ),
            (
                "remove the packet filter's table ip kube-proxy",
                Subject::FilterTable { family: "ip".into(), table: "kube-proxy".into() },
            ),
            ("remove the control group /a", Subject::ControlGroup { path: "/a".into() }),
            ("delete Pod x/y", Subject::Pod { namespace: "x".into(), name: "y".into() }),
            ("sow the field", Subject::Command { argv: vec![], why: "sow the field".into(), undo: None }),
        ] {
            assert_eq!(subject(why), expected, "{why}");
        }
    }

    #[test]
    fn a_command_is_known_by_what_it_ran() {
        let record = |text: &str| {
            json!({"version": 2, "run": "1", "at": 1, "record": "intent", "change": 0, "step": "s", "text": text,
            "before": [{"thing": "path", "path": "/a", "state": "absent"}], "wants": {}})
        };
        let read = |text: &str| Journal::parse(record(text).to_string().as_bytes()).unwrap().remove(0);
        for (text, expected) in
            [("take back: sow (again) (`sh -c 'rm x'`)", Some("run:sh -c 'rm x'")), ("change /etc/x", None)]
        {
            let Entry::Intent { id, before, .. } = read(text).entry else { panic!("no intent") };
            assert_eq!(id.as_ref().map(ChangeId::as_str), expected);
            assert_eq!(before, [Trace { subject: Subject::path("/a"), state: State::Absent }]);
        }
    }
}
