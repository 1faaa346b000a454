//! Clusters with several control planes: any can be first, any can die, and etcd has as many members as there are control planes.

use std::time::Duration;

use serde_json::Value;

use crate::chains::{Start, Test};
use crate::cluster;
use crate::command::eventually;
use crate::etcdctl::{all_vote, etcdctl, members};
use crate::events::{Run, text};
use crate::hard::stripped;
use crate::lab::Lab;

pub const TESTS: &[Test] = &[
    Test { name: "control_planes::three_come_up_at_once", start: Start::bare(3), run: three_come_up_at_once },
    Test { name: "control_planes::who_lost_what_it_was_given_gets_it_again", start: THREE, run: given_again },
    Test { name: "control_planes::a_majority_is_never_given_away", start: THREE, run: a_majority_is_kept },
    Test { name: "control_planes::the_first_is_replaced_without_it", start: KEPT, run: the_first_is_replaced },
    Test { name: "control_planes::three_become_one", start: THREE, run: three_become_one },
    Test { name: "control_planes::a_member_that_never_started_is_forgotten", start: ONE, run: never_started },
    Test { name: "control_planes::one_becomes_three_again", start: ONE_STILL, run: one_becomes_three_again },
    Test { name: "control_planes::three_become_five_and_two_may_die", start: THREE, run: five },
    Test { name: "control_planes::by_hand_and_by_kubeadm", start: Start::bare(3), run: by_hand_and_by_kubeadm },
];

pub const THREE: Start = Start::Shared("control_planes::three_come_up_at_once");
const KEPT: Start = Start::After("control_planes::a_majority_is_never_given_away");
const ONE: Start = Start::After("control_planes::three_become_one");
const ONE_STILL: Start = Start::After("control_planes::a_member_that_never_started_is_forgotten");
pub const HOSTS: [&str; 3] = ["n1", "n2", "n3"];

/// All three are control planes, and take pods as well.
pub fn inventory(lab: &Lab, hosts: &[&str]) -> String {
    lab.inventory_with(&format!("control-planes-{}", hosts.join("-")), |inventory| {
        let list = inventory["hosts"].as_sequence_mut().expect("it has hosts");
        list.retain(|host| host["name"].as_str().is_some_and(|name| hosts.contains(&name)));
        for host in list {
            host["roles"] = serde_yaml::from_str("[control-plane, worker]").expect("it is YAML");
            host.as_mapping_mut().expect("a host has fields").remove("taints");
        }
    })
}

#[track_caller]
pub fn nodes_are(lab: &Lab, host: &str, names: &[&str]) {
    let script = "kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes -o json";
    eventually(Duration::from_secs(60), "the nodes are as wanted", || {
        let done = lab.on(host, script);
        let list: Value = serde_json::from_str(&done.stdout).map_err(|error| format!("{error}: {}", done.text()))?;
        let nodes = list["items"].as_array().ok_or("no list")?;
        let ready: Vec<String> = nodes
            .iter()
            .filter(|node| cluster::condition(node, "Ready") == "True")
            .map(|node| text(&node["metadata"]["name"]))
            .collect();
        if nodes.len() == ready.len() && ready == names { Ok(()) } else { Err(format!("{ready:?} of {}", nodes.len())) }
    });
}

fn three_come_up_at_once(lab: &Lab) {
    let inventory = inventory(lab, &HOSTS);
    Run::of(lab, &["up", "-i", &inventory]).ends(0);
    all_vote(lab, "n2", &HOSTS);
    nodes_are(lab, "n3", &HOSTS);
}

