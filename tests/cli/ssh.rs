//! Hosts that can't be reached, or must not be: exit code 1, the way out in a hint, nothing touched. Loopback only.

use super::sandbox::{Sandbox, check};
use super::sshd::{Sshd, record};

fn with_sshd() -> Option<(Sandbox, Sshd)> {
    let sandbox = Sandbox::with_inventory();
    let sshd = Sshd::start(&sandbox)?;
    sandbox.file("inventory.yaml", sandbox.inventory(sshd.port, ""));
    Some((sandbox, sshd))
}

#[test]
fn nobody_listens() {
    let sandbox = Sandbox::with_inventory();
    for (name, arguments) in [
        ("up", ["up"].as_slice()),
        ("up-dry-run", &["up", "--dry-run"]),
        ("up-quiet", &["up", "--quiet"]),
        ("reset", &["reset", "-i", "inventory.yaml", "--yes"]),
        ("recover", &["recover", "--from", "n1", "--yes"]),
        ("kubeconfig", &["kubeconfig"]),
        ("hosts-trust", &["hosts", "trust", "--yes"]),
    ] {
        check(&sandbox, &format!("closed-{name}"), &sandbox.untouched(1, arguments));
    }
}

#[test]
fn the_name_does_not_resolve() {
    let sandbox = Sandbox::with_inventory();
    sandbox.file("inventory.yaml", sandbox.inventory(22, "").replace("address: 127.0.0.1", "address: n1.invalid"));
    check(&sandbox, "name", &sandbox.untouched(1, &["up"]));
}

#[test]
fn an_unknown_host_key_stops_with_the_command_that_trusts_it() {
    let Some((sandbox, sshd)) = with_sshd() else { return };
    check(&sandbox, "host-key-unknown", &sandbox.untouched(1, &["up"]));
    check(&sandbox, "host-key-unattended", &sandbox.untouched(2, &["hosts", "trust"]));

    let told = sandbox.kboot(&["hosts", "trust", "--yes"]);
    assert_eq!(told.code, Some(0), "{told}");
    check(&sandbox, "host-key-trusted", &told);
    let known = std::fs::read_to_string(sandbox.path("known_hosts")).unwrap();
    let recorded = record(&sandbox, sshd.port, "host_key");
    assert!(recorded.starts_with(known.trim()), "{known}\n{recorded}");

    check(&sandbox, "host-key-known-already", &sandbox.untouched(0, &["hosts", "trust"]));
    // The host is known now; it is the key that it does not take.
    check(&sandbox, "key-refused", &sandbox.untouched(1, &["up"]));
}

#[test]
fn a_changed_host_key_is_refused_and_never_replaced() {
    let Some((sandbox, sshd)) = with_sshd() else { return };
    sandbox.key("other", "");
    sandbox.file("known_hosts", record(&sandbox, sshd.port, "other"));
    check(&sandbox, "host-key-changed", &sandbox.untouched(1, &["up"]));
    check(&sandbox, "host-key-changed-trust", &sandbox.untouched(1, &["hosts", "trust", "--yes"]));
}

#[test]
fn a_pinned_host_key_is_the_only_one_that_counts() {
    let Some((sandbox, sshd)) = with_sshd() else { return };
    sandbox.key("other", "");
    let other = std::fs::read_to_string(sandbox.path("other.pub")).unwrap();
    let inventory = sandbox.inventory(sshd.port, "");
    let pinned = format!("address: 127.0.0.1, hostKey: {}", other.trim());
    sandbox.file("inventory.yaml", inventory.replace("address: 127.0.0.1", &pinned));
    // Even where known_hosts has the right one.
    sandbox.file("known_hosts", record(&sandbox, sshd.port, "host_key"));
    check(&sandbox, "host-key-not-pinned", &sandbox.untouched(1, &["up"]));
}

#[test]
fn a_key_that_nobody_can_unlock() {
    let Some((sandbox, sshd)) = with_sshd() else { return };
    sandbox.key("locked", "secret").file("known_hosts", record(&sandbox, sshd.port, "host_key"));
    sandbox.file("inventory.yaml", sandbox.inventory(sshd.port, "").replace("./key", "./locked"));
    check(&sandbox, "key-locked", &sandbox.untouched(1, &["up"]));
}

#[test]
fn json_is_all_that_the_standard_output_holds() {
    let Some((sandbox, sshd)) = with_sshd() else { return };
    let two = "  - {name: n2, address: 192.0.2.12, roles: [worker], ssh: {address: 127.0.0.1, port: 1}}\n";
    sandbox.file("inventory.yaml", sandbox.inventory(sshd.port, two));
    for arguments in [["up", "-o", "json"].as_slice(), &["up", "-o", "json", "--dry-run"], &["-qo", "json", "up"]] {
        let told = sandbox.untouched(1, arguments);
        assert_eq!(told.stderr, "", "{told}");
        let lines: Vec<serde_json::Value> =
            told.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect();
        let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["failed", "failed", "summary"], "{told}");
        let cause = |host: &str| {
            let line = lines.iter().find(|line| line["host"] == host).unwrap();
            line["failure"]["cause"].as_str().unwrap().to_string()
        };
        assert!(cause("n1").starts_with("the host key of 127.0.0.1:"), "{told}");
        assert_eq!(cause("n2"), "127.0.0.1:1 refused the connection");
        assert_eq!(lines[2]["hosts"][0]["name"], "n1", "{told}");
    }
}

#[test]
fn token_commands_where_no_api_server_answers() {
    let sandbox = Sandbox::new();
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
                      clusters: [{name: c, cluster: {server: \"https://127.0.0.1:1\"}}]\n\
                      users: [{name: u, user: {token: t}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n";
    sandbox.file("admin.conf", kubeconfig);
    for (name, arguments) in [
        ("token-list", ["token", "list"].as_slice()),
        ("token-create", &["token", "create", "abcdef.0123456789abcdef"]),
        ("token-delete", &["token", "delete", "abcdef"]),
    ] {
        let told = sandbox.untouched(1, arguments);
        assert!(!told.stderr.contains("0123456789abcdef"), "{told}");
        check(&sandbox, &format!("closed-{name}"), &told);
    }
}

#[test]
fn an_api_server_that_does_not_answer() {
    let sandbox = Sandbox::with_inventory();
    sandbox.file("config.yaml", sandbox.inventory(22, "").replace("connect: 20", "connect: 1"));
    let told = sandbox.untouched(
        1,
        &[
            "join",
            "127.0.0.1:1",
            "--dry-run",
            "--config",
            "config.yaml",
            "--node-name",
            "n7",
            "--apiserver-advertise-address",
            "192.0.2.7",
            "--token",
            "abcdef.0123456789abcdef",
            "--insecure-skip-ca-verification",
        ],
    );
    check(&sandbox, "join-nobody-listens", &told);
}
