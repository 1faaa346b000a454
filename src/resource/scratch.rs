//! What apt would do with other sources, in a folder of its own: the host's lists, sources and caches stay as they are.
//!
//! The folder goes with the value, or, where its process was killed, with the next one that is made.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::apt_fetch;
use super::apt_key::{self, AptKey, KeySource};
use super::apt_lock::{self, Apt};
use crate::engine::{Failure, PackagePin, Result, now_millis};
use crate::fetch::Retry;

const FOLDER: &str = "/var/tmp";
const PREFIX: &str = "kboot-resolve-";

/// Apt's state in a folder of its own, with the host's configuration and installed packages.
pub struct Scratch {
    folder: Utf8PathBuf,
    /// The source files that were put in, which must work.
    sources: Vec<Utf8PathBuf>,
    /// Certificate authorities, PEM, where the host has none.
    roots: Option<String>,
}

impl Scratch {
    /// Begins with the host's own sources but for `own`, the files that kboot keeps on hosts and that are put in anew.
    /// `roots`, PEM, are trusted instead of the host's certificate authorities.
    pub fn new(own: &[&str], roots: Option<&str>) -> Result<Self> {
        remove_abandoned()?;
        let folder = Utf8PathBuf::from(format!("{FOLDER}/{PREFIX}{}", std::process::id()));
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
        self.folder.join(path)
    }

    /// What turns the host's apt to this folder. Hooks that other programs have put behind an update are none of ours.
    fn configuration(&self) -> String {
        let folder = &self.folder;
        let trust = match self.roots {
            Some(_) => format!("Acquire::https::CaInfo \"{folder}/roots.pem\";\n"),
            None => String::new(),
        };
        format!(
            "{trust}Dir::Log \"{folder}/cache\";\nDir::State::lists \"{folder}/lists\";\nDir::Cache \"{folder}/cache\";\nDir::Etc::sourceparts \"{folder}/sources\";\n\
             Dir::Etc::preferences \"{folder}/preferences\";\nDir::Etc::preferencesparts \"{folder}/preferences.d\";\n\
             #clear APT::Update;\n"
        )
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Folders whose process is gone.
fn remove_abandoned() -> Result<()> {
    for entry in fs::read_dir(FOLDER)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(process) = name.strip_prefix(PREFIX).and_then(|number| number.parse::<u32>().ok()) else { continue };
        if process == std::process::id() || !Utf8Path::new(&format!("/proc/{process}")).exists() {
            fs::remove_dir_all(format!("{FOLDER}/{name}"))?;
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
    fn the_folder_goes_with_the_value_and_hosts_files_but_our_own_are_in_it() {
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
        let folder = {
            let scratch = Scratch::new(&[], Some("")).unwrap();
            assert!(scratch.at("apt.conf").exists());
            assert!(fs::read_to_string(scratch.at("conf/zz-kboot")).unwrap().contains("CaInfo"));
            scratch.folder.clone()
        };
        assert!(!folder.exists());
    }
}
