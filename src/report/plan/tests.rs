use super::super::samples::{self, at, file};
use super::*;
use crate::engine::{FileMode, Outcome};

fn page(events: &[Event], verbosity: Verbosity) -> String {
    let mut plan = Plan::default();
    events.iter().for_each(|event| plan.event(event));
    plan.page(verbosity).render(false)
}

fn planned(changes: Vec<Change>) -> Event {
    at("n1", "prepare", "a-step", Kind::Planned { changes: changes.into_iter().map(Into::into).collect(), after: None })
}

#[test]
fn a_plan_tells_each_change_of_each_host() {
    insta::assert_snapshot!(render(&samples::plan()));
}

#[test]
fn quiet_is_one_line_a_change() {
    insta::assert_snapshot!(page(&samples::plan(), Verbosity::Quiet));
}

#[test]
fn no_secret_is_shown_on_either_side() {
    for verbosity in [Verbosity::Quiet, Verbosity::Normal, Verbosity::Verbose] {
        assert!(!page(&samples::plan(), verbosity).contains("hunter"));
    }
    let secret = serde_json::json!({
        "kind": "Secret", "metadata": {"name": "bootstrap-token-abcdef"}, "stringData": {"token-secret": "hunter2"}
    });
    let shown = render(&[planned(vec![Change::ApplyObject { object: secret, before: None }])]);
    assert!(shown.contains("+  token-secret: sha256:") && !shown.contains("hunter"), "{shown}");
}

#[test]
fn a_plan_without_changes_says_so() {
    assert_eq!(render(&[]), "No changes.\n");
    let finished = Kind::StepFinished { outcome: Outcome::Unchanged, millis: 1 };
    assert_eq!(render(&[at("n1", "prepare", "a", finished)]), "No changes.\n");
}

#[test]
fn long_files_are_cut_with_a_count_unless_verbose() {
    let text: String = (1..=200).map(|n| format!("line {n}\n")).collect();
    let events = [planned(vec![file("/etc/long", None, &text)])];
    let normal = render(&events);
    assert!(normal.contains("+line 60\n        … 140 more lines\n"), "{normal}");
    assert!(!normal.contains("line 61"));
    assert!(page(&events, Verbosity::Verbose).contains("+line 200\n"));
}

#[test]
fn a_host_that_cannot_be_looked_at_is_told() {
    let failed = Kind::Failed { failure: Failure::new("no route to host") };
    let shown = render(&[planned(vec![samples::module("overlay")]), at("n2", "", "", failed)]);
    assert!(shown.contains("n2\n"), "{shown}");
    assert!(shown.contains("! can't tell: no route to host\n"), "{shown}");
    assert!(shown.ends_with("\nPlan: 1 change on 1 host; failed on 1 host\n"), "{shown}");
}

#[test]
fn a_mode_alone_is_no_diff() {
    let shown = render(&[planned(vec![file("/etc/x", Some("a\n"), "a\n")])]);
    assert!(shown.contains("    ~ change /etc/x\n        same content, other mode\n"), "{shown}");
}

#[test]
fn a_file_that_was_not_text_is_told_by_size() {
    let change = Change::WriteFile {
        path: "/x".into(),
        mode: FileMode::PUBLIC,
        before: Some(Content::from_bytes(vec![0xff, 0xfe])),
        after: Content::Text("one\ntwo\n".into()),
    };
    let shown = render(&[planned(vec![change])]);
    assert!(shown.contains("        -binary, 2 bytes\n        +text of 2 lines\n"), "{shown}");
}

proptest::proptest! {
    #[test]
    fn nothing_in_files_or_objects_becomes_a_control_character(before: String, after: String, name: String) {
        let object = |text: &str| serde_json::json!({"kind": name.clone(), "data": {name.clone(): text}, "list": [text]});
        let events = [
            at(&name, &name, &name, Kind::StepStarted { title: after.clone() }),
            at(&name, &name, &name, Kind::Planned {
                changes: vec![
                    file("/x", Some(&before), &after).into(),
                    file("/y", None, &after).into(),
                    Change::ApplyObject { object: object(&after).into(), before: Some(object(&before)) }.into(),
                    Change::ApplyObject { object: object(&after).into(), before: None }.into(),
                    Change::Run { argv: vec![after.clone()], why: before.clone(), undo: None }.into(),
                ],
                after: Some(after.clone()),
            }),
        ];
        let shown = page(&events, Verbosity::Verbose);
        proptest::prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{:?}", shown);
    }
}
