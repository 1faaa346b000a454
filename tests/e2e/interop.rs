//! A cluster that the real kubeadm makes: kboot adopts it, its nodes are joined by both, and each works on what the other made.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::chains::{Start, Test};
use crate::cluster::{self, kubectl};
use crate::command::{Done, Running, eventually};
use crate::etcdctl;
use crate::events::Run;
use crate::kubeadm::own_document;
use crate::lab::Lab;
use crate::up::CLUSTER;

pub const TESTS: &[Test] = &[
    Test { name: "interop::a_cluster_of_kubeadm_s", start: Start::bare(3), run: made_by_kubeadm },
    Test { name: "interop::it_is_adopted_and_nothing_that_matters_changes", start: MADE, run: adopt },
    Test { name: "interop::what_can_t_be_adopted_is_refused", start: MADE, run: refused },
    Test { name: "interop::a_control_plane_and_a_worker_join_by_kboot", start: ADOPTED, run: join_by_kboot },
    Test { name: "interop::kubeadm_resets_a_node_of_kboot_s_and_joins_it", start: JOINED, run: reset_and_join },
    Test { name: "interop::kubeadm_renews_lists_and_plans_upgrades", start: RESET, run: kubeadm_works_on },
];

/// On the cluster that kboot made.
pub const ON_CLUSTER: &[Test] =
    &[Test { name: "interop::kubeadm_renews_what_kboot_issued", start: CLUSTER, run: renewed_on_kboot_s }];

const MADE: Start = Start::After("interop::a_cluster_of_kubeadm_s");
const ADOPTED: Start = Start::After("interop::it_is_adopted_and_nothing_that_matters_changes");
const JOINED: Start = Start::After("interop::a_control_plane_and_a_worker_join_by_kboot");
const RESET: Start = Start::After("interop::kubeadm_resets_a_node_of_kboot_s_and_joins_it");
const KBOOT: &str = "/usr/local/bin/kboot";
const TOKEN: &str = "interp.0123456789abcdef";
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const IGNORED: &str = "--ignore-preflight-errors=SystemVerification,NumCPU";

const FILE: &str = r#"apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: 10.77.0.11}
bootstrapTokens: [{token: interp.0123456789abcdef}]
certificateKey: 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
nodeRegistration:
  kubeletExtraArgs:
  - {name: node-ip, value: 10.77.0.11}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: adopted
kubernetesVersion: v1.37.2
controlPlaneEndpoint: 10.77.0.11:6443
networking: {podSubnet: 10.64.0.0/16}
apiServer:
  certSANs: [api.adopted.test]
  extraArgs:
  - {name: v, value: "3"}
  - {name: audit-log-path, value: /audit/audit.log}
  extraVolumes:
  - {name: audit, hostPath: /var/log/audit-adopted, mountPath: /audit, pathType: DirectoryOrCreate}
  extraEnvs:
  - {name: ADOPTED, value: "yes"}
scheduler:
  extraArgs:
  - {name: v, value: "2"}
etcd:
  local:
    extraArgs:
    - {name: quota-backend-bytes, value: "4294967296"}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: DRIVER
maxPods: 77
evictionHard: {memory.available: 100Mi, nodefs.available: 1Gi, nodefs.inodesFree: 1%, imagefs.available: 1Gi, imagefs.inodesFree: 1%}
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
metricsBindAddress: 0.0.0.0:10249
conntrack: {maxPerCore: 0}
"#;

/// A pod that counts, and would begin anew if it were started again.
const COUNTER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: counter}
spec:
  nodeName: n2
  terminationGracePeriodSeconds: 0
  containers:
    - {name: counter, image: "registry.k8s.io/testbed/agnhost:1", command: [sh, -c, "while :; do echo tick; sleep 0.5; done"]}
"#;

fn write(lab: &Lab, host: &str, path: &str, text: &str) {
    lab.on(host, &format!("umask 077; cat >{path} <<'END'\n{text}\nEND\n")).ok();
}

/// As kubeadm's own instructions have it: no kboot has ever been on this host.
fn start_preparing(lab: &Lab, host: &str) -> Running {
    let testbed = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed"));
    lab.put(host, &testbed.join("cluster/prepare.sh"), "/tmp/prepare.sh", "644");
    lab.put(host, &lab.folder.join("repo.asc"), "/tmp/repo.asc", "644");
    lab.start_on(host, "bash /tmp/prepare.sh 10.77.0.1 1.37.2-1.1 </tmp/repo.asc")
}

