use proptest::prelude::*;
use std::collections::BTreeSet;

use super::*;
use crate::engine::{Content, FileMode, Proposed};
use crate::inventory::{Host, Role};
use crate::lock::Lock;

fn write(path: &str, before: Option<&str>, after: &str) -> Change {
    let content = |text: &str| Content::Text(text.into());
    Change::WriteFile { path: path.into(), mode: FileMode::PUBLIC, before: before.map(content), after: content(after) }
}

fn event(host: &str, phase: &str, step: &str, changes: Vec<Change>, after: Option<&str>) -> Event {
    let changes = changes.into_iter().map(Proposed::from).collect();
    let kind = Kind::Planned { changes, after: after.map(Into::into) };
    Event { host: host.into(), phase: phase.into(), step: step.into(), kind }
}

fn hosts(events: &[Event]) -> Hosts {
    let mut hosts = Hosts::default();
    events.iter().for_each(|event| collect(&mut hosts, event));
    hosts
}

fn plan(hosts: Hosts) -> SavedPlan {
    let host = Host::new("n1", [10, 0, 0, 1].into(), vec![Role::ControlPlane]);
    let cluster = Cluster::single(host);
    SavedPlan::new(&cluster, &crate::playbook::builtin("up"), hosts, "/i.yaml", "2026-11-22T20:00:00Z".into())
}

fn sample() -> Hosts {
    hosts(&[
        event("n1", "prepare", "a", vec![write("/a", None, "x"), write("/b", Some("1"), "2")], None),
        event("n1", "join", "b", vec![], Some("the API server")),
        event("n2", "prepare", "a", vec![write("/a", None, "x")], None),
    ])
}

fn lines(saved: &Hosts, now: &Hosts) -> Vec<String> {
    let moved = moved(saved, now, &BTreeSet::new());
    moved.iter().flat_map(|(host, lines)| lines.iter().map(move |line| format!("{host}: {line}"))).collect()
}

#[test]
fn what_is_written_is_read_and_no_secret_is_in_it() {
    let secret = Change::WriteFile {
        path: "/key".into(),
        mode: FileMode::PRIVATE,
        before: Some(Content::Text("hunter1".into())),
        after: Content::Secret("hunter2".into()),
    };
    let text = plan(hosts(&[event("n1", "prepare", "a", vec![secret], None)])).to_text();
    assert!(!text.contains("hunter") && text.contains("sha256:"), "{text}");
    let read = SavedPlan::parse(&text).unwrap();
    assert_eq!((read.changes(), read.id().len()), (1, 64));
    assert_eq!(read.to_text(), text);
}

#[test]
fn the_lock_that_it_keeps_to_comes_along() {
    let mut plan = plan(Hosts::default());
    let in_use = InUse { lock: Lock::empty(&plan.cluster), is_strict: true };
    plan.lock = Some(in_use.clone());
    assert_eq!(SavedPlan::parse(&plan.to_text()).unwrap().lock, Some(in_use));
}

#[test]
fn another_version_is_told_from_damage() {
    let text = plan(sample()).to_text();
    let with = |from: &str, to: &str| SavedPlan::parse(&text.replacen(from, to, 1)).unwrap_err();
    assert_eq!(with("\"version\": 1", "\"version\": 2"), PlanError::Format(2));
    let own = format!("\"kboot\": \"{}\"", env!("CARGO_PKG_VERSION"));
    assert_eq!(with(&own, "\"kboot\": \"9.9.9\""), PlanError::OtherKboot("9.9.9".into()));
    assert_eq!(with("10.0.0.1", "10.0.0.2"), PlanError::Edited);
    assert_eq!(with("  ", " "), PlanError::Edited);
    assert!(matches!(SavedPlan::parse("apiVersion: kboot/v1alpha1\n"), Err(PlanError::Unreadable(_))));
    assert!(matches!(SavedPlan::parse("{}"), Err(PlanError::Unreadable(_))));
}

#[test]
fn every_truncation_is_refused() {
    let text = plan(sample()).to_text();
    for end in 0..text.len() {
        assert!(SavedPlan::parse(&text[..end]).is_err(), "cut after {end} bytes");
    }
    assert!(SavedPlan::parse(&format!("{text}\n")).is_err());
}

#[test]
fn the_same_plan_has_not_moved_and_one_that_is_done_has_not_either() {
    assert_eq!(lines(&sample(), &sample()), Vec::<String>::new());
    assert_eq!(lines(&sample(), &Hosts::default()), Vec::<String>::new());
}

#[test]
fn all_that_moved_is_named() {
    let now = hosts(&[
        event("n1", "prepare", "a", vec![write("/b", Some("edited"), "2"), write("/c", None, "x")], None),
        event("n2", "prepare", "a", vec![write("/a", None, "y")], Some("dpkg's lock")),
    ]);
    assert_eq!(
        lines(&sample(), &now),
        [
            "n1: prepare, a: not as the plan saw it: /b",
            "n1: prepare, a: not in the plan: create /c (0644)",
            "n1: join, b: waits no longer for the API server",
            "n1: prepare, a: no longer to be done: create /a (0644)",
            "n2: prepare, a: not in the plan: create /a (0644)",
            "n2: prepare, a: waits for dpkg's lock, as it did not when the plan was made",
            "n2: prepare, a: no longer to be done: create /a (0644)",
        ]
    );
}

#[test]
fn a_plan_that_was_cut_off_goes_on_but_does_no_more_than_it_says() {
    let begun = BTreeSet::from(["n1".to_string()]);
    let half = |more: Vec<Change>| {
        hosts(&[
            event("n1", "prepare", "a", [vec![write("/b", Some("default"), "2")], more].concat(), None),
            event("n1", "join", "b", vec![write("/token", None, "x")], None),
            event("n2", "prepare", "a", vec![write("/a", None, "x")], None),
        ])
    };
    assert!(moved(&sample(), &half(vec![]), &begun).is_empty());
    let other = moved(&sample(), &half(vec![write("/c", None, "x")]), &begun);
    assert_eq!(other["n1"], ["prepare, a: not in the plan: create /c (0644)"]);
}

proptest! {
    #[test]
    fn any_plan_comes_back_as_it_was(
        files in proptest::collection::vec(("n[12]", "[pq]", "[a-c]", "/[a-z]{1,8}", any::<Option<String>>(), any::<String>(), any::<Option<String>>()), 0..8)
    ) {
        let events: Vec<Event> = files.iter().map(|(host, phase, step, path, before, text, after)| {
            event(host, phase, step, vec![write(path, before.as_deref(), text)], after.as_deref())
        }).collect();
        let plan = plan(hosts(&events));
        let read = SavedPlan::parse(&plan.to_text()).unwrap();
        prop_assert_eq!(&read.hosts, &plan.hosts);
        prop_assert_eq!(SavedPlan { seal: String::new(), ..read }, plan.clone());
        prop_assert!(moved(&plan.hosts, &plan.hosts, &BTreeSet::new()).is_empty());
    }

    #[test]
    fn any_other_byte_is_noticed(at in any::<prop::sample::Index>(), byte in 32u8..127) {
        let text = plan(sample()).to_text();
        let mut bytes = text.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert!(SavedPlan::parse(std::str::from_utf8(&bytes).unwrap()).is_err());
    }
}
