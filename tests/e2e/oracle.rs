//! kubeadm looks at a cluster that kboot made, and works with it.

use serde_json::json;

use crate::chains::Test;
use crate::cluster::{self, kubectl};
use crate::events::{Run, text};
use crate::lab::Lab;
use crate::up::{CLUSTER, tokens};

pub const TESTS: &[Test] = &[
    Test { name: "oracle::kubeadm_finds_every_certificate_in_order", start: CLUSTER, run: certificates },
    Test { name: "oracle::kubeadm_and_kboot_list_the_same_tokens", start: CLUSTER, run: the_same_tokens },
    Test { name: "oracle::kubeadm_wants_the_same_images", start: CLUSTER, run: the_same_images },
    Test { name: "oracle::kubeadm_would_write_the_same_static_pods", start: CLUSTER, run: the_same_static_pods },
    Test { name: "oracle::kubeadm_reads_the_configuration_and_plans_upgrades", start: CLUSTER, run: upgrade_plan },
    Test { name: "oracle::a_fresh_host_joins_with_kubeadm_and_leaves_again", start: CLUSTER, run: kubeadm_join },
    Test { name: "oracle::the_api_server_takes_weaves_objects", start: CLUSTER, run: weave },
    Test { name: "oracle::hosts_of_another_cluster_are_refused", start: CLUSTER, run: hosts_of_another_cluster },
    Test { name: "oracle::a_worker_is_reset_and_comes_back", start: CLUSTER, run: a_worker_is_reset },
];

fn certificates(lab: &Lab) {
    let done = lab.on("n1", "kubeadm certs check-expiration").ok();
    let names = [
        "admin.conf",
        "apiserver",
        "apiserver-etcd-client",
        "apiserver-kubelet-client",
        "controller-manager.conf",
        "etcd-healthcheck-client",
        "etcd-peer",
        "etcd-server",
        "front-proxy-client",
        "scheduler.conf",
        "super-admin.conf",
    ];
    for name in names {
        let line = done.stdout.lines().find(|line| line.split_whitespace().next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("kubeadm does not find {name}\n{done}"));
        assert!(line.contains("364d") && line.trim().ends_with("no"), "{line}");
    }
    for authority in ["ca", "etcd-ca", "front-proxy-ca"] {
        let line = done.stdout.lines().find(|line| line.split_whitespace().next() == Some(authority));
        assert!(line.is_some_and(|line| line.contains("9y")), "{authority}\n{done}");
    }
    assert!(!done.text().contains("MISSING") && !done.text().contains("invalid"), "{done}");
}

fn the_same_tokens(lab: &Lab) {
    // Those of runs are gone.
    let made = lab.on("n1", "kubeadm token create --ttl 1h").ok();
    let first_words = |text: &str| {
        let mut words: Vec<String> =
            text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(String::from).collect();
        words.sort();
        words
    };
    let ours = first_words(&lab.kboot_secretly(&["token", "list", "--kubeconfig", &lab.admin_conf()]).ok().stdout);
    let theirs = first_words(&lab.on("n1", "kubeadm token list").ok().stdout);
    let mut all = tokens(lab);
    all.sort();
    assert!(!all.is_empty());
    assert_eq!((&ours, &theirs), (&all, &all));
    lab.on("n1", &format!("kubeadm token delete {}", made.stdout.trim())).ok();
}