fn prepare(lab: &Lab, hosts: &[&str]) {
    let running: Vec<Running> = hosts.iter().map(|host| start_preparing(lab, host)).collect();
    running.into_iter().for_each(|running| drop(running.wait(Duration::from_secs(300)).ok()));
}

/// flannel's own manifest, from its Go module.
fn flannel(subnet: &str) -> String {
    let script = ". tests/testbed/versions.env
        GOFLAGS= go mod download -json github.com/flannel-io/flannel@v$FLANNEL_VERSION | sed -n 's/.*\"Dir\": \"\\(.*\\)\".*/\\1/p'";
    let mut command = Command::new("bash");
    command.args(["-c", script]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let folder = Running::start(command, "").wait(Duration::from_secs(60)).ok().stdout;
    let path = format!("{}/Documentation/kube-flannel.yml", folder.trim());
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).replace("10.244.0.0/16", subnet)
}

fn made_by_kubeadm(lab: &Lab) {
    prepare(lab, &["n1", "n2"]);
    let driver = lab.on("n1", "stat -fc %T /sys/fs/cgroup").ok();
    let driver = if driver.stdout.trim() == "cgroup2fs" { "systemd" } else { "cgroupfs" };
    write(lab, "n1", "/root/kubeadm.yaml", &FILE.replace("DRIVER", driver));
    lab.on("n1", &format!("kubeadm init --upload-certs --config /root/kubeadm.yaml {IGNORED}")).ok();
    cluster::apply(lab, &flannel("10.64.0.0/16"));
    write(lab, "n2", "/root/join.yaml", &join_file(lab, "n2", "10.77.0.12", false));
    lab.on("n2", &format!("kubeadm join --config /root/join.yaml {IGNORED}")).ok();
    cluster::node_becomes_ready(lab, "n1");
    cluster::node_becomes_ready(lab, "n2");
    kubectl(lab, "label node n2 disk=ssd").ok();
    kubectl(lab, "taint node n2 spot=yes:PreferNoSchedule").ok();
    cluster::apply(lab, COUNTER);
    kubectl(lab, "wait --for=condition=Ready --timeout=180s pod/counter").ok();
}

fn join_file(lab: &Lab, name: &str, address: &str, is_control_plane: bool) -> String {
    let hash = lab
        .on("n1", "openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1")
        .ok();
    let hash = hash.stdout.trim();
    let control_plane = match is_control_plane {
        true => {
            format!("controlPlane:\n  localAPIEndpoint: {{advertiseAddress: {address}}}\n  certificateKey: {KEY}\n")
        }
        false => String::new(),
    };
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\nnodeRegistration:\n  name: {name}\n  kubeletExtraArgs:\n  \
         - {{name: node-ip, value: {address}}}\ndiscovery:\n  bootstrapToken:\n    apiServerEndpoint: 10.77.0.11:6443\n    \
         token: {TOKEN}\n    caCertHashes: [\"sha256:{hash}\"]\n{control_plane}"
    )
}

/// `kboot adopt`, into a file of the test's own.
fn adopted(lab: &Lab, name: &str, hosts: &[&str]) -> (Done, String) {
    let folder = lab.scratch(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).expect("it is the tests' own folder");
    let file = folder.join("inventory.yaml").display().to_string();
    let (key, known) =
        (lab.folder.join("key").display().to_string(), lab.folder.join("known_hosts").display().to_string());
    let mut arguments = vec!["adopt", "--identity-file", &key, "--known-hosts", &known, "--out", &file];
    for host in hosts {
        arguments.extend(["--host", host]);
    }
    (lab.kboot(&arguments), file)
}

/// What runs on a host: containers with their processes.
fn running(lab: &Lab, host: &str) -> BTreeSet<String> {
    let done = lab.on(host, "ctr -n k8s.io tasks ls | tail -n +2").ok();
    assert!(done.stdout.lines().count() > 4, "{done}");
    done.stdout.lines().map(String::from).collect()
}

/// A plan's changes as `host kind what`, once each.
fn planned(run: &Run) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for event in run.of_kind("planned") {
        for change in event["changes"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let object = &change["object"];
            let what = match change["change"].as_str() {
                Some("apply-object") => format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"])),
                Some("install-packages") => "packages".into(),
                Some("mark-node") => text(&change["node"]),
                Some("set-unit") => text(&change["unit"]),
                Some("refresh-packages" | "hold-packages" | "pull-images") => String::new(),
                _ => text(&change["path"]),
            };
            all.insert(format!("{} {} {what}", text(&event["host"]), text(&change["change"])).trim().to_owned());
        }
    }
    all
}

