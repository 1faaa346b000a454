//! Apt held to a lock: what it would install, at which versions and with which digests, before it does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

use tempfile::NamedTempFile;

use super::apt::{Package, candidate};
use super::apt_options::{FREE, OPTIONS, QUIET};
use super::command;
use crate::engine::hint::PackageWord;
use crate::engine::{Failure, Hint, PackageLock, PackagePin, Result};

const OWN_PREFERENCES: &str = "/etc/apt/preferences";

/// Sees that installing `names` brings what the lock says and nothing else. Gives the preferences by which apt does so.
pub(super) async fn check(lock: &PackageLock, names: &[String]) -> Result<NamedTempFile> {
    let mut file = NamedTempFile::with_prefix_in("kboot-pins-", "/run")?;
    let pins = lock.pins.iter().map(|pin| (pin.name.as_str(), pin.version.as_str()));
    file.write_all(preferences(pins).as_bytes())?;
    let apt = Apt { environment: Vec::new(), options: vec!["-o".into(), option(file.path())] };
    let installs = apt.installs(names).await.map_err(|failure| gone(failure, lock, names))?;
    judge(lock, &apt.pins(&installs).await?)?;
    Ok(file)
}

/// The apt option by which preferences are read from this file, which includes the administrator's own.
pub(super) fn option(file: &Path) -> String {
    format!("Dir::Etc::preferences={}", file.display())
}

/// Preferences that prefer each package at its version, or pattern, to all others; the administrator's come after them.
pub(super) fn preferences<'a>(pins: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pin = |(name, version)| format!("Package: {name}\nPin: version {version}\nPin-Priority: 1001\n\n");
    let own = std::fs::read_to_string(OWN_PREFERENCES).unwrap_or_default();
    pins.map(pin).collect::<String>() + &own
}

/// Apt with further environment variables and options.
pub(super) struct Apt {
    pub environment: Vec<(&'static str, String)>,
    pub options: Vec<String>,
}

impl Apt {
    /// What installing these, each as apt takes it (`kubelet=1.37.2-*`), would install: versions by name.
    pub async fn installs(&self, names: &[String]) -> Result<BTreeMap<String, String>> {
        let mut argv = vec!["apt-get", "install", "--simulate"];
        argv.extend(OPTIONS);
        argv.extend(FREE);
        argv.extend(names.iter().map(String::as_str));
        Ok(installed(&self.run(&argv).await?))
    }

    /// The version that apt would take of each package; those that no repository has are left out.
    pub async fn candidates(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, String>> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut argv = vec!["apt-cache", "policy"];
        argv.extend(names.iter().map(String::as_str));
        let policy = self.run(&argv).await?;
        let candidate = |name: &String| Some((name.clone(), candidate(&policy, &Package::any(name))?));
        Ok(names.iter().filter_map(candidate).collect())
    }

    /// These versions with the digests that the repositories' indexes give.
    pub async fn pins(&self, versions: &BTreeMap<String, String>) -> Result<Vec<PackagePin>> {
        if versions.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<String> = versions.iter().map(|(name, version)| format!("{name}={version}")).collect();
        let mut argv = vec!["apt-cache", "show"];
        argv.extend(asked.iter().map(String::as_str));
        let records = self.run(&argv).await?;
        versions.iter().map(|(name, version)| pin(&records, name, version)).collect()
    }

    async fn run(&self, argv: &[&str]) -> Result<String> {
        let [program, verb, rest @ ..] = argv else { return Err(Failure::new("an incomplete command")) };
        let mut full = vec![*program, *verb];
        full.extend(self.options.iter().map(String::as_str));
        full.extend(rest);
        Ok(command::run_with(&full, &self.environment()).await?.stdout)
    }

    pub fn environment(&self) -> Vec<(&str, &str)> {
        let more = self.environment.iter().map(|(name, value)| (*name, value.as_str()));
        QUIET.into_iter().chain(more).collect()
    }
}

/// The lines of a simulation: `Inst NAME [OLD] (VERSION REPOSITORY [ARCHITECTURE])`.
fn installed(simulation: &str) -> BTreeMap<String, String> {
    let one = |line: &str| {
        let rest = line.strip_prefix("Inst ")?;
        let name = rest.split_whitespace().next()?;
        let version = rest.split_once('(')?.1.split_whitespace().next()?;
        Some((name.to_string(), version.to_string()))
    };
    simulation.lines().filter_map(one).collect()
}

/// A package's digest in an index. Repositories that have different packages of the same version are an error.
fn pin(records: &str, name: &str, version: &str) -> Result<PackagePin> {
    let (plain, architecture) = name.split_once(':').map_or((name, None), |(name, arch)| (name, Some(arch)));
    let mut digests = BTreeSet::new();
    for record in records.split("\n\n") {
        let field =
            |key: &str| record.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::trim);
        let is_it = field("Package") == Some(plain)
            && field("Version") == Some(version)
            && architecture.is_none_or(|wanted| field("Architecture") == Some(wanted));
        if is_it {
            digests.extend(field("SHA256").map(str::to_ascii_lowercase));
        }
    }
    match digests.len() {
        1 => {}
        0 => return Err(Failure::new(format!("no index has a SHA-256 digest of {name} {version}"))),
        _ => {
            return Err(Failure::new(format!("the repositories have different packages named {name} {version}"))
                .evidence(digests.iter().map(|digest| format!("sha256:{digest}")))
                .hint(Hint::ShowRepositories { package: PackageWord::of(plain) }));
        }
    }
    let sha256 = digests.pop_first().unwrap_or_default();
    Ok(PackagePin { name: name.into(), version: version.into(), sha256 })
}

