//! What apt would do with other sources, in a folder of its own: the host's lists, sources and caches stay as they are.
//!
//! The folder is new, 0700, and below kboot's own folder, so no other user of the host can put anything into it. It goes with the
//! value. Where its process was killed, the next one that is made removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use rustix::fs::FlockOperation;
use tempfile::TempDir;

use super::apt_key::{self, AptKey, KeySource};
use super::apt_lock::{self, Apt};
use super::{apt_fetch, file, removal};
use crate::engine::{Failure, PackagePin, Result, make_private_folder, now_millis};
use crate::fetch::Retry;

/// Kboot's own folder: apt's lists and caches can be too large for `/run`.
const PLACE: &str = "/var/lib/kboot";
const PREFIX: &str = "apt-";

/// Apt's state in a folder of its own, with the host's configuration and installed packages.
pub struct Scratch {
    folder: WorkFolder,
    /// The source files that were put in, which must work.
    sources: Vec<Utf8PathBuf>,
    /// Certificate authorities, PEM, where the host has none.
    roots: Option<String>,
}

impl Scratch {
    /// Begins with the host's own sources but for `own`, the files that kboot keeps on hosts and that are put in anew.
    /// `roots`, PEM, are trusted instead of the host's certificate authorities.
    pub fn new(own: &[&str], roots: Option<&str>) -> Result<Self> {
        Self::new_in(Utf8Path::new(PLACE), own, roots)
    }

    fn new_in(place: &Utf8Path, own: &[&str], roots: Option<&str>) -> Result<Self> {
        let folder = WorkFolder::new(place)?;
        let scratch = Self { folder, sources: Vec::new(), roots: roots.map(String::from) };
        for folder in ["lists/partial", "cache/archives/partial", "sources", "preferences.d", "conf", "keys"] {
            fs::create_dir_all(scratch.at(folder))?;
        }
        for (from, to) in [
            ("/etc/apt/sources.list.d", "sources"),
            ("/etc/apt/preferences.d", "preferences.d"),
            ("/etc/apt/apt.conf.d", "conf"),
            // What the host knows already need not be fetched again: apt asks whether it is still current.
            ("/var/lib/apt/lists", "lists"),
        ] {
            copy_files(from.into(), &scratch.at(to), own)?;
        }
        if let Some(roots) = roots {
            fs::write(scratch.at("roots.pem"), roots)?;
        }
        fs::write(scratch.at("conf/zz-kboot"), scratch.configuration())?;
        fs::write(scratch.at("apt.conf"), format!("Dir::Etc::parts \"{}\";\n", scratch.at("conf")))?;
        Ok(scratch)
    }

    /// Puts a repository's key in; gives the path by which a source names it.
    pub async fn add_key(&self, key: &AptKey, retry: Retry<'_>) -> Result<Utf8PathBuf> {
        let path = self.at("keys").join(key.path.file_name().unwrap_or("key.gpg"));
        match &key.source {
            KeySource::Given(bytes) => fs::write(&path, key.keyring(bytes, now_millis() / 1000)?)?,
            KeySource::Url(url) => apt_key::fetch(url, &path, &key.fingerprints, self.roots.as_deref(), retry).await?,
        }
        Ok(path)
    }

    pub fn add_source(&mut self, name: &Utf8Path, text: &str) -> Result<()> {
        let path = self.at("sources").join(name.file_name().unwrap_or("own.sources"));
        fs::write(&path, text)?;
        self.sources.push(path);
        Ok(())
    }

    pub fn add_preferences(&self, name: &Utf8Path, text: &str) -> Result<()> {
        Ok(fs::write(self.at("preferences.d").join(name.file_name().unwrap_or("own.pref")), text)?)
    }

    /// Prefers packages at these versions or patterns.
    pub fn pin(&self, pins: &BTreeMap<String, String>) -> Result<()> {
        let pins = pins.iter().map(|(name, version)| (name.as_str(), version.as_str()));
        Ok(fs::write(self.at("preferences"), apt_lock::preferences(pins))?)
    }

    /// Reads the lists. Sources that were put in must work; the host's others may be broken.
    pub async fn refresh(&self, retry: Retry<'_>) -> Result<()> {
        let apt = self.apt();
        apt_fetch::refresh_all(&apt.environment(), retry).await?;
        for source in &self.sources {
            let name = source.file_stem().unwrap_or_default();
            let read = apt_fetch::refresh_one(source, &apt.environment(), retry).await;
            read.map_err(|failure| failure.context(format_args!("read the package lists of packages.{name}")))?;
        }
        Ok(())
    }

    /// What apt would take of these packages; those that no repository has are left out.
    pub async fn candidates(&self, names: &BTreeSet<String>) -> Result<Vec<PackagePin>> {
        let apt = self.apt();
        apt.pins(&apt.candidates(names).await?).await
    }

