//! Files that people write: read with the place of every value, and printed.

use camino::Utf8Path;
use serde_json::json;
use time::macros::datetime;

use super::sections;
use crate::inventory::{self, Mistakes, PatchTarget};
use crate::kubeadm::{self, Here};
use crate::{lock, manifest, playbook};

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

fn origin() -> &'static Utf8Path {
    "file.yaml".into()
}

/// Every mistake has its place in the text.
fn judge(mistakes: &Mistakes) {
    assert!(!mistakes.is_empty());
    for mistake in mistakes.iter() {
        let (line, column) = mistakes.position(mistake);
        assert!(line > 0 && column > 0);
    }
    assert!(mistakes.to_string().starts_with("file.yaml:"));
}

/// What is read is read again from what is printed of it.
pub fn inventory(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match inventory::parse(text, origin()) {
        Err(mistakes) => judge(&mistakes),
        Ok(cluster) => {
            let printed = inventory::print(&cluster);
            let again = inventory::parse(&printed, origin()).unwrap_or_else(|why| panic!("{why}\n{printed}"));
            assert_eq!(again, cluster, "{printed}");
        }
    }
}

pub fn lock(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let head = lock::head(text);
    match lock::parse(text, origin()) {
        Err(mistakes) => judge(&mistakes),
        Ok(lock) => {
            let printed = lock::print(&lock, head);
            assert_eq!(lock::head(&printed), head);
            let again = lock::parse(&printed, origin()).unwrap_or_else(|why| panic!("{why}\n{printed}"));
            assert_eq!(again, lock, "{printed}");
        }
    }
}

pub fn playbook(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match playbook::parse(text, origin()) {
        Err(error) => assert!(!error.causes().is_empty()),
        Ok(playbook) => {
            let printed = playbook.to_yaml();
            let again = playbook::parse(&printed, origin()).unwrap_or_else(|why| panic!("{why}\n{printed}"));
            assert_eq!(again.to_yaml(), printed);
        }
    }
}

/// kubeadm's files, for both commands that read them. What `init` makes of one is an inventory.
pub fn kubeadm(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let here = Here { name: "host".into(), address: "10.0.0.99".parse().ok(), now: datetime!(2026-11-22 12:00 UTC) };
    let _ = kubeadm::is_kubeadm(text);
    match kubeadm::init(text, origin(), &here) {
        Err(mistakes) => judge(&mistakes),
        Ok(init) => {
            let printed = inventory::print(&init.cluster);
            let again = inventory::parse(&printed, origin()).unwrap_or_else(|why| panic!("{why}\n{printed}"));
            assert_eq!(again, init.cluster, "{printed}");
        }
    }
    if let Err(mistakes) = kubeadm::join(text, origin(), &here) {
        judge(&mistakes);
    }
}

/// A folder of patches (`=== NAME` begins a file), and what they make of a pod.
pub fn patches(data: &[u8]) {
    let Ok((patches, _)) = kubeadm::patches(&sections(data)[1..]) else { return };
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "etcd", "labels": {"tier": "control-plane"}},
        "spec": {
            "containers": [{
                "name": "etcd", "image": "etcd:1", "command": ["etcd", "--name=n1"],
                "volumeMounts": [{"name": "data", "mountPath": "/var/lib/etcd"}],
            }],
            "volumes": [{"name": "data", "hostPath": {"path": "/var/lib/etcd"}}],
        },
    });
    for target in PatchTarget::ALL {
        if let Ok(patched) = manifest::patched(&patches, target, pod.clone()) {
            assert!(patched.is_object());
        }
    }
}
