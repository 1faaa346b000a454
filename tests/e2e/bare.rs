//! Hosts on which nobody has done anything yet.

use crate::chains::{Start, Test};
use crate::events::Run;
use crate::lab::Lab;
use crate::whole::{AGENTS_FOLDERS, Whole};

pub const TESTS: &[Test] = &[Test {
    name: "bare::a_dry_run_touches_nothing_and_shows_everything",
    start: Start::bare(3),
    run: a_dry_run_touches_nothing_and_shows_everything,
}];

/// Hosts that were only looked at. Whoever starts from them leaves no more than an agent there.
pub const BARE: Start = Start::Shared("bare::a_dry_run_touches_nothing_and_shows_everything");
const HOSTS: [&str; 3] = ["n1", "n2", "n3"];

fn a_dry_run_touches_nothing_and_shows_everything(lab: &Lab) {
    let before = HOSTS.map(|host| Whole::of(lab, host));
    let inventory = lab.inventory();

    let done = lab.kboot(&["up", "-i", &inventory, "--dry-run"]).ok();
    let run = Run::of(lab, &["up", "-i", &inventory, "--dry-run"]).ends(0);

    for whole in &before {
        whole.still_holds(lab, &AGENTS_FOLDERS);
    }
    done.says(&[
        "n1",
        "n2",
        "n3",
        "kubelet",
        "/etc/containerd/config.toml",
        "/etc/kubernetes/manifests/kube-apiserver.yaml",
    ]);
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
    assert_eq!(run.summary()["mode"], "plan", "{run}");
    for host in HOSTS {
        let planned: Vec<String> = run
            .of_kind("planned")
            .filter(|event| event["host"] == host)
            .flat_map(|event| event["changes"].as_array().cloned().unwrap_or_default())
            .map(|change| change.to_string())
            .collect();
        for thing in ["install-packages", "write-file", "/etc/modules-load.d", "net.ipv4.ip_forward"] {
            assert!(planned.iter().any(|change| change.contains(thing)), "no {thing} in {host}'s plan: {planned:#?}");
        }
    }
}
