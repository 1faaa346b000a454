//! Clusters whose etcd has hosts of its own: made, grown, a member that is gone replaced, shrunk, and taken away.

use std::time::Duration;

use crate::chains::{Start, Test};
use crate::command::eventually;
use crate::control_planes::nodes_are;
use crate::etcdctl::all_vote;
use crate::events::Run;
use crate::lab::Lab;

pub const TESTS: &[Test] = &[
    Test { name: THREE, start: Start::bare(5), run: one_becomes_three },
    Test { name: "etcd_role::a_dead_one_is_replaced", start: Start::After(THREE), run: dead_one_is_replaced },
    Test { name: "etcd_role::all_go", start: Start::After("etcd_role::a_dead_one_is_replaced"), run: all_go },
];
const THREE: &str = "etcd_role::one_becomes_three";

fn inventory(lab: &Lab, members: &[&str]) -> String {
    lab.inventory_with(&format!("etcd-role-{}", members.join("-")), |inventory| {
        let timeouts = serde_yaml::from_str("{connect: 3}").expect("it is YAML");
        inventory.as_mapping_mut().expect("fields").insert("timeouts".into(), timeouts);
        let hosts = inventory["hosts"].as_sequence_mut().expect("it has hosts");
        hosts.retain(|host| host["name"].as_str().is_some_and(|name| name == "n1" || members.contains(&name)));
        for host in hosts {
            let roles = if host["name"] == "n1" { "[control-plane, worker]" } else { "[etcd]" };
            host["roles"] = serde_yaml::from_str(roles).expect("it is YAML");
            let fields = host.as_mapping_mut().expect("a host has fields");
            fields.remove("taints");
            fields.remove("labels");
        }
    })
}

/// These are the members, each with a vote, and the API server's endpoints are theirs.
#[track_caller]
fn members_are(lab: &Lab, host: &str, names: &[&str]) {
    all_vote(lab, host, names);
    let urls: Vec<String> =
        names.iter().map(|name| format!("https://10.77.0.1{}:2379", name.trim_start_matches('n'))).collect();
    let line =
        format!("grep -qx -- '    - --etcd-servers={}' /etc/kubernetes/manifests/kube-apiserver.yaml", urls.join(","));
    lab.on("n1", &line).ok();
}

#[track_caller]
fn kubectl(lab: &Lab, words: &str) {
    lab.on("n1", &format!("kubectl --kubeconfig /etc/kubernetes/admin.conf {words}")).ok();
}

fn one_becomes_three(lab: &Lab) {
    let one = inventory(lab, &["n2"]);
    Run::of(lab, &["up", "-i", &one]).ends(0);
    nodes_are(lab, "n1", &["n1"]);
    members_are(lab, "n2", &["n2"]);
    // No etcd beside the API server, and neither node nor open kubelet beside etcd.
    lab.on(
        "n1",
        "cd /etc/kubernetes; test ! -e manifests/etcd.yaml; test ! -e pki/etcd/ca.key; test ! -e /var/lib/etcd/member
         test \"$(stat -c %a pki/apiserver-etcd-client.key)\" = 600",
    )
    .ok();
    lab.on(
        "n2",
        "set -e; cd /etc/kubernetes; test ! -e kubelet.conf; test ! -e pki/ca.crt; systemctl is-active kubelet
         test -z \"$(ss -ltnH 'sport = :10250')\"; test \"$(ls manifests)\" = etcd.yaml",
    )
    .ok();
    kubectl(lab, "create configmap first --from-literal=a=b");
    Run::of(lab, &["up", "-i", &one]).ends(0).is_unchanged();

    let three = inventory(lab, &["n2", "n3", "n4"]);
    Run::of(lab, &["up", "-i", &three]).ends(0);
    members_are(lab, "n2", &["n2", "n3", "n4"]);
}

fn dead_one_is_replaced(lab: &Lab) {
    let three = inventory(lab, &["n2", "n3", "n4"]);
    // The first of them is nobody special. While it is dead no other may go, and nobody takes its place unasked.
    lab.testbed(&["host", "kill", "n2"]).ok();
    eventually(Duration::from_secs(60), "those that are left elect another leader", || {
        let create = "kubectl --kubeconfig /etc/kubernetes/admin.conf create configmap second --from-literal=a=b";
        let done = lab.on("n1", create);
        // What timed out may have been done all the same.
        if done.code == Some(0) || done.text().contains("already exists") { Ok(()) } else { Err(done.to_string()) }
    });
    let run = Run::of(lab, &["reset", "-i", &three, "--host", "n3", "--yes"]).ends(1);
    let cause = run.causes("n1").concat();
    assert!(
        cause.contains("without n3 etcd would lose its majority: 1 of 2 members would answer, and it takes 2"),
        "{run}"
    );
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
    let replaced = inventory(lab, &["n3", "n4", "n5"]);
    Run::of(lab, &["up", "-i", &replaced]).ends(0);
    members_are(lab, "n4", &["n3", "n4", "n5"]);
    kubectl(lab, "get configmap first second");
    Run::of(lab, &["up", "-i", &replaced]).ends(0).is_unchanged();

    // No edit leads to members on control planes, nor to hosts that have nothing of it.
    let stacked = lab.inventory_with("etcd-role-stacked", |inventory| {
        inventory["hosts"].as_sequence_mut().expect("it has hosts").truncate(1);
    });
    let run = Run::of(lab, &["up", "-i", &stacked]).ends(1);
    assert!(
        run.causes("n1").concat().contains("the cluster's state is in the etcd at https://10.77.0.13:2379"),
        "{run}"
    );
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
}

fn all_go(lab: &Lab) {
    let three = inventory(lab, &["n3", "n4", "n5"]);
    // A member that leaves takes nothing with it and leaves nothing behind.
    let run = Run::of(lab, &["reset", "-i", &three, "--host", "n5", "--yes"]).ends(0);
    assert_eq!(run.of_kind("warning").count(), 0, "{run}");
    assert!(run.done.stdout.contains("the host is as it was before the first run"), "{run}");
    let two = inventory(lab, &["n3", "n4"]);
    Run::of(lab, &["up", "-i", &two]).ends(0);
    members_are(lab, "n3", &["n3", "n4"]);
    let run = Run::of(lab, &["reset", "-i", &two, "--host", "n3", "--host", "n4", "--yes"]).ends(1);
    assert!(run.causes("n1").concat().contains("the control planes that stay would have no etcd"), "{run}");

    // The control plane goes, and what it knew of the state that stays with it.
    lab.kboot(&["reset", "-i", &two, "--host", "n1", "--yes", "--keep-packages"])
        .ok()
        .says(&["etcd on n3, n4 keeps the cluster's state"]);
    let run = Run::of(lab, &["up", "-i", &two]).ends(1);
    assert!(run.causes("").concat().contains("etcd holds the state of a cluster"), "{run}");
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
    lab.kboot(&["reset", "-i", &two, "--yes", "--keep-packages"]).ok();
    for host in ["n3", "n4"] {
        lab.on(host, "test -z \"$(ls -A /var/lib/etcd)\" && test ! -e /etc/kubernetes/pki").ok();
    }
}
