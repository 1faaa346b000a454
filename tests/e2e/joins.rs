//! Control planes that join by hand: at the same moment, killed at each step of etcd's, and with a key whose time is over.

use std::time::Duration;

use crate::chains::{Start, Test};
use crate::command::eventually;
use crate::control_planes::{FAULTS, HOSTS, inventory, nodes_are};
use crate::etcdctl::all_vote;
use crate::hard::stripped;
use crate::lab::Lab;

pub const TESTS: &[Test] = &[
    Test { name: "joins::two_at_once_by_hand_and_one_is_killed_at_each_step", start: Start::bare(3), run: two_at_once },
    Test { name: "joins::a_key_whose_time_is_over_is_told", start: TWO, run: expired },
];

const TWO: Start = Start::After("joins::two_at_once_by_hand_and_one_is_killed_at_each_step");
const CONFIG: &str = "--config /root/cluster.yaml";

/// The line that makes another machine a control plane.
#[track_caller]
fn line(lab: &Lab) -> String {
    let done = lab.kboot_on("n1", &format!("init --upload-certs {CONFIG}")).ok();
    let line = done.stdout.lines().find(|line| line.contains("--control-plane --certificate-key "));
    line.and_then(|line| line.trim().strip_prefix("kboot ")).unwrap_or_else(|| panic!("no line\n{done}")).to_string()
}

fn two_at_once(lab: &Lab) {
    let config = inventory(lab, &HOSTS);
    for host in HOSTS {
        let kboot = if host == "n3" { stripped(lab).into() } else { lab.kboot_path() };
        lab.put(host, &kboot, "/tmp/kboot", "755");
        lab.on(host, "mv /tmp/kboot /usr/local/bin/kboot").ok();
        lab.put(host, config.as_ref(), "/tmp/cluster.yaml", "644");
        lab.put(host, &lab.folder.join("repo.asc"), "/tmp/repo.asc", "644");
        lab.on(host, "cp /tmp/cluster.yaml /tmp/repo.asc /root/").ok();
    }
    let line = line(lab);
    lab.on("n3", &format!("cat >/run/kboot.fault <<'END'\n{}\nEND\n", FAULTS.join("\n"))).ok();
    // n3 is killed, and told again, while n2 joins.
    let join = |host| lab.start_on(host, &format!("exec </dev/null /usr/local/bin/kboot {line} {CONFIG}"));
    let (second, mut runs) = (join("n2"), 0);
    let last = loop {
        let done = lab.finish(join("n3"));
        runs += 1;
        if done.code == Some(0) {
            break done;
        }
        assert!(runs < 12, "no end to it\n{done}");
    };
    lab.finish(second).ok();
    let heard = lab.on("n3", "cat /run/kboot.fault && rm /run/kboot.fault").ok().stdout;
    let missed: Vec<&str> = heard.lines().filter(|line| !line.starts_with("reached ")).collect();
    assert!(missed.is_empty(), "after {runs} runs these never came: {missed:?}\n{last}");
    all_vote(lab, "n2", &HOSTS);
    nodes_are(lab, "n3", &HOSTS);
}

/// The token that owns the Secret has expired: the cluster removes both by itself.
fn expired(lab: &Lab) {
    let line = line(lab);
    let kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system";
    let expire = format!(
        "owner=$({kubectl} get secret kubeadm-certs -o jsonpath='{{.metadata.ownerReferences[0].name}}')
        {kubectl} patch secret $owner -p '{{\"stringData\": {{\"expiration\": \"2020-01-01T00:00:00Z\"}}}}'"
    );
    lab.on("n1", &expire).ok();
    eventually(Duration::from_secs(30), "the Secret is gone", || {
        let done = lab.on("n1", &format!("{kubectl} get secret kubeadm-certs"));
        if done.code == Some(0) { Err("it is there".into()) } else { Ok(()) }
    });
    lab.on("n2", "mv /etc/kubernetes/manifests/kube-apiserver.yaml /root/").ok();
    lab.kboot_on("n2", &format!("{line} {CONFIG}")).ends(1).says(&[
        "the cluster has no Secret kube-system/kubeadm-certs (any more)",
        "`kboot init --upload-certs` puts them there anew, for two hours",
    ]);
    lab.on("n2", "mv /root/kube-apiserver.yaml /etc/kubernetes/manifests/").ok();
}
