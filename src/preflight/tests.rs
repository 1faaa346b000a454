use super::samples::{Sample, sample};
use super::*;

#[test]
fn flawless_hosts_have_no_findings() {
    assert_eq!(sample().found(), [""; 0]);
    assert_eq!(verdict(&sample().findings()), Ok(()));
}

#[test]
fn a_converged_cluster_has_no_findings() {
    assert_eq!(sample().converged().found(), [""; 0]);
}

fn spoiled() -> Sample {
    sample()
        .on("n3", |facts| facts.uid = 1000)
        .on("n1", |facts| facts.cores = 1)
        .on("n1", |facts| facts.swaps = vec!["/dev/sda5".into()])
        .everywhere(|facts| facts.machine_id = Some("same".into()))
}

#[test]
fn all_findings_come_at_once_in_the_order_of_the_inventory() {
    assert_eq!(
        spoiled().found(),
        [
            "* UniqueMachineID error: n1, n2 and n3 have the same machine-id same",
            "n1 NumCPU error: 1 core, where a control plane needs 2",
            "n1 Swap warning: swap is on: /dev/sda5",
            "n3 IsPrivilegedUser error: kboot does not run as root here",
        ]
    );
}

#[test]
fn the_verdict_lists_the_errors_alone() {
    let failure = verdict(&spoiled().findings()).unwrap_err();
    assert_eq!(failure.cause, "the preflight checks found 3 reasons not to begin");
    assert_eq!(failure.evidence.len(), 3);
    assert!(failure.evidence[1].starts_with("n1: 1 core, where a control plane needs 2 [NumCPU]; hint: "));

    let ignore: Ignore = "all".parse().unwrap();
    assert_eq!(verdict(&ignore.apply(spoiled().findings())), Ok(()));
}

#[test]
fn hosts_without_facts_are_left_out() {
    let mut sample = spoiled();
    sample.facts.remove("n1");
    assert_eq!(sample.found().len(), 2);
    sample.facts.clear();
    assert_eq!(sample.found(), [""; 0]);
}

#[test]
fn findings_travel_as_data() {
    let findings = spoiled().findings();
    let json = serde_json::to_string(&findings).unwrap();
    assert!(json.contains(r#""check":"NumCPU","severity":"error""#), "{json}");
    assert_eq!(serde_json::from_str::<Vec<Finding>>(&json).unwrap(), findings);
}

#[test]
fn lists_read_well() {
    assert_eq!(list(["a"; 0]), "");
    assert_eq!(list(["a"]), "a");
    assert_eq!(list(["a", "b"]), "a and b");
    assert_eq!(list(["a", "b", "c"]), "a, b and c");
}
