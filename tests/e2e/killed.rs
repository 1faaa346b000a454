//! Runs that are cut off, hosts that are in a bad way, and the run after that.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::chains::{Start, Test};
use crate::cluster;
use crate::command::{Running, eventually};
use crate::events::Run;
use crate::lab::Lab;

pub const TESTS: &[Test] = &[
    Test { name: "killed::a_busy_host_names_who_works_there", start: Start::bare(1), run: a_busy_host },
    Test {
        name: "killed::interrupted_and_killed_runs_end_in_the_same_cluster",
        start: Start::bare(3),
        run: killed_runs,
    },
    Test { name: "killed::pods_work_all_the_same", start: CLUSTER, run: cluster::is_good },
    Test { name: "killed::a_host_without_power_stops_no_other", start: CLUSTER, run: a_host_without_power },
];

const CLUSTER: Start = Start::After("killed::interrupted_and_killed_runs_end_in_the_same_cluster");
const LIMIT: Duration = Duration::from_secs(120);

/// A package whose configuration takes as long as a file is there: real dpkg, holding its real lock.
const SLOW_PACKAGE: &str = r#"
set -e
touch /run/slow
mkdir -p /tmp/slow/DEBIAN
printf 'Package: slow\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: takes its time\n' >/tmp/slow/DEBIAN/control
printf '#!/bin/sh\nwhile test -e /run/slow; do sleep 0.1; done\n' >/tmp/slow/DEBIAN/postinst
chmod 755 /tmp/slow/DEBIAN/postinst
dpkg-deb -b /tmp/slow /tmp/slow.deb
exec dpkg -i /tmp/slow.deb
"#;

/// Starts dpkg on a host and returns once it holds its lock.
fn dpkg_at_work(lab: &Lab, host: &str) -> Running {
    let running = lab.start_on(host, SLOW_PACKAGE);
    eventually(Duration::from_secs(20), "dpkg is at work", || {
        let done = lab.on(host, "pgrep -x slow.postinst || pgrep -f '^/bin/sh /var/lib/dpkg/info/slow.postinst'");
        if done.code == Some(0) { Ok(()) } else { Err(done.text()) }
    });
    running
}

fn start(lab: &Lab, inventory: &str) -> Running {
    lab.start_kboot(&["up", "-i", inventory, "--output", "json"])
}

/// One run waits for dpkg; another finds the host taken; Ctrl-C ends the first one at once and in order.
fn a_busy_host(lab: &Lab) {
    let inventory = lab.inventory_of(&["n1"]);
    let dpkg = dpkg_at_work(lab, "n1");
    let mut first = start(lab, &inventory);
    first.until(LIMIT, "a wait for dpkg's lock", |said| said.contains("dpkg's lock, which dpkg (process"));

    let second = Run::of(lab, &["up", "-i", &inventory]).ends(1);
    assert_eq!(second.changes(), Vec::<String>::new(), "{second}");
    let cause = second.causes("n1").concat();
    assert!(cause.contains("another kboot works on this host"), "{cause}");
    assert!(cause.contains("`kboot up`") && cause.contains(&format!("process {}", first.pid())), "{cause}");
    // A dry run only looks.
    lab.kboot(&["up", "-i", &inventory, "--dry-run"]).ok();
    // Who is asked to wait does so for as long as that, and is told for whom.
    let third = Run::of(lab, &["up", "-i", &inventory, "--wait-lock", "1s"]).ends(1);
    assert_eq!(third.changes(), Vec::<String>::new(), "{third}");
    let cause = third.causes("n1").concat();
    assert!(cause.contains("still works on this host") && cause.contains("`kboot up`"), "{cause}");
    let mut last = lab.start_kboot(&["up", "-i", &inventory, "--output", "json", "--wait-lock", "2m"]);
    let sign = "the end of another run: `kboot up` by";
    last.until(LIMIT, "a wait for the lock", |said| {
        said.contains(sign) && said.contains(&format!("process {}", first.pid()))
    });

    let since = Instant::now();
    first.signal(Signal::INT);
    let first = Run::read(lab.finish(first)).ends(130);
    assert!(since.elapsed() < LIMIT, "Ctrl-C was not heard");
    assert!(first.causes("n1").concat().contains("interrupted"), "{first}");
    // Then it is the next one's turn.
    last.until(LIMIT, "a wait for dpkg's lock", |said| said.contains("dpkg's lock, which dpkg (process"));
    last.signal(Signal::INT);
    Run::read(lab.finish(last)).ends(130);
    lab.on("n1", "rm /run/slow").ok();
    dpkg.wait(LIMIT).ok();
}

