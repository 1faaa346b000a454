//! `kboot reset`: a host is afterwards what it was before, and somebody else than kboot says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use rustix::process::Signal;

use crate::chains::{Start, Test};
use crate::cluster::{self, kubectl};
use crate::command::eventually;
use crate::events::{Run, text};
use crate::lab::Lab;
use crate::whole::Whole;

pub const TESTS: &[Test] = &[
    Test { name: "reset::a_host_leaves_a_cluster_that_stays", start: Start::bare(2), run: a_host_leaves },
    Test {
        name: "reset::the_same_host_comes_back",
        start: Start::After("reset::a_host_leaves_a_cluster_that_stays"),
        run: the_same_host_comes_back,
    },
    Test {
        name: "reset::a_whole_cluster_goes_and_nothing_is_left",
        start: Start::After("reset::the_same_host_comes_back"),
        run: a_whole_cluster_goes,
    },
    Test { name: "reset::a_half_installed_host_is_bare_again", start: Start::bare(1), run: a_half_installed_host },
    Test {
        name: "reset::what_somebody_has_edited_since_is_kept_and_told",
        start: Start::bare(2),
        run: what_somebody_has_edited,
    },
    Test {
        name: "reset::what_was_there_before_is_there_afterwards",
        start: Start::bare(2),
        run: what_was_there_before,
    },
    Test {
        name: "reset::a_host_that_kubeadm_made_is_no_node_any_more",
        start: Start::bare(1),
        run: a_host_of_kubeadms,
    },
];

/// What the hosts of the cluster that goes were before anybody touched them.
static BEFORE: Mutex<BTreeMap<&str, Whole>> = Mutex::new(BTreeMap::new());

#[track_caller]
fn note(lab: &Lab, host: &'static str) {
    let look = Whole::of(lab, host);
    BEFORE.lock().unwrap_or_else(|lock| lock.into_inner()).insert(host, look);
}

#[track_caller]
fn is_as_before(lab: &Lab, host: &str) {
    let before = BEFORE.lock().unwrap_or_else(|lock| lock.into_inner());
    before.get(host).expect("it was looked at before").is_restored(lab);
}

/// Two servers of one deployment on n2, one that may go at any time, and one whose budget lets none of it go.
const PODS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: free}
spec:
  replicas: 2
  selector: {matchLabels: {app: free}}
  template:
    metadata: {labels: {app: free}}
    spec:
      nodeSelector: {disk: ssd}
      terminationGracePeriodSeconds: 0
      containers: [{name: web, image: "registry.k8s.io/testbed/agnhost:1", args: [pause]}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: kept}
spec: {minAvailable: 1, selector: {matchLabels: {app: kept}}}
---
apiVersion: v1
kind: Pod
metadata: {name: kept, labels: {app: kept}}
spec:
  nodeSelector: {disk: ssd}
  terminationGracePeriodSeconds: 0
  containers: [{name: web, image: "registry.k8s.io/testbed/agnhost:1", args: [pause]}]
"#;

fn a_host_leaves(lab: &Lab) {
    let hosts = ["n1", "n2"];
    hosts.iter().for_each(|host| note(lab, host));
    let inventory = lab.inventory_of(&hosts);
    Run::of(lab, &["up", "-i", &inventory]).ends(0);
    cluster::apply(lab, PODS);
    kubectl(lab, "wait --for=condition=Ready pod/kept --timeout=180s").ok();
    kubectl(lab, "rollout status deployment/free --timeout=180s").ok();

    // A dry run lists it all, and touches nothing.
    let plan = Run::of(lab, &["reset", "-i", &inventory, "--host", "n2", "--dry-run"]).ends(0);
    assert_eq!(plan.changes(), Vec::<String>::new(), "{plan}");
    let planned: Vec<String> = plan.of_kind("planned").map(|event| event["changes"].to_string()).collect();
    for thing in ["drain-node", "\"Node\"", "kubelet.service", "/etc/kubernetes/pki", "remove-packages"] {
        assert!(planned.iter().any(|changes| changes.contains(thing)), "no {thing} in {planned:#?}\n{plan}");
    }
    cluster::nodes_are_ready(lab, &hosts);

    let reset = ["reset", "-i", &inventory, "--host", "n2", "--yes", "--drain-timeout", "3"];
    let run = Run::of(lab, &reset).ends(0);
    let warnings: Vec<String> = run.of_kind("warning").map(|event| text(&event["text"])).collect();
    let stayed = warnings.iter().find_map(|warning| warning.split_once(" are still there: ")).map(|(_, pods)| pods);
    let is_told = stayed.is_some_and(|pods| pods.contains("default/kept (") && pods.contains("disruption budget"));
    assert!(is_told, "the budget is not told\n{run}");
    assert_eq!(leftovers(&run), Vec::<String>::new(), "{run}");
    cluster::nodes_are_ready(lab, &["n1"]);
    // Nothing waits for the node's return, not even the pod that refused to leave.
    assert_eq!(pods_on(lab, "n2"), BTreeSet::new());
    is_as_before(lab, "n2");
    // Once more changes nothing and leaves nothing.
    Run::of(lab, &reset).ends(0).is_unchanged();
    is_as_before(lab, "n2");
}

