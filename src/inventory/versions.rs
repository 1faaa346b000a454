//! The Kubernetes versions that kboot knows, and the images that go with each minor.
//!
//! The one table to extend when a minor comes or goes. Its facts are kubeadm's: `DefaultEtcdVersion`, `CoreDNSVersion` and
//! `PauseVersion` in cmd/kubeadm/app/constants of the minor's latest patch release.

use std::fmt;

/// The tags of the images that a minor version brings besides Kubernetes' own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    pub minor: u64,
    pub etcd: &'static str,
    pub coredns: &'static str,
    pub pause: &'static str,
}

/// Oldest first.
pub const RELEASES: [Release; 3] = [
    Release { minor: 35, etcd: "3.6.6-0", coredns: "v1.13.1", pause: "3.10.1" },
    Release { minor: 36, etcd: "3.6.8-0", coredns: "v1.14.2", pause: "3.10.2" },
    Release { minor: 37, etcd: "3.7.0-0", coredns: "v1.14.6", pause: "3.10.2" },
];

/// An exact Kubernetes version, `v1.37.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
}

impl Version {
    /// Reads `v1.37.2` and nothing else: no missing `v`, no pre-release, no build.
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_number(text.strip_prefix('v')?)
    }

    /// Reads `1.37.2`, as packages are numbered.
    pub fn parse_number(text: &str) -> Option<Self> {
        let version = semver::Version::parse(text).ok()?;
        let plain = version.pre.is_empty() && version.build.is_empty();
        plain.then_some(Self { major: version.major, minor: version.minor, patch: version.patch })
    }

    /// What goes with this version, if kboot supports it.
    pub fn release(self) -> Option<&'static Release> {
        RELEASES.iter().find(|release| self.major == 1 && release.minor == self.minor)
    }
}

/// As `v1.37`.
impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1.{}", self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The supported minors for a person: `v1.35, v1.36 and v1.37`.
pub fn supported() -> String {
    let names = RELEASES.map(|release| release.to_string());
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_exact_versions_only() {
        assert_eq!(Version::parse("v1.37.2"), Some(Version { major: 1, minor: 37, patch: 2 }));
        for text in ["1.37.2", "v1.37", "v1", "v1.37.2-rc.1", "v1.37.2+k3s1", "v01.37.2", "vv1.37.2", " v1.37.2", ""] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn knows_its_minors() {
        assert_eq!(Version::parse("v1.37.0").unwrap().release().unwrap().etcd, "3.7.0-0");
        assert_eq!(Version::parse("v1.34.9").unwrap().release(), None);
        assert_eq!(Version::parse("v2.37.0").unwrap().release(), None);
        assert_eq!(supported(), "v1.35, v1.36 and v1.37");
    }
}
