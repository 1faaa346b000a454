//! What breaks an etcd: each is a clear error, and nothing is broken by it.

use crate::bare::BARE;
use crate::chains::{Start, Test};
use crate::control_planes::{HOSTS, inventory};
use crate::etcdctl::ETCDCTL;
use crate::events::{Run, text};
use crate::lab::Lab;

pub const TESTS: &[Test] = &[
    Test { name: "etcd::a_clock_that_is_off_is_told_before_anything_is_done", start: BARE, run: clock },
    Test {
        name: "etcd::one_that_is_full_is_told_and_takes_writes_again_once_it_has_room",
        start: Start::bare(1),
        run: full,
    },
];

/// The hosts have one clock. What tells it on n2 is put off by a few minutes.
fn clock(lab: &Lab) {
    let inventory = inventory(lab, &HOSTS);
    let fake = "printf '#!/bin/sh\\nexec /bin/date -d \"+5 minutes\" \"$@\"\\n' >/usr/local/bin/date && chmod 755 /usr/local/bin/date";
    lab.on("n2", fake).ok();
    let run = Run::of(lab, &["up", "-i", &inventory, "--dry-run"]).ends(1);
    lab.on("n2", "rm /usr/local/bin/date").ok();
    let causes = run.causes("n2").concat();
    // Less by as much as the question took.
    let is_told = ["the clock is at least 29", "the clock is at least 300"].iter().any(|text| causes.contains(text));
    assert!(is_told && causes.contains("ahead of the other hosts'"), "{run}");
    assert_eq!(run.causes("").len(), 1, "{run}");
}

const MEND: &str = "set -e
    etcdctl del --prefix /fill
    etcdctl compact $(etcdctl endpoint status -w json | grep -o '\"revision\":[0-9]*' | head -n 1 | cut -d: -f2)
    etcdctl defrag --cluster";

fn full(lab: &Lab) {
    let one = inventory(lab, &["n1"]);
    let small = lab.inventory_with("etcd-small", |small| {
        let text = std::fs::read_to_string(&one).expect("it was written just now");
        *small = serde_yaml::from_str(&text).expect("it is YAML");
        let quota = "etcd: {extraArgs: {quota-backend-bytes: \"25165824\"}}";
        small["controlPlane"] = serde_yaml::from_str(quota).expect("it is YAML");
    });
    Run::of(lab, &["up", "-i", &small]).ends(0);
    let fill = format!(
        "{ETCDCTL}
        for i in $(seq 40); do
            head -c 1000000 /dev/zero | tr '\\0' x | etcdctl put /fill/$i || exit 0
        done
        exit 1"
    );
    lab.on("n1", &fill).ok().says(&["database space exceeded"]);

    let run = Run::read(lab.kboot(&["up", "-i", &small, "--output", "json"])).ends(1);
    let failed = run.of_kind("failed").next().unwrap_or_else(|| panic!("it fails without a word\n{run}"));
    let failure = &failed["failure"];
    assert_eq!(text(&failed["step"]), "check-etcd-space", "{run}");
    assert_eq!(text(&failure["cause"]), "etcd takes no more writes: n1 set the alarm NOSPACE", "{run}");
    let sizes = failure["evidence"].to_string();
    assert!(sizes.contains("n1: the database has 2") && sizes.contains("may have 24.0 MiB"), "{sizes}");
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");

    lab.on("n1", &format!("{ETCDCTL}\n{MEND}")).ok();
    // There is room, and still nobody may write.
    let write = "kubectl --kubeconfig /etc/kubernetes/admin.conf create configmap";
    lab.on("n1", &format!("{write} refused")).ends(1).says(&["space exceeded"]);
    let run = Run::of(lab, &["up", "-i", &small]).ends(0);
    let changes = run.changes();
    assert!(changes.len() == 1 && changes[0].contains("clear-no-space"), "{changes:?}");
    lab.on("n1", &format!("{write} taken")).ok();
    Run::of(lab, &["up", "-i", &small]).ends(0).is_unchanged();
}