/// All that `up` does to a host that it adopts: kboot's own files, packages that it needs, and the kubelet's restart.
const ON_EACH: [&str; 9] = [
    "write-file /etc/modules-load.d/kubernetes.conf",
    "write-file /etc/sysctl.d/99-kubernetes.conf",
    "refresh-packages",
    "install-packages packages",
    "hold-packages",
    "write-file /etc/crictl.yaml",
    // Without crictl it can't be told that they are there.
    "pull-images",
    "write-file /etc/systemd/system/kubelet.service.d/50-kboot.conf",
    "set-unit kubelet.service",
];

/// On control planes, beside that.
const MODES: [&str; 2] = ["set-mode /var/lib/etcd", "set-mode /etc/kubernetes/manifests"];

fn adopt(lab: &Lab) {
    // What is yet to be started would be taken for started anew.
    cluster::system_pods_run(lab);
    let before: Vec<BTreeSet<String>> = ["n1", "n2"].map(|host| running(lab, host)).into();
    let files = |host| {
        lab.on(host, "find /etc /var/lib/kubelet/*.yaml /usr/local -xdev -type f -newer /root/mark 2>/dev/null; ls /var/lib/kboot 2>/dev/null; true").ok()
    };
    for host in ["n1", "n2"] {
        lab.on(host, "touch /root/mark").ok();
    }
    let (done, file) = adopted(lab, "adopted", &["root@10.77.0.11", "root@10.77.0.12"]);
    done.ok();
    for host in ["n1", "n2"] {
        assert_eq!(files(host).stdout, "", "{host} was changed by reading it");
    }
    let text = std::fs::read_to_string(&file).expect("it was written");
    for line in [
        "name: adopted",
        "endpoint: 10.77.0.11:6443",
        "  podSubnet: 10.64.0.0/16",
        "  cni: flannel",
        "      audit-log-path: /audit/audit.log",
        "  ownFlags: false",
        "    maxPods: 77",
        "    registry.k8s.io: http://10.77.0.1:5000",
        "    labels: {disk: ssd}",
        "    taints: [\"spot=yes:PreferNoSchedule\"]",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }

    let plan = Run::of(lab, &["plan", "-i", &file]).ends(0);
    let mut expected: BTreeSet<String> =
        ["n1", "n2"].iter().flat_map(|host| ON_EACH.map(|change| format!("{host} {change}"))).collect();
    expected.extend(MODES.map(|change| format!("n1 {change}")));
    for change in [
        "n1 mark-node n1",
        "n1 mark-node n2",
        // The testbed's, for kubeadm has been told that swap is off.
        "n2 write-file /etc/fstab",
    ] {
        expected.insert(change.into());
    }
    assert_eq!(planned(&plan), expected, "{text}");

    Run::of(lab, &["up", "-i", &file]).ends(0);
    for (host, before) in ["n1", "n2"].iter().zip(before) {
        assert_eq!(running(lab, host), before, "something was started anew on {host}");
    }
    let counter = cluster::object(lab, "pod counter");
    assert_eq!(counter["status"]["containerStatuses"][0]["restartCount"], 0, "{counter}");
    Run::of(lab, &["up", "-i", &file]).ends(0).is_unchanged();
    // Read again, it is the same; and it can be read from the standard output.
    let (done, again) = adopted(lab, "again", &["10.77.0.12", "10.77.0.11"]);
    done.ok();
    let without_head = |path: &str| -> Vec<String> {
        let text = std::fs::read_to_string(path).expect("it was written");
        text.lines().skip_while(|line| line.starts_with('#')).map(String::from).collect()
    };
    assert_eq!(without_head(&again), without_head(&file));
}

