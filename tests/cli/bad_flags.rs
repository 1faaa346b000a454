//! Command lines that must be refused: exit code 2, nothing touched.

use super::sandbox::{Sandbox, check};

const TOKEN: &str = "abcdef.0123456789abcdef";
const PIN: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Each with its snapshot's name. All run beside a good inventory, so that nothing else is wrong.
fn refused(cases: &[(&str, &[&str])]) {
    let sandbox = Sandbox::with_inventory();
    for (name, arguments) in cases {
        check(&sandbox, &format!("bad-{name}"), &sandbox.refused(arguments));
    }
}

#[test]
fn unknown_words() {
    refused(&[
        ("command-near", &["upp"]),
        ("command-far", &["frobnicate"]),
        ("command-of-others", &["upgrade"]),
        ("command-nested", &["config", "validat"]),
        ("flag-near", &["up", "--dryrun"]),
        ("flag-far", &["up", "--force"]),
        ("argument", &["up", "inventory.yaml"]),
        ("shell", &["completion", "tcsh"]),
        ("playbook", &["playbook", "show", "upgrade"]),
    ]);
}

#[test]
fn options_of_every_command() {
    refused(&[
        ("output", &["up", "--output", "yaml"]),
        ("color", &["up", "--color", "sometimes"]),
        ("quiet-and-verbose", &["up", "-q", "-v"]),
        ("no-value", &["up", "--inventory"]),
        ("twice", &["up", "-i", "a.yaml", "-i", "b.yaml"]),
        ("missing-folder", &["man"]),
        ("context-without-merge", &["kubeconfig", "--context", "lab"]),
    ]);
}

#[test]
fn phases_that_are_none() {
    refused(&[
        ("phase-near", &["phase", "up", "issue-certificate"]),
        ("phase-far", &["phase", "up", "everything"]),
        ("phase-of-kubeadm", &["phase", "up", "certs/apiserver"]),
        ("phase-elsewhere", &["phase", "up", "ready/disable-swap"]),
        ("phase-comma", &["phase", "up", "certs,"]),
        ("phase-needed", &["up", "--skip-phases", "share-authorities"]),
        ("phase-nothing-left", &["phase", "up", "ready", "--skip-phases", "ready"]),
        ("phase-list", &["phase", "list", "plan"]),
    ]);
}

#[test]
fn phases_are_listed() {
    let sandbox = Sandbox::new();
    for command in ["init", "join", "reset", "up"] {
        check(&sandbox, &format!("phase-list-{command}"), &sandbox.untouched(0, &["phase", "list", command]));
    }
}

#[test]
fn preflight_checks_by_other_names() {
    refused(&[
        ("preflight-near", &["up", "--ignore-preflight", "NumCPUs"]),
        ("preflight-far", &["up", "--ignore-preflight", "Mem,everything"]),
        ("preflight-init", &["init", "--dry-run", "--ignore-preflight", "Swapp"]),
        ("preflight-join", &["join", "192.0.2.1", "--token", TOKEN, "--dry-run", "--ignore-preflight", "Port-1"]),
    ]);
}

