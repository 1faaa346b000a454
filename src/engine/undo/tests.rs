//! What takes a thing back, and what is kept.

use super::*;
use crate::engine::{Made, RunInfo, Text, Trace};

fn file(text: &str) -> State {
    State::file(0o644, 0, 0, text.into())
}

fn path() -> Subject {
    Subject::path("/etc/x")
}

fn touched_at(subject: Subject, before: State, after: Option<State>) -> Touched {
    Touched { subject, before, after, text: String::new() }
}

fn texts(verdict: Verdict) -> Vec<String> {
    match verdict {
        Verdict::Nothing => vec![],
        Verdict::Changes(changes) => changes.iter().map(ToString::to_string).collect(),
        Verdict::Kept(why) => vec![format!("kept: {why}")],
    }
}

fn back(before: State, after: Option<State>, now: State) -> Vec<String> {
    texts(take_back(&touched_at(path(), before, after), &now))
}

#[test]
fn a_file_is_put_back_or_removed_unless_somebody_edited_it_since() {
    assert_eq!(back(State::Absent, Some(file("a")), file("a")), ["remove /etc/x"]);
    assert_eq!(back(file("z"), Some(file("a").without_content()), file("a")), ["change /etc/x"]);
    assert_eq!(back(file("z"), Some(file("a")), State::Absent), ["kept: it was removed since"]);
    assert_eq!(back(State::Absent, Some(file("a")), file("b")), ["kept: it was changed since"]);
    assert_eq!(back(file("z"), Some(file("a")), file("z")), Vec::<String>::new());
    // Cut off between before and after: it goes back, whatever it is.
    assert_eq!(back(State::Absent, None, file("half")), ["remove /etc/x"]);
}

#[test]
fn what_was_secret_is_said_to_be_gone() {
    let secret = file("hunter2").without_content();
    assert_eq!(
        back(secret, Some(file("a")), file("a")),
        ["kept: its earlier content was secret or too large to be kept"]
    );
}

#[test]
fn modes_owners_links_and_directories_are_put_back() {
    let other = State::file(0o600, 7, 7, b"a".to_vec());
    assert_eq!(
        back(other.clone(), Some(file("a")), file("a")),
        ["set the mode of /etc/x to 0600", "give /etc/x to user 7 and group 7"]
    );
    assert_eq!(
        back(other, Some(State::Absent), State::Absent),
        ["create /etc/x (0600)", "give /etc/x to user 7 and group 7"]
    );
    let link = State::Link { target: "/y".into() };
    assert_eq!(back(link, Some(file("a")), file("a")), ["link /etc/x to /y"]);
    let folder = |is_empty| State::Directory { mode: 0o755, uid: 0, gid: 0, is_empty };
    assert_eq!(back(State::Absent, Some(folder(true)), folder(true)), ["remove the empty directory /etc/x"]);
    assert_eq!(back(State::Absent, Some(folder(true)), folder(false)), ["kept: it is not empty"]);
    assert_eq!(back(folder(true), Some(State::Absent), State::Absent), ["make directory /etc/x (0755)"]);
    assert_eq!(back(folder(false), Some(State::Absent), State::Absent), ["kept: what was in it was not kept"]);
}

#[test]
fn packages_that_came_go_and_what_others_installed_stays() {
    let packages = |list: &[(&str, &str)]| State::Packages {
        versions: list.iter().map(|(name, version)| (name.to_string(), version.to_string())).collect(),
    };
    let before = packages(&[("bash", "5"), ("containerd", "1.6")]);
    let after = packages(&[("bash", "5"), ("containerd.io", "2.0"), ("kubelet", "1.37")]);
    let now = packages(&[("bash", "5"), ("containerd.io", "2.0"), ("kubelet", "1.37"), ("vim", "9")]);
    let undone = texts(take_back(&touched_at(Subject::Packages, before, Some(after)), &now));
    assert_eq!(undone, ["remove the packages containerd.io, kubelet", "install containerd 1.6"]);
}

#[test]
fn a_unit_that_came_with_a_package_is_stopped_and_one_that_ran_runs_again() {
    let subject = || Subject::Unit { unit: "x.service".into() };
    let unit = |is_enabled, is_active| State::Unit { is_enabled, is_active };
    let now = unit(true, true);
    assert_eq!(
        texts(take_back(&touched_at(subject(), State::Absent, Some(now.clone())), &now)),
        ["x.service: disable and stop"]
    );
    assert_eq!(texts(take_back(&touched_at(subject(), now, None), &unit(true, false))), ["x.service: start"]);
    assert_eq!(take_back(&touched_at(subject(), unit(true, true), None), &State::Absent), Verdict::Nothing);
}

