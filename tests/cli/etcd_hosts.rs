//! Hosts for etcd alone: what is told of them, and the commands that are not for them.

use super::sandbox::{Sandbox, check};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let etcd = |count: u8| -> String {
        (1..=count).map(|n| format!("  - {{name: e{n}, address: 192.0.2.{}, roles: [etcd]}}\n", 20 + n)).collect()
    };
    let head = "apiVersion: kboot/v1alpha1\nkind: Cluster\nhosts:\n  - {name: n1, address: 192.0.2.1, roles: [control-plane]}\n";
    sandbox.file("three.yaml", format!("{head}{}", etcd(3)));
    sandbox.file("two.yaml", format!("{head}{}", etcd(2)));
    sandbox
}

#[test]
fn they_are_counted_and_an_even_number_is_told() {
    let sandbox = sandbox();
    check(&sandbox, "etcd-hosts-three", &sandbox.untouched(0, &["config", "validate", "-i", "three.yaml"]));
    check(&sandbox, "etcd-hosts-two", &sandbox.untouched(0, &["config", "validate", "-i", "two.yaml"]));
}

#[test]
fn a_recovery_and_an_init_are_not_for_them() {
    let sandbox = sandbox();
    for (name, words) in [
        ("etcd-hosts-recover", &["recover", "-i", "three.yaml", "--from", "n1", "--yes"][..]),
        ("etcd-hosts-init", &["init", "--config", "three.yaml", "--node-name", "n1"]),
        (
            "etcd-hosts-join",
            &[
                "join",
                "192.0.2.1:6443",
                "--config",
                "three.yaml",
                "--node-name",
                "e1",
                "--token",
                "abcdef.0123456789abcdef",
                "--insecure-skip-ca-verification",
                "--dry-run",
            ],
        ),
    ] {
        check(&sandbox, name, &sandbox.refused(words));
    }
}
