//! Packages from apt repositories: what is wanted of them. `apt_run` carries it out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use camino::Utf8PathBuf;

use super::dpkg::{Status, matches_version};
use super::{Resource, apt_removal};
use crate::engine::hint::PathWord;
use crate::engine::{Change, Failure, Hint, PackageChange, PackageLock, Planned, Probe, Result};

/// A package that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    /// A version, or a pattern that ends in `*`; None for any.
    pub version: Option<String>,
    /// Folders of its that what comes after it depends on.
    pub brings: Vec<Utf8PathBuf>,
}

impl Package {
    pub fn any(name: impl Into<String>) -> Self {
        Self { name: name.into(), version: None, brings: Vec::new() }
    }

    pub fn version(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { version: Some(version.into()), ..Self::any(name) }
    }

    /// Whether this version is what is wanted.
    pub fn is_met_by(&self, version: &str) -> bool {
        self.version.as_ref().is_none_or(|wanted| matches_version(version, wanted))
    }

    pub fn brings(self, folders: &[&str]) -> Self {
        Self { brings: folders.iter().map(Utf8PathBuf::from).collect(), ..self }
    }
}

/// Packages that are installed, in one transaction of apt's.
pub struct Installed {
    pub packages: Vec<Package>,
    /// The source files whose lists are read anew before anything is installed.
    pub sources: Vec<Utf8PathBuf>,
    /// Whether the host's other sources are read anew as well.
    pub refresh_all: bool,
    /// The versions that are taken; None takes the newest that fit.
    pub lock: Option<PackageLock>,
}

#[async_trait]
impl Resource for Installed {
    /// What dpkg has, and of what is missing the version that apt would take, by the lists that it has now.
    type Observed = (Status, BTreeMap<String, String>);

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        let status = Status::read(probe).await?;
        let missing: Vec<&Package> =
            self.packages.iter().filter(|package| self.missing(package, &status, &BTreeMap::new()).is_some()).collect();
        if missing.is_empty() {
            return Ok((status, BTreeMap::new()));
        }
        let names = missing.iter().map(|package| package.name.as_str());
        let policy = probe.query(&POLICY.into_iter().chain(names).collect::<Vec<_>>()).await?.stdout;
        let candidate = |package: &&Package| Some((package.name.clone(), candidate(&policy, package)?));
        Ok((status, missing.iter().filter_map(candidate).collect()))
    }

    fn diff(&self, (status, candidates): Self::Observed) -> Result<Planned> {
        let missing: Vec<PackageChange> =
            self.packages.iter().filter_map(|package| self.missing(package, &status, &candidates)).collect();
        if missing.is_empty() && status.interrupted.is_none() {
            return Ok(Planned::Satisfied);
        }
        if let Some(holder) = status.lock_holder {
            return Ok(Planned::after(format!("dpkg's lock, which {holder} holds")));
        }
        let lock = self.lock_of(&missing, &status);
        let mut changes = Vec::new();
        if let Some(why) = status.interrupted {
            changes.push(Change::MendPackages { why });
        }
        if !missing.is_empty() {
            if self.refresh_all {
                changes.push(Change::RefreshPackages { source: None });
            }
            changes.extend(self.sources.iter().map(|source| Change::RefreshPackages { source: Some(source.clone()) }));
            changes.push(Change::InstallPackages { packages: missing, lock });
        }
        Ok(Planned::Changes(changes))
    }
}

impl Installed {
    fn missing(
        &self,
        package: &Package,
        status: &Status,
        candidates: &BTreeMap<String, String>,
    ) -> Option<PackageChange> {
        let from = status.version(&package.name);
        if from.is_some_and(|version| package.is_met_by(version)) {
            return None;
        }
        let pins = self.lock.iter().flat_map(|lock| &lock.pins);
        let pin = pins.filter(|pin| package.is_met_by(&pin.version)).find(|pin| pin.name == package.name);
        Some(PackageChange {
            name: package.name.clone(),
            from: from.map(String::from),
            to: pin.map(|pin| pin.version.clone()).or_else(|| package.version.clone()),
            candidate: candidates.get(&package.name).cloned(),
            brings: package.brings.clone(),
        })
    }

