//! Whether an inventory, and what its hosts would get, are what a lock says.

use std::collections::BTreeMap;

use super::{Lock, Resolved};
use crate::engine::Failure;
use crate::engine::hint::ImageWord;
use crate::inventory::Cluster;

/// Why a lock can't speak for an inventory, as far as the inventory alone tells; lower-case fragments.
pub fn uncovered(lock: &Lock, cluster: &Cluster) -> Vec<String> {
    if lock.cluster != cluster.name {
        return vec![format!("is for the cluster {}, and the inventory's is {}", lock.cluster, cluster.name)];
    }
    let mut reasons = Vec::new();
    if lock.kubernetes != cluster.kubernetes.version {
        let version = &cluster.kubernetes.version;
        reasons.push(format!("is for Kubernetes {}, and the inventory says {version}", lock.kubernetes));
    }
    let missing: Vec<&str> =
        cluster.hosts.iter().map(|host| host.name.as_str()).filter(|name| !lock.hosts.contains_key(*name)).collect();
    if !missing.is_empty() {
        reasons.push(format!("does not have {}", missing.join(", ")));
    }
    reasons
}

/// Holds what a host would get against the lock. Each failure is a reason not to begin.
pub fn verify(lock: &Lock, host: &str, found: &Resolved) -> Vec<Failure> {
    let Some(locked) = lock.hosts.get(host) else {
        return vec![Failure::new(format!("the lock does not have {host}")).hint_text(ADD)];
    };
    let mut failures = Vec::new();
    if locked.platform != found.platform {
        failures.push(
            Failure::new(format!("the lock has this host as {}, and it is {}", locked.platform, found.platform))
                .hint_text(MOVE),
        );
    }
    failures.extend(packages(lock, found));
    failures.extend(images(lock, found));
    if !found.objects.is_empty() {
        failures.extend(rendered("the cluster's objects", &lock.objects, &found.objects));
    }
    failures.extend(rendered("this host's files", &locked.files, &found.files));
    failures
}

const ADD: &str = "`kboot lock` adds it";
const MOVE: &str = "if that is meant, `kboot lock --update` shows what moves and takes it";

fn packages(lock: &Lock, found: &Resolved) -> Vec<Failure> {
    let Some(locked) = lock.packages.get(&found.platform) else {
        return vec![Failure::new(format!("the lock has no packages for {}", found.platform)).hint_text(ADD)];
    };
    let judge = |(name, package): (&String, &super::Package)| match locked.get(name) {
        None => Some(
            Failure::new(format!("{name} {} would be installed, and the lock does not have it", package.version))
                .hint_text(ADD),
        ),
        Some(other) if other.version != package.version => Some(
            Failure::new(format!("the lock has {name} {}, which none of this host's repositories has", other.version))
                .evidence([format!("there is {}", package.version)])
                .hint_text(MOVE),
        ),
        Some(other) if other.sha256 != package.sha256 => Some(
            Failure::new(format!("{name} {} is not the package that was locked", package.version))
                .evidence([
                    format!("locked:     sha256:{}", other.sha256),
                    format!("repository: sha256:{}", package.sha256),
                ])
                .hint_text(
                    "ask the repository's owner why it differs, and see who changed the lock (`git log -p kboot.lock`)",
                ),
        ),
        Some(_) => None,
    };
    found.installs.iter().filter_map(judge).collect()
}

fn images(lock: &Lock, found: &Resolved) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (image, digests) in &found.images {
        let Some(locked) = lock.images.get(image) else {
            failures.push(Failure::new(format!("the lock does not have the image {image}")).hint_text(ADD));
            continue;
        };
        let (actual, place, hint) = match (&digests.host, &digests.registry) {
            (Some(digest), _) => {
                (digest, "this host", format!("`crictl rmi {}` there, or: {MOVE}", ImageWord::of(image)))
            }
            (None, Some(digest)) => (digest, "the registry", MOVE.to_string()),
            (None, None) => continue,
        };
        if actual != locked {
            failures.push(
                Failure::new(format!(
                    "{image} is not the image that was locked: {place} has {actual}, the lock {locked}"
                ))
                .hint_text(hint),
            );
        }
    }
    failures
}

