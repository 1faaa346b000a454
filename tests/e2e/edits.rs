//! The inventory of a running cluster is edited, and `up` run again: that is done and nothing else, and only what needs it starts anew.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::chains::Test;
use crate::cluster;
use crate::events::{Run, text};
use crate::lab::Lab;
use crate::up::CLUSTER;

pub const TESTS: &[Test] = &[
    Test { name: "edits::of_hosts_restart_nothing", start: CLUSTER, run: of_hosts },
    Test { name: "edits::of_the_kubelet_restart_it_host_by_host", start: CLUSTER, run: of_the_kubelet },
    Test { name: "edits::of_a_component_restart_that_one", start: CLUSTER, run: of_a_component },
    Test { name: "edits::that_a_component_dies_of_are_told_and_mended", start: CLUSTER, run: of_a_bad_flag },
    Test { name: "edits::that_the_kubelet_dies_of_stop_at_the_first_host", start: CLUSTER, run: of_a_bad_kubelet },
    Test { name: "edits::of_what_a_cluster_keeps_are_refused", start: CLUSTER, run: of_what_is_kept },
    Test { name: "edits::services_start_anew_for_other_files_alone", start: CLUSTER, run: by_others },
];

const HOSTS: [&str; 3] = ["n1", "n2", "n3"];

type Inventory = serde_yaml::Value;

/// What runs: of each host its containers and its two services, each with what tells it from its successor.
fn running(lab: &Lab) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for host in HOSTS {
        let script = "for unit in kubelet containerd; do echo $unit $(systemctl show -P MainPID $unit.service); done
            crictl ps -o json | tr -d '\\n '";
        let said = lab.on(host, script).ok().stdout;
        let (units, containers) = said.split_once('{').expect("units, then containers");
        for (unit, pid) in units.lines().filter_map(|line| line.split_once(' ')) {
            all.insert(format!("{host} {unit}"), pid.to_string());
        }
        let list: Value = serde_json::from_str(&format!("{{{containers}")).expect("crictl prints JSON");
        for container in list["containers"].as_array().expect("a list") {
            let pod = text(&container["labels"]["io.kubernetes.pod.name"]);
            let name = format!("{host} {pod} {}", text(&container["metadata"]["name"]));
            all.insert(name, text(&container["id"]));
        }
    }
    all
}

