//! Lock files that are missing, broken or another inventory's: refused before any host is asked.

use super::sandbox::{Sandbox, check};

const DIGEST: &str = "1111111111111111111111111111111111111111111111111111111111111111";

fn lock(cluster: &str, version: &str, host: &str) -> String {
    format!(
        "# ours\napiVersion: kboot/v1alpha1\nkind: Lock\ncluster: {cluster}\nkubernetes: {version}\n\npackages:\n  \
         debian-bookworm-amd64:\n    kubelet: {{version: \"1.37.2-1.1\", sha256: \"{DIGEST}\"}}\n\nimages: {{}}\n\nobjects: {{}}\n\n\
         hosts:\n  {host}:\n    platform: debian-bookworm-amd64\n    hostKey: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPq0mYk7kxNBGg0PBnPJqTVoNaFCrbVq0s4pcTv1nE5m\n    files: {{}}\n"
    )
}

fn sandbox(lock: &str) -> Sandbox {
    let sandbox = Sandbox::with_inventory();
    sandbox.file("kboot.lock", lock);
    sandbox
}

#[test]
fn no_lock() {
    let sandbox = Sandbox::with_inventory();
    check(&sandbox, "bad-lock-missing", &sandbox.refused(&["up", "--locked"]));
    check(&sandbox, "bad-lock-named", &sandbox.refused(&["up", "--lock-file", "other.lock"]));
    check(&sandbox, "bad-lock-flags", &sandbox.refused(&["lock", "--check", "--yes"]));
}

#[test]
fn a_broken_lock_is_told_with_its_place_by_everyone_who_reads_it() {
    let text = lock("kubernetes", "v1.37.2", "n1");
    let sandbox = sandbox(&text.replace("version: \"1.37.2-1.1\"", "version: 1.37").replace("hostKey", "hostkey"));
    let told = sandbox.refused(&["up"]);
    check(&sandbox, "bad-lock-mistakes", &told);
    for reader in [&["up", "--locked"][..], &["lock"], &["lock", "--update", "--yes"]] {
        assert_eq!(sandbox.refused(reader).stderr, told.stderr);
    }
    sandbox.file("kboot.lock", format!("{text}<<<<<<< ours\n"));
    check(&sandbox, "bad-lock-conflict", &sandbox.refused(&["up", "--locked"]));
    sandbox.file("kboot.lock", "");
    check(&sandbox, "bad-lock-empty", &sandbox.refused(&["up"]));
}

#[test]
fn a_lock_that_does_not_cover_the_inventory() {
    let version = "v1.37.2";
    let told = |lock: &str, line: &[&str]| sandbox(lock).refused(line);
    let sandbox = Sandbox::new();
    check(&sandbox, "bad-lock-host", &told(&lock("kubernetes", version, "n2"), &["up", "--locked"]));
    check(&sandbox, "bad-lock-version", &told(&lock("kubernetes", "v1.36.1", "n1"), &["up", "--locked"]));
    check(&sandbox, "bad-lock-cluster", &told(&lock("other", version, "n1"), &["up", "--locked"]));
    check(&sandbox, "bad-lock-cluster-own", &told(&lock("other", version, "n1"), &["lock"]));
}

#[test]
fn what_a_plain_run_does_not_find_in_the_lock_is_told() {
    let sandbox = sandbox(&lock("kubernetes", "v1.36.1", "n2"));
    let told = sandbox.kboot(&["up", "--quiet"]);
    assert!(told.stderr.starts_with("warning: kboot.lock is for Kubernetes v1.36.1"), "{told}");
    sandbox.file("kboot.lock", lock("other", "v1.37.2", "n1"));
    let told = sandbox.kboot(&["up", "--quiet"]);
    assert!(told.stderr.contains("it is not used"), "{told}");
}

#[test]
fn a_host_that_does_not_answer_leaves_the_lock_as_it_is() {
    let text = lock("kubernetes", "v1.37.2", "n1");
    let sandbox = sandbox(&text);
    let told = sandbox.kboot(&["lock", "--update", "--yes"]);
    assert_eq!(told.code, Some(1), "{told}");
    assert!(told.stderr.contains("n1: 127.0.0.1:1 refused the connection"), "{told}");
    assert_eq!(std::fs::read_to_string(sandbox.path("kboot.lock")).unwrap(), text);
}
