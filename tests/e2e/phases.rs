//! Single phases and steps, run and left out.

use crate::by_hand::bring;
use crate::chains::{Start, Test};
use crate::cluster;
use crate::events::Run;
use crate::lab::Lab;
use crate::whole::Whole;

pub const TESTS: &[Test] = &[
    Test { name: "phases::each_is_run_alone_by_either_name", start: Start::bare(3), run: alone },
    Test { name: "phases::what_is_left_out_is_made_by_the_next_run", start: ALONE, run: left_out },
    Test { name: "phases::of_a_whole_inventory", start: LEFT_OUT, run: of_inventory },
];

const ALONE: Start = Start::After("phases::each_is_run_alone_by_either_name");
const LEFT_OUT: Start = Start::After("phases::what_is_left_out_is_made_by_the_next_run");
const INIT: &str = "/usr/local/bin/kboot init --config /root/cluster.yaml";

fn phase(names: &str) -> String {
    format!("/usr/local/bin/kboot phase init {names} --config /root/cluster.yaml")
}

#[track_caller]
fn has(lab: &Lab, path: &str) -> bool {
    lab.on("n1", &format!("test -e {path}")).code == Some(0)
}

fn alone(lab: &Lab) {
    // The last one is about all three.
    bring(lab, "n1");
    let before = Whole::of(lab, "n1");
    for (names, told) in [
        ("certz", "there is no phase and no step certz in `init`"),
        ("certs/apiserver", "kubeadm's phase certs/apiserver is no phase of kboot's"),
        ("preflight", "--ignore-preflight all"),
        ("ready/apply-dns", "kboot phase list init"),
    ] {
        lab.kboot_line("n1", &phase(names)).ends(2).says(&[told]);
    }
    before.still_holds(lab, &[]);

    // kubeadm's name for the one, kboot's for the other.
    let run = Run::on(lab, "n1", &phase("certs,write-kubeconfigs")).ends(0);
    assert!(run.changes().iter().all(|change| change.contains("/etc/kubernetes")), "{run}");
    assert!(has(lab, "/etc/kubernetes/pki/etcd/server.crt") && has(lab, "/etc/kubernetes/admin.conf"));
    assert!(!has(lab, "/etc/kubernetes/manifests/etcd.yaml") && !has(lab, "/usr/bin/kubelet"));
    Run::on(lab, "n1", &phase("certs,kubeconfig")).ends(0).is_unchanged();

    // What is made by hand stays as it is: the rest goes by it.
    let authority = lab.on("n1", "sha256sum /etc/kubernetes/pki/ca.crt").ok().stdout;
    Run::on(lab, "n1", &phase("prepare")).ends(0);
    assert!(has(lab, "/usr/bin/kubelet") && !has(lab, "/etc/kubernetes/manifests/etcd.yaml"));
    assert_eq!(lab.on("n1", "sha256sum /etc/kubernetes/pki/ca.crt").ok().stdout, authority);
}

fn left_out(lab: &Lab) {
    Run::on(lab, "n1", &format!("{INIT} --skip-phases addon/coredns,ready")).ends(0);
    let deployments = |lab: &Lab| cluster::kubectl(lab, "-n kube-system get deployments -o name").stdout;
    assert_eq!(deployments(lab), "");
    // Who has only a part is not told how others join.
    let done = lab.kboot_on("n1", "init --config /root/cluster.yaml --skip-phases addon/coredns").ok();
    assert!(!done.stdout.contains("kboot join"), "{done}");

    let run = Run::on(lab, "n1", INIT).ends(0);
    assert!(run.changes().iter().all(|change| change.contains("coredns")), "{run}");
    assert_eq!(deployments(lab), "deployment.apps/coredns\n");
    Run::on(lab, "n1", &phase("apply-dns")).ends(0).is_unchanged();
    Run::on(lab, "n1", INIT).ends(0).is_unchanged();
}

/// What a phase needs of another host comes along with it.
fn of_inventory(lab: &Lab) {
    let inventory = lab.inventory();
    lab.kboot(&["phase", "up", "balancer", "-i", inventory.as_str(), "--skip-phases", "issue-join-token"])
        .ends(2)
        .says(&["write-bootstrap-kubeconfig needs what issue-join-token gives"]);
    lab.on("n1", "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system delete deployment coredns").ok();
    let names = |run: &Run| run.of_kind("phase-started").map(|event| event["phase"].to_string()).collect::<Vec<_>>();
    let run = Run::read(lab.kboot(&["phase", "up", "apply-dns", "-i", inventory.as_str(), "-o", "json"])).ends(0);
    assert!(names(&run).iter().all(|phase| phase == "\"addons\""), "{run}");
    assert!(run.changes().iter().all(|change| change.starts_with("n1: ") && change.contains("coredns")), "{run}");
}