/// Holds what would be installed against the lock.
fn judge(lock: &PackageLock, found: &[PackagePin]) -> Result<()> {
    for package in found {
        let PackagePin { name, version, sha256 } = package;
        let Some(locked) = lock.pins.iter().find(|pin| pin.name == *name) else {
            if lock.is_complete {
                return Err(Failure::new(format!("{name} {version} would come along, and the lock does not have it"))
                    .hint(Hint::AddToLock));
            }
            continue;
        };
        if locked.version != *version {
            return Err(Failure::new(format!("{name} would be {version}, and the lock has {}", locked.version))
                .hint(Hint::MoveLock));
        }
        if locked.sha256 != *sha256 {
            return Err(Failure::new(format!("{name} {version} is not the package that was locked"))
                .evidence([format!("locked:     sha256:{}", locked.sha256), format!("repository: sha256:{sha256}")])
                .hint(Hint::PackageDiffers));
        }
    }
    Ok(())
}

/// A locked version that the repositories no longer have.
fn gone(failure: Failure, lock: &PackageLock, names: &[String]) -> Failure {
    let is_missing = failure.evidence.iter().any(|line| line.contains("was not found") && line.contains("Version"));
    let is_locked =
        lock.pins.iter().any(|pin| names.iter().any(|name| *name == format!("{}={}", pin.name, pin.version)));
    match is_missing && is_locked {
        true => failure.hint(Hint::LockedVersionGone),
        false => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIMULATION: &str = "Reading package lists...\nInst netbase (6.4 Debian:oldstable [all])\nInst libc6:i386 [2.36-8] (2.36-9 Debian:12 [i386])\nRemv old [1]\nInst containerd.io (2.3.7-1~debian.12~bookworm Docker CE:bookworm [amd64]) []\nConf netbase (6.4 Debian:oldstable [all])\n";

    #[test]
    fn a_simulation_tells_what_would_be_installed() {
        let expected = [("containerd.io", "2.3.7-1~debian.12~bookworm"), ("libc6:i386", "2.36-9"), ("netbase", "6.4")];
        assert_eq!(installed(SIMULATION), expected.map(|(name, version)| (name.into(), version.into())).into());
    }

    fn record(name: &str, architecture: &str, digit: &str) -> String {
        format!(
            "Package: {name}\nVersion: 1\nArchitecture: {architecture}\nDescription: x\n SHA256: no\nSHA256: {}\n\n",
            digit.repeat(64)
        )
    }

    #[test]
    fn a_digest_is_the_one_of_that_version_and_architecture() {
        let records =
            record("a", "amd64", "1") + &record("a", "i386", "2") + &record("b", "all", "3") + &record("b", "all", "3");
        assert_eq!(pin(&records, "a:i386", "1").unwrap().sha256, "2".repeat(64));
        assert_eq!(pin(&records, "b", "1").unwrap().sha256, "3".repeat(64));
        assert_eq!(pin(&records, "a", "1").unwrap_err().cause, "the repositories have different packages named a 1");
        assert_eq!(pin(&records, "b", "2").unwrap_err().cause, "no index has a SHA-256 digest of b 2");
    }

    #[test]
    fn a_lock_is_kept_to() {
        let pin = |name: &str, version: &str, sha256: &str| PackagePin {
            name: name.into(),
            version: version.into(),
            sha256: sha256.into(),
        };
        let lock = |is_complete| PackageLock { pins: vec![pin("a", "1", "11"), pin("b", "2", "22")], is_complete };
        let cause =
            |is_complete, found: &[PackagePin]| judge(&lock(is_complete), found).map_err(|failure| failure.cause);
        assert_eq!(cause(true, &[pin("a", "1", "11")]), Ok(()));
        assert_eq!(cause(false, &[pin("c", "1", "33")]), Ok(()));
        assert_eq!(
            cause(true, &[pin("c", "1", "33")]).unwrap_err(),
            "c 1 would come along, and the lock does not have it"
        );
        assert_eq!(cause(false, &[pin("a", "2", "11")]).unwrap_err(), "a would be 2, and the lock has 1");
        assert_eq!(cause(false, &[pin("a", "1", "12")]).unwrap_err(), "a 1 is not the package that was locked");
    }
}
