//! What dpkg says of packages, read from its own database: no process, no lock.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::engine::{Probe, Result};

/// A package as dpkg has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageState {
    pub version: String,
    pub is_held: bool,
    /// Unpacked and configured; false where dpkg was interrupted.
    pub is_installed: bool,
}

/// dpkg's database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    pub(super) packages: BTreeMap<String, PackageState>,
    /// dpkg was interrupted: why one thinks so.
    pub interrupted: Option<String>,
    /// The program and process that hold dpkg's lock.
    pub lock_holder: Option<String>,
}

const STATUS: &str = "/var/lib/dpkg/status";
const UPDATES: &str = "/var/lib/dpkg/updates";
const LOCKS: [&str; 2] = ["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"];

/// The unit files of installed packages.
pub(super) fn units(packages: &[String]) -> Vec<Utf8PathBuf> {
    let lists = packages.iter().map(|name| format!("/var/lib/dpkg/info/{name}.list"));
    let texts: Vec<String> = lists.filter_map(|list| fs::read_to_string(list).ok()).collect();
    texts.iter().flat_map(|text| units_in(text)).collect()
}

/// Those in a package's list of files.
fn units_in(list: &str) -> impl Iterator<Item = Utf8PathBuf> + '_ {
    let is_unit = |path: &&Utf8Path| {
        path.parent().is_some_and(|folder| folder.ends_with("lib/systemd/system")) && path.extension().is_some()
    };
    list.lines().map(Utf8Path::new).filter(is_unit).map(Utf8Path::to_owned)
}

impl Status {
    pub async fn read(probe: &dyn Probe) -> Result<Self> {
        let text = probe.read_text(Utf8Path::new(STATUS)).await?.unwrap_or_default();
        let mut status = parse(&text);
        status.lock_holder = lock_holder(probe).await?;
        if status.lock_holder.is_none() {
            let updates = probe.list(Utf8Path::new(UPDATES)).await?.unwrap_or_default();
            if updates.iter().any(|name| name.bytes().all(|b| b.is_ascii_digit())) {
                status.interrupted = Some("dpkg's journal is not empty".into());
            }
        }
        Ok(status)
    }

    /// Reads the text of dpkg's status file alone.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn parse(text: &str) -> Self {
        parse(text)
    }

    pub fn package(&self, name: &str) -> Option<&PackageState> {
        self.packages.get(name)
    }

    /// The version of a package that is whole.
    pub fn version(&self, name: &str) -> Option<&str> {
        self.packages.get(name).filter(|p| p.is_installed).map(|p| p.version.as_str())
    }
}

fn parse(text: &str) -> Status {
    let mut status = Status::default();
    for paragraph in text.split("\n\n") {
        let field =
            |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim);
        let (Some(name), Some(state)) = (field("Package"), field("Status")) else { continue };
        let words: Vec<&str> = state.split_whitespace().collect();
        let [want, error, state] = words[..] else { continue };
        if matches!(state, "not-installed" | "config-files") {
            continue;
        }
        let is_installed = matches!(state, "installed" | "triggers-pending" | "triggers-awaited") && error == "ok";
        if !is_installed && status.interrupted.is_none() {
            status.interrupted = Some(format!("{name} is {state}"));
        }
        let version = field("Version").unwrap_or_default().to_string();
        status.packages.insert(name.into(), PackageState { version, is_held: want == "hold", is_installed });
    }
    status
}

/// Who holds a lock of dpkg's: /proc/locks tells the process by the lock file's inode.
async fn lock_holder(probe: &dyn Probe) -> Result<Option<String>> {
    let locks = probe.read_text(Utf8Path::new("/proc/locks")).await?.unwrap_or_default();
    for path in LOCKS {
        let Some(file) = probe.stat(Utf8Path::new(path)).await? else { continue };
        let Some(process) = holder_of(&locks, file.inode) else { continue };
        let name = probe.read_text(Utf8Path::new(&format!("/proc/{process}/comm"))).await?.unwrap_or_default();
        return Ok(Some(format!("{} (process {process})", name.trim())));
    }
    Ok(None)
}

fn holder_of(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().filter(|line| !line.contains("->")).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (process, file) = (fields.get(4)?, fields.get(5)?);
        let locked: u64 = file.rsplit(':').next()?.parse().ok()?;
        if locked == inode { process.parse().ok() } else { None }
    })
}

/// Whether a version is what is asked for: the same, or of a pattern that ends in `*`.
pub(super) fn matches_version(version: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => version.starts_with(prefix),
        None => version == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "Package: kubelet\nStatus: hold ok installed\nVersion: 1.37.2-1.1\n\nPackage: socat\nStatus: install ok half-configured\nVersion: 1.7\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n";

    #[test]
    fn a_package_s_units_are_in_its_list_of_files() {
        let list = "/.\n/lib/systemd/system\n/lib/systemd/system/kubelet.service\n/lib/systemd/system/kubelet.service.d/10-kubeadm.conf\n\
                    /usr/lib/systemd/system/containerd.service\n/usr/bin/kubelet\n";
        let units: Vec<Utf8PathBuf> = units_in(list).collect();
        assert_eq!(units, ["/lib/systemd/system/kubelet.service", "/usr/lib/systemd/system/containerd.service"]);
    }

    #[test]
    fn holds_and_halves_are_seen() {
        let status = parse(SAMPLE);
        assert_eq!(status.version("kubelet"), Some("1.37.2-1.1"));
        assert!(status.package("kubelet").unwrap().is_held);
        assert_eq!(status.version("socat"), None);
        assert_eq!(status.interrupted.as_deref(), Some("socat is half-configured"));
        assert!(status.package("gone").is_none());
    }

    #[test]
    fn the_lock_is_found_by_its_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 812 fe:00:1234 0 EOF\n2: FLOCK  ADVISORY  WRITE 7 00:19:99 0 EOF\n2: -> POSIX  ADVISORY  WRITE 9 fe:00:55 0 EOF\n";
        assert_eq!(holder_of(locks, 1234), Some(812));
        assert_eq!(holder_of(locks, 55), None);
    }

    #[test]
    fn a_pattern_matches_its_prefix() {
        assert!(matches_version("1.37.2-1.1", "1.37.2-*"));
        assert!(!matches_version("1.37.20-1.1", "1.37.2-*"));
    }
}
