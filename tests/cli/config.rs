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

const SITE: &str = "name: site\nextends: join\nvars: {ntp: 10.0.0.1}\nhooks:\n- before: prepare\n  steps:\n  - template: {path: /etc/ntp, content: '{{ vars.ntp }} {{ vars.rack }}'}\nphases:\n- {name: more, hosts: all, after: [join], steps: [{module: {name: ip_vs}}]}\n";

#[test]
fn a_playbook_of_ones_own_is_shown_and_checked() {
    let sandbox = Sandbox::with_inventory();
    sandbox.file("site.yaml", SITE);
    check(&sandbox, "playbook-show-file", &sandbox.untouched(0, &["playbook", "show", "site.yaml"]));
    check(&sandbox, "playbook-validate", &sandbox.untouched(0, &["playbook", "validate", "site.yaml"]));
    let whole = ["playbook", "validate", "site.yaml", "-i", "inventory.yaml"];
    check(&sandbox, "playbook-validate-variable", &sandbox.refused(&whole));
    sandbox.untouched(0, &[&whole[..], &["--var", "rack=1"]].concat());
    let told = sandbox.untouched(0, &["playbook", "schema"]);
    assert_eq!(told.stdout, std::fs::read_to_string("docs/playbook.schema.json").unwrap());
}

/// All that is wrong is told before any host is asked: the inventory's does not answer.
#[test]
fn a_run_is_refused_before_any_host_is_asked() {
    let sandbox = Sandbox::with_inventory();
    sandbox.file("site.yaml", SITE);
    check(&sandbox, "run-variable", &sandbox.refused(&["run", "site.yaml"]));
    check(&sandbox, "run-host", &sandbox.refused(&["run", "site.yaml", "--host", "n9"]));
    check(&sandbox, "run-var", &sandbox.refused(&["run", "site.yaml", "--var", "ntp"]));
    check(&sandbox, "run-no-file", &sandbox.refused(&["run", "nowhere.yaml"]));
    sandbox.file("reset.yaml", "name: r\nextends: reset\n");
    check(&sandbox, "run-reset", &sandbox.refused(&["run", "reset.yaml"]));
    let told = sandbox.untouched(1, &["run", "site.yaml", "--var", "rack=1", "--dry-run"]);
    assert!(told.stderr.contains("n1") || told.stdout.contains("n1"), "{told}");
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

/// What is printed is an inventory that is good as it stands.
#[test]
fn an_inventory_to_begin_with() {
    let sandbox = Sandbox::new();
    let machines = ["admin@192.0.2.1", "db=admin@192.0.2.2:2222", "admin@192.0.2.3"];
    let told = sandbox.untouched(
        0,
        &[
            &["config", "init", "--control-planes", "1", "--cluster-name", "lab", "--identity-file", "./key"],
            &machines[..],
        ]
        .concat(),
    );
    check(&sandbox, "config-init", &told);
    sandbox.key("key", "").file("inventory.yaml", &told.stdout);
    let told = sandbox.kboot(&["config", "validate"]);
    assert!(told.code == Some(0) && told.stdout.contains("3 hosts, 1 of them control plane"), "{told}");
}

#[test]
fn machines_that_are_none() {
    let sandbox = Sandbox::new();
    for (name, arguments) in [
        ("config-init-none", &[][..]),
        ("config-init-port", &["192.0.2.1:0"]),
        ("config-init-twice", &["192.0.2.1", "192.0.2.1"]),
        ("config-init-too-few", &["--control-planes", "3", "192.0.2.1"]),
        ("config-init-name", &["Node_1=192.0.2.1"]),
    ] {
        check(&sandbox, name, &sandbox.refused(&[&["config", "init"], arguments].concat()));
    }
}

#[test]
fn the_images_of_a_cluster() {
    let sandbox = Sandbox::with_inventory();
    check(&sandbox, "config-images-list", &sandbox.untouched(0, &["config", "images", "list"]));
    let own = ["config", "images", "list", "--config", "inventory.yaml", "--image-repository", "192.0.2.1:5000/k8s"];
    let told = sandbox.untouched(0, &[&own[..], &["--cni", "none"]].concat());
    assert!(
        told.stdout.lines().count() == 7 && told.stdout.lines().all(|image| image.starts_with("192.0.2.1:5000/k8s/")),
        "{told}"
    );
    check(
        &sandbox,
        "config-images-version",
        &sandbox.refused(&["config", "images", "list", "--kubernetes-version", "v1.2.3"]),
    );
    sandbox.file(
        "kubeadm.yaml",
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nimageRepository: 192.0.2.1/k8s\n",
    );
    let told = sandbox.untouched(0, &["config", "images", "list", "-i", "kubeadm.yaml"]);
    assert!(told.stdout.starts_with("192.0.2.1/k8s/"), "{told}");
    let both = ["config", "images", "list", "-i", "kubeadm.yaml", "--image-repository", "192.0.2.1/other"];
    check(&sandbox, "config-images-both", &sandbox.refused(&both));
}