fn refused(lab: &Lab) {
    let (done, file) = adopted(lab, "worker", &["root@10.77.0.12"]);
    done.ends(1).says(&["none of the hosts is a control plane"]);
    assert!(!std::path::Path::new(&file).exists());
    let (done, _) = adopted(lab, "bare", &["root@10.77.0.11", "admin@10.77.0.13:2222"]);
    done.ends(1).says(&["admin@10.77.0.13:2222", "no node of a cluster"]);
    let (done, _) = adopted(lab, "nobody", &["root@10.77.0.11", "root@10.77.0.99"]);
    done.ends(1).says(&["look at root@10.77.0.99"]);
    // A node that is not named is in the inventory all the same.
    let (done, file) = adopted(lab, "one", &["root@10.77.0.11"]);
    done.ok().says(&["n2 was not looked at"]);
    let text = std::fs::read_to_string(&file).expect("it was written");
    assert!(text.contains("  # not looked at\n  - name: n2\n    address: 10.77.0.12\n"), "{text}");
}

/// kboot, and a file for it: what kubeadm reads, and beside it what kubeadm has no fields for.
fn bring(lab: &Lab, host: &str, file: &str) {
    lab.put(host, &lab.kboot_path(), "/tmp/kboot", "755");
    lab.put(host, &lab.folder.join("repo.asc"), "/tmp/repo.asc", "644");
    lab.on(host, &format!("install -m 755 /tmp/kboot {KBOOT}")).ok();
    write(lab, host, "/tmp/kboot-join.yaml", &format!("{file}---\n{}", own_document(lab)));
}

fn join_by_kboot(lab: &Lab) {
    lab.testbed(&["host", "add", "n4"]).ok();
    bring(lab, "n4", &join_file(lab, "n4", "10.77.0.14", false));
    Run::on(lab, "n4", &format!("{KBOOT} join --config /tmp/kboot-join.yaml")).ends(0);
    cluster::node_becomes_ready(lab, "n4");
    Run::on(lab, "n4", &format!("{KBOOT} join --config /tmp/kboot-join.yaml")).ends(0).is_unchanged();

    // The authorities that kubeadm uploaded, by its key.
    bring(lab, "n3", &join_file(lab, "n3", "10.77.0.13", true).replace(KEY, &KEY.replace('f', "e")));
    lab.kboot_on("n3", "join --config /tmp/kboot-join.yaml").ends(1).says(&["the certificate key is another one"]);
    bring(lab, "n3", &join_file(lab, "n3", "10.77.0.13", true));
    lab.kboot_on("n3", "join --config /tmp/kboot-join.yaml").ok();
    cluster::node_becomes_ready(lab, "n3");
    Run::on(lab, "n3", &format!("{KBOOT} join --config /tmp/kboot-join.yaml")).ends(0).is_unchanged();
    etcdctl::all_vote(lab, "n1", &["n1", "n3"]);
    // What the cluster was told when it was made holds for the new control plane.
    lab.on("n3", "grep -q -- --audit-log-path=/audit/audit.log /etc/kubernetes/manifests/kube-apiserver.yaml").ok();
    lab.on("n3", "openssl x509 -noout -text -in /etc/kubernetes/pki/apiserver.crt | grep -q api.adopted.test").ok();
}

/// A worker of kboot's is taken apart by kubeadm, and comes back as a control plane of kubeadm's.
fn reset_and_join(lab: &Lab) {
    lab.on("n4", "kubeadm reset -f").ok();
    lab.on("n4", "ls /etc/kubernetes/manifests/* /etc/kubernetes/kubelet.conf /var/lib/kubelet/config.yaml 2>/dev/null | grep . && exit 1; exit 0").ok();
    kubectl(lab, "delete node n4").ok();
    write(lab, "n4", "/root/join.yaml", &join_file(lab, "n4", "10.77.0.14", true));
    lab.on("n4", &format!("kubeadm join --config /root/join.yaml {IGNORED}")).ok();
    cluster::node_becomes_ready(lab, "n4");
    etcdctl::all_vote(lab, "n1", &["n1", "n3", "n4"]);
    // With two control planes of kubeadm's and one of kboot's, adopted anew.
    let (done, file) = adopted(lab, "three", &["10.77.0.11", "10.77.0.12", "admin@10.77.0.13:2222", "10.77.0.14"]);
    done.ok();
    let plan = Run::of(lab, &["plan", "-i", &file]).ends(0);
    // The one that kboot joined has the flags that kboot sets, and a cluster of kubeadm's goes without them.
    let matters = |change: &String| change.contains(" write-file /etc/kubernetes/") || change.contains(" set-unit ");
    let restarted: Vec<String> = planned(&plan).into_iter().filter(matters).collect();
    let expected = ["kube-apiserver", "kube-controller-manager"]
        .map(|pod| format!("n3 write-file /etc/kubernetes/manifests/{pod}.yaml"));
    assert_eq!(restarted, expected, "{plan}");
    // And by kubeadm once more: its member goes with it.
    lab.on("n4", "kubeadm reset -f").ok();
    kubectl(lab, "delete node n4").ok();
    eventually(Duration::from_secs(30), "n4's member is gone", || {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| etcdctl::all_vote(lab, "n1", &["n1", "n3"])))
            .map_err(|_| "not yet".into())
    });
    lab.testbed(&["host", "remove", "n4"]).ok();
}