/// Digests of what kboot renders. One failure for all of them: they mostly move together.
fn rendered(what: &str, locked: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Option<Failure> {
    let changed = found.iter().filter(|(name, digest)| locked.get(*name).is_some_and(|locked| locked != *digest));
    let new = found.keys().filter(|name| !locked.contains_key(*name)).map(|name| format!("not in the lock: {name}"));
    let gone = locked.keys().filter(|name| !found.contains_key(*name)).map(|name| format!("only in the lock: {name}"));
    let lines: Vec<String> = changed.map(|(name, _)| format!("differs: {name}")).chain(new).chain(gone).collect();
    if lines.is_empty() {
        return None;
    }
    let failure = Failure::new(format!("this kboot would make {what} other than they were locked"));
    Some(failure.evidence(lines).hint_text(
        "the inventory has changed since, or this is another version of kboot. If that is meant: `kboot lock` takes it, \
         and `kboot up --dry-run` shows it",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::samples::{self, PLATFORM};

    fn told(found: &Resolved) -> Vec<String> {
        verify(&samples::lock(), "n1", found).into_iter().map(|failure| failure.cause.to_string()).collect()
    }

    #[test]
    fn what_was_locked_passes() {
        assert_eq!(told(&samples::resolved()), Vec::<String>::new());
    }

    #[test]
    fn a_host_that_is_not_covered_is_told() {
        assert_eq!(verify(&samples::lock(), "n9", &samples::resolved())[0].cause, "the lock does not have n9");
        let mut found = samples::resolved();
        found.platform = "ubuntu-noble-amd64".into();
        assert_eq!(
            told(&found),
            [
                "the lock has this host as debian-bookworm-amd64, and it is ubuntu-noble-amd64",
                "the lock has no packages for ubuntu-noble-amd64"
            ]
        );
    }

    #[test]
    fn packages_that_are_not_locked_moved_or_differ_are_told() {
        let mut found = samples::resolved();
        found.installs.insert("libfoo1".into(), samples::package("1", '1'));
        found.installs.insert("cri-tools".into(), samples::package("1.36.1-1.1", 'a'));
        found.installs.insert("socat".into(), samples::package("1.7.4.4-2", 'f'));
        assert_eq!(
            told(&found),
            [
                "the lock has cri-tools 1.36.0-1.1, which none of this host's repositories has",
                "libfoo1 1 would be installed, and the lock does not have it",
                "socat 1.7.4.4-2 is not the package that was locked",
            ]
        );
        // What is there already is not taken from anywhere.
        found.installs.clear();
        assert!(told(&found).is_empty());
        assert!(samples::lock().packages.contains_key(PLATFORM));
    }

    #[test]
    fn an_image_that_moved_is_told_with_both_digests() {
        let mut found = samples::resolved();
        found.images.values_mut().for_each(|digests| digests.registry = Some(samples::digest('8')));
        let (moved, locked) = (samples::digest('8'), samples::digest('1'));
        assert_eq!(
            told(&found),
            [format!(
                "registry.k8s.io/pause:3.10.2 is not the image that was locked: the registry has {moved}, the lock {locked}"
            )]
        );
        // A host that has the right one needs no registry.
        found.images.values_mut().for_each(|digests| digests.host = Some(samples::digest('1')));
        assert!(told(&found).is_empty());
        found.images.insert("x/y:1".into(), crate::lock::ImageDigests::default());
        assert_eq!(told(&found), ["the lock does not have the image x/y:1"]);
    }

    #[test]
    fn what_is_rendered_otherwise_is_told_by_its_name() {
        let mut found = samples::resolved();
        found.files =
            [("/etc/crictl.yaml".into(), samples::digest('7')), ("/etc/new".into(), samples::digest('7'))].into();
        found.objects = [("ConfigMap kube-system/other".to_string(), samples::digest('2'))].into();
        let failures = verify(&samples::lock(), "n1", &found);
        assert_eq!(
            failures[0].evidence,
            ["not in the lock: ConfigMap kube-system/other", "only in the lock: ConfigMap kube-system/coredns"]
        );
        assert_eq!(failures[1].evidence, ["differs: /etc/crictl.yaml", "not in the lock: /etc/new"]);
        // A worker renders no objects.
        found.objects.clear();
        assert_eq!(verify(&samples::lock(), "n1", &found).len(), 1);
    }

    #[test]
    fn an_inventory_is_covered_or_not() {
        let cluster = |name: &str, version: &str, host: &str| {
            let text = format!(
                "{{apiVersion: kboot/v1alpha1, kind: Cluster, name: {name}, kubernetes: {{version: {version}}}, hosts: [{{name: {host}, address: 10.0.0.1, roles: [control-plane]}}]}}"
            );
            crate::inventory::parse(&text, "x".into()).unwrap()
        };
        assert!(uncovered(&samples::lock(), &cluster("lab", "v1.37.2", "n1")).is_empty());
        assert_eq!(
            uncovered(&samples::lock(), &cluster("lab", "v1.36.1", "n2")),
            ["is for Kubernetes v1.37.2, and the inventory says v1.36.1", "does not have n2"]
        );
        assert_eq!(
            uncovered(&samples::lock(), &cluster("x", "v1.37.2", "n1")),
            ["is for the cluster lab, and the inventory's is x"]
        );
    }
}
