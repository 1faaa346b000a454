//! Plans that are kept and carried out, and what becomes of them when a host moves.

use rustix::process::Signal;

use crate::agreement::differences;
use crate::chains::{Start, Test};
use crate::cluster;
use crate::events::Run;
use crate::lab::{Lab, RUN};
use crate::up::CLUSTER;
use crate::whole::{AGENTS_FOLDERS, Whole};

pub const TESTS: &[Test] = &[
    Test { name: "plan::a_kept_plan_makes_the_cluster_that_it_says", start: Start::bare(1), run: a_kept_plan },
    Test { name: "plan::carried_out_again_it_finds_nothing_to_do", start: KEPT, run: carried_out_again },
    Test { name: "plan::other_plans_are_refused", start: KEPT, run: other_plans },
];

pub const ON_CLUSTER: &[Test] = &[
    Test { name: "plan::exit_codes_tell_nothing_from_something", start: CLUSTER, run: exit_codes },
    Test { name: "plan::a_host_that_moved_is_named_and_nothing_is_changed", start: CLUSTER, run: a_host_that_moved },
    Test { name: "plan::a_change_restarts_what_reads_it_and_the_plan_says_so", start: CLUSTER, run: restarts },
];

const KEPT: Start = Start::After("plan::a_kept_plan_makes_the_cluster_that_it_says");

/// One host is enough: what a plan is held to does not depend on how many there are.
fn a_kept_plan(lab: &Lab) {
    let inventory = lab.inventory_of(&["n1"]);
    let file = lab.scratch("kept.json").display().to_string();
    let before = Whole::of(lab, "n1");
    let plan = Run::of(lab, &["plan", "-i", &inventory, "--out", &file]).ends(0);
    before.still_holds(lab, &AGENTS_FOLDERS);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("it is there").permissions());
    assert_eq!(mode & 0o777, 0o600, "others can read the plan");

    // Cut off, and simply repeated.
    let mut cut = lab.start_kboot(&["apply", &file, "--output", "json"]);
    cut.until(RUN, "an installation", |said| said.contains("change-started") && said.contains("install-packages"));
    cut.signal(Signal::KILL);
    let cut = Run::read_cut(lab.finish(cut));
    let run = Run::of(lab, &["apply", &file]).ends(0);
    assert!(!run.changes().is_empty(), "{run}");
    // What the cut one did is not done again.
    let unplanned = |run: &Run| differences(&plan, run).into_iter().filter(|line| line.contains("not planned"));
    assert_eq!(unplanned(&cut).chain(unplanned(&run)).collect::<Vec<_>>(), Vec::<String>::new(), "{run}");
    cluster::nodes_are_ready(lab, &["n1"]);
    doubted(&plan, &run);
}

/// A comparison that could not fail would show nothing.
fn doubted(plan: &Run, run: &Run) {
    let mut other = run.clone();
    let finished = other.events.iter_mut().filter(|event| event["event"] == "change-finished");
    for event in finished.filter(|event| event["change"]["path"] == "/etc/crictl.yaml") {
        event["change"]["after"] = serde_json::json!({"text": "something else"});
    }
    assert!(
        differences(plan, &other).iter().any(|line| line.contains("not planned")),
        "another content went unnoticed"
    );
    let mut less = run.clone();
    less.events.retain(|event| event["step"] != "configure-crictl" || event["event"] != "change-finished");
    assert!(
        differences(plan, &less).iter().any(|line| line.contains("never happened") && line.contains("crictl")),
        "a lack went unnoticed"
    );
}

fn carried_out_again(lab: &Lab) {
    let file = lab.scratch("kept.json").display().to_string();
    Run::of(lab, &["apply", &file]).ends(0).is_unchanged();
}

fn other_plans(lab: &Lab) {
    let kept = std::fs::read_to_string(lab.scratch("kept.json")).expect("it was made");
    let cases = [
        (kept.replacen("\"cni\": \"flannel\"", "\"cni\": \"none\"", 1), "changed after kboot wrote it"),
        (kept.replacen("\"version\": 1", "\"version\": 7", 1), "its format is version 7"),
        (kept[..kept.len() / 2].to_string(), "was cut off"),
    ];
    for (text, says) in cases {
        assert_ne!(text, kept);
        let path = lab.scratch("other.json");
        std::fs::write(&path, text).expect("it is ours");
        lab.kboot(&["apply", &path.display().to_string()]).ends(2).says(&[says, "kboot plan"]);
    }
}

