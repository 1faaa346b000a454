//! `kboot config` and `kboot playbook`: what prints data.

use super::sandbox::{Sandbox, check};

#[test]
fn a_good_inventory() {
    let sandbox = Sandbox::with_inventory();
    check(&sandbox, "config-validate", &sandbox.untouched(0, &["config", "validate"]));
    check(&sandbox, "config-print", &sandbox.untouched(0, &["config", "print"]));
}

/// What is printed is an inventory, too, and all of it.
#[test]
fn what_is_printed_prints_as_itself() {
    let sandbox = Sandbox::with_inventory();
    let first = sandbox.kboot(&["config", "print"]).stdout;
    sandbox.file("printed.yaml", &first);
    let again = sandbox.untouched(0, &["config", "print", "-i", "printed.yaml"]);
    assert_eq!((again.stdout, again.stderr), (first, String::new()));
}

#[test]
fn an_expired_key_is_told_beside_the_result() {
    let sandbox = Sandbox::with_inventory();
    let key = std::fs::read("tests/inventory/keys/expired.asc").unwrap();
    let more = "packages:\n  kubernetes: {url: http://192.0.2.1/kubernetes, suite: /, keyFile: ./expired.asc}\n";
    sandbox.file("expired.asc", key).file("inventory.yaml", sandbox.inventory(1, more));
    check(&sandbox, "config-validate-warning", &sandbox.untouched(0, &["config", "validate"]));
}

#[test]
fn the_schema_is_the_one_in_docs() {
    let sandbox = Sandbox::new();
    let told = sandbox.untouched(0, &["config", "schema"]);
    assert_eq!(told.stdout, std::fs::read_to_string("docs/inventory.schema.json").unwrap());
    assert_eq!(told.stderr, "");
}

#[test]
fn playbooks_are_printed_as_they_are() {
    let sandbox = Sandbox::new();
    check(&sandbox, "playbook-list", &sandbox.untouched(0, &["playbook", "list"]));
    for name in ["init", "join", "reset", "up"] {
        let told = sandbox.untouched(0, &["playbook", "show", name]);
        assert_eq!(told.stdout, std::fs::read_to_string(format!("playbooks/{name}.yaml")).unwrap());
    }
}