/// The UIDs of a node's pods.
fn pods_on(lab: &Lab, node: &str) -> BTreeSet<String> {
    let pods = cluster::objects(lab, &format!("pods -A --field-selector spec.nodeName={node}"));
    pods.iter().map(|pod| text(&pod["metadata"]["uid"])).collect()
}

/// What kboot itself says that it leaves.
fn leftovers(run: &Run) -> Vec<String> {
    run.of_kind("leftover").map(|event| event.to_string()).collect()
}

/// With its old node still there, by another address, and after a reset.
fn the_same_host_comes_back(lab: &Lab) {
    let inventory = lab.inventory_of(&["n1", "n2"]);
    Run::of(lab, &["up", "-i", &inventory]).ends(0);
    cluster::nodes_are_ready(lab, &["n1", "n2"]);
    let former = pods_on(lab, "n2");

    // A new machine with the old one's name and another address; nobody told the cluster.
    lab.testbed(&["host", "reset", "n2"]).ok();
    lab.on("n2", "ip address add 10.77.0.212/24 dev eth0").ok();
    let moved = lab.inventory_with("moved", |inventory| {
        let hosts = inventory["hosts"].as_sequence_mut().expect("it has hosts");
        hosts.retain(|host| host["name"] != "n3");
        let n2 = hosts.iter_mut().find(|host| host["name"] == "n2").expect("n2 is there");
        n2["address"] = "10.77.0.212".into();
        n2["ssh"] = serde_yaml::from_str("{address: 10.77.0.12}").expect("it is YAML");
    });
    Run::of(lab, &["up", "-i", &moved]).ends(0);
    // What the former machine ran is over: the new one starts pods of its own.
    let adopted: Vec<String> = pods_on(lab, "n2").intersection(&former).cloned().collect();
    assert_eq!(adopted, Vec::<String>::new());
    let addresses = cluster::object(lab, "node n2")["status"]["addresses"].clone();
    let internal = addresses.as_array().expect("a list").iter().find(|a| a["type"] == "InternalIP").cloned();
    assert_eq!(internal.map(|a| text(&a["address"])), Some("10.77.0.212".into()), "{addresses}");
    Run::of(lab, &["up", "-i", &moved]).ends(0).is_unchanged();
}

fn a_whole_cluster_goes(lab: &Lab) {
    let inventory = lab.inventory_of(&["n1", "n2"]);
    // A pod that starts between plan and run is in no plan.
    eventually(Duration::from_secs(120), "every pod runs", || {
        let pods = cluster::objects(lab, "pods -A");
        let waiting: Vec<String> = pods
            .iter()
            .filter(|pod| cluster::condition(pod, "Ready") != "True")
            .map(|pod| text(&pod["metadata"]["name"]))
            .collect();
        if waiting.is_empty() { Ok(()) } else { Err(waiting.join(", ")) }
    });
    // The tests' own kubectl.
    lab.on("n1", "rm -rf /root/.kube").ok();
    // The API server is gone, and nobody is left to be asked.
    lab.on("n1", "systemctl stop kubelet; crictl --timeout 60s ps -q --name kube-apiserver | xargs -r crictl --timeout 60s stop -t 0").ok();
    let run = Run::of(lab, &["reset", "-i", &inventory, "--yes"]).ends(0);
    assert_eq!(leftovers(&run), Vec::<String>::new(), "{run}");
    is_as_before(lab, "n1");
    Run::of(lab, &["reset", "-i", &inventory, "--yes"]).ends(0).is_unchanged();
    is_as_before(lab, "n1");
}

