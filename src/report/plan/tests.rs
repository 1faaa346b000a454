use super::super::samples::{self, at, file};
use super::*;
use crate::engine::{FileMode, Outcome};

fn page(events: &[Event], verbosity: Verbosity) -> String {
    let mut plan = Plan::default();
    events.iter().for_each(|event| plan.event(event));
    plan.page_at(verbosity, time::macros::datetime!(2026-11-22 17:00 UTC)).render(false)
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
    let shown = page(&[planned(vec![Change::ApplyObject { object: secret, before: None }])], Verbosity::Verbose);
    assert!(shown.contains("+  token-secret: sha256:") && !shown.contains("hunter"), "{shown}");
}

#[test]
fn a_plan_without_changes_says_so() {
    assert_eq!(render(&[]), "No changes.\n");
    let finished = Kind::StepFinished { outcome: Outcome::Unchanged, millis: 1 };
    assert_eq!(render(&[at("n1", "prepare", "a", finished)]), "No changes.\n");
}

#[test]
fn new_files_are_told_by_their_size_and_shown_when_asked_for() {
    let events = [planned(vec![file("/etc/new", None, "one\ntwo\n")])];
    assert_eq!(
        render(&events),
        "n1\n  prepare\n    a-step\n      + create /etc/new (0644)  2 lines\n\n\
         Plan: 1 change on 1 host: 1 to add\nNew files and objects in full: --verbose\n"
    );
    assert!(
        page(&events, Verbosity::Verbose)
            .ends_with("          +one\n          +two\n\nPlan: 1 change on 1 host: 1 to add\n")
    );
}

#[test]
fn long_diffs_are_cut_with_a_count_unless_verbose() {
    let text = |word: &str| (1..=60).map(|n| format!("{word} {n}\n")).collect::<String>();
    let events = [planned(vec![file("/etc/long", Some(&text("old")), &text("new"))])];
    let normal = render(&events);
    assert!(normal.contains("-old 39\n          … 81 more lines\n"), "{normal}");
    assert!(page(&events, Verbosity::Verbose).contains("+new 60\n"));
}

#[test]
fn hosts_for_which_the_same_is_planned_share_it() {
    let on = |host: &str, module: &str| Event { host: host.into(), ..planned(vec![samples::module(module)]) };
    let shown = render(&[on("n1", "overlay"), on("n2", "other"), on("n3", "overlay")]);
    assert!(shown.starts_with("n1 and n3\n") && shown.contains("\nn2\n"), "{shown}");
    assert!(shown.ends_with("\nPlan: 3 changes on 3 hosts: 3 to add\n"), "{shown}");
}

#[test]
fn why_a_host_differs_is_said_where_it_is_news() {
    let because = |change: Change, cause| Proposed { change, cause };
    let object = serde_json::json!({"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}});
    let changes = vec![
        because(samples::module("overlay"), Some(Cause::New)),
        because(file("/a", Some("1\n"), "2\n"), Some(Cause::Inventory)),
        because(file("/b", Some("1\n"), "2\n"), Some(Cause::Drift)),
        because(file("/c", Some("1\n"), "2\n"), Some(Cause::Both)),
        because(Change::ApplyObject { object: object.clone(), before: Some(object) }, Some(Cause::Drift)),
        because(Change::RefreshPackages { source: None }, None),
    ];
    let shown = page(&[at("n1", "prepare", "a-step", Kind::Planned { changes, after: None })], Verbosity::Quiet);
    insta::assert_snapshot!(shown);
}

#[test]
fn certificates_are_told_by_subject_names_and_end() {
    let algorithm = crate::inventory::EncryptionAlgorithm::EcdsaP256;
    let mut request = crate::pki::CertificateRequest::client("kube-apiserver", Some("x"), 24 * 365, algorithm);
    request.dns_names = vec!["kubernetes".into()];
    request.ip_addresses = vec![std::net::IpAddr::from([10, 96, 0, 1])];
    let issuer = Some(("/pki/ca.crt".into(), "/pki/ca.key".into()));
    let issue =
        Change::IssueCertificate { certificate: "/pki/a.crt".into(), key: "/pki/a.key".into(), issuer, request };
    let shown = page(&[planned(vec![issue])], Verbosity::Normal);
    let (subject, names) =
        ("+CN=kube-apiserver, O=x, signed by /pki/ca.crt, valid until 2027-11-22", "+for kubernetes 10.96.0.1");
    assert!(shown.contains(&format!("      + issue /pki/a.crt\n          {subject}\n          {names}\n")), "{shown}");
}

#[test]
fn a_certificate_that_is_written_is_told_in_words() {
    let ca =
        crate::pki::CertificateRequest::authority("kubernetes", 24, crate::inventory::EncryptionAlgorithm::EcdsaP256);
    let key = crate::pki::Key::generate(ca.algorithm).unwrap();
    let pem = crate::pki::issue(&ca, &key, None, time::macros::datetime!(2026-11-22 17:00 UTC)).unwrap();
    let shown = render(&[planned(vec![file("/pki/ca.crt", Some("damaged\n"), &pem)])]);
    assert!(shown.contains("          -text of 1 line\n          +CN=kubernetes, ECDSA P-256, certificate authority, valid from 2026-11-22 to 2026-11-23\n"), "{shown}");
    assert!(!shown.contains("BEGIN"), "{shown}");
}

#[test]
fn a_host_that_cannot_be_looked_at_is_told() {
    let failed = Kind::Failed { failure: Failure::new("no route to host") };
    let shown = render(&[planned(vec![samples::module("overlay")]), at("n2", "", "", failed)]);
    assert!(shown.contains("n2\n"), "{shown}");
    assert!(shown.contains("! can't tell: no route to host\n"), "{shown}");
    assert!(shown.ends_with("\nPlan: 1 change on 1 host: 1 to add; failed on 1 host\n"), "{shown}");
}

#[test]
fn a_mode_alone_is_no_diff() {
    let shown = render(&[planned(vec![file("/etc/x", Some("a\n"), "a\n")])]);
    assert!(shown.contains("      ~ change /etc/x\n          same content, other mode\n"), "{shown}");
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
    assert!(shown.contains("          -binary, 2 bytes\n          +text of 2 lines\n"), "{shown}");
}

proptest::proptest! {
    #[test]
    fn nothing_in_files_or_objects_becomes_a_control_character(before: String, after: String, name: String) {
        let object = |text: &str| serde_json::json!({"kind": name.clone(), "data": {name.clone(): text}, "list": [text]});
        let events = [
            at(&name, &name, &name, Kind::StepStarted { title: after.as_str().into() }),
            at(&name, &name, &name, Kind::Planned {
                changes: vec![
                    file("/x", Some(&before), &after).into(),
                    file("/y", None, &after).into(),
                    Change::ApplyObject { object: object(&after), before: Some(object(&before)) }.into(),
                    Change::ApplyObject { object: object(&after), before: None }.into(),
                    Change::Run { argv: vec![after.clone()], why: before.clone(), undo: None }.into(),
                ],
                after: Some(after.as_str().into()),
            }),
        ];
        let shown = page(&events, Verbosity::Verbose);
        proptest::prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{:?}", shown);
    }
}
