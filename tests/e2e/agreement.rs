//! What a plan says is what happens: each run is planned right before it, and its events are held against the plan.
//!
//! Knows changes by their JSON alone, so that what kboot itself takes for the same is not taken on trust.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::events::{Run, text};

/// Host, phase and step.
type Place = (String, String, String);

/// Every difference between a plan and the run after it, each in a line.
pub fn differences(plan: &Run, run: &Run) -> Vec<String> {
    let (planned, open) = planned(plan);
    let mut made: BTreeMap<Place, Vec<&Value>> = BTreeMap::new();
    for event in run.of_kind("change-finished") {
        made.entry(place(event)).or_default().push(&event["change"]);
    }
    let mut different = Vec::new();
    for (place, changes) in &made {
        let planned = planned.get(place).map(Vec::as_slice).unwrap_or_default();
        for change in changes.iter().filter(|_| !open.contains(place)) {
            if !planned.iter().any(|planned| keeps_to(change, planned)) {
                different.push(format!("{place:?}: not planned, and happened: {change}"));
            }
        }
    }
    if run.done.code != Some(0) {
        // It stopped on the way: what it did not come to can't be missed.
        return different;
    }
    for (place, changes) in &planned {
        let made = made.get(place).map(Vec::as_slice).unwrap_or_default();
        let ended = run.of_kind("step-finished").find(|event| self::place(event) == *place);
        if !ended.is_some_and(|event| event["outcome"] == "changed" || event["outcome"] == "unchanged") {
            different.push(format!("{place:?}: planned, and the step never ended well"));
        }
        for change in changes.iter().filter(|change| !comes_by_itself(change)) {
            if !made.iter().any(|made| target(made) == target(change)) {
                different.push(format!("{place:?}: planned, and never happened: {change}"));
            }
        }
    }
    different
}

/// The changes of a plan by their place, and the places where more was announced than could be known.
fn planned(plan: &Run) -> (BTreeMap<Place, Vec<&Value>>, Vec<Place>) {
    let (mut changes, mut open): (BTreeMap<Place, Vec<&Value>>, _) = (BTreeMap::new(), Vec::new());
    for event in plan.of_kind("planned") {
        let of_event = event["changes"].as_array().expect("a plan lists changes");
        changes.entry(place(event)).or_default().extend(of_event);
        if !event["after"].is_null() {
            open.push(place(event));
        }
    }
    (changes, open)
}

fn place(event: &Value) -> Place {
    (text(&event["host"]), text(&event["phase"]), text(&event["step"]))
}

/// The kubelet may have pulled an image by then; a module comes with its settings; a node whose pods don't all go is told.
fn comes_by_itself(change: &Value) -> bool {
    ["pull-images", "set-sysctl", "drain-node"].iter().any(|kind| change["change"] == *kind)
}

/// What a change is about.
fn target(change: &Value) -> String {
    let metadata = &change["object"]["metadata"];
    let about = match text(&change["change"]).as_str() {
        "write-file" | "set-mode" | "make-directory" => vec!["path".into(), text(&change["path"])],
        "apply-object" if is_token(change) => vec!["token".into()],
        "apply-object" => vec![text(&change["object"]["kind"]), text(&metadata["namespace"]), text(&metadata["name"])],
        "set-unit" => vec!["unit".into(), text(&change["unit"])],
        "set-sysctl" => vec!["sysctl".into(), text(&change["key"])],
        "mark-node" => vec!["node".into(), text(&change["node"])],
        "remove-filter-rules" => vec!["rules".into(), text(&change["program"])],
        kind @ ("install-packages" | "remove-packages" | "hold-packages" | "pull-images" | "mend-packages") => {
            vec![kind.into()]
        }
        _ => vec![bare(change).to_string()],
    };
    about.join(" ")
}

/// Whether a change that was made comes to what a planned one said.
fn keeps_to(made: &Value, planned: &Value) -> bool {
    let same = |fields: &[&str]| fields.iter().all(|field| made[*field] == planned[*field]);
    let part = |field: &str| {
        let all = planned[field].as_array().expect("a list");
        made[field].as_array().expect("a list").iter().all(|item| all.contains(item))
    };
    match (text(&made["change"]).as_str(), text(&planned["change"]).as_str()) {
        ("write-file", "write-file") => same(&["path", "mode", "after"]),
        // That it is there, and what it holds, came with a package.
        ("set-mode", "set-mode" | "write-file" | "make-directory") => same(&["path", "mode"]),
        ("apply-object", "apply-object") => same(&["object"]) || (is_token(made) && is_token(planned)),
        ("set-sysctl", "set-sysctl") => same(&["key", "after"]),
        ("set-unit", "set-unit") => {
            let runs = |unit: &Value| unit["restart"].is_string() || unit["start"] == true;
            same(&["unit"])
                && (made["enable"].is_null() || same(&["enable"]))
                && (!runs(made) || runs(planned))
                && (made["start"] != false || planned["start"] == false)
        }
        ("install-packages", "install-packages") => {
            let all = planned["packages"].as_array().expect("a list");
            made["packages"]
                .as_array()
                .expect("a list")
                .iter()
                .all(|one| all.iter().any(|planned| one["name"] == planned["name"] && one["to"] == planned["to"]))
        }
        ("remove-packages", "remove-packages") => part("packages"),
        ("hold-packages", "hold-packages") => same(&["hold"]) && part("packages"),
        ("pull-images", "pull-images") => part("images"),
        ("mark-node", "mark-node") => same(&["node"]) && part("labels") && part("taints"),
        ("remove-filter-rules", "remove-filter-rules") => same(&["program"]),
        ("mend-packages", "mend-packages") => true,
        ("remove", "remove") => same(&["path"]) || is_temporary(&text(&made["path"]), &text(&planned["path"])),
        _ => bare(made) == bare(planned),
    }
}

/// Whether this is what a kubelet left that was stopped while it wrote the other file, or one beside it.
fn is_temporary(path: &str, planned: &str) -> bool {
    let parts = |path: &str| path.rsplit_once('/').map(|(folder, name)| (folder.to_owned(), name.to_owned()));
    let (Some((folder, name)), Some((beside, _))) = (parts(path), parts(planned)) else { return false };
    let digits = name.strip_prefix('.').unwrap_or_default();
    folder == beside && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A change without the reason that a plan gives for it.
fn bare(change: &Value) -> Value {
    let mut change = change.clone();
    change.as_object_mut().expect("an object").remove("cause");
    change
}

/// Its name and its end are made when it is.
fn is_token(change: &Value) -> bool {
    change["object"]["type"] == "bootstrap.kubernetes.io/token"
}
