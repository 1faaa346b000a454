//! Where a command takes its inventory, its format and its plan from.

use std::process::Stdio;

use super::sandbox::Sandbox;

#[test]
fn an_inventory_comes_from_the_standard_input_and_is_read_once() {
    let sandbox = Sandbox::with_inventory();
    let text = sandbox.inventory(1, "");
    // The command asks twice: whether it is a file of kubeadm's, and for the cluster.
    let told = sandbox.untouched_reading(0, &["config", "validate", "-i", "-"], &text);
    assert!(told.stdout.starts_with("-: 1 host, 1 of them control plane"), "{told}");
    let told = sandbox.refused_reading(&["plan", "-i", "-"], &text.replace("192.0.2.11", "192.0.2"));
    assert!(told.stderr.contains("-:7:14: hosts[0].address"), "{told}");
    let told = sandbox.refused_reading(&["plan", "-i", "-"], "");
    assert!(told.stderr.contains("-:1:1: the file is empty"), "{told}");
}

#[test]
fn the_environment_names_the_inventory_and_the_format_and_the_command_line_overrides_it() {
    let sandbox = Sandbox::with_inventory();
    sandbox.file("other.yaml", sandbox.inventory(2, ""));
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("KBOOT_INVENTORY", "other.yaml").env("KBOOT_OUTPUT", "json").stdin(Stdio::null());
        let output = command.output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    assert!(run(&["config", "validate"]).starts_with('{'));
    assert!(run(&["config", "validate", "-o", "plain"]).starts_with("other.yaml: 1 host"));
    let given = run(&["config", "validate", "-i", "inventory.yaml", "-o", "plain"]);
    assert!(given.starts_with("inventory.yaml: 1 host"), "{given}");
    assert!(run(&["version"]).starts_with('{'));
    assert!(run(&["version", "-o", "plain"]).starts_with("kboot "));
    // What resets the machine that it runs on does not become a reset of all hosts.
    let told = run(&["reset", "--dry-run", "-o", "plain"]);
    assert!(!told.contains("n1"), "{told}");
}

#[test]
fn the_version_is_data_for_programs() {
    let told = Sandbox::new().untouched(0, &["version", "-o", "json"]);
    let version: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["kubernetes"], serde_json::json!(["v1.35", "v1.36", "v1.37"]));
    assert!(version["commit"].is_null() || version["commit"].is_string(), "{told}");
}

#[test]
fn a_saved_plan_is_shown_again_without_its_hosts() {
    let sandbox = Sandbox::new();
    sandbox.file("plan.json", include_str!("../data/93cb162/plan.json"));
    let told = sandbox.untouched(0, &["plan", "show", "plan.json"]);
    for part in ["n1", "n2", "net.ipv4.ip_forward", "\nPlan: "] {
        assert!(told.stdout.contains(part), "no {part}: {told}");
    }
    let told = sandbox.untouched(0, &["plan", "show", "plan.json", "-o", "json"]);
    let planned = told.stdout.lines().filter(|line| line.contains("\"event\":\"planned\"")).count();
    assert!(planned > 20, "{told}");
    let told = sandbox.refused(&["plan", "show", "absent.json"]);
    assert!(told.stderr.contains("kboot plan -i INVENTORY --out FILE"), "{told}");
    sandbox.refused(&["plan", "show", "plan.json", "-i", "inventory.yaml"]);
}

#[test]
fn a_file_where_a_format_belongs_is_told_with_the_flag_that_takes_it() {
    let told = Sandbox::with_inventory().refused(&["plan", "-i", "inventory.yaml", "-o", "plan.json"]);
    assert!(told.stderr.contains("'plan.json' is no output format"), "{told}");
    assert!(told.stderr.contains("`--out plan.json`"), "{told}");
}