fn kubeadm_works_on(lab: &Lab) {
    for host in ["n1", "n3"] {
        let before = expiries(lab, host);
        lab.on(host, "kubeadm certs renew all").ok();
        let after = expiries(lab, host);
        assert!(before.iter().zip(&after).all(|(old, new)| old < new), "{before:?}\n{after:?}");
        // Only the first control plane has the key to everything.
        let checked = lab.on(host, "kubeadm certs check-expiration | grep -v super-admin.conf").ok();
        assert!(!checked.text().contains("MISSING") && !checked.text().contains("invalid"), "{checked}");
    }
    lab.on("n3", "timeout 100 kubeadm upgrade plan v1.37.2 2>&1").ok();
    let token = lab.on("n3", "kubeadm token create --ttl 1h").ok();
    lab.kboot_on("n3", "token list").ok().says(&[&token.stdout.trim()[..6]]);
    lab.on("n1", "kubeadm token list").ok().says(&[&token.stdout.trim()[..6]]);
    lab.on(
        "n1",
        "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system get configmap kubeadm-config -o 'jsonpath={.data.ClusterConfiguration}' >/root/ours.yaml
         kubeadm config migrate --old-config /root/ours.yaml --new-config /root/theirs.yaml && grep -q 'clusterName: adopted' /root/theirs.yaml",
    )
    .ok();
    // The adopted inventory, with what has joined since.
    let (done, file) = adopted(lab, "renewed", &["10.77.0.11", "10.77.0.12", "admin@10.77.0.13:2222"]);
    done.ok();
    Run::of(lab, &["up", "-i", &file]).ends(0);
    let before = ["n1", "n3"]
        .map(|host| lab.on(host, "sha256sum /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt").ok().stdout);
    Run::of(lab, &["up", "-i", &file]).ends(0).is_unchanged();
    Run::on(lab, "n3", &format!("{KBOOT} join --config /tmp/kboot-join.yaml")).ends(0);
    let after = ["n1", "n3"]
        .map(|host| lab.on(host, "sha256sum /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt").ok().stdout);
    assert_eq!(before, after);
    kubectl(lab, "get nodes").ok();
}

/// When each certificate of a control plane ends, in seconds.
fn expiries(lab: &Lab, host: &str) -> Vec<u64> {
    let script =
        "for f in apiserver apiserver-kubelet-client front-proxy-client apiserver-etcd-client etcd/server etcd/peer; do
          date -d \"$(openssl x509 -noout -enddate -in /etc/kubernetes/pki/$f.crt | cut -d= -f2)\" +%s
        done";
    lab.on(host, script).ok().stdout.lines().map(|line| line.parse().expect("a number")).collect()
}

fn renewed_on_kboot_s(lab: &Lab) {
    let inventory = lab.inventory();
    let before = expiries(lab, "n1");
    lab.on("n1", "kubeadm certs renew all").ok();
    let after = expiries(lab, "n1");
    assert!(before.iter().zip(&after).all(|(old, new)| old < new), "{before:?}\n{after:?}");
    Run::of(lab, &["up", "-i", &inventory]).ends(0).is_unchanged();
    lab.on(
        "n1",
        "kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system get configmap kubeadm-config -o 'jsonpath={.data.ClusterConfiguration}' >/root/ours.yaml
         kubeadm config migrate --old-config /root/ours.yaml --new-config /root/theirs.yaml && grep -q 'clusterName: lab' /root/theirs.yaml",
    )
    .ok();
    let token = lab.on("n1", "kubeadm token create --ttl 1h").ok();
    let list = ["token", "list", "--kubeconfig", &lab.admin_conf()];
    lab.kboot_secretly(&list).ok().says(&[&token.stdout.trim()[..6]]);
    lab.on("n1", &format!("kubeadm token delete {}", token.stdout.trim())).ok();
    cluster::nodes_are_ready(lab, &["n1", "n2", "n3"]);
}