    /// The part of the lock that this may need: its own packages, and those that are not there yet.
    fn lock_of(&self, missing: &[PackageChange], status: &Status) -> Option<PackageLock> {
        let lock = self.lock.as_ref()?;
        let is_own = |name: &str| missing.iter().any(|package| package.name == name);
        let pins = lock.pins.iter().filter(|pin| is_own(&pin.name) || status.package(&pin.name).is_none());
        Some(PackageLock { pins: pins.cloned().collect(), is_complete: lock.is_complete })
    }
}

/// What apt would take, asked so that it writes no cache.
const POLICY: [&str; 6] = ["apt-cache", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "policy"];

/// The version that apt would take, in what `apt-cache policy` says of several packages: the candidate, or of the versions that fit
/// a pattern the highest, which is told first. None where no list has the package.
pub(super) fn candidate(policy: &str, package: &Package) -> Option<String> {
    let lines = policy.lines().skip_while(|line| line.strip_suffix(':') != Some(&package.name)).skip(1);
    let own: Vec<&str> = lines.take_while(|line| line.starts_with(' ')).collect();
    let Some(wanted) = &package.version else {
        let candidate = own.iter().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
        return (candidate != "(none)").then(|| candidate.into());
    };
    let table = own.iter().skip_while(|line| line.trim() != "Version table:").skip(1);
    // A version's line has its priority; the lines of its sources are indented deeper.
    let versions = table
        .filter(|line| !line.starts_with("        "))
        .filter_map(|line| line.trim_start_matches([' ', '*']).split_whitespace().next());
    versions.into_iter().find(|version| matches_version(version, wanted)).map(String::from)
}

/// No other source file names this repository: apt refuses to work at all when two name different keys for it.
pub struct SoleSource {
    pub url: String,
    pub own: Utf8PathBuf,
}

#[async_trait]
impl Resource for SoleSource {
    /// Files that name the repository.
    type Observed = Vec<Utf8PathBuf>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        const FOLDER: &str = "/etc/apt/sources.list.d";
        let names = probe.list(FOLDER.into()).await?.unwrap_or_default();
        let files = names.iter().filter(|name| name.ends_with(".list") || name.ends_with(".sources"));
        let files = files.map(|name| Utf8PathBuf::from(format!("{FOLDER}/{name}")));
        let mut found = Vec::new();
        for file in files.chain(["/etc/apt/sources.list".into()]).filter(|file| *file != self.own) {
            let text = probe.read_text(&file).await?.unwrap_or_default();
            if names_repository(&text, &self.url) {
                found.push(file);
            }
        }
        Ok(found)
    }

    fn diff(&self, others: Self::Observed) -> Result<Planned> {
        let Some(other) = others.first() else { return Ok(Planned::Satisfied) };
        Err(Failure::new(format!("{other} names the repository {}, too", self.url))
            .hint(Hint::RemoveSource { own: PathWord::of(&self.own), other: PathWord::of(other) }))
    }
}

/// Whether a source file, of either format, has this address and does not only mention it.
fn names_repository(text: &str, url: &str) -> bool {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).any(|word| word.trim_end_matches('/') == url.trim_end_matches('/'))
}

/// Packages that are not installed. One that a package needs which is not among them is an error.
pub struct Removed(pub Vec<Cow<'static, str>>);

#[async_trait]
impl Resource for Removed {
    /// What dpkg has, and the packages that would go along.
    type Observed = (Status, BTreeSet<String>);

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        let status = Status::read(probe).await?;
        let packages = self.installed(&status);
        let others = match packages.is_empty() {
            true => None,
            false => apt_removal::others(probe, &packages).await?,
        };
        Ok((status, others.unwrap_or_default()))
    }

    fn diff(&self, (status, others): Self::Observed) -> Result<Planned> {
        let packages = self.installed(&status);
        if packages.is_empty() {
            return Ok(Planned::Satisfied);
        }
        if !others.is_empty() {
            return Err(apt_removal::needed(&packages, others.iter().map(String::as_str)));
        }
        if let Some(holder) = status.lock_holder {
            return Ok(Planned::after(format!("dpkg's lock, which {holder} holds")));
        }
        Ok(Planned::Changes(vec![Change::RemovePackages { packages }]))
    }
}