/// n1 and n2 are cut off again and again; on n2 dpkg is killed as well, and on n3 an old containerd is in the way.
fn killed_runs(lab: &Lab) {
    let hosts = ["n1", "n2", "n3"];
    let inventory = lab.inventory();
    lab.on(
        "n3",
        "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends containerd",
    )
    .ok();
    let dpkg = dpkg_at_work(lab, "n2");

    // The controller dies while n2 waits for dpkg and the others install packages.
    let mut run = start(lab, &inventory);
    run.until(LIMIT, "a wait on n2", |said| said.contains("dpkg's lock, which dpkg (process"));
    run.until(LIMIT, "an installation", |said| has(said, "change-started", "prepare", "install-packages"));
    kill(run);
    // dpkg dies halfway.
    lab.on("n2", "pkill -9 -x dpkg; pkill -9 -f slow.postinst; rm /run/slow").ok();
    dpkg.wait(LIMIT);

    // The next one mends dpkg, and loses its agent on n1.
    let mut run = start(lab, &inventory);
    run.until(LIMIT, "a mended dpkg", |said| said.contains("mend-packages"));
    run.until(LIMIT, "the control plane", |said| has(said, "change-started", "control-plane", "\"n1\""));
    kill_agent(lab, "n1");
    let run = Run::read(lab.finish(run)).ends(1);
    let cause = run.causes("n1").concat();
    assert!(cause.contains("lost") || cause.contains("killed"), "{cause}\n{run}");

    // The controller dies while the control plane starts, and then again while the workers join.
    for (phase, sign) in [("control-plane", "write-static-pods"), ("join", "start-kubelet")] {
        let mut run = start(lab, &inventory);
        run.until(LIMIT, phase, |said| has(said, "change-started", phase, sign));
        kill(run);
    }
    // A kubelet that was started joins by itself, and what is planned until then may be done before the run.
    for host in ["n2", "n3"] {
        eventually(LIMIT, "a kubelet that is running has joined", || {
            let script = "flock /run/kboot.lock true && ! systemctl -q is-active kubelet || test -e /etc/kubernetes/kubelet.conf";
            let done = lab.on(host, script);
            if done.code == Some(0) { Ok(()) } else { Err(done.to_string()) }
        });
    }

    let run = Run::of(lab, &["up", "-i", &inventory]).ends(0);
    assert!(!run.changes().is_empty(), "{run}");
    Run::of(lab, &["up", "-i", &inventory]).ends(0).is_unchanged();
    for host in hosts {
        let done = lab
            .on(host, "dpkg --audit && dpkg-query -W -f '${Version}' containerd.io && ! dpkg-query -W -f '${db:Status-Abbrev}' containerd 2>/dev/null | grep ^ii")
            .ok();
        assert!(done.stdout.starts_with("2."), "{done}");
    }
}

/// Whether a line tells of this event in this phase, and names `sign`.
fn has(said: &str, event: &str, phase: &str, sign: &str) -> bool {
    let (event, phase) = (format!("\"event\":\"{event}\""), format!("\"phase\":\"{phase}\""));
    said.lines().any(|line| line.contains(&event) && line.contains(&phase) && line.contains(sign))
}

fn kill(run: Running) {
    run.signal(Signal::KILL);
    let done = run.wait(LIMIT);
    assert_eq!(done.code, None, "it was to be killed\n{done}");
}

/// Kills the agent's own process: not its shell, and nothing that it started.
fn kill_agent(lab: &Lab, host: &str) {
    let script = "for exe in /proc/[0-9]*/exe; do
          case $(readlink $exe) in /var/lib/kboot/agent/*) pid=${exe%/exe}; kill -9 ${pid#/proc/} && found=1;; esac
        done; test -n \"$found\"";
    lab.on(host, script).ok();
}

fn a_host_without_power(lab: &Lab) {
    let inventory = lab.inventory();
    lab.testbed(&["host", "kill", "n3"]).ok();
    // As the cluster finds out by itself in a minute or so.
    let unknown =
        r#"{"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}}"#;
    cluster::kubectl(lab, &format!("patch node n3 --subresource=status -p '{unknown}'")).ok();
    // Something to do on n2, so that one sees it done.
    lab.on("n2", "rm /etc/modules-load.d/*; apt-mark unhold kubelet").ok();
    let run = start(lab, &inventory);
    let run = Run::read(lab.finish(run)).ends(1);
    assert!(run.causes("n3").concat().contains("10.77.0.13:2222"), "{run}");
    for other in ["n1", "n2"] {
        assert_eq!(run.causes(other), Vec::<String>::new(), "{run}");
    }
    assert!(run.changes().iter().any(|change| change.starts_with("n2: ")), "{run}");

    lab.testbed(&["host", "start", "n3"]).ok();
    cluster::node_becomes_ready(lab, "n3");
    Run::of(lab, &["up", "-i", &inventory]).ends(0);
    Run::of(lab, &["up", "-i", &inventory]).ends(0).is_unchanged();
}
