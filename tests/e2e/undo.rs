//! What each host's journal knows: `kboot history`, `kboot undo`, and who it was that moved.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::chains::Test;
use crate::cluster;
use crate::events::{Run, text};
use crate::lab::Lab;
use crate::up::CLUSTER;

pub const TESTS: &[Test] = &[
    Test { name: "undo::an_edit_is_taken_back_and_the_hosts_are_as_the_inventory_was", start: CLUSTER, run: an_edit },
    Test { name: "undo::what_somebody_edited_since_is_kept", start: CLUSTER, run: edited_since },
    Test { name: "undo::a_worker_that_a_run_brought_in_leaves", start: CLUSTER, run: a_worker_leaves },
    Test { name: "undo::a_plan_tells_who_moved", start: CLUSTER, run: who_moved },
];

/// The runs of a host, the last first.
fn history(lab: &Lab, host: &str) -> Vec<Value> {
    let said = lab.kboot(&["history", "-i", &lab.inventory(), host, "-o", "json"]).ok().stdout;
    said.lines().map(|line| serde_json::from_str::<Value>(line).expect("an object a line")["run"].clone()).collect()
}

fn edited(lab: &Lab, name: &str, change: impl FnOnce(&mut serde_yaml::Value)) -> String {
    lab.inventory_with(name, change)
}

fn yaml(text: &str) -> serde_yaml::Value {
    serde_yaml::from_str(text).expect("it is YAML")
}

fn warnings(run: &Run) -> Vec<String> {
    run.of_kind("warning").map(|event| format!("{}: {}", text(&event["host"]), text(&event["text"]))).collect()
}

fn an_edit(lab: &Lab) {
    let forwarding = |host: &str| lab.on(host, "cat /proc/sys/net/core/somaxconn").ok().stdout;
    let before = forwarding("n2");
    let inventory = edited(lab, "undo", |inventory| {
        inventory["sysctls"] = yaml("{net.core.somaxconn: '1234'}");
        inventory["hosts"][1]["labels"] = yaml("{disk: ssd, shelf: top}");
        inventory["hosts"][1]["taints"] = yaml("['dedicated=web:NoSchedule']");
        inventory["images"]["mirrors"]["quay.io"] = yaml("http://10.77.0.1:5000");
    });
    Run::of(lab, &["up", "-i", &inventory]).ends(0);
    assert_eq!(forwarding("n2").trim(), "1234");

    let last = history(lab, "n2").first().cloned().expect("it has a journal");
    assert_eq!((&last["info"]["command"], &last["outcome"]), (&"kboot up".into(), &"changed".into()), "{last:#}");
    let made: Vec<String> =
        last["changes"].as_array().expect("a list").iter().map(|made| text(&made["text"])).collect();
    assert!(made.iter().any(|text| text.starts_with("set net.core.somaxconn = 1234")), "{made:#?}");
    let id = text(&last["info"]["id"]);
    let told = lab.kboot(&["history", "-i", &inventory, "--run", &id]).ok().stdout;
    assert!(told.contains("n1: `kboot up`") && told.contains("mark the node n2"), "{told}");

    // Nobody is here to confirm it; a dry run needs nobody.
    lab.kboot(&["undo", "-i", &inventory]).ends(2).says(&["--yes"]);
    let plan = Run::of(lab, &["undo", "-i", &inventory, "--dry-run"]).ends(0);
    assert_eq!(plan.changes(), Vec::<String>::new(), "{plan}");
    assert_eq!(forwarding("n2").trim(), "1234");

    let run = Run::of(lab, &["undo", "-i", &inventory, "--yes"]).ends(0);
    assert_eq!(warnings(&run), Vec::<String>::new(), "{run}");
    assert_eq!(forwarding("n2"), before);
    let node = cluster::object(lab, "node n2");
    assert_eq!((&node["metadata"]["labels"]["shelf"], &node["spec"]["taints"]), (&Value::Null, &Value::Null));
    lab.on("n3", "! test -e /etc/containerd/certs.d/quay.io").ok();
    let table = lab.kboot(&["history", "-i", &inventory, "n2"]).ok().stdout;
    assert!(table.lines().any(|line| line.contains(&id) && line.ends_with("taken back")), "{table}");
    Run::of(lab, &["up", "-i", &lab.inventory()]).ends(0).is_unchanged();
}

