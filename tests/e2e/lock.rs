//! Lock files: what they are made of, that a run keeps to them, and that it refuses what is not as it was locked.

use std::path::Path;

use crate::chains::{Start, Test};
use crate::events::Run;
use crate::lab::Lab;
use crate::whole::{AGENT, AGENTS_FOLDERS, Whole};

pub const TESTS: &[Test] = &[
    Test { name: "lock::a_lock_is_made_without_a_trace", start: Start::bare(1), run: a_lock_is_made_without_a_trace },
    Test { name: "lock::what_is_not_as_locked_is_refused", start: LOCK, run: what_is_not_as_locked_is_refused },
    Test { name: "lock::a_run_keeps_to_its_lock", start: LOCK, run: a_run_keeps_to_its_lock },
];

const LOCK: Start = Start::After("lock::a_lock_is_made_without_a_trace");

/// The inventory of one host, whose name is in no other test.
fn inventory(lab: &Lab) -> String {
    lab.inventory_with("locked", |inventory| {
        let list = inventory["hosts"].as_sequence_mut().expect("it has hosts");
        list.retain(|host| host["name"] == "n1");
    })
}

/// Not beside the inventory: the other tests' inventories are in that folder, too.
fn lock(lab: &Lab) -> String {
    lab.scratch("e2e.lock").display().to_string()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The lock's line that contains `part`.
#[track_caller]
fn line<'a>(lock: &'a str, part: &str) -> &'a str {
    lock.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no line with {part} in\n{lock}"))
}

fn a_lock_is_made_without_a_trace(lab: &Lab) {
    let (inventory, path) = (inventory(lab), lock(lab));
    let before = Whole::of(lab, "n1");
    lab.kboot(&["lock", "-i", &inventory, "--lock-file", &path]).ok();
    before.still_holds(lab, &AGENTS_FOLDERS);
    let text = read(&path);

    // The digests are those of the packages themselves, and of what the registry has.
    let repository = lab.folder.join("served/repo/kubernetes");
    for (package, version) in [("kubelet", "1.37.2-1.1"), ("kubernetes-cni", "1.9.1-1.1")] {
        let file = repository.join(format!("{package}_{version}_amd64.deb"));
        let digest = lab.exec(&["sha256sum", &file.to_string_lossy()]).ok().stdout;
        let digest = digest.split(' ').next().expect("a digest first");
        let line = line(&text, &format!("{package}: "));
        assert!(line.contains(version) && line.contains(digest), "{line} is not {version} {digest}");
    }
    let tag = "served/storage/docker/registry/v2/repositories/pause/_manifests/tags/3.10.2/current/link";
    let pause = read(&lab.folder.join(tag).display().to_string());
    assert_eq!(line(&text, "registry.k8s.io/pause"), format!("  registry.k8s.io/pause:3.10.2: {}", pause.trim()));
    // What comes along with what kboot asks for is in it, too; and the host's key.
    for part in ["libnetfilter-conntrack3: ", "socat: ", "containerd.io: ", "ConfigMap kube-system/coredns: "] {
        line(&text, part);
    }
    let key = lab.on("n1", "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").ok().stdout;
    assert!(text.contains(&format!("hostKey: {}", key.trim())), "n1's key is not in\n{text}");
    assert!(!text.contains("PRIVATE"), "{text}");

    // Again: nothing to add, not a byte changes, and a person's words at its head stay.
    let text = format!("# our own words\n{text}");
    std::fs::write(&path, &text).expect("it is the tests' own folder");
    lab.kboot(&["lock", "-i", &inventory, "--lock-file", &path]).ok().says(&["is right as it is"]);
    lab.kboot(&["lock", "-i", &inventory, "--lock-file", &path, "--check"]).ok();
    assert_eq!(read(&path), text);
}

