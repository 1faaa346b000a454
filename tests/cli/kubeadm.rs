//! kubeadm's files and folders of patches on the command line: what is refused before anything is looked at.

use super::sandbox::{Sandbox, check};

const TOKEN: &str = "abcdef.0123456789abcdef";
const INIT: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nclusterName: lab\n";
const JOIN: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\nnodeRegistration: {name: n2}\ndiscovery:\n  \
                    bootstrapToken:\n    token: abcdef.0123456789abcdef\n    apiServerEndpoint: 192.0.2.1:6443\n    \
                    unsafeSkipCAVerification: true\n";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_inventory();
    sandbox.file("init.yaml", INIT).file("join.yaml", JOIN);
    sandbox
}

#[test]
fn files_with_mistakes() {
    let sandbox = sandbox();
    sandbox.file("init-bad.yaml", format!("{INIT}podSubnet: 10.0.0.0/8\ncertificatesDir: /etc/pki\n"));
    sandbox.file("join-bad.yaml", JOIN.replace("unsafeSkip", "insecureSkip"));
    let cases: [(&str, &[&str]); 4] = [
        ("init-mistakes", &["init", "--dry-run", "--config", "init-bad.yaml"]),
        ("init-of-a-join", &["init", "--dry-run", "--config", "join.yaml"]),
        ("join-mistakes", &["join", "--dry-run", "--config", "join-bad.yaml"]),
        ("join-of-an-init", &["join", "--dry-run", "--config", "init.yaml"]),
    ];
    for (name, arguments) in cases {
        check(&sandbox, &format!("kubeadm-{name}"), &sandbox.refused(arguments));
    }
}

#[test]
fn flags_that_the_file_has_fields_for() {
    let sandbox = sandbox();
    let cases: [(&str, &[&str]); 5] = [
        ("init-flag", &["init", "--dry-run", "--config", "init.yaml", "--pod-network-cidr", "10.0.0.0/16"]),
        (
            "init-flags",
            &[
                "init",
                "--dry-run",
                "--config",
                "init.yaml",
                "--patches",
                ".",
                "--apiserver-advertise-address",
                "192.0.2.7",
            ],
        ),
        ("join-flags", &["join", "192.0.2.1", "--dry-run", "--config", "join.yaml", "--token", TOKEN]),
        (
            "join-control-plane",
            &["join", "--dry-run", "--config", "join.yaml", "--control-plane", "--certificate-key", "00"],
        ),
        ("join-by-an-inventory", &["join", "--dry-run", "--config", "inventory.yaml"]),
    ];
    for (name, arguments) in cases {
        check(&sandbox, &format!("kubeadm-{name}"), &sandbox.refused(arguments));
    }
}

#[test]
fn patches() {
    for (name, file, text) in [
        ("target", "kube-apisever.yaml", "spec: {}"),
        ("type", "etcd+xml.yaml", "spec: {}"),
        ("yaml", "etcd.yaml", "spec: ["),
        ("list", "etcd.yaml", "- {op: add, path: /a, value: 1}"),
        ("misfit", "kube-scheduler+json.yaml", "- {op: remove, path: /spec/containers/7}"),
        ("directive", "kubeletconfiguration.yaml", "$setElementOrder/a: []"),
    ] {
        let sandbox = sandbox();
        std::fs::create_dir(sandbox.path("patches")).unwrap();
        sandbox.file(&format!("patches/{file}"), text);
        let arguments = ["init", "--dry-run", "--node-name", "n1", "--apiserver-advertise-address", "192.0.2.11"];
        let told = sandbox.refused(&[&arguments[..], &["--patches", "patches"]].concat());
        check(&sandbox, &format!("patches-{name}"), &told);
        // The same by the file.
        sandbox.file(
            "patched.yaml",
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\npatches: {directory: patches}\n",
        );
        let by_file = sandbox.refused(&["init", "--dry-run", "--config", "patched.yaml"]);
        assert_eq!(by_file.stderr, told.stderr);
    }
    let sandbox = sandbox();
    let patch = "patches: [{target: etcd, type: json, patch: [{op: remove, path: /spec/x}]}]\n";
    sandbox.file("patched.yaml", sandbox.inventory(22, patch));
    check(&sandbox, "patches-of-an-inventory", &sandbox.refused(&["config", "validate", "-i", "patched.yaml"]));
    let init = ["init", "--dry-run", "--node-name", "n1", "--apiserver-advertise-address", "192.0.2.11", "--patches"];
    check(&sandbox, "patches-missing", &sandbox.refused(&[&init[..], &["nowhere"]].concat()));
    check(&sandbox, "patches-no-folder", &sandbox.refused(&[&init[..], &["init.yaml"]].concat()));
}

#[test]
fn a_file_as_an_inventory() {
    let sandbox = Sandbox::new();
    sandbox.file(
        "kubeadm.yaml",
        format!(
            "{INIT}networking: {{podSubnet: 10.50.0.0/16}}\n---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n\
             nodeRegistration: {{name: n1, taints: []}}\nlocalAPIEndpoint: {{advertiseAddress: 192.0.2.11}}\n\
             bootstrapTokens: [{{token: {TOKEN}}}]\n"
        ),
    );
    check(&sandbox, "kubeadm-validated", &sandbox.untouched(0, &["config", "validate", "-i", "kubeadm.yaml"]));
    let printed = sandbox.untouched(0, &["config", "print", "-i", "kubeadm.yaml"]);
    assert!(!printed.to_string().contains(TOKEN), "{printed}");
    check(&sandbox, "kubeadm-printed", &printed);
    // What is printed is an inventory.
    sandbox.file("inventory.yaml", &printed.stdout);
    let again = sandbox.untouched(0, &["config", "print"]).stdout;
    let without_paths =
        |text: &str| text.lines().filter(|line| !line.contains("knownHosts")).map(String::from).collect::<Vec<_>>();
    assert_eq!(without_paths(&again), without_paths(&printed.stdout));
}
