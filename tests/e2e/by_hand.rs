//! `kboot init`, `join`, `token` and `reset` on the machines themselves, as kubeadm's users know them.

use std::time::Duration;

use crate::chains::{Start, Test};
use crate::cluster::{self, kubectl};
use crate::command::{Done, eventually};
use crate::events::{Run, text};
use crate::lab::Lab;
use crate::whole::Whole;

pub const TESTS: &[Test] = &[
    Test { name: "by_hand::init_makes_a_control_plane_and_tells_how_to_join", start: Start::bare(2), run: init },
    Test { name: "by_hand::a_join_that_must_not_be_leaves_the_host_as_it_was", start: INIT, run: refused_joins },
    Test { name: "by_hand::the_right_token_joins", start: INIT, run: join },
    Test { name: "by_hand::init_and_join_again_change_nothing", start: JOIN, run: again },
    Test { name: "by_hand::the_images_are_listed_and_pulled", start: INIT, run: images },
    Test { name: "by_hand::tokens_are_made_listed_and_deleted", start: INIT, run: tokens },
    Test { name: "by_hand::reset_and_all_over_again", start: JOIN, run: reset },
];

const INIT: Start = Start::After("by_hand::init_makes_a_control_plane_and_tells_how_to_join");
const JOIN: Start = Start::After("by_hand::the_right_token_joins");
const KBOOT: &str = "/usr/local/bin/kboot";
const CONFIG: &str = "--config /root/cluster.yaml";

/// Brings the binary and the cluster's file to a host, as a person would.
pub fn bring(lab: &Lab, host: &str) {
    lab.put(host, &lab.kboot_path(), "/usr/local/bin/kboot", "755");
    lab.put(host, lab.inventory().as_ref(), "/root/cluster.yaml", "644");
    lab.put(host, &lab.folder.join("repo.asc"), "/root/repo.asc", "644");
}

fn init(lab: &Lab) {
    bring(lab, "n1");
    bring(lab, "n2");
    let before = Whole::of(lab, "n1");
    lab.kboot_on("n1", &format!("init {CONFIG} --dry-run")).ok().says(&["kube-apiserver.yaml", "kubelet"]);
    // Nothing is there yet that could pull an image.
    lab.kboot_on("n1", &format!("config images pull {CONFIG}")).ends(1).says(&["kboot phase init prepare"]);
    before.still_holds(lab, &[]);

    let run = Run::on(lab, "n1", &format!("{KBOOT} init {CONFIG}")).ends(0);
    assert!(!run.changes().is_empty(), "{run}");
    // Again, for people: what they are told.
    let done = lab.kboot_on("n1", &format!("init {CONFIG}")).ok();
    done.says(&[
        "/etc/kubernetes/admin.conf",
        "kboot join 10.77.0.11:6443 --token ",
        " --discovery-token-ca-cert-hash sha256:",
    ]);
    cluster::nodes_are_ready(lab, &["n1"]);
    cluster::system_pods_run(lab);
}

/// The line that `init` and `token create` print, in its parts: token and hash.
fn printed(done: &Done) -> (String, String) {
    let line = done.stdout.lines().map(str::trim).find(|line| line.starts_with("kboot join"));
    let words: Vec<&str> = line.unwrap_or_else(|| panic!("no line to join with\n{done}")).split_whitespace().collect();
    let after = |flag: &str| {
        let at = words.iter().position(|word| *word == flag).unwrap_or_else(|| panic!("no {flag}\n{done}"));
        words[at + 1].to_string()
    };
    assert_eq!(words[2], "10.77.0.11:6443", "{done}");
    (after("--token"), after("--discovery-token-ca-cert-hash"))
}

fn join_line(lab: &Lab, ttl: &str) -> (String, String) {
    printed(&lab.on("n1", &format!("kboot token create --print-join-command --ttl {ttl}")).ok())
}