/// The controller is killed while packages are installed, and again while the control plane starts.
/// systemd remembers that the kubelet failed, and would still list it once its package is gone.
const FAILED_KUBELET: &str = "set -e
    mkdir -p /run/systemd/system/kubelet.service.d
    printf '[Service]\\nRestart=no\\nExecStart=\\nExecStart=/bin/false\\n' >/run/systemd/system/kubelet.service.d/fails.conf
    systemctl daemon-reload; systemctl restart kubelet
    until systemctl is-failed -q kubelet; do sleep 0.1; done
    rm -r /run/systemd/system/kubelet.service.d; systemctl daemon-reload; systemctl is-failed kubelet";

fn a_half_installed_host(lab: &Lab) {
    let before = Whole::of(lab, "n1");
    let inventory = lab.inventory_of(&["n1"]);
    for sign in ["install-packages", "write-static-pods"] {
        let mut run = lab.start_kboot(&["up", "-i", &inventory, "--output", "json"]);
        run.until(Duration::from_secs(120), sign, |said| {
            said.lines().any(|line| line.contains("\"event\":\"change-started\"") && line.contains(sign))
        });
        run.signal(Signal::KILL);
        run.wait(Duration::from_secs(120));
        if sign == "write-static-pods" {
            lab.on("n1", FAILED_KUBELET).ok();
        }
        // What the killed run has in hand goes on for a while: a plan of this moment is not worth much.
        let run = Run::read(lab.kboot(&["reset", "-i", &inventory, "--yes", "--output", "json"])).ends(0);
        assert_eq!(leftovers(&run), Vec::<String>::new(), "killed at {sign}\n{run}");
        before.is_restored(lab);
    }
}

fn what_somebody_has_edited(lab: &Lab) {
    let inventory = lab.inventory_with("alone", |inventory| {
        let hosts = inventory["hosts"].as_sequence_mut().expect("it has hosts");
        hosts.retain(|host| host["name"] == "n2");
        hosts[0]["roles"] = vec![serde_yaml::Value::from("control-plane")].into();
    });
    let mut run = lab.start_kboot(&["up", "-i", &inventory, "--output", "json"]);
    run.until(Duration::from_secs(120), "the runtime", |said| {
        said.lines().any(|line| line.contains("\"event\":\"change-started\"") && line.contains("configure-containerd"))
    });
    run.signal(Signal::INT);
    run.wait(Duration::from_secs(60));
    let edits = "echo '# mine' >>/etc/fstab; touch /etc/mine.conf; mkdir -p /opt/cni/bin; echo x >/opt/cni/bin/mine";
    lab.on("n2", edits).ok();
    let run = Run::of(lab, &["reset", "-i", &inventory, "--yes"]).ends(0);
    let told = leftovers(&run);
    for name in ["/etc/fstab", "/etc/mine.conf"] {
        assert!(
            told.iter().any(|leftover| leftover.contains(name) && leftover.contains("somebody")),
            "{told:?}\n{run}"
        );
    }
    lab.on("n2", "grep -x '# mine' /etc/fstab && test -e /etc/mine.conf && test ! -e /var/lib/kboot").ok();
    let packages = lab.on("n2", "dpkg-query -W kubelet containerd.io 2>/dev/null; true").ok();
    assert_eq!(packages.stdout, "");
}

/// What must survive: data of another etcd, a CA key, a network of podman's, rules, and a disk below a folder that is moved.
const OWN: &str = r#"
set -e
mkdir -p /data/kubelet /data/disk /var/lib/etcd/default/member /etc/kubernetes/pki /etc/cni/net.d
# The testbed has a disk of its own there.
mount --bind /var/lib/kubelet /data/kubelet
umount /var/lib/kubelet
rmdir /var/lib/kubelet
ln -s /data/kubelet /var/lib/kubelet
mkdir -p /data/kubelet/mine
mount -t tmpfs disk /data/disk
mount --bind /data/disk /data/kubelet/mine
echo "ten years" >/data/disk/ledger
echo patroni >/var/lib/etcd/default/member/db
echo snapshot >/var/lib/etcd/snapshot.db
(umask 077; openssl ecparam -name prime256v1 -genkey -noout -out /etc/kubernetes/pki/ca.key 2>/dev/null || ssh-keygen -q -t ecdsa -m PKCS8 -N '' -f /etc/kubernetes/pki/ca.key)
rm -f /etc/kubernetes/pki/ca.key.pub
echo '{"cniVersion": "0.4.0", "name": "podman", "plugins": [{"type": "bridge", "bridge": "cni-podman0"}]}' >/etc/cni/net.d/87-podman-bridge.conflist
if command -v iptables-nft >/dev/null; then
  iptables-nft -A INPUT -p tcp --dport 9000 -m comment --comment "interweave: nobody but us" -j DROP
  iptables-nft -A INPUT -p tcp --dport 9001 -m comment --comment "office may reach the KUBE-API" -j ACCEPT
  iptables-nft -t nat -N CNI-HOSTPORT-DNAT
  iptables-nft -t nat -A PREROUTING -j CNI-HOSTPORT-DNAT
