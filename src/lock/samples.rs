//! What this module's tests share.

use super::*;

pub fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

pub fn package(version: &str, digit: char) -> Package {
    Package { version: version.into(), sha256: digit.to_string().repeat(64) }
}

pub const PLATFORM: &str = "debian-bookworm-amd64";

pub fn lock() -> Lock {
    let packages = [
        ("cri-tools".to_string(), package("1.36.0-1.1", 'a')),
        ("kubelet".to_string(), package("1.37.2-1.1", 'b')),
        ("socat".to_string(), package("1.7.4.4-2", 'c')),
    ];
    Lock {
        api_version: ApiVersion::V1Alpha1,
        kind: Kind::Lock,
        cluster: "lab".into(),
        kubernetes: "v1.37.2".into(),
        packages: [(PLATFORM.into(), packages.into())].into(),
        images: [("registry.k8s.io/pause:3.10.2".into(), digest('1'))].into(),
        objects: [("ConfigMap kube-system/coredns".into(), digest('2'))].into(),
        hosts: [("n1".into(), host())].into(),
    }
}

pub fn host() -> LockedHost {
    LockedHost {
        platform: PLATFORM.into(),
        host_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAn1".into(),
        files: [("/etc/crictl.yaml".into(), digest('3'))].into(),
    }
}

/// What n1 answers while nothing has moved and nothing is installed.
pub fn resolved() -> Resolved {
    let lock = lock();
    Resolved {
        platform: PLATFORM.into(),
        candidates: lock.packages[PLATFORM].clone(),
        installs: lock.packages[PLATFORM].clone(),
        unfit: [].into(),
        images: [("registry.k8s.io/pause:3.10.2".into(), ImageDigests { host: None, registry: Some(digest('1')) })]
            .into(),
        objects: lock.objects,
        files: host().files,
    }
}