impl Removed {
    fn installed(&self, status: &Status) -> Vec<String> {
        self.0.iter().filter(|name| status.package(name).is_some()).map(|name| name.to_string()).collect()
    }
}

/// Refuses to go on where apt would install too old a package.
pub struct CandidateAtLeast {
    pub package: &'static str,
    pub major: u64,
    pub reason: &'static str,
    pub hint: Hint,
}

#[async_trait]
impl Resource for CandidateAtLeast {
    /// The version that is installed, or else the one that apt would install.
    type Observed = Option<String>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        if let Some(version) = Status::read(probe).await?.version(self.package) {
            return Ok(Some(version.into()));
        }
        let policy = probe.query(&POLICY.into_iter().chain([self.package]).collect::<Vec<_>>()).await?;
        Ok(candidate(&policy.stdout, &Package::any(self.package)))
    }

    fn diff(&self, version: Self::Observed) -> Result<Planned> {
        // Where no list knows it yet, the installation itself tells.
        let Some(version) = version else { return Ok(Planned::Satisfied) };
        if major(&version).is_none_or(|major| major >= self.major) {
            return Ok(Planned::Satisfied);
        }
        let Self { package, major, reason, .. } = self;
        Err(Failure::new(format!(
            "the distribution's {package} is {version}, and {major}.0 or newer is needed: {reason}"
        ))
        .hint(self.hint.clone()))
    }
}