fn given_again(lab: &Lab) {
    let inventory = inventory(lab, &HOSTS);
    Run::of(lab, &["up", "-i", &inventory]).ends(0).is_unchanged();
    // Its API server's certificate is of the same authority as before.
    lab.on("n2", "cd /etc/kubernetes/pki && rm ca.crt sa.key sa.pub etcd/ca.crt apiserver.crt").ok();
    let run = Run::of(lab, &["up", "-i", &inventory]).ends(0);
    assert!(run.changes().iter().all(|change| change.starts_with("n2: ")), "{run}");
    lab.on("n2", "cd /etc/kubernetes/pki && openssl verify -CAfile ca.crt apiserver.crt").ok();
    Run::of(lab, &["up", "-i", &inventory]).ends(0).is_unchanged();
    // One authority, and only the first host keeps the key to everything.
    let digest =
        |host| lab.on(host, "cd /etc/kubernetes/pki && sha256sum ca.crt ca.key sa.key sa.pub etcd/ca.crt").ok().stdout;
    assert!(digest("n1") == digest("n2") && digest("n2") == digest("n3"));
    lab.on("n2", "test ! -e /etc/kubernetes/super-admin.conf").ok();
    lab.on("n3", "kubeadm certs check-expiration && kubeadm upgrade plan v1.37.2 --allow-release-candidate-upgrades")
        .ok();
}

fn a_majority_is_kept(lab: &Lab) {
    lab.testbed(&["host", "kill", "n1"]).ok();
    let inventory = inventory(lab, &HOSTS);
    let run = Run::of(lab, &["reset", "-i", &inventory, "--host", "n2", "--yes", "--drain-timeout", "0"]).ends(1);
    let cause = run.causes("n3").concat();
    assert!(
        cause.contains("without n2 etcd would lose its majority: 1 of 2 members would answer, and it takes 2"),
        "{cause}\n{run}"
    );
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
    // Two of three go on.
    apply_on(lab, "n2", "still-there");
    // What can't be reached is told, and nobody waits for it.
    let run = Run::of(lab, &["up", "-i", &inventory]).ends(1);
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
    assert_eq!(run.causes("n1").len(), 1, "{run}");
}

#[track_caller]
fn apply_on(lab: &Lab, host: &str, name: &str) {
    let script = format!("kubectl --kubeconfig /etc/kubernetes/admin.conf create configmap {name} --from-literal=a=b");
    lab.on(host, &script).ok();
}

/// Five minutes later: the kubelets of these dead nodes have not been heard of for that long.
fn age_leases(lab: &Lab, host: &str, nodes: &[&str]) {
    for node in nodes {
        let patch = r#"{"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}"#;
        let script = format!("patch lease {node} -n kube-node-lease --type merge -p '{patch}'");
        lab.on(host, &format!("kubectl --kubeconfig /etc/kubernetes/admin.conf {script}")).ok();
    }
}

/// Its host is gone for good: the cluster forgets it, and a new one of the same name takes its place.
fn the_first_is_replaced(lab: &Lab) {
    let two = inventory(lab, &["n2", "n3"]);
    // Its kubelet was heard of a short while ago: it may only be booting.
    let run = Run::of(lab, &["up", "-i", &two]).ends(0);
    assert!(run.done.stdout.contains("n1 is a member of etcd and does not answer"), "{run}");
    all_vote(lab, "n2", &HOSTS);
    age_leases(lab, "n2", &["n1"]);
    Run::of(lab, &["up", "-i", &two]).ends(0);
    all_vote(lab, "n2", &["n2", "n3"]);
    nodes_are(lab, "n2", &["n2", "n3"]);
    lab.testbed(&["host", "reset", "n1"]).ok();
    let three = inventory(lab, &HOSTS);
    Run::of(lab, &["up", "-i", &three]).ends(0);
    all_vote(lab, "n1", &HOSTS);
    nodes_are(lab, "n1", &HOSTS);
    lab.on("n1", "kubectl --kubeconfig /etc/kubernetes/admin.conf get configmap still-there").ok();
    Run::of(lab, &["up", "-i", &three]).ends(0).is_unchanged();
    // A host that comes back empty finds its former member in etcd.
    lab.testbed(&["host", "reset", "n3"]).ok();
    Run::of(lab, &["up", "-i", &three]).ends(0);
    all_vote(lab, "n1", &HOSTS);
    nodes_are(lab, "n1", &HOSTS);
}