#[test]
fn several_runs_go_back_to_the_first_state_in_reverse_order() {
    let made = |path: &str, before: State, after: Option<State>| Made {
        id: None,
        at: 0,
        step: "s".into(),
        text: "t".into(),
        before: vec![Trace { subject: Subject::path(path), state: before }],
        wants: Default::default(),
        after: after.map(|state| vec![Trace { subject: Subject::path(path), state }]),
        failure: None,
    };
    let run = |changes| Run { info: RunInfo::default(), at: 0, changes, outcome: None };
    let first = run(vec![made("/a", State::Absent, Some(file("1"))), made("/b", State::Absent, None)]);
    let second = run(vec![made("/a", file("1"), Some(file("2")))]);
    let found = touched(&[&first, &second]);
    let paths: Vec<String> = found.iter().map(|touched| touched.subject.to_string()).collect();
    assert_eq!(paths, ["/b", "/a"]);
    assert_eq!((&found[1].before, &found[1].after), (&State::Absent, &Some(file("2"))));
    assert_eq!((&found[0].before, &found[0].after), (&State::Absent, &None));
}

#[test]
fn what_a_reset_put_back_is_nobody_s_but_the_owner_s_any_more() {
    let made = |path: &str, before: State, after: State| Made {
        id: None,
        at: 0,
        step: "s".into(),
        text: "t".into(),
        before: vec![Trace { subject: Subject::path(path), state: before }],
        wants: Default::default(),
        after: Some(vec![Trace { subject: Subject::path(path), state: after }]),
        failure: None,
    };
    let run = |undoes: Option<&str>, changes| Run {
        info: RunInfo { undoes: undoes.map(String::from), ..RunInfo::default() },
        at: 0,
        changes,
        outcome: None,
    };
    let up = run(None, vec![made("/a", State::Absent, file("1"))]);
    let reset = run(Some("all"), vec![made("/a", file("1"), State::Absent), made("/own", file("x"), State::Absent)]);
    let found = touched(&[&up, &reset]);
    assert_eq!(found.len(), 1, "what the reset alone removed does not come back");
    // Somebody has made the very same file since.
    assert_eq!(texts(take_back(&found[0], &file("1"))), ["kept: it was changed since"]);
    let again = touched(&[&up, &reset, &up]);
    assert_eq!(texts(take_back(&again[0], &file("1"))), ["remove /a"]);
}

#[test]
fn a_command_is_taken_back_by_its_own_word_or_not_at_all() {
    let command = |undo: Option<&str>| Subject::Command {
        argv: vec!["realm".into()],
        why: "join the domain".into(),
        undo: undo.map(|word| vec![word.to_string()]),
    };
    let unknown = State::Unknown { reason: Text::default() };
    let undone = |undo| texts(take_back(&touched_at(command(undo), unknown.clone(), None), &unknown));
    assert_eq!(undone(Some("leave")), ["take back: join the domain (`leave`)"]);
    assert_eq!(undone(None), ["kept: what it did can't be taken back"]);
}

#[test]
fn a_link_takes_the_place_of_no_file_s_content() {
    let link = State::Link { target: "/y".into() };
    assert_eq!(back(State::Absent, Some(link.clone()), link.clone()), ["remove /etc/x"]);
    // The file is made anew in the link's place, not written through it.
    assert_eq!(back(file("a"), None, link), ["create /etc/x (0644)"]);
}

#[test]
fn a_node_s_marks_go_and_come_back() {
    let value = |text: &str| State::Value { value: text.into() };
    let label = || Subject::Label { node: "n1".into(), key: "disk".into() };
    let taint = || Subject::Taint { node: "n1".into(), key: "k".into(), effect: "NoSchedule".into() };
    let back =
        |subject, before, after: State| texts(take_back(&touched_at(subject, before, Some(after.clone())), &after));
    assert_eq!(back(label(), State::Absent, value("ssd")), ["mark the node n1: no label disk"]);
    assert_eq!(back(label(), value("hdd"), value("ssd")), ["mark the node n1: label disk=hdd"]);
    assert_eq!(back(taint(), State::Absent, value("v")), ["mark the node n1: no taint k=v:NoSchedule"]);
    assert_eq!(back(taint(), value("v"), State::Absent), ["mark the node n1: taint k=v:NoSchedule"]);
}