fn join_with(lab: &Lab, token: &str, hash: &str, more: &str) -> Done {
    lab.kboot_on(
        "n2",
        &format!("join 10.77.0.11:6443 --token {token} --discovery-token-ca-cert-hash {hash} {CONFIG} {more}"),
    )
}

fn refused_joins(lab: &Lab) {
    let (good, hash) = join_line(lab, "1h");
    let (short, _) = join_line(lab, "1s");
    let before = Whole::of(lab, "n2");
    let wrong_hash = format!("sha256:{}", "0".repeat(64));
    let (id, secret) = good.split_once('.').expect("a token has two halves");
    let turned: String = secret.chars().rev().collect();
    let wrong_secret = format!("{id}.{turned}");
    // The token cleaner takes expired tokens away, and with them the signature.
    eventually(Duration::from_secs(30), "the short token is gone", || {
        let listed = lab.on("n1", "kboot token list").ok().stdout;
        if listed.contains(&short) { Err("it is still listed".into()) } else { Ok(()) }
    });

    let cases: [(&str, &str, &[&str]); 5] = [
        (&good, &wrong_hash, &["verify the cluster's CA: its hash is", &hash, &wrong_hash]),
        (&short, &hash, &["use the token", &short[..6], "it expired on"]),
        ("aaaaaa.bbbbbbbbbbbbbbbb", &hash, &["use the token aaaaaa: the cluster does not know it"]),
        (&wrong_secret, &hash, &["the signature of cluster-info does not match it"]),
        ("not-a-token", &hash, &["token"]),
    ];
    let mut said = Vec::new();
    for (token, hash, texts) in cases {
        let done = join_with(lab, token, hash, "");
        let code = if token == "not-a-token" { 2 } else { 1 };
        said.push(done.ends(code).says(texts).stderr);
    }
    said.dedup();
    assert_eq!(said.len(), 5, "different mistakes are told the same: {said:#?}");
    // Without a pin there is no join.
    lab.kboot_on("n2", &format!("join 10.77.0.11:6443 --token {good} {CONFIG}"))
        .ends(2)
        .says(&["--discovery-token-ca-cert-hash"]);
    // Nobody answers there.
    lab.kboot_on("n2", &format!("join 10.77.0.12:6443 --token {good} --discovery-token-ca-cert-hash {hash} {CONFIG}"))
        .ends(1)
        .says(&["reach the API server at https://10.77.0.12:6443"]);
    before.still_holds(lab, &[]);
    cluster::nodes_are_ready(lab, &["n1"]);
}

fn join(lab: &Lab) {
    let (token, hash) = join_line(lab, "1h");
    let line = format!("join 10.77.0.11:6443 --token-file - --discovery-token-ca-cert-hash {hash} {CONFIG}");
    // Through standard input, where no other user sees it.
    Run::on(lab, "n2", &format!("printf %s {token} | {KBOOT} {line}")).ends(0);
    cluster::node_becomes_ready(lab, "n2");
    cluster::nodes_are_ready(lab, &["n1", "n2"]);
    // What it joined with is not kept, and it speaks with a certificate of its own.
    lab.on("n2", "! grep -rl 'token:' /etc/kubernetes /var/lib/kubelet/*.conf && test -f /var/lib/kubelet/pki/kubelet-client-current.pem").ok();
    lab.on("n2", &format!("! grep -rF {token} /etc /var/lib/kboot /var/lib/kubelet")).ok();
    // What the configuration says of this host.
    assert_eq!(cluster::object(lab, "node n2")["metadata"]["labels"]["kubernetes.io/hostname"], "n2");
}

fn again(lab: &Lab) {
    for (host, command) in
        [("n1", "init"), ("n2", "join 10.77.0.11:6443 --token aaaaaa.bbbbbbbbbbbbbbbb --insecure-skip-ca-verification")]
    {
        let done = lab.kboot_on(host, &format!("{command} {CONFIG} --output json")).ok();
        let report = done.text();
        let summary = report
            .lines()
            .find(|line| line.contains("\"event\":\"summary\""))
            .unwrap_or_else(|| panic!("no summary\n{done}"));
        assert!(summary.contains("\"changes\":0") && !report.contains("change-started"), "{done}");
        let told = lab.kboot_on(host, &format!("{command} {CONFIG}")).ok();
        assert!(told.text().to_lowercase().contains("nothing"), "{told}");
    }
}