#[test]
fn init() {
    // All with --dry-run and names that no machine has, in case that one is not refused.
    let init = |more: &[&'static str]| [&["init", "--dry-run", "--node-name", "n1"], more].concat();
    let sandbox = Sandbox::with_inventory();
    sandbox.file("mistakes.yaml", "kind: Cluster\nhosts: []\nnetwork: {podSubnets: 10.0.0.0/8}\n");
    let cases: [(&str, &[&'static str]); 15] = [
        ("init-cidr", &["--pod-network-cidr", "10.244.0.0/33"]),
        ("init-cidr-without-length", &["--service-cidr", "10.96.0.0"]),
        ("init-host-bits", &["--pod-network-cidr", "10.244.0.1/16"]),
        ("init-overlap", &["--pod-network-cidr", "10.96.0.0/16"]),
        ("init-version-without-patch", &["--kubernetes-version", "1.37"]),
        ("init-version-unsupported", &["--kubernetes-version", "v1.20.0"]),
        ("init-two-mistakes", &["--kubernetes-version", "v1.20.0", "--service-dns-domain", "Cluster.Local"]),
        ("init-cni", &["--cni", "calico"]),
        ("init-endpoint", &["--control-plane-endpoint", "api.example.com:port"]),
        ("init-address", &["--apiserver-advertise-address", "n1"]),
        ("init-address-unusable", &["--apiserver-advertise-address", "127.0.0.1"]),
        ("init-sans", &["--apiserver-cert-extra-sans", "api.example.com,not a name"]),
        ("init-repository", &["--image-repository", "https://registry.example.com"]),
        ("init-config-missing", &["--config", "nowhere.yaml"]),
        ("init-config-mistakes", &["--config", "mistakes.yaml"]),
    ];
    for (name, more) in cases {
        let mut arguments = init(more);
        if !name.contains("address") {
            arguments.extend(["--apiserver-advertise-address", "192.0.2.11"]);
        }
        check(&sandbox, &format!("bad-{name}"), &sandbox.refused(&arguments));
    }
    let told = sandbox.refused(&["init", "--dry-run", "--node-name", "Node_1"]);
    check(&sandbox, "bad-init-node-name", &told);
}

#[test]
fn recover() {
    let sandbox = Sandbox::with_inventory();
    let worker = "  - {name: n2, address: 192.0.2.12, roles: [worker]}\n";
    sandbox.file("cluster.yaml", sandbox.inventory(22, worker));
    let cases: [(&str, &[&str]); 4] = [
        ("recover-from-nobody", &["--yes"]),
        ("recover-from-a-stranger", &["--from", "n3", "--yes"]),
        ("recover-from-a-worker", &["--from", "n2", "--yes"]),
        ("recover-unasked", &["--from", "n1"]),
    ];
    for (name, more) in cases {
        let told = sandbox.refused(&[&["recover", "-i", "cluster.yaml"], more].concat());
        check(&sandbox, &format!("bad-{name}"), &told);
    }
}

#[test]
fn init_and_join_on_the_wrong_machine() {
    let sandbox = Sandbox::with_inventory();
    let worker = "  - {name: n2, address: 192.0.2.12, roles: [worker]}\n";
    sandbox.file("cluster.yaml", sandbox.inventory(22, worker));
    let told = sandbox.refused(&["init", "--dry-run", "--config", "cluster.yaml", "--node-name", "n2"]);
    check(&sandbox, "bad-init-on-a-worker", &told);
    let told = sandbox.refused(&[
        "join",
        "192.0.2.1",
        "--dry-run",
        "--config",
        "cluster.yaml",
        "--node-name",
        "n1",
        "--token",
        TOKEN,
        "--discovery-token-ca-cert-hash",
        PIN,
    ]);
    check(&sandbox, "bad-join-on-a-control-plane", &told);
}

#[test]
fn join() {
    let sandbox = Sandbox::with_inventory();
    sandbox.file("empty", "").file("token", format!("{TOKEN}\n"));
    let pinned: &[&str] = &["--discovery-token-ca-cert-hash", PIN];
    let cases: [(&str, &[&str], &[&str]); 13] = [
        ("join-no-token", &[], pinned),
        ("join-two-tokens", &["--token", TOKEN, "--token-file", "token"], pinned),
        ("join-no-pin", &["--token", TOKEN], &[]),
        ("join-pin-and-none", &["--token", TOKEN, "--insecure-skip-ca-verification"], pinned),
        ("join-pin-kind", &["--token", TOKEN], &["--discovery-token-ca-cert-hash", "sha1:0123"]),
        ("join-pin-bare", &["--token", TOKEN], &["--discovery-token-ca-cert-hash", "0123456789abcdef"]),
        ("join-pin-short", &["--token", TOKEN], &["--discovery-token-ca-cert-hash", "sha256:0123"]),
        ("join-pin-digit", &["--token", TOKEN], &["--discovery-token-ca-cert-hash", "sha256:xyz"]),
        ("join-token-file-missing", &["--token-file", "nowhere"], pinned),
        ("join-token-file-folder", &["--token-file", "."], pinned),
        ("join-token-file-empty", &["--token-file", "empty"], pinned),
        ("join-config-missing", &["--token", TOKEN, "--config", "nowhere.yaml"], pinned),
        (
            "join-node-name",
            &["--token", TOKEN, "--node-name", "n_1", "--apiserver-advertise-address", "192.0.2.7"],
            pinned,
        ),
    ];
    for (name, more, pins) in cases {
        let told = sandbox.refused(&[&["join", "127.0.0.1:1", "--dry-run"], more, pins].concat());
        check(&sandbox, &format!("bad-{name}"), &told);
    }
    check(&sandbox, "bad-join-no-endpoint", &sandbox.refused(&[&["join", "--token", TOKEN], pinned].concat()));
    let token = ["--token", TOKEN, "--apiserver-advertise-address", "192.0.2.7", "--node-name", "n1"];
    for (name, endpoint) in [("port", "127.0.0.1:http"), ("scheme", "https://127.0.0.1:6443"), ("bracket", "[::1:6443")]
    {
        let told = sandbox.refused(&[&["join", endpoint, "--dry-run"], token.as_slice(), pinned].concat());
        check(&sandbox, &format!("bad-join-endpoint-{name}"), &told);
    }
}

/// The greater part of a mistyped token may be right: it must not end up in a log.
#[test]
fn malformed_tokens_are_never_repeated() {
    let sandbox = Sandbox::with_inventory();
    for (name, token) in [
        ("dot", "abcdef0123456789abcdef"),
        ("id", "abcde.0123456789abcdef"),
        ("secret", "abcdef.0123456789abcde"),
        ("letters", "abcdef.0123456789ABCDEF"),
    ] {
        let pin = ["--discovery-token-ca-cert-hash", PIN];
        let join = sandbox.refused(&[&["join", "127.0.0.1:1", "--token", token], pin.as_slice()].concat());
        let file = [&["join", "127.0.0.1:1", "--token-file", "-"], pin.as_slice()].concat();
        let file = sandbox.refused_reading(&file, &format!("{token}\n"));
        let create = sandbox.refused(&["token", "create", token]);
        for told in [&join, &file, &create] {
            assert_eq!(told.stderr, join.stderr);
            let secret = token.rsplit('.').next().unwrap();
            assert!(!told.stderr.replace("abcdef.0123456789abcdef", "").contains(secret), "{told}");
        }
        check(&sandbox, &format!("bad-token-{name}"), &join);
    }
    let told = sandbox.refused(&["token", "delete", "ABCDEF.0123456789abcde"]);
    assert!(!told.stderr.contains("0123456789abcde"), "{told}");
    check(&sandbox, "bad-token-delete", &told);
}

#[test]
fn token_commands() {
    refused(&[
        ("token-create-without-cluster", &["token", "create"]),
        ("token-list-without-cluster", &["token", "list"]),
        ("token-delete-without-cluster", &["token", "delete", "abcdef"]),
        ("token-delete-nothing", &["token", "delete"]),
        ("token-ttl", &["token", "create", "--ttl", "soon"]),
        ("token-ttl-negative", &["token", "create", "--ttl=-1h"]),
        ("token-usages", &["token", "create", "--usages", "signing,everything"]),
        ("token-groups", &["token", "create", "--groups", "system:masters"]),
        ("token-kubeconfig", &["token", "list", "--kubeconfig", "nowhere.conf"]),
    ]);
}

/// A key may come from a file or from standard input, where nobody else sees it, and is never repeated.
#[test]
fn certificate_keys_that_are_none() {
    let sandbox = Sandbox::new();
    sandbox.file("key", "not-hexadecimal\n");
    for (file, input) in [("key", ""), ("-", "not-hexadecimal\n"), ("missing", "")] {
        let told = sandbox.refused_reading(&["init", "--upload-certs", "--certificate-key-file", file], input);
        assert!(!told.stderr.contains("not-hexadecimal"), "{told}");
        let expected = if file == "missing" { "missing" } else { "certificate key: it is 64 hexadecimal digits" };
        assert!(told.stderr.contains(expected), "{told}");
    }
    let hash = format!("sha256:{}", "0".repeat(64));
    let join = ["join", "192.0.2.1:6443", "--discovery-token-ca-cert-hash", &hash, "--control-plane"];
    let both = [&join[..], &["--token-file", "-", "--certificate-key-file", "-"]].concat();
    let told = sandbox.refused_reading(&both, "x\n");
    assert!(told.stderr.contains("can't both come from standard input"), "{told}");
}

/// Whatever is wrong with a kubeconfig, what it holds is not shown.
#[test]
fn kubeconfigs_that_are_none() {
    let sandbox = Sandbox::new();
    sandbox
        .file("text.conf", "kubeconfig-secret\n")
        .file("open.conf", "users: [{name: u, user: {token: kubeconfig-secret}}\n");
    sandbox.file("empty.conf", "apiVersion: v1\nkind: Config\n");
    for name in ["text.conf", "open.conf", "empty.conf", "."] {
        let told = sandbox.refused(&["token", "list", "--kubeconfig", name]);
        assert!(!told.stderr.contains("kubeconfig-secret"), "{told}");
        check(&sandbox, &format!("bad-kubeconfig-{}", name.trim_end_matches(".conf").replace('.', "folder")), &told);
    }
}

/// As kubectl has it, an empty KUBECONFIG is none.
#[test]
fn an_empty_variable_is_none() {
    let sandbox = Sandbox::new();
    let default = "/etc/kubernetes/admin.conf";
    if std::path::Path::new(default).exists() {
        return super::skips::skip("this machine is a control plane");
    }
    let output = sandbox.command(&["token", "list"]).env("KUBECONFIG", "").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with(&format!("error: there is no {default}\n")), "{told}");
}

#[test]
fn resets_that_nobody_confirms() {
    refused(&[
        ("reset-here", &["reset"]),
        ("reset-inventory", &["reset", "-i", "inventory.yaml"]),
        ("reset-host-unknown", &["reset", "-i", "inventory.yaml", "--host", "n9", "--yes"]),
        ("reset-host-without-inventory", &["reset", "--host", "n1", "--yes"]),
    ]);
    // Not even with the right answer: only a terminal is a person.
    let sandbox = Sandbox::with_inventory();
    sandbox.refused_reading(&["reset", "-i", "inventory.yaml"], "n1\n");
}

#[test]
fn adopt() {
    let sandbox = Sandbox::new();
    sandbox.file("here.yaml", "");
    let cases: [(&str, &[&str]); 6] = [
        ("adopt-nobody", &["adopt"]),
        ("adopt-port", &["adopt", "--host", "root@192.0.2.1:0"]),
        ("adopt-url", &["adopt", "--host", "ssh://192.0.2.1"]),
        ("adopt-no-address", &["adopt", "--host", "root@"]),
        ("adopt-there", &["adopt", "--host", "192.0.2.1", "--out", "here.yaml"]),
        ("adopt-command", &["up", "-o", "./b.yaml"]),
    ];
    for (name, arguments) in cases {
        check(&sandbox, &format!("bad-{name}"), &sandbox.refused(arguments));
    }
}