/// What is not as it was, by name.
fn restarted(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> BTreeSet<String> {
    let names = before.keys().chain(after.keys());
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// The changes that a run made, as `n1 write-file /etc/x`.
fn made(run: &Run) -> BTreeSet<String> {
    run.of_kind("change-finished")
        .map(|event| {
            let change = &event["change"];
            let object = &change["object"];
            let kind = text(&change["change"]);
            let what = match kind.as_str() {
                "set-unit" if !change["restart"].is_null() => format!("{} restart", text(&change["unit"])),
                "set-unit" => text(&change["unit"]),
                "set-sysctl" => format!("{} {}", text(&change["key"]), text(&change["after"])),
                "apply-object" => format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"])),
                "issue-certificate" => text(&change["certificate"]),
                "mark-node" => text(&change["node"]),
                _ => text(&change["path"]),
            };
            format!("{} {kind} {what}", text(&event["host"]))
        })
        .collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(ToString::to_string).collect()
}

/// `up` with an edited inventory: what it changed, and what runs no more or anew. A second run changes nothing.
#[track_caller]
fn up(lab: &Lab, inventory: &str) -> (Run, BTreeSet<String>) {
    let before = running(lab);
    let run = Run::of(lab, &["up", "-i", inventory]).ends(0);
    // It has waited for all that it started: nothing is to come.
    let anew = restarted(&before, &running(lab));
    Run::of(lab, &["up", "-i", inventory]).ends(0).is_unchanged();
    (run, anew)
}

fn field(inventory: &mut Inventory, path: &str, value: &str) {
    let mut place = inventory;
    for key in path.split('/') {
        place = match key.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => {
                if place.is_null() {
                    *place = Inventory::Mapping(Default::default());
                }
                place.as_mapping_mut().expect("fields").entry(key.into()).or_insert(Inventory::Null)
            }
        };
    }
    *place = serde_yaml::from_str(value).expect("it is YAML");
}

/// The lab's inventory with fields set, as `hosts/1/labels` to `{a: b}`.
fn edited(lab: &Lab, name: &str, fields: &[(&str, &str)]) -> String {
    lab.inventory_with(name, |inventory| fields.iter().for_each(|(path, value)| field(inventory, path, value)))
}

fn of_hosts(lab: &Lab) {
    let somaxconn = |host: &str| lab.on(host, "cat /proc/sys/net/core/somaxconn").ok().stdout.trim().to_string();
    let backlog = somaxconn("n2");
    cluster::kubectl(lab, "label node n2 team=theirs").ok();
    let fields = [
        ("hosts/1/labels", "{disk: nvme, zone: a}"),
        ("hosts/1/taints", "['dedicated=web:NoSchedule']"),
        ("sysctls", "{net.core.somaxconn: '1000'}"),
        ("hosts/2/sysctls", "{net.core.somaxconn: '2000'}"),
        ("images/mirrors/quay.io", "http://10.77.0.1:5000"),
    ];
    let (run, anew) = up(lab, &edited(lab, "hosts", &fields));
    let files = |host: &str, value: &str| {
        [
            format!("{host} write-file /etc/sysctl.d/99-kubernetes.conf"),
            format!("{host} set-sysctl net.core.somaxconn {value}"),
            format!("{host} write-file /etc/containerd/certs.d/quay.io/hosts.toml"),
        ]
    };
    let mut expected = set(&["n1 mark-node n2"]);
    for (host, value) in [("n1", "1000"), ("n2", "1000"), ("n3", "2000")] {
        expected.extend(files(host, value));
    }
    assert_eq!(made(&run), expected, "{run}");
    assert_eq!(anew, set(&[]), "{run}");
    assert_eq!((somaxconn("n2"), somaxconn("n3")), ("1000".into(), "2000".into()));
    let node = cluster::object(lab, "node n2");
    let labels = &node["metadata"]["labels"];
    assert_eq!((&labels["disk"], &labels["zone"], &labels["team"]), (&"nvme".into(), &"a".into(), &"theirs".into()));
    assert_eq!(node["spec"]["taints"][0]["value"], "web", "{}", node["spec"]);

    // All of it back.
    let (run, anew) = up(lab, &lab.inventory());
    let mut expected = set(&["n1 mark-node n2"]);
    for host in HOSTS {
        let [file, ..] = files(host, "");
        expected.extend([
            file,
            format!("{host} set-sysctl net.core.somaxconn {backlog}"),
            format!("{host} remove /etc/containerd/certs.d/quay.io/hosts.toml"),
            format!("{host} remove /etc/containerd/certs.d/quay.io"),
        ]);
    }
    assert_eq!(made(&run), expected, "{run}");
    assert_eq!(anew, set(&[]), "{run}");
    assert_eq!(somaxconn("n3"), backlog);
    let node = cluster::object(lab, "node n2");
    let labels = &node["metadata"]["labels"];
    assert_eq!((&labels["disk"], &labels["zone"], &labels["team"]), (&"ssd".into(), &Value::Null, &"theirs".into()));
    assert_eq!(node["spec"]["taints"], Value::Null);
    cluster::kubectl(lab, "label node n2 team-").ok();
}

fn of_the_kubelet(lab: &Lab) {
    let expected = || {
        let each = HOSTS.iter().flat_map(|host| {
            [
                format!("{host} write-file /var/lib/kubelet/config.yaml"),
                format!("{host} set-unit kubelet.service restart"),
            ]
        });
        each.chain(["n1 apply-object ConfigMap/kubelet-config".to_string()]).collect::<BTreeSet<_>>()
    };
    let kubelets = set(&["n1 kubelet", "n2 kubelet", "n3 kubelet"]);
    for (fields, pods) in [(&[("kubelet/config/maxPods", "42")][..], "42"), (&[], "110")] {
        let (run, anew) = up(lab, &edited(lab, "kubelet", fields));
        assert_eq!(made(&run), expected(), "{run}");
        assert_eq!(anew, kubelets, "{run}");
        for host in HOSTS {
            assert_eq!(cluster::object(lab, &format!("node {host}"))["status"]["capacity"]["pods"], pods, "{host}");
        }
        one_after_the_other(&run, "join", &["n2", "n3"]);
    }
}

/// No two hosts were in the phase at the same time.
#[track_caller]
fn one_after_the_other(run: &Run, phase: &str, hosts: &[&str]) {
    let mut inside = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for event in run.events.iter().filter(|event| event["phase"] == phase) {
        let host = text(&event["host"]);
        match event["event"].as_str() {
            Some("phase-started") => {
                assert!(inside.is_empty(), "{host} began while {inside:?} were at it\n{run}");
                inside.insert(host.clone());
                seen.insert(host);
            }
            Some("phase-finished") => {
                inside.remove(&host);
            }
            _ => {}
        }
    }
    assert_eq!(seen, set(hosts), "{run}");
}

fn of_a_component(lab: &Lab) {
    let fields = [("controlPlane/apiServer/extraArgs", "{default-not-ready-toleration-seconds: '60'}")];
    let (run, anew) = up(lab, &edited(lab, "flag", &fields));
    let manifest = "n1 write-file /etc/kubernetes/manifests/kube-apiserver.yaml";
    assert_eq!(made(&run), set(&[manifest, "n1 apply-object ConfigMap/kubeadm-config"]), "{run}");
    is_the_api_server(&anew, &run);
    let command = lab.on("n1", "tr '\\0' ' ' </proc/$(pgrep -x kube-apiserver)/cmdline").ok().stdout;
    assert!(command.contains("--default-not-ready-toleration-seconds=60"), "{command}");

    // And a name in its certificate, which it takes up as it runs.
    let key = || lab.on("n1", "sha256sum /etc/kubernetes/pki/apiserver.key").ok().stdout;
    let before = key();
    let mut more = fields.to_vec();
    more.push(("certificates/extraSANs", "[api.lab.example, 192.0.2.7]"));
    let (run, anew) = up(lab, &edited(lab, "names", &more));
    let certificate = "n1 issue-certificate /etc/kubernetes/pki/apiserver.crt";
    assert_eq!(made(&run), set(&[certificate, "n1 apply-object ConfigMap/kubeadm-config"]), "{run}");
    assert_eq!(anew, set(&[]), "{run}");
    assert_eq!(key(), before, "the key is another one");
    for name in ["api.lab.example", "192.0.2.7"] {
        cluster::kubectl(lab, &format!("--tls-server-name {name} get --raw /livez")).ok();
    }

    let (run, anew) = up(lab, &lab.inventory());
    assert_eq!(made(&run), set(&[manifest, certificate, "n1 apply-object ConfigMap/kubeadm-config"]), "{run}");
    is_the_api_server(&anew, &run);
    let done = cluster::kubectl(lab, "--tls-server-name api.lab.example get --raw /livez");
    assert_ne!(done.code, Some(0), "the name is still in the certificate\n{done}");
}

/// Whoever leads by a lease ends itself when nobody renews it for ten seconds: on a busy machine the API server takes longer to
/// come back.
#[track_caller]
fn is_the_api_server(anew: &BTreeSet<String>, run: &Run) {
    let leaders = ["n1 kube-controller-manager-n1 kube-controller-manager", "n1 kube-scheduler-n1 kube-scheduler"];
    let others = anew.iter().filter(|name| !leaders.contains(&name.as_str())).cloned().collect();
    assert_eq!(set(&["n1 kube-apiserver-n1 kube-apiserver"]), others, "{run}");
}

fn of_a_bad_flag(lab: &Lab) {
    let fields = [("controlPlane/scheduler/extraArgs", "{no-such-flag: '1'}")];
    let before = running(lab);
    let run = Run::of(lab, &["up", "-i", &edited(lab, "bad-flag", &fields)]).ends(1);
    let cause = run.causes("n1").concat();
    assert!(cause.contains("kube-scheduler does not stay up"), "{cause}\n{run}");
    let said = run.of_kind("failed").map(ToString::to_string).collect::<String>();
    assert!(said.contains("unknown flag: --no-such-flag"), "its last words are not told\n{said}");
    assert!(said.contains("controlPlane.scheduler"), "{said}");
    let (run, anew) = up(lab, &lab.inventory());
    let manifest = "n1 write-file /etc/kubernetes/manifests/kube-scheduler.yaml";
    assert_eq!(made(&run), set(&[manifest]), "{run}");
    assert_eq!(anew, set(&["n1 kube-scheduler-n1 kube-scheduler"]), "{run}");
    assert_eq!(restarted(&before, &running(lab)), anew);
}

fn of_a_bad_kubelet(lab: &Lab) {
    let before = running(lab);
    let fields = [("kubelet/config/evictionHard/memory.nothing", "100Mi")];
    let run = Run::of(lab, &["up", "-i", &edited(lab, "bad-kubelet", &fields)]).ends(1);
    let cause = run.causes("n1").concat();
    assert!(cause.contains("the kubelet does not stay up"), "{cause}\n{run}");
    let said = run.of_kind("failed").map(ToString::to_string).collect::<String>();
    assert!(said.contains("memory.nothing"), "its last words are not told\n{said}");
    // The workers were spared.
    assert_eq!(
        made(&run),
        set(&["n1 write-file /var/lib/kubelet/config.yaml", "n1 set-unit kubelet.service restart"]),
        "{run}"
    );
    let run = Run::of(lab, &["up", "-i", &lab.inventory()]).ends(0);
    assert_eq!(
        made(&run),
        set(&["n1 write-file /var/lib/kubelet/config.yaml", "n1 set-unit kubelet.service restart"]),
        "{run}"
    );
    assert_eq!(restarted(&before, &running(lab)), set(&["n1 kubelet"]));
    cluster::nodes_are_ready(lab, &HOSTS);
}

fn of_what_is_kept(lab: &Lab) {
    let fields = [
        ("network/podSubnet", "10.245.0.0/16"),
        ("network/serviceSubnet", "10.112.0.0/12"),
        ("network/dnsDomain", "other.local"),
        ("network/cni", "weave"),
        ("kubernetes/version", "v1.37.1"),
        ("endpoint", "api.lab.example"),
        ("hosts/1/address", "10.77.0.99"),
        ("hosts/1/ssh/address", "10.77.0.12"),
    ];
    let before = running(lab);
    let run = Run::of(lab, &["up", "-i", &edited(lab, "kept", &fields)]).ends(1);
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
    let causes = run.causes("n1").join("\n");
    for both in [
        ["10.244.0.0/16", "10.245.0.0/16"],
        ["10.96.0.0/12", "10.112.0.0/12"],
        ["cluster.local", "other.local"],
        ["flannel", "weave"],
        ["v1.37.2", "v1.37.1"],
        ["10.77.0.11:6443", "api.lab.example:6443"],
    ] {
        assert!(
            causes.lines().any(|line| both.iter().all(|value| line.contains(value))),
            "{both:?} in\n{causes}\n{run}"
        );
    }
    let causes = run.causes("n2").join("\n");
    assert!(causes.contains("10.77.0.12") && causes.contains("10.77.0.99"), "{causes}\n{run}");
    let renamed = edited(lab, "renamed", &[("hosts/1/name", "other")]);
    let run = Run::of(lab, &["up", "-i", &renamed]).ends(1);
    assert!(run.causes("other").concat().contains("node n2"), "{run}");
    assert_eq!(restarted(&before, &running(lab)), set(&[]));
}

/// Files that somebody touched or changed, and objects of the cluster with more in them than kboot wants.
fn by_others(lab: &Lab) {
    let inventory = lab.inventory();
    // Times tell nothing: these are as they were, and say that they are a year older or younger.
    lab.on("n2", "touch -d '+1 year' /etc/containerd/config.toml; touch -d '-1 year' /var/lib/kubelet/config.yaml")
        .ok();
    Run::of(lab, &["up", "-i", &inventory]).ends(0).is_unchanged();
    // A file that was changed, and whose service was not started since.
    lab.on("n2", "echo '# x' >>/etc/containerd/config.toml").ok();
    let (run, anew) = up(lab, &inventory);
    assert_eq!(made(&run), set(&["n2 write-file /etc/containerd/config.toml"]), "{run}");
    assert_eq!(anew, set(&[]), "{run}");
    // One whose service was.
    lab.on("n2", "echo '# x' >>/etc/containerd/config.toml; systemctl restart containerd").ok();
    let (run, anew) = up(lab, &inventory);
    let expected = set(&["n2 write-file /etc/containerd/config.toml", "n2 set-unit containerd.service restart"]);
    assert_eq!(made(&run), expected, "{run}");
    assert_eq!(anew, set(&["n2 containerd"]), "{run}");

    // As an earlier kboot may have left it, and with something of a person's own.
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: kube-proxy\n  namespace: kube-system\n  annotations: {former: 'yes'}\n";
    let script = format!(
        "export KUBECONFIG=/etc/kubernetes/admin.conf
         kubectl annotate configmap -n kube-system kube-proxy own=yes
         kubectl apply --server-side --force-conflicts --field-manager kboot -f - <<'END'\n{object}\nEND\n"
    );
    lab.on("n1", &script).ok();
    let (run, anew) = up(lab, &inventory);
    assert_eq!(made(&run), set(&["n1 apply-object ConfigMap/kube-proxy"]), "{run}");
    assert_eq!(anew, set(&[]), "{run}");
    let map = cluster::object(lab, "configmap -n kube-system kube-proxy");
    let annotations = &map["metadata"]["annotations"];
    assert_eq!((&annotations["former"], &annotations["own"]), (&Value::Null, &"yes".into()), "{annotations}");
    assert!(map["data"]["config.conf"].is_string(), "{}", map["data"]);
    cluster::kubectl(lab, "annotate configmap -n kube-system kube-proxy own-").ok();
}