fn the_same_images(lab: &Lab) {
    let wanted = lab.on("n1", "kubeadm config images list --kubernetes-version v1.37.2").ok();
    let here = lab.on("n1", "crictl images -o json").ok().stdout;
    let here: serde_json::Value = serde_json::from_str(&here).expect("crictl prints JSON");
    let tags: Vec<String> = here["images"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|image| image["repoTags"].as_array().cloned().unwrap_or_default())
        .map(|tag| text(&tag))
        .collect();
    assert!(wanted.stdout.lines().count() >= 7, "{wanted}");
    for image in wanted.stdout.lines() {
        assert!(tags.iter().any(|tag| tag == image), "{image} is not on n1: {tags:?}");
    }
    // kboot lists the pod network's as well.
    let listed = lab.kboot(&["config", "images", "list"]).ok();
    let (of_network, of_kubernetes): (Vec<&str>, Vec<&str>) =
        listed.stdout.lines().partition(|image| image.contains("/flannel"));
    let sorted = |mut lines: Vec<&str>| {
        lines.sort_unstable();
        lines.join("\n")
    };
    assert_eq!(sorted(of_kubernetes), sorted(wanted.stdout.lines().collect()));
    assert_eq!(of_network.len(), 2, "{listed}");
}

/// It prints each difference between the static pods that are there and those that it would write.
fn the_same_static_pods(lab: &Lab) {
    let done = lab.on("n1", "kubeadm upgrade diff v1.37.2").ok();
    let different: Vec<&str> = done.stdout.lines().filter(|line| line.starts_with(['+', '-', '@'])).collect();
    assert!(different.is_empty(), "kubeadm would write other static pods\n{done}");
}

fn upgrade_plan(lab: &Lab) {
    // The version is given, so that it need not ask the internet; its health check runs a pod.
    let done = lab.on("n1", "timeout 100 kubeadm upgrade plan v1.37.2 2>&1").ok();
    assert!(done.stdout.contains("upgrade/config") || done.stdout.contains("v1.37.2"), "{done}");
    let config =
        kubectl(lab, "-n kube-system get configmap kubeadm-config -o 'jsonpath={.data.ClusterConfiguration}'").ok();
    // What kubeadm reads back from our configuration, with its own defaults filled in, is what it was told.
    let script = format!(
        "umask 077; cat >/root/cluster-configuration.yaml <<'END'\n{}\nEND\nkubeadm config validate --config /root/cluster-configuration.yaml",
        config.stdout
    );
    lab.on("n1", &script).ok();
}

fn kubeadm_join(lab: &Lab) {
    let _n4 = Fourth::add(lab);
    let testbed = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed"));
    // By hand, as kubeadm's own instructions have it: no kboot has ever been on this host.
    lab.put("n4", &testbed.join("cluster/prepare.sh"), "/root/prepare.sh", "644");
    lab.put("n4", &lab.folder.join("repo.asc"), "/root/repo.asc", "644");
    lab.on("n4", "bash /root/prepare.sh 10.77.0.1 1.37.2-1.1 </root/repo.asc").ok();
    let create = ["token", "create", "--print-join-command", "--ttl", "1h", "--kubeconfig", &lab.admin_conf()];
    let line = lab.kboot_secretly(&create).ok().stdout;
    let join = line.trim().replacen("kboot join", "kubeadm join", 1);
    assert!(join.starts_with("kubeadm join 10.77.0.11:6443 --token "), "{line}");
    lab.on("n4", &format!("{join} --ignore-preflight-errors=SystemVerification")).ok();
    cluster::node_becomes_ready(lab, "n4");
    lab.on("n4", "kubeadm reset -f").ok();
    kubectl(lab, "delete node n4").ok();
    cluster::nodes_are_ready(lab, &["n1", "n2", "n3"]);
}

/// A host more, as long as this lives: the lab's inventory has it, and no other test wants that.
struct Fourth<'a>(&'a Lab);

impl<'a> Fourth<'a> {
    fn add(lab: &'a Lab) -> Self {
        lab.testbed(&["host", "add", "n4"]).ok();
        Self(lab)
    }
}

impl Drop for Fourth<'_> {
    fn drop(&mut self) {
        self.0.testbed(&["host", "remove", "n4"]);
    }
}