fn exit_codes(lab: &Lab) {
    let inventory = lab.inventory();
    lab.kboot(&["plan", "-i", &inventory, "--detailed-exitcode"]).ends(0).says(&["No changes"]);
    lab.on("n2", "echo '# edited' >>/etc/crictl.yaml").ok();
    for command in [&["plan"][..], &["up", "--dry-run"]] {
        let all = [command, &["-i", &inventory]].concat();
        lab.kboot(&all).ends(0).says(&["/etc/crictl.yaml", "# edited"]);
        lab.kboot(&[&all[..], &["--detailed-exitcode"]].concat()).ends(3);
    }
    let away = lab.inventory_with("away", |inventory| inventory["hosts"][1]["address"] = "10.77.0.99".into());
    lab.kboot(&["plan", "-i", &away, "--detailed-exitcode"]).ends(1);
    Run::of(lab, &["up", "-i", &inventory]).ends(0);
}

fn a_host_that_moved(lab: &Lab) {
    let inventory = lab.inventory();
    let file = lab.scratch("moved.json").display().to_string();
    let n2 = "rm /etc/modules-load.d/kubernetes.conf";
    lab.on("n2", n2).ok();
    lab.kboot(&["plan", "-i", &inventory, "--out", &file]).ok().says(&["kboot apply"]);
    // Somebody edits a file on one host, and an object of the cluster.
    lab.on("n3", "echo '# edited' >>/etc/crictl.yaml").ok();
    let patch = "-n kube-system patch configmap coredns --type merge -p '{\"data\":{\"Corefile\":\"edited\"}}'";
    cluster::kubectl(lab, patch).ok();
    let before = ["n1", "n2", "n3"].map(|host| lab.on(host, "cat /var/lib/kboot/journal.jsonl").ok().stdout);

    let run = Run::of(lab, &["apply", &file]).ends(1);
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
    assert_eq!(before, ["n1", "n2", "n3"].map(|host| lab.on(host, "cat /var/lib/kboot/journal.jsonl").ok().stdout));
    for (host, names) in [("n1", "ConfigMap kube-system/coredns"), ("n3", "/etc/crictl.yaml")] {
        let told = run.of_kind("failed").find(|event| event["host"] == host).unwrap_or_else(|| panic!("{run}"));
        let evidence = told["failure"]["evidence"].to_string();
        assert!(evidence.contains(names) && evidence.contains("not in the plan"), "{evidence}");
    }
    assert_eq!(run.causes("n2"), Vec::<String>::new(), "n2 is as it was\n{run}");

    // Planned anew, all of it is repaired.
    lab.kboot(&["plan", "-i", &inventory, "--out", &file]).ok();
    let run = Run::of(lab, &["apply", &file]).ends(0);
    let changes = run.changes().concat();
    for name in ["/etc/modules-load.d/kubernetes.conf", "/etc/crictl.yaml", "coredns"] {
        assert!(changes.contains(name), "{name} was not repaired\n{run}");
    }
    Run::of(lab, &["up", "-i", &inventory]).ends(0).is_unchanged();
}

/// A service that runs with what somebody wrote is restarted when that is put right, in the same run, and the plan knew.
fn restarts(lab: &Lab) {
    let inventory = lab.inventory();
    let edit = "echo '# edited' >>/etc/containerd/config.toml; echo 'maxPods: 99' >>/var/lib/kubelet/config.yaml";
    lab.on("n2", &format!("{edit}; systemctl restart containerd kubelet")).ok();
    let run = Run::of(lab, &["up", "-i", &inventory]).ends(0);
    let changes = run.changes();
    for unit in ["containerd.service", "kubelet.service"] {
        assert!(changes.iter().any(|change| change.contains(unit)), "{unit} was not restarted: {changes:#?}");
    }
    assert_eq!(changes.len(), 4, "{changes:#?}");
    cluster::nodes_are_ready(lab, &["n1", "n2", "n3"]);
}