fn images(lab: &Lab) {
    let line = format!("{KBOOT} config images pull {CONFIG}");
    Run::on(lab, "n1", &line).ends(0).is_unchanged();
    let listed = lab.kboot_on("n1", &format!("config images list {CONFIG} -o json")).ok();
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).expect("JSON");
    let listed: Vec<String> = listed["images"].as_array().expect("a list").iter().map(text).collect();
    let coredns = listed.iter().find(|image| image.contains("coredns")).expect("a cluster has CoreDNS");
    lab.on("n1", &format!("crictl rmi {coredns}")).ok();
    let changes = Run::on(lab, "n1", &line).ends(0).changes();
    assert!(changes.len() == 1 && changes[0].contains(coredns.as_str()), "{changes:?}");
    lab.on("n1", &format!("crictl inspecti {coredns}")).ok();
}

fn tokens(lab: &Lab) {
    let list = || lab.on("n1", "kboot token list").ok().stdout;
    let made = lab.on("n1", "kboot token create --ttl 2h --description 'for the test'").ok().stdout.trim().to_string();
    assert_eq!(made.len(), 23, "{made}");
    assert!(list().lines().any(|line| line.starts_with(&made) && line.contains("for the test")), "{}", list());
    lab.on("n1", &format!("kboot token create {made}")).ends(2).says(&["there is a token"]);
    // kubeadm knows it, too.
    lab.on("n1", "kubeadm token list").ok().says(&[&made]);
    lab.on("n1", &format!("kboot token delete {}", &made[..6])).ok();
    assert!(!list().contains(&made), "{}", list());
    lab.on("n1", &format!("kboot token delete {}", &made[..6])).ends(1).says(&["there is no token"]);
    // Only a control plane has what it takes.
    lab.on("n2", "kboot token list").ends(2).says(&["/etc/kubernetes/admin.conf", "control plane"]);
}

/// Nothing of the cluster is left on either host, and both come back: n1 by hand, n2 from an inventory.
fn reset(lab: &Lab) {
    lab.kboot_on("n2", "reset").ends(2).says(&["--yes"]);
    for host in ["n2", "n1"] {
        lab.kboot_on(host, "reset --yes --keep-packages").ok();
        let left = lab.on(host, r"
            ls -d /etc/kubernetes/*.conf /etc/kubernetes/pki /etc/kubernetes/manifests/*.yaml /var/lib/etcd/* /var/lib/kubelet/config.yaml /etc/cni/net.d/* 2>/dev/null
            ip -o link | grep -E 'cni0|flannel|veth'
            crictl pods -q
            iptables-save | grep -E 'KUBE|FLANNEL'
            ss -Hltn | grep -E ':(6443|10250|2379) '
            true").ok();
        assert_eq!(left.stdout, "", "something is left on {host}");
    }
    let done = lab.kboot_on("n1", "reset --yes --keep-packages --output json").ok();
    assert!(!done.text().contains("change-started"), "{done}");

    lab.kboot_on("n1", &format!("init {CONFIG}")).ok();
    lab.kboot(&["up", "-i", &lab.inventory_of(&["n1", "n2"])]).ok();
    cluster::nodes_are_ready(lab, &["n1", "n2"]);
    cluster::system_pods_run(lab);
    kubectl(lab, "get pods -A").ok();
    // A worker has no right to delete its own node.
    lab.kboot_on("n2", "reset --yes").ok().says(&["kubectl delete node n2"]);
    let left =
        lab.on("n2", "dpkg-query -W kubelet kubeadm kubectl containerd.io 2>/dev/null; ls /etc/apt/sources.list.d");
    assert_eq!(left.stdout, "debian.sources\n", "{left}");
}