/// Its images can't be had here; that its objects are right, the API server itself says.
fn weave(lab: &Lab) {
    let inventory = lab.inventory_with("weave", |inventory| inventory["network"]["cni"] = "weave".into());
    // A running cluster keeps its pod network; this only looks.
    let ignored = ["--dry-run", "--ignore-preflight", "ClusterSettings"];
    let run = Run::of(lab, &[&["up", "-i", &inventory][..], &ignored].concat()).ends(0);
    let objects: Vec<serde_json::Value> = run
        .of_kind("planned")
        .flat_map(|event| event["changes"].as_array().cloned().unwrap_or_default())
        .filter(|change| change["change"] == "apply-object" && change["object"].to_string().contains("weave"))
        .map(|change| change["object"].clone())
        .collect();
    assert!(
        objects.iter().any(|object| object["kind"] == "DaemonSet"),
        "no DaemonSet among {} objects\n{run}",
        objects.len()
    );
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let script = format!(
        "kubectl --kubeconfig /etc/kubernetes/admin.conf apply --server-side --dry-run=server --validate=strict -f - <<'END'\n{list}\nEND\n"
    );
    let done = lab.on("n1", &script).ok();
    assert_eq!(done.stdout.lines().count(), objects.len(), "{done}");

    let inventory = lab.inventory_with("none", |inventory| inventory["network"]["cni"] = "none".into());
    let run = Run::of(lab, &["up", "-i", &inventory, "--dry-run"]).ends(0);
    let changes: Vec<String> = run.of_kind("planned").map(|event| event["changes"].to_string()).collect();
    assert!(!changes.concat().contains("DaemonSet"), "without a pod network none is installed: {changes:?}");
}

/// The roles of two nodes swapped: nothing of the running cluster may be touched.
fn hosts_of_another_cluster(lab: &Lab) {
    let inventory = lab.inventory_with("swapped", |inventory| {
        for host in inventory["hosts"].as_sequence_mut().expect("it has hosts") {
            let role = if host["name"] == "n2" { "control-plane" } else { "worker" };
            host["roles"] = vec![serde_yaml::Value::from(role)].into();
        }
    });
    let run = Run::of(lab, &["up", "-i", &inventory]).ends(1);
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
    let causes = run.causes("n1").concat();
    assert!(causes.contains("control plane") && causes.contains("worker"), "{causes}\n{run}");
    let causes = run.causes("n2").concat();
    assert!(causes.contains("cluster"), "{causes}\n{run}");
    cluster::nodes_are_ready(lab, &["n1", "n2", "n3"]);
}

fn a_worker_is_reset(lab: &Lab) {
    let inventory = lab.inventory();
    // Without anybody to ask, nothing is destroyed.
    lab.kboot(&["reset", "-i", &inventory, "--host", "n3"]).ends(2).says(&["--yes"]);
    cluster::nodes_are_ready(lab, &["n1", "n2", "n3"]);

    let reset = ["reset", "-i", &inventory, "--host", "n3", "--yes", "--keep-packages"];
    Run::of(lab, &reset).ends(0);
    let left = lab
        .on(
            "n3",
            r"
        ls -A /etc/kubernetes/manifests /etc/cni/net.d /var/lib/kubelet 2>/dev/null | grep -vE '^(/.*:)?$|keep$'
        ls -d /etc/kubernetes/kubelet.conf /etc/kubernetes/pki /var/lib/cni /run/flannel 2>/dev/null
        ip -o link | grep -E 'cni0|flannel|veth'
        systemctl is-active kubelet | grep -w active
        crictl ps -aq; crictl pods -q
        iptables-save | grep -E 'KUBE|FLANNEL'
        true",
        )
        .ok();
    assert_eq!(left.stdout, "", "something is left on n3");
    // Packages stay, the node does not, and a second reset finds nothing to do.
    lab.on("n3", "dpkg -s kubelet containerd.io").ok();
    cluster::nodes_are_ready(lab, &["n1", "n2"]);
    Run::of(lab, &reset).ends(0).is_unchanged();

    Run::of(lab, &["up", "-i", &inventory]).ends(0);
    kubectl(lab, "delete pod web-n3 --ignore-not-found --force").ok();
    cluster::is_good(lab);
    Run::of(lab, &["up", "-i", &inventory]).ends(0).is_unchanged();
}
