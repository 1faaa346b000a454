use super::major;
use crate::facts::Runtime;
use crate::preflight::samples::{Sample, sample};

fn from_distribution(sample: Sample) -> Sample {
    sample.wanting(|cluster| cluster.packages.containerd.distribution = true)
}

fn one(sample: &Sample) -> String {
    let mut found = sample.found();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn an_old_containerd_of_the_distribution() {
    let old = || sample().package("n2", "containerd", "1.6.20~ds1-1+deb12u1");
    let expected = "n2 ContainerRuntime warning: the distribution's containerd 1.6.20~ds1-1+deb12u1 is installed";
    assert_eq!(one(&old()), expected);
    let found = one(&from_distribution(old()));
    assert!(
        found.starts_with("n2 ContainerRuntime error: the distribution's containerd 1.6.20~ds1-1+deb12u1 is older")
    );
}

#[test]
fn a_new_containerd_of_the_distribution() {
    let new = || sample().package("n2", "containerd", "2.1.4-0ubuntu1");
    assert_eq!(from_distribution(new()).found(), [""; 0]);
    assert!(one(&new()).starts_with("n2 ContainerRuntime warning"));
}

#[test]
fn docker_of_the_distribution_is_not_removed_unasked() {
    let docker =
        || sample().package("n2", "containerd", "2.1.4-0ubuntu1").package("n2", "docker.io", "28.2.2-0ubuntu1");
    assert!(one(&docker()).starts_with("n2 ContainerRuntime error: docker.io 28.2.2-0ubuntu1 would be removed"));
    assert_eq!(from_distribution(docker()).found(), [""; 0]);
}

#[test]
fn containerd_of_docker() {
    let with = |version| sample().package("n2", "containerd.io", version);
    assert_eq!(with("2.3.7-1~debian.12~bookworm").found(), [""; 0]);
    let old = one(&with("1.7.27-1"));
    assert_eq!(old, "n2 ContainerRuntime warning: containerd.io 1.7.27-1 is older than 2.0");
    let replaced = one(&from_distribution(with("2.3.7-1")));
    assert_eq!(replaced, "n2 ContainerRuntime warning: containerd.io 2.3.7-1 is installed");
}

#[test]
fn docker_beside_kubernetes() {
    let docker = || {
        sample().package("n2", "containerd.io", "2.3.7-1").package("n2", "docker-ce", "5:29.0.1-1~debian.12~bookworm")
    };
    let shared = "n2 ContainerRuntime warning: Docker uses the same containerd as Kubernetes will";
    assert_eq!(one(&docker()), shared);
    let found = one(&from_distribution(docker()));
    assert!(found.starts_with("n2 ContainerRuntime error: docker-ce 5:29.0.1-1~debian.12~bookworm would be removed"));
}

#[test]
fn other_runtimes() {
    let crio = sample().on("n2", |facts| facts.runtimes = [Runtime::CriO].into());
    assert_eq!(one(&crio), "n2 ContainerRuntime warning: CRI-O runs here");
    let by_hand = sample().on("n2", |facts| {
        facts.executables.insert("containerd".into());
    });
    assert_eq!(one(&by_hand), "n2 ContainerRuntime warning: there is a containerd that no package brought");
    assert_eq!(sample().package("n2", "podman", "4.3.1").found(), [""; 0]);
}

#[test]
fn major_versions() {
    for (version, expected) in [("2.3.7-1", 2), ("1:12.0", 12), ("1.6.20~ds1", 1), ("", 0), ("x", 0)] {
        assert_eq!(major(version), expected, "{version}");
    }
}