fn three_become_one(lab: &Lab) {
    let three = inventory(lab, &HOSTS);
    for (host, left) in [("n1", &["n2", "n3"][..]), ("n3", &["n2"])] {
        Run::of(lab, &["reset", "-i", &three, "--host", host, "--yes", "--drain-timeout", "0"]).ends(0);
        all_vote(lab, "n2", left);
        nodes_are(lab, "n2", left);
    }
    let one = inventory(lab, &["n2"]);
    Run::of(lab, &["up", "-i", &one]).ends(0);
}

/// A run added a host's member and was killed, and then the host was taken out of the inventory.
fn never_started(lab: &Lab) {
    etcdctl(lab, "n2", "member add n1 --learner --peer-urls=https://10.77.0.11:2380");
    let found: Vec<_> = members(lab, "n2").into_iter().map(|member| (member.name, member.votes)).collect();
    assert_eq!(found, [(String::new(), false), ("n2".into(), true)]);
    let one = inventory(lab, &["n2"]);
    let run = Run::of(lab, &["up", "-i", &one]).ends(0);
    all_vote(lab, "n2", &["n2"]);
    let changes = run.changes();
    assert!(changes.len() == 1 && changes[0].contains("https://10.77.0.11:2380"), "{changes:?}\n{run}");
    Run::of(lab, &["up", "-i", &one]).ends(0).is_unchanged();
}

fn one_becomes_three_again(lab: &Lab) {
    let three = inventory(lab, &HOSTS);
    let two = inventory(lab, &["n2", "n3"]);
    killed_at_each_step(lab, &two, "n3");
    all_vote(lab, "n2", &["n2", "n3"]);
    Run::of(lab, &["up", "-i", &three]).ends(0);
    all_vote(lab, "n2", &HOSTS);
    nodes_are(lab, "n2", &HOSTS);
}

/// Two join at once, for one learner at a time; then two die at once, and the cluster goes on and forgets them.
fn five(lab: &Lab) {
    const FIVE: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];
    let more = &FIVE[3..];
    for host in more {
        lab.testbed(&["host", "add", host]).ok();
    }
    let inventory_of_five = inventory(lab, &FIVE);
    Run::of(lab, &["up", "-i", &inventory_of_five]).ends(0);
    all_vote(lab, "n5", &FIVE);
    nodes_are(lab, "n4", &FIVE);
    for host in more {
        lab.testbed(&["host", "remove", host]).ok();
    }
    apply_on(lab, "n1", "two-are-gone");
    let three = inventory(lab, &HOSTS);
    age_leases(lab, "n1", more);
    Run::of(lab, &["up", "-i", &three]).ends(0);
    all_vote(lab, "n3", &HOSTS);
    nodes_are(lab, "n1", &HOSTS);
    Run::of(lab, &["up", "-i", &three]).ends(0).is_unchanged();
}

/// Where a host that joins etcd is killed, one after the other.
pub const FAULTS: [&str; 5] = [
    "after-intent set-member:add:*",
    "after-act set-member:add:*",
    "after-act write-file:/etc/kubernetes/manifests/etcd.yaml",
    "after-intent set-member:promote:*",
    "after-act set-member:promote:*",
];

/// Each time the command is just repeated.
fn killed_at_each_step(lab: &Lab, inventory: &str, host: &str) {
    lab.on(host, &format!("cat >/run/kboot.fault <<'END'\n{}\nEND\n", FAULTS.join("\n"))).ok();
    let kboot = stripped(lab);
    let argv = [kboot.as_str(), "up", "-i", inventory, "--output", "json"];
    let mut runs = 0;
    let last = loop {
        let run = Run::read_cut(lab.finish(lab.start(&argv)));
        runs += 1;
        if run.done.code == Some(0) {
            break run;
        }
        assert!(runs < 12, "no end to it\n{run}");
    };
    let heard = lab.on(host, "cat /run/kboot.fault && rm /run/kboot.fault").ok().stdout;
    let missed: Vec<&str> = heard.lines().filter(|line| !line.starts_with("reached ")).collect();
    assert!(missed.is_empty(), "after {runs} runs these never came: {missed:?}\n{last}");
}