fn edited_since(lab: &Lab) {
    let inventory = edited(lab, "undo", |inventory| {
        inventory["images"]["mirrors"]["quay.io"] = yaml("http://10.77.0.1:5000");
    });
    Run::of(lab, &["up", "-i", &inventory]).ends(0);
    lab.on("n2", "echo '# mine' >>/etc/containerd/certs.d/quay.io/hosts.toml").ok();
    let run = Run::of(lab, &["undo", "-i", &inventory, "--yes"]).ends(0);
    let said = warnings(&run);
    let kept = "n2: /etc/containerd/certs.d/quay.io/hosts.toml: kept, for it was changed since";
    assert!(said.iter().any(|warning| warning == kept), "{said:#?}\n{run}");
    assert!(said.iter().all(|warning| warning.starts_with("n2: ")), "{said:#?}");
    lab.on("n2", "grep mine /etc/containerd/certs.d/quay.io/hosts.toml && rm -r /etc/containerd/certs.d/quay.io").ok();
    lab.on("n3", "! test -e /etc/containerd/certs.d/quay.io").ok();
    Run::of(lab, &["up", "-i", &lab.inventory()]).ends(0).is_unchanged();
}

/// n3 leaves, comes back, and the run that brought it back is taken back.
fn a_worker_leaves(lab: &Lab) {
    let inventory = lab.inventory();
    Run::of(lab, &["reset", "-i", &inventory, "--host", "n3", "--yes", "--keep-packages"]).ends(0);
    Run::of(lab, &["up", "-i", &inventory]).ends(0);
    cluster::nodes_are_ready(lab, &["n1", "n2", "n3"]);
    Run::of(lab, &["undo", "-i", &inventory, "--yes"]).ends(0);
    cluster::nodes_are_ready(lab, &["n1", "n2"]);
    lab.on(
        "n3",
        "! systemctl is-active -q kubelet && ! test -e /etc/kubernetes/kubelet.conf && test -z \"$(crictl pods -q)\"",
    )
    .ok();
    // What was there before that run stays.
    lab.on("n3", "dpkg -s kubelet containerd.io").ok();
    Run::of(lab, &["up", "-i", &inventory]).ends(0);
    cluster::nodes_are_ready(lab, &["n1", "n2", "n3"]);
    Run::of(lab, &["up", "-i", &inventory]).ends(0).is_unchanged();
}

/// The cause of each proposed change, by host and path or name.
fn causes(plan: &Run) -> BTreeMap<String, String> {
    let mut causes = BTreeMap::new();
    for event in plan.of_kind("planned") {
        for change in event["changes"].as_array().expect("a list") {
            let object = &change["object"]["metadata"]["name"];
            let name = [&change["path"], &change["key"], &change["node"], object].map(|name| name.as_str());
            let name = name.into_iter().flatten().next().unwrap_or("");
            causes.insert(format!("{} {name}", text(&event["host"])), text(&change["cause"]));
        }
    }
    causes
}

fn who_moved(lab: &Lab) {
    lab.on("n2", "echo '# mine' >>/etc/crictl.yaml; sysctl -qw net.ipv4.ip_forward=0").ok();
    let patch = r#"patch configmap kubelet-config -n kube-system --type merge -p '{"data":{"kubelet":"mine"}}'"#;
    cluster::kubectl(lab, patch).ok();
    let inventory = edited(lab, "moved", |inventory| {
        inventory["hosts"][2]["labels"] = yaml("{disk: hdd, shelf: low}");
        inventory["images"]["mirrors"]["quay.io"] = yaml("http://10.77.0.1:5000");
    });
    let plan = Run::of(lab, &["up", "-i", &inventory, "--dry-run"]).ends(0);
    let found = causes(&plan);
    let cause = |name: &str| found.get(name).map(String::as_str);
    assert_eq!(cause("n2 /etc/crictl.yaml"), Some("drift"), "{found:#?}");
    assert_eq!(cause("n2 net.ipv4.ip_forward"), Some("drift"), "{found:#?}");
    assert_eq!(cause("n1 kubelet-config"), Some("drift"), "{found:#?}");
    // New, or once there and taken back; in no case anybody's doing.
    let mirror = cause("n3 /etc/containerd/certs.d/quay.io/hosts.toml");
    assert!([Some("new"), Some("inventory")].contains(&mirror), "{found:#?}");
    assert_eq!(mirror, cause("n1 /etc/containerd/certs.d/quay.io/hosts.toml"), "{found:#?}");

    // Kept, what somebody made; done, what the inventory asks for.
    let run = Run::of(lab, &["up", "-i", &inventory, "--drift", "keep"]).ends(0);
    assert!(warnings(&run).iter().any(|warning| warning.contains("kept as somebody made it")), "{run}");
    lab.on("n2", "grep mine /etc/crictl.yaml && test $(cat /proc/sys/net/ipv4/ip_forward) = 0").ok();
    lab.on("n3", "test -e /etc/containerd/certs.d/quay.io/hosts.toml").ok();

    Run::of(lab, &["up", "-i", &lab.inventory()]).ends(0);
    lab.on("n2", "! grep mine /etc/crictl.yaml && test $(cat /proc/sys/net/ipv4/ip_forward) = 1").ok();
    Run::of(lab, &["up", "-i", &lab.inventory()]).ends(0).is_unchanged();
    cluster::is_good(lab);
}