/// The first number of a Debian version, after its epoch.
fn major(version: &str) -> Option<u64> {
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    upstream.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Packages that apt leaves at their version.
pub struct Held(pub Vec<&'static str>);

#[async_trait]
impl Resource for Held {
    type Observed = Status;

    async fn observe(&self, probe: &dyn Probe) -> Result<Status> {
        Status::read(probe).await
    }

    fn diff(&self, status: Status) -> Result<Planned> {
        let free: Vec<String> = self
            .0
            .iter()
            .filter(|name| !status.package(name).is_some_and(|package| package.is_held))
            .map(|name| name.to_string())
            .collect();
        Ok(Planned::of(if free.is_empty() {
            Vec::new()
        } else {
            vec![Change::HoldPackages { packages: free, hold: true }]
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::PackagePin;
    use crate::resource::PackageState;

    fn kubelet() -> Installed {
        Installed {
            packages: vec![Package::version("kubelet", "1.37.2-*")],
            sources: vec!["/etc/apt/sources.list.d/k.sources".into()],
            refresh_all: false,
            lock: None,
        }
    }

    fn locked(version: &str) -> Installed {
        let pin =
            |name: &str, version: &str| PackagePin { name: name.into(), version: version.into(), sha256: "0".into() };
        let pins = vec![pin("kubelet", version), pin("kubernetes-cni", "1.9.1-1.1"), pin("socat", "1.7")];
        Installed { lock: Some(PackageLock { pins, is_complete: true }), ..kubelet() }
    }

    fn status(packages: &[(&str, &str)]) -> Status {
        let state = |version: &str| PackageState { version: version.into(), is_held: false, is_installed: true };
        let packages = packages.iter().map(|(name, version)| (name.to_string(), state(version))).collect();
        Status { packages, ..Status::default() }
    }

    #[test]
    fn a_locked_version_is_the_one_that_is_planned() {
        let Planned::Changes(changes) =
            locked("1.37.2-1.1").diff((status(&[("socat", "1.6")]), BTreeMap::new())).unwrap()
        else {
            panic!()
        };
        assert_eq!(changes[1].to_string(), "install kubelet 1.37.2-1.1");
        let Change::InstallPackages { lock: Some(lock), .. } = &changes[1] else { panic!("no lock") };
        let names: Vec<&str> = lock.pins.iter().map(|pin| pin.name.as_str()).collect();
        assert_eq!(names, ["kubelet", "kubernetes-cni"], "what is there already is not taken from anywhere");
        assert!(lock.is_complete);
    }

    #[test]
    fn a_lock_that_does_not_fit_the_inventory_decides_nothing() {
        let Planned::Changes(changes) = locked("1.36.0-1.1").diff((Status::default(), BTreeMap::new())).unwrap() else {
            panic!()
        };
        assert_eq!(changes[1].to_string(), "install kubelet 1.37.2-*");
    }

    #[test]
    fn an_installed_version_that_fits_stays() {
        assert_eq!(
            locked("1.37.2-1.1").diff((status(&[("kubelet", "1.37.2-1.2")]), BTreeMap::new())).unwrap(),
            Planned::Satisfied
        );
    }

    #[test]
    fn a_source_of_either_format_is_found_and_a_comment_is_not() {
        let url = "https://pkgs.k8s.io/core:/stable:/v1.37/deb/";
        let line = "deb [signed-by=/etc/apt/keyrings/k.gpg] https://pkgs.k8s.io/core:/stable:/v1.37/deb /";
        assert!(names_repository(line, url));
        assert!(names_repository(&format!("Types: deb\nURIs: {url}\n"), url));
        assert!(!names_repository(&format!("# {line}"), url));
        assert!(!names_repository("deb https://pkgs.k8s.io/core:/stable:/v1.36/deb/ /", url));
    }

    #[test]
    fn a_missing_package_is_installed_after_its_list_is_read() {
        let Planned::Changes(changes) = kubelet().diff((Status::default(), BTreeMap::new())).unwrap() else {
            panic!("no change")
        };
        let shown: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["read the package lists of /etc/apt/sources.list.d/k.sources", "install kubelet 1.37.2-*"]);
    }

    #[test]
    fn the_version_that_apt_would_take_is_known_where_its_lists_are() {
        let policy = "kubelet:\n  Installed: 1.37.0-1.1\n  Candidate: 1.38.0-1.1\n  Version table:\n     1.38.0-1.1 990\n        500 http://k Packages\n     1.37.2-1.2 990\n        500 http://k Packages\n     1.37.2-1.1 990\n        500 http://k Packages\n *** 1.37.0-1.1 100\n        100 /var/lib/dpkg/status\nsocat:\n  Installed: (none)\n  Candidate: 1.7\n  Version table:\n     1.7 500\n        500 http://d Packages\ngone:\n  Installed: (none)\n  Candidate: (none)\n";
        let of = |package: Package| candidate(policy, &package);
        assert_eq!(of(Package::version("kubelet", "1.37.2-*")).as_deref(), Some("1.37.2-1.2"));
        assert_eq!(of(Package::version("kubelet", "1.37.0-1.1")).as_deref(), Some("1.37.0-1.1"));
        assert_eq!(of(Package::version("kubelet", "1.36.*")), None);
        assert_eq!(of(Package::any("kubelet")).as_deref(), Some("1.38.0-1.1"));
        assert_eq!(of(Package::any("socat")).as_deref(), Some("1.7"));
        assert_eq!(of(Package::any("kubeadm")), None);
        assert_eq!(of(Package::any("gone")), None);
        let Planned::Changes(changes) =
            kubelet().diff((Status::default(), [("kubelet".into(), "1.37.2-1.2".into())].into())).unwrap()
        else {
            panic!("no change")
        };
        assert_eq!(changes[1].to_string(), "install kubelet 1.37.2-1.2");
    }

    #[test]
    fn a_held_lock_is_waited_for_and_its_holder_named() {
        let status = Status { lock_holder: Some("apt-get (process 812)".into()), ..Status::default() };
        assert_eq!(
            kubelet().diff((status, BTreeMap::new())).unwrap(),
            Planned::after("dpkg's lock, which apt-get (process 812) holds")
        );
    }

    #[test]
    fn an_interrupted_dpkg_is_mended_even_when_nothing_is_missing() {
        let nothing = Installed { packages: Vec::new(), sources: Vec::new(), refresh_all: false, lock: None };
        let status = Status { interrupted: Some("socat is half-configured".into()), ..Status::default() };
        let Planned::Changes(changes) = nothing.diff((status, BTreeMap::new())).unwrap() else { panic!("no change") };
        assert_eq!(changes[0].to_string(), "finish an interrupted dpkg run (socat is half-configured)");
    }
}