/// The first by `kboot init`, the second by `kboot join`, the third by the real kubeadm, with one key.
fn by_hand_and_by_kubeadm(lab: &Lab) {
    let config = inventory(lab, &HOSTS);
    for host in ["n1", "n2"] {
        lab.put(host, &lab.kboot_path(), "/usr/local/bin/kboot", "755");
        lab.put(host, config.as_ref(), "/root/cluster.yaml", "644");
        lab.put(host, &lab.folder.join("repo.asc"), "/root/repo.asc", "644");
    }
    const CONFIG: &str = "--config /root/cluster.yaml";
    let done = lab.kboot_on("n1", &format!("init --upload-certs {CONFIG}")).ok();
    let line = done.stdout.lines().find(|line| line.contains("--control-plane --certificate-key "));
    let line = line.and_then(|line| line.trim().strip_prefix("kboot ")).unwrap_or_else(|| panic!("no line\n{done}"));
    let key = line.split(' ').next_back().expect("it ends with the key");

    let before = crate::whole::Whole::of(lab, "n2");
    let plain = line.replace(key, "");
    let plain = plain.trim_end().trim_end_matches(" --certificate-key");
    lab.kboot_on("n2", &format!("{plain} {CONFIG}")).ends(2).says(&["lacks ca.crt", "--certificate-key"]);
    lab.kboot_on("n2", &format!("{plain} --certificate-key nonsense {CONFIG}"))
        .ends(2)
        .says(&["64 hexadecimal digits"]);
    let other = "0".repeat(64);
    lab.kboot_on("n2", &format!("{plain} --certificate-key {other} {CONFIG}"))
        .ends(1)
        .says(&["the certificate key is another one", "kboot init --upload-certs"]);
    before.still_holds(lab, &[]);
    lab.kboot_on("n2", &format!("{line} {CONFIG}")).ok();
    all_vote(lab, "n2", &["n1", "n2"]);
    let again = Run::on(lab, "n2", &format!("/usr/local/bin/kboot {line} {CONFIG}")).ends(0);
    again.is_unchanged();

    let testbed = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed"));
    lab.put("n3", &testbed.join("cluster/prepare.sh"), "/tmp/prepare.sh", "644");
    lab.put("n3", &lab.folder.join("repo.asc"), "/tmp/repo.asc", "644");
    lab.on("n3", "bash /tmp/prepare.sh 10.77.0.1 1.37.2-1.1 </tmp/repo.asc").ok();
    let kubeadm = "--apiserver-advertise-address 10.77.0.13 --ignore-preflight-errors=all";
    lab.on("n3", &format!("kubeadm {line} {kubeadm}")).ok();
    all_vote(lab, "n2", &HOSTS);
    nodes_are(lab, "n3", &HOSTS);
    // Expired, or never uploaded.
    lab.on("n1", "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system delete secret kubeadm-certs").ok();
    lab.on("n2", "rm -rf /etc/kubernetes/manifests/kube-apiserver.yaml").ok();
    lab.kboot_on("n2", &format!("{line} {CONFIG}")).ends(1).says(&["no Secret kube-system/kubeadm-certs"]);
    // What kboot made, kubeadm takes apart.
    lab.on("n1", "kubeadm reset --force").ok();
    all_vote(lab, "n2", &["n2", "n3"]);
    lab.on("n1", "! ls /etc/kubernetes/admin.conf /etc/kubernetes/manifests/* /var/lib/etcd/member 2>/dev/null").ok();
}