fi"#;
/// All of it, in words that are equal before and after.
const OWN_STATE: &str = r#"
for file in /data/disk/ledger /data/kubelet/mine/ledger /var/lib/etcd/default/member/db /var/lib/etcd/snapshot.db \
  /etc/kubernetes/pki/ca.key /etc/cni/net.d/87-podman-bridge.conflist; do sha256sum $file; stat -c '%n %a %u %g' $file; done
readlink /var/lib/kubelet
awk '{print $5}' /proc/self/mountinfo | grep ^/data
iptables-nft-save 2>/dev/null | grep -e ^-A -e ^:CNI | sort"#;

fn what_was_there_before(lab: &Lab) {
    lab.on("n2", OWN).ok();
    let before = lab.on("n2", OWN_STATE).ok().stdout;
    let inventory = lab.inventory_with("own", |inventory| {
        let hosts = inventory["hosts"].as_sequence_mut().expect("it has hosts");
        hosts.retain(|host| host["name"] == "n2");
        hosts[0]["roles"] = vec![serde_yaml::Value::from("control-plane")].into();
    });
    Run::of(lab, &["up", "-i", &inventory]).ends(0);
    lab.on("n2", "test -e /var/lib/etcd/member/snap/db && test -e /data/kubelet/pki").ok();
    let run = Run::of(lab, &["reset", "-i", &inventory, "--yes"]).ends(0);
    assert_eq!(lab.on("n2", OWN_STATE).ok().stdout, before, "{run}");
    lab.on(
        "n2",
        "! test -e /var/lib/etcd/member && ! test -e /etc/kubernetes/kubelet.conf && ! test -e /data/kubelet/pki",
    )
    .ok();
    let blamed: Vec<String> = leftovers(&run).into_iter().filter(|leftover| leftover.contains("somebody")).collect();
    assert_eq!(blamed, Vec::<String>::new(), "{run}");
    lab.on("n2", "! test -e /var/lib/cni").ok();
    Run::of(lab, &["reset", "-i", &inventory, "--yes"]).ends(0).is_unchanged();
    assert_eq!(lab.on("n2", OWN_STATE).ok().stdout, before);
}

fn a_host_of_kubeadms(lab: &Lab) {
    let testbed = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed"));
    lab.put("n1", &testbed.join("cluster/prepare.sh"), "/root/prepare.sh", "644");
    lab.put("n1", &lab.folder.join("repo.asc"), "/root/repo.asc", "644");
    lab.put("n1", &lab.kboot_path(), "/usr/local/bin/kboot", "755");
    lab.on("n1", "bash /root/prepare.sh 10.77.0.1 1.37.2-1.1 </root/repo.asc").ok();
    let before = Whole::of(lab, "n1");
    lab.on("n1", INIT).ok();
    let done = lab.kboot_on("n1", "reset --yes").ok();
    done.says(&["nothing was compared"]);
    // What kubeadm's user installed stays; of the cluster nothing does.
    lab.on("n1", "dpkg -s kubelet kubeadm containerd.io").ok();
    let different = before.leftovers(lab);
    let is_of_cluster = |name: &&String| {
        [
            "/etc/kubernetes/",
            "/var/lib/kubelet",
            "/var/lib/etcd",
            "KUBE",
            "kubepods",
            "/var/log/pods",
            "/var/lib/kboot",
            "cni0",
        ]
        .iter()
        .any(|sign| name.contains(sign))
    };
    // containerd, which stays, clears what its containers left in its own time.
    let is_of_runtime = |name: &&String| name.contains(" /var/lib/containerd/");
    let left: Vec<&String> = different.iter().filter(|name| is_of_cluster(name) && !is_of_runtime(name)).collect();
    assert!(left.is_empty(), "{left:#?}");
    lab.on("n1", INIT).ok();
}

/// Over and over: kubeadm refuses a host that is not clean.
const INIT: &str = "
cat >/root/kubeadm.yaml <<'END'
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: 10.77.0.11}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.37.2
networking: {podSubnet: 10.244.0.0/16}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
conntrack: {maxPerCore: 0}
END
kubeadm init --config /root/kubeadm.yaml --ignore-preflight-errors=SystemVerification";