    /// What installing these would install.
    pub async fn installs(&self, names: &[String]) -> Result<Vec<PackagePin>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let apt = self.apt();
        apt.pins(&apt.installs(names).await?).await
    }

    fn apt(&self) -> Apt {
        Apt { environment: vec![("APT_CONFIG", self.at("apt.conf").into())], options: Vec::new() }
    }

    fn at(&self, path: &str) -> Utf8PathBuf {
        self.folder.path.join(path)
    }

    /// What turns the host's apt to this folder. Nobody but root can enter it, so apt's own user can't download into it. Hooks that other programs have put behind an update are none of ours.
    fn configuration(&self) -> String {
        let folder = &self.folder.path;
        let trust = match self.roots {
            Some(_) => format!("Acquire::https::CaInfo \"{folder}/roots.pem\";\n"),
            None => String::new(),
        };
        format!(
            "{trust}Dir::Log \"{folder}/cache\";\nDir::State::lists \"{folder}/lists\";\nDir::Cache \"{folder}/cache\";\nDir::Etc::sourceparts \"{folder}/sources\";\n\
             Dir::Etc::preferences \"{folder}/preferences\";\nDir::Etc::preferencesparts \"{folder}/preferences.d\";\n\
             APT::Sandbox::User \"root\";\n#clear APT::Update;\n"
        )
    }
}

/// A new folder that is locked as long as its process works in it.
struct WorkFolder {
    path: Utf8PathBuf,
    place: Utf8PathBuf,
    /// Whether the place was there before.
    had_place: bool,
    _lock: fs::File,
}

impl WorkFolder {
    fn new(place: &Utf8Path) -> Result<Self> {
        let had_place = place.exists();
        make_private_folder(place)?;
        // Until the new folder is locked, nobody else may take it for an abandoned one.
        let guard = fs::File::open(place)?;
        rustix::fs::flock(guard.file(), FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
        remove_abandoned(place)?;
        let private = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix(PREFIX).permissions(private).tempdir_in(place)?;
        let path = Utf8PathBuf::try_from(folder.path().to_owned()).map_err(|error| Failure::new(error.to_string()))?;
        let lock = fs::File::open(&path)?;
        rustix::fs::flock(lock.file(), FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
        // From here on it goes with this value.
        let _ = TempDir::keep(folder);
        Ok(Self { path, place: place.into(), had_place, _lock: lock })
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next.
        let _ = removal::remove(&self.path);
        if !self.had_place {
            // Unless something else came into it.
            let _ = file::remove_empty_directory(&self.place);
        }
    }
}

/// Removes folders whose process is gone: the kernel has released their locks.
fn remove_abandoned(place: &Utf8Path) -> Result<()> {
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(PREFIX) || !entry.file_type()?.is_dir() {
            continue;
        }
        let folder = fs::File::open(entry.path())?;
        if rustix::fs::flock(folder.file(), FlockOperation::NonBlockingLockExclusive).is_ok() {
            removal::remove(&place.join(name))?;
        }
    }
    Ok(())
}

/// Copies a folder's plain files, but for those of these paths.
fn copy_files(from: &Utf8Path, to: &Utf8Path, but: &[&str]) -> Result<()> {
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for entry in entries {
        let path = Utf8PathBuf::try_from(entry?.path()).map_err(|error| Failure::new(error.to_string()))?;
        let is_own = but.contains(&path.as_str());
        if let Some(name) = path.file_name().filter(|name| *name != "lock" && !is_own)
            && path.is_file()
        {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_files_but_our_own_are_copied() {
        let other = tempfile::tempdir().unwrap();
        let from = Utf8Path::from_path(other.path()).unwrap();
        for name in ["a.sources", "own.sources", "lock"] {
            fs::write(from.join(name), name).unwrap();
        }
        fs::create_dir(from.join("partial")).unwrap();
        let to = tempfile::tempdir().unwrap();
        let to = Utf8Path::from_path(to.path()).unwrap();
        copy_files(from, to, &[from.join("own.sources").as_str()]).unwrap();
        let names: Vec<_> = fs::read_dir(to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["a.sources"]);
    }

    #[test]
    fn the_folder_is_new_private_and_unpredictable_and_goes_with_the_value() {
        let place = tempfile::tempdir().unwrap();
        let place = Utf8Path::from_path(place.path()).unwrap().join("kboot");
        let (first, second) = {
            let first = Scratch::new_in(&place, &[], Some("")).unwrap();
            // It is in use, so it is not taken for an abandoned one.
            let second = Scratch::new_in(&place, &[], Some("")).unwrap();
            assert!(first.at("apt.conf").exists());
            assert!(fs::read_to_string(first.at("conf/zz-kboot")).unwrap().contains("CaInfo"));
            for folder in [&place, &first.folder.path] {
                assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700, "{folder}");
            }
            (first.folder.path.clone(), second.folder.path.clone())
        };
        assert_ne!(first, second);
        assert!(!first.as_str().contains(&std::process::id().to_string()));
        assert!(!place.exists(), "it was not there before");
    }

    #[test]
    fn an_abandoned_folder_is_removed_and_a_link_in_its_place_is_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let place = Utf8Path::from_path(place.path()).unwrap();
        fs::create_dir_all(place.join("apt-killed/lists")).unwrap();
        fs::create_dir_all(place.join("elsewhere/kept")).unwrap();
        std::os::unix::fs::symlink(place.join("elsewhere"), place.join("apt-link")).unwrap();
        drop(WorkFolder::new(place).unwrap());
        assert!(!place.join("apt-killed").exists());
        assert!(place.join("elsewhere/kept").exists() && place.join("apt-link").is_symlink());
    }
}
