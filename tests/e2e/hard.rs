//! A host on which nothing goes right: no room for the journal, no room and no leave to write for Kubernetes, kboot and what it
//! works with killed at the worst moments. From there, the same command again makes the cluster all the same.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::bare::BARE;
use crate::chains::{Start, Test};
use crate::command::eventually;
use crate::events::{Run, text};
use crate::lab::Lab;
use crate::whole::{AGENT, Whole};

pub const TESTS: &[Test] = &[
    Test { name: "hard::only_debug_builds_have_the_hook_that_kills", start: BARE, run: hook },
    Test { name: "hard::without_room_for_the_journal_nothing_is_changed", start: BARE, run: full_journal },
    Test { name: "hard::a_disk_that_is_full_or_read_only_is_named_and_survived", start: Start::bare(1), run: bad_disk },
    Test { name: "hard::kills_at_the_worst_moments_are_survived", start: DISK, run: kills },
];

const DISK: Start = Start::After("hard::a_disk_that_is_full_or_read_only_is_named_and_survived");

/// What the hook heeds, as the binary has it.
const HOOK: &[u8] = b"/run/kboot.fault";

fn hook(lab: &Lab) {
    let has_hook = |path: &Path| {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        bytes.windows(HOOK.len()).any(|window| window == HOOK)
    };
    assert!(
        has_hook(Path::new(env!("CARGO_BIN_EXE_kboot"))),
        "the debug build lacks the hook, or this looks for the wrong thing"
    );
    // Whoever tests a debug build by KBOOT_BIN has the hook on purpose.
    let is_release = lab.origin.components().any(|part| part.as_os_str() == "release");
    assert!(!(is_release && has_hook(&lab.kboot_path())), "the release build has the hook");
}

/// The journal lies on a disk of one page, which is full.
fn full_journal(lab: &Lab) {
    let inventory = lab.inventory_of(&["n1"]);
    let full = "set -e
        mkdir -p /run/full /var/lib/kboot && chmod 700 /var/lib/kboot
        mount -t tmpfs -o size=4k none /run/full
        head -c 4096 /dev/zero >/run/full/journal
        touch /var/lib/kboot/journal.jsonl
        mount --bind /run/full/journal /var/lib/kboot/journal.jsonl";
    lab.on("n1", full).ok();
    let before = Whole::of(lab, "n1");
    let run = Run::of(lab, &["up", "-i", &inventory]).ends(1);
    assert!(run.causes("n1").concat().contains("No space left"), "{run}");
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
    before.still_holds(lab, &AGENT);
    lab.on("n1", "umount /var/lib/kboot/journal.jsonl /run/full && rm /var/lib/kboot/journal.jsonl").ok();
}

/// The certificates' folder is a disk of its own: read-only first, then full.
fn bad_disk(lab: &Lab) {
    let inventory = lab.inventory_of(&["n1"]);
    let disk = "cd /etc && mkdir -p kubernetes/pki && mount -t tmpfs -o size=24k,mode=755 none kubernetes/pki
        mount -o remount,ro /etc/kubernetes/pki";
    lab.on("n1", disk).ok();
    let run = Run::of(lab, &["up", "-i", &inventory]).ends(1);
    let cause = run.causes("n1").concat();
    assert!(cause.contains("/etc/kubernetes/pki") && cause.contains("Read-only file system"), "{cause}\n{run}");

    lab.on("n1", "mount -o remount,rw /etc/kubernetes/pki").ok();
    let run = Run::of(lab, &["up", "-i", &inventory]).ends(1);
    let cause = run.causes("n1").concat();
    assert!(cause.contains("/etc/kubernetes/pki") && cause.contains("No space left"), "{cause}\n{run}");
    // What is there is whole: nothing empty, no key without its end, nothing with another name for the time of writing.
    let partial = "cd /etc/kubernetes/pki
        find . -type f -size 0
        find . -type f ! -name '*.crt' ! -name '*.key' ! -name '*.pub'
        find . -type f | while read -r file; do tail -n1 $file | grep -q -e '^-----END' || echo $file; done";
    assert_eq!(lab.on("n1", partial).ok().stdout, "", "files that are not whole");
    lab.on("n1", "umount /etc/kubernetes/pki").ok();
}

/// The agent dies after the intent or after the act of these, one after the other.
const WORST: [&str; 8] = [
    // An authority whose certificates are not there yet.
    "after-act issue-certificate:/etc/kubernetes/pki/ca.crt",
    "after-intent issue-certificate:/etc/kubernetes/pki/etcd/ca.crt",
    "after-act make-link:/var/lib/kubelet/pki/kubelet-client-current.pem",
    "after-intent write-file:/etc/kubernetes/manifests/kube-apiserver.yaml",
    "after-act set-unit:kubelet.service:start",
    "after-intent apply-object:v1/ConfigMap/kube-system/kubeadm-config",
    // Alone in its batch: a Service that is cut off keeps its address from the next run for a minute.
    "after-act apply-object:v1/Namespace/kube-flannel",
    "after-act apply-object:apps/v1/Deployment/kube-system/coredns",
];

/// What a run that says the first of these has taken from under it.
const STRIKES: [(&str, &str); 2] =
    [("registry.k8s.io/kube-proxy:v", "pkill -9 -x containerd"), ("\"phase\":\"addons\"", "pkill -9 -x kubelet")];

fn kills(lab: &Lab) {
    let inventory = lab.inventory_of(&["n1"]);
    let kboot = stripped(lab);
    let argv = [kboot.as_str(), "up", "-i", &inventory, "--output", "json"];
    lab.on("n1", &format!("cat >/run/kboot.fault <<'END'\n{}\nEND\n", WORST.join("\n"))).ok();

    let (mut runs, mut strikes) = (0, STRIKES.iter().peekable());
    let last = loop {
        let mut running = lab.start(&argv);
        while !running.has_ended() {
            if let Some((_, strike)) = strikes.next_if(|(sign, _)| running.stdout().contains(sign)) {
                lab.on("n1", strike);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let run = Run::read_cut(lab.finish(running));
        runs += 1;
        if run.done.code == Some(0) {
            break run;
        }
        assert!(runs < 20, "no end to it\n{run}");
    };
    let heard = lab.on("n1", "cat /run/kboot.fault").ok().stdout;
    let missed: Vec<&str> = heard.lines().filter(|line| !line.starts_with("reached ")).collect();
    assert!(missed.is_empty() && runs > WORST.len(), "{runs} runs; these never came: {missed:?}\n{last}");
    assert!(strikes.next().is_none(), "not all strikes came\n{last}");

    eventually(Duration::from_secs(30), "n1 is Ready", || {
        let node = crate::cluster::object(lab, "node n1");
        let ready = crate::cluster::condition(&node, "Ready");
        if ready == "True" { Ok(()) } else { Err(text(&node["status"])) }
    });
    lab.on("n1", "rm /run/kboot.fault").ok();
    // The binary that everybody gets has nothing to add to what the other one made.
    Run::of(lab, &["up", "-i", &inventory]).ends(0).is_unchanged();
}

/// The debug build of this checkout, without what only a debugger reads.
pub fn stripped(lab: &Lab) -> String {
    let path = lab.scratch("kboot-debug");
    let status = Command::new("strip").arg("-o").arg(&path).arg(env!("CARGO_BIN_EXE_kboot")).status();
    assert!(status.is_ok_and(|status| status.success()), "strip is part of what Rust links with");
    path.display().to_string()
}