fn what_is_not_as_locked_is_refused(lab: &Lab) {
    let (inventory, good) = (inventory(lab), lock(lab));
    let before = Whole::of(lab, "n1");
    let refused = |text: &str, code: i32, says: &[&str]| {
        let path = lab.scratch("e2e-bad.lock").display().to_string();
        std::fs::write(&path, text).expect("it is the tests' own folder");
        let run = Run::of(lab, &["up", "-i", &inventory, "--locked", "--lock-file", &path]).ends(code);
        assert!(run.changes().is_empty(), "{run}");
        for word in says {
            assert!(format!("{run}").contains(word), "it does not say {word}\n{run}");
        }
    };
    let text = read(&good);
    let other = "0".repeat(64);
    let with = |part: &str, from: &str, to: &str| {
        let line = line(&text, part);
        text.replace(line, &line.replace(from, to))
    };
    // A package's digest, a version that nobody has, one that is missing, a file, a key.
    let kubelet = line(&text, "kubelet: ").rsplit('"').nth(1).expect("its digest").to_string();
    let says = ["kubelet 1.37.2-1.1 is not the package that was locked", &kubelet, &other];
    refused(&with("kubelet: ", &kubelet, &other), 1, &says);
    let says = ["socat 9.9-1, which none of this host's repositories has"];
    refused(&with("socat: ", line(&text, "socat: ").split('"').nth(1).expect("its version"), "9.9-1"), 1, &says);
    let socat = format!("{}\n", line(&text, "socat: "));
    refused(&text.replace(&socat, ""), 1, &["would be installed, and the lock does not have it"]);
    let file = "/etc/kubernetes/manifests/etcd.yaml";
    let digest = line(&text, file).rsplit(' ').next().expect("its digest").to_string();
    refused(&with(file, &digest, &format!("sha256:{other}")), 1, &["other than they were locked", file]);
    let key = line(&text, "hostKey").split_whitespace().nth(2).expect("the key").to_string();
    let stranger = "AAAAC3NzaC1lZDI1NTE5AAAAIPq0mYk7kxNBGg0PBnPJqTVoNaFCrbVq0s4pcTv1nE5m";
    refused(&text.replace(&key, stranger), 1, &["is not the one that it must be"]);
    refused(&text.replace("  n1:\n", "  n9:\n"), 2, &["does not have n1"]);

    // A tag that means another image today.
    let moved = lab.testbed(&["move", "image", "pause:3.10.2", "coredns/coredns:v1.14.6"]).ok().stdout;
    let pause = line(&text, "registry.k8s.io/pause").rsplit(' ').next().expect("its digest").to_string();
    refused(&text, 1, &["registry.k8s.io/pause:3.10.2 is not the image that was locked", moved.trim(), &pause]);
    lab.testbed(&["move", "back"]).ok();
    before.still_holds(lab, &AGENT);
}

fn a_run_keeps_to_its_lock(lab: &Lab) {
    let (inventory, path) = (inventory(lab), lock(lab));
    let old = read(&path);
    let newer = lab.testbed(&["move", "package", "cri-tools"]).ok().stdout.trim().to_string();
    let version = line(&old, "cri-tools: ").split('"').nth(1).expect("its version").to_string();
    assert_ne!(newer, version);
    let installed = || lab.on("n1", "dpkg-query -W -f '${Version}' cri-tools").ok().stdout;
    let locked = ["up", "-i", &inventory, "--locked", "--lock-file", &path];
    let plain = ["up", "-i", &inventory, "--lock-file", &path];

    // The plan says which version, and the host gets it though there is a newer one.
    lab.kboot(&[&plain[..], &["--dry-run"]].concat()).ok().says(&[&version]);
    let kept = lab.scratch("locked-plan.json").display().to_string();
    lab.kboot(&["plan", "-i", &inventory, "--locked", "--lock-file", &path, "--out", &kept]).ok().says(&[&version]);
    Run::of(lab, &["apply", &kept]).ends(0);
    assert_eq!(installed(), version);
    let digests = lab.on("n1", "crictl images --digests -o json").ok().stdout;
    for (image, digest) in old.lines().filter_map(|line| line.trim().split_once(": sha256:")) {
        if image.contains(":v") || image.contains("pause") {
            assert!(digests.contains(digest), "{image}@sha256:{digest} is not on n1: {digests}");
        }
    }
    // Automatically installed is what came along, and what came along only.
    lab.on("n1", "apt-mark showauto | grep -qx libnetfilter-conntrack3").ok();
    Run::of(lab, &locked).ends(0).is_unchanged();
    Run::of(lab, &plain).ends(0).is_unchanged();

    // What could move is shown; it moves when that is agreed to.
    let update = ["lock", "-i", &inventory, "--lock-file", &path, "--update"];
    let shown = format!("~ cri-tools (debian-bookworm-amd64): {version} -> {newer}");
    let done = lab.kboot(&update);
    assert_eq!(done.code, Some(2), "{done}");
    done.says(&[&shown, "add --yes"]);
    let done = lab.kboot(&[&update[..], &["--check"]].concat());
    assert_eq!(done.code, Some(1), "{done}");
    assert_eq!(read(&path), old, "it was written");
    lab.kboot(&["lock", "-i", &inventory, "--lock-file", &path, "--check"]).ok();
    lab.kboot(&[&update[..], &["--yes"]].concat()).ok().says(&[&shown]);
    assert!(Path::new(&path).exists() && line(&read(&path), "cri-tools: ").contains(&newer));

    let run = Run::of(lab, &plain).ends(0);
    assert_eq!(installed(), newer);
    let changes = run.changes();
    let others: Vec<&String> =
        changes.iter().filter(|c| !c.contains("cri-tools") && !c.contains("refresh-packages")).collect();
    assert!(others.is_empty(), "more than cri-tools changed: {others:#?}");
    Run::of(lab, &locked).ends(0).is_unchanged();
    lab.testbed(&["move", "back"]).ok();
}
