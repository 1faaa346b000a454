//! A host as it will be once planned changes are made, so that a plan sees past its own first change: a service is restarted
//! because a file that it reads will be another one, a folder is there because a file will be written into it.
//!
//! What can't be known before it is made, as a key, is known to be there all the same; reading it says so by a failure that names
//! it ([`Failure::is_unforeseen`]), and what needed it comes after it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};

use super::{Change, Failure, FileKind, FileMode, Guard, Metadata, Output, Probe, Result};
use crate::proc;

/// What planned changes will have made. Cheap to clone; clones share.
#[derive(Clone, Default)]
pub struct PlannedHost(Arc<Mutex<Overlay>>);

#[derive(Default)]
struct Overlay {
    paths: BTreeMap<Utf8PathBuf, Entry>,
    units: BTreeMap<String, Unit>,
}

#[derive(Clone)]
enum Entry {
    Gone,
    /// None where its bytes can't be known yet.
    File {
        bytes: Option<Vec<u8>>,
        mode: FileMode,
    },
    Directory(FileMode),
    Link(Utf8PathBuf),
    /// What is there, with another mode.
    Mode(FileMode),
}

#[derive(Clone, Copy, Default)]
struct Unit {
    is_enabled: Option<bool>,
    /// Whether it will run, newly started, or be stopped.
    runs: Option<bool>,
}

impl PlannedHost {
    /// Takes these changes for made.
    pub fn expect(&self, changes: &[Change]) {
        let mut overlay = self.0.lock().expect("no panic while held");
        changes.iter().for_each(|change| overlay.expect(change));
    }

    /// The host as it will be.
    pub fn over<'a>(&'a self, probe: &'a dyn Probe) -> impl Probe + 'a {
        Ahead { probe, overlay: &self.0 }
    }
}

impl Overlay {
    fn expect(&mut self, change: &Change) {
        match change {
            Change::WriteFile { path, mode, after, .. } => self.file(path, after.bytes(), *mode),
            Change::Remove { path } | Change::RemoveEmptyDirectory { path } => {
                self.paths.retain(|known, _| !known.starts_with(path));
                self.paths.insert(path.clone(), Entry::Gone);
            }
            Change::MakeDirectory { path, mode } => drop(self.paths.insert(path.clone(), Entry::Directory(*mode))),
            Change::SetMode { path, mode } => {
                let subject = match self.paths.get(path) {
                    Some(Entry::File { bytes, .. }) => Entry::File { bytes: bytes.clone(), mode: *mode },
                    Some(Entry::Directory(_)) => Entry::Directory(*mode),
                    _ => Entry::Mode(*mode),
                };
                self.paths.insert(path.clone(), subject);
            }
            Change::IssueCertificate { certificate, key, .. } => {
                self.file(certificate, None, FileMode::PUBLIC);
                self.file(key, None, FileMode::PRIVATE);
            }
            Change::MakeKeyPair { private, public, .. } => {
                self.file(private, None, FileMode::PRIVATE);
                self.file(public, None, FileMode::PRIVATE);
            }
            Change::WriteKubeconfig { path, .. } => self.file(path, None, FileMode::PRIVATE),
            Change::MakeLink { path, target } => drop(self.paths.insert(path.clone(), Entry::Link(target.clone()))),
            Change::FetchKey { path, .. } => self.file(path, None, FileMode::PUBLIC),
            Change::SetSysctl { key, after, .. } => {
                self.file(&proc::sysctl(key), Some(format!("{after}\n").into_bytes()), FileMode::PUBLIC);
            }
            Change::SetUnit(change) => {
                let unit = self.units.entry(change.unit.clone()).or_default();
                unit.is_enabled = change.enable.or(unit.is_enabled);
                unit.runs = if change.restart.is_some() { Some(true) } else { change.start.or(unit.runs) };
            }
            Change::InstallPackages { packages, .. } => {
                for path in packages.iter().filter(|package| package.from.is_none()).flat_map(|package| &package.brings)
                {
                    self.paths.entry(path.clone()).or_insert(Entry::Directory(FileMode::DIRECTORY));
                }
            }
            // Nothing that is planned later looks at these.
            _ => {}
        }
    }

    fn file(&mut self, path: &Utf8Path, bytes: Option<Vec<u8>>, mode: FileMode) {
        self.paths.insert(path.into(), Entry::File { bytes, mode });
    }

    /// What will be at a path; None where the host itself tells.
    fn at(&self, path: &Utf8Path) -> Option<Entry> {
        if let Some(subject) = self.paths.get(path) {
            // A folder that was removed is there again once something is put into it.
            let is_refilled = matches!(subject, Entry::Gone) && self.has_below(path);
            return Some(if is_refilled { Entry::Directory(FileMode::DIRECTORY) } else { subject.clone() });
        }
        let is_gone = path.ancestors().skip(1).any(|above| matches!(self.paths.get(above), Some(Entry::Gone)));
        match (is_gone, self.has_below(path)) {
            (true, false) => Some(Entry::Gone),
            (true, true) => Some(Entry::Directory(FileMode::DIRECTORY)),
            (false, _) => None,
        }
    }

    /// Whether something will be made below a path.
    fn has_below(&self, path: &Utf8Path) -> bool {
        self.paths.iter().any(|(known, subject)| is_below(known, path) && !matches!(subject, Entry::Gone))
    }
}

fn is_below(path: &Utf8Path, folder: &Utf8Path) -> bool {
    path != folder && path.starts_with(folder)
}

struct Ahead<'a> {
    probe: &'a dyn Probe,
    overlay: &'a Mutex<Overlay>,
}

impl Ahead<'_> {
    fn at(&self, path: &Utf8Path) -> Option<Entry> {
        self.overlay.lock().expect("no panic while held").at(path)
    }
}

#[async_trait]
impl Probe for Ahead<'_> {
    async fn read(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>> {
        match self.at(path) {
            Some(Entry::Gone) => Ok(None),
            Some(Entry::File { bytes: Some(bytes), .. }) => Ok(Some(bytes)),
            Some(Entry::File { bytes: None, .. } | Entry::Link(_)) => Err(Failure::unforeseen(path.as_str())),
            Some(Entry::Directory(_) | Entry::Mode(_)) | None => self.probe.read(path).await,
        }
    }

    async fn read_present(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>> {
        match self.at(path) {
            Some(Entry::File { .. }) => {
                let planned = self.read(path).await?;
                Ok(self.probe.read_present(path).await?.or(planned))
            }
            Some(Entry::Gone | Entry::Link(_)) => self.read(path).await,
            Some(Entry::Directory(_) | Entry::Mode(_)) | None => self.probe.read_present(path).await,
        }
    }

    async fn read_head(&self, path: &Utf8Path, bytes: usize) -> Result<Option<Vec<u8>>> {
        if self.at(path).is_none() {
            return self.probe.read_head(path, bytes).await;
        }
        let whole = self.read(path).await?;
        Ok(whole.map(|whole| whole.into_iter().take(bytes).collect()))
    }

    async fn stat(&self, path: &Utf8Path) -> Result<Option<Metadata>> {
        let made = |kind, FileMode(mode), size| Ok(Some(Metadata { kind, mode, uid: 0, gid: 0, size, inode: 0 }));
        match self.at(path) {
            Some(Entry::Gone) => Ok(None),
            Some(Entry::File { bytes, mode }) => {
                made(FileKind::File, mode, bytes.map_or(0, |bytes| bytes.len() as u64))
            }
            Some(Entry::Directory(mode)) => made(FileKind::Directory, mode, 0),
            Some(Entry::Link(target)) => made(FileKind::Symlink, FileMode(0o777), target.as_str().len() as u64),
            Some(Entry::Mode(FileMode(mode))) => {
                let there = self.probe.stat(path).await?;
                Ok(there.map(|metadata| Metadata { mode, ..metadata }))
            }
            None => match self.probe.stat(path).await? {
                None if self.overlay.lock().expect("no panic while held").has_below(path) => {
                    made(FileKind::Directory, FileMode::DIRECTORY, 0)
                }
                there => Ok(there),
            },
        }
    }

    async fn link(&self, path: &Utf8Path) -> Result<Option<Utf8PathBuf>> {
        match self.at(path) {
            Some(Entry::Link(target)) => Ok(Some(target)),
            Some(Entry::Gone | Entry::File { .. } | Entry::Directory(_)) => Ok(None),
            Some(Entry::Mode(_)) | None => self.probe.link(path).await,
        }
    }

    async fn list(&self, path: &Utf8Path) -> Result<Option<Vec<String>>> {
        let there = match self.at(path) {
            Some(Entry::Gone) => return Ok(None),
            _ => self.probe.list(path).await?,
        };
        let overlay = self.overlay.lock().expect("no panic while held");
        let is_made = overlay.has_below(path) || matches!(overlay.paths.get(path), Some(Entry::Directory(_)));
        if there.is_none() && !is_made {
            return Ok(None);
        }
        let mut names = there.unwrap_or_default();
        names.retain(|name| !matches!(overlay.at(&path.join(name)), Some(Entry::Gone)));
        let made =
            overlay.paths.iter().filter(|(known, subject)| is_below(known, path) && !matches!(subject, Entry::Gone));
        let child = |known: &Utf8Path| Some(known.strip_prefix(path).ok()?.iter().next()?.to_string());
        names.extend(made.filter_map(|(known, _)| child(known)));
        names.sort();
        names.dedup();
        Ok(Some(names))
    }

    /// Of all queries, a unit's state alone is one that planned changes are known to move.
    async fn query(&self, argv: &[&str]) -> Result<Output> {
        let output = self.probe.query(argv).await?;
        let ["systemctl", "show", name, ..] = argv else { return Ok(output) };
        let unit = self.overlay.lock().expect("no panic while held").units.get(*name).copied();
        let Some(unit) = unit else { return Ok(output) };
        let lines = output.stdout.lines().map(|line| unit.line(line) + "\n");
        Ok(Output { stdout: lines.collect(), ..output })
    }

    /// By the host as it is: nobody but the guard knows what it looks at.
    async fn ask(&self, guard: &Guard) -> Result<Output> {
        self.probe.ask(guard).await
    }
}

impl Unit {
    /// A line of `systemctl show` as it will be.
    fn line(self, line: &str) -> String {
        let value = match (line.split_once('=').map(|(key, _)| key), self.runs, self.is_enabled) {
            (Some("ActiveState"), Some(true), _) => "active",
            (Some("ActiveState"), Some(false), _) => "inactive",
            (Some("UnitFileState"), _, Some(true)) => "enabled",
            (Some("UnitFileState"), _, Some(false)) => "disabled",
            _ => return line.into(),
        };
        let (key, _) = line.split_once('=').unwrap_or_default();
        format!("{key}={value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;
    use crate::engine::{Content, UnitChange};

    fn write(path: &str, text: &str) -> Change {
        Change::WriteFile {
            path: path.into(),
            mode: FileMode::PRIVATE,
            before: None,
            after: Content::Text(text.into()),
        }
    }

    fn remove(path: &str) -> Change {
        Change::Remove { path: path.into() }
    }

    fn expecting(changes: &[Change]) -> PlannedHost {
        let planned_host = PlannedHost::default();
        planned_host.expect(changes);
        planned_host
    }

    #[tokio::test]
    async fn what_a_file_has_until_then_is_there_as_well() {
        let host = FakeHost::default().file("/etc/a", "old").file("/etc/gone", "old");
        let planned_host = expecting(&[write("/etc/a", "new"), write("/etc/b", "new"), remove("/etc/gone")]);
        let ahead = planned_host.over(&host);
        for (path, present) in [("/etc/a", Some("old")), ("/etc/b", Some("new")), ("/etc/gone", None)] {
            let read = ahead.read_present(path.into()).await.unwrap();
            assert_eq!(read, present.map(|text| text.as_bytes().to_vec()), "{path}");
            // A step has a planned host of its own, over the run's.
            let own = PlannedHost::default();
            assert_eq!(own.over(&ahead).read_present(path.into()).await.unwrap(), read);
        }
    }

    #[tokio::test]
    async fn a_planned_file_is_there_newer_than_all_and_its_folder_too() {
        let (host, planned_host) = (FakeHost::default().file("/etc/a", "old"), expecting(&[write("/etc/b/c", "new")]));
        let ahead = planned_host.over(&host);
        assert_eq!(ahead.read_text("/etc/b/c".into()).await.unwrap().as_deref(), Some("new"));
        let metadata = ahead.stat("/etc/b/c".into()).await.unwrap().unwrap();
        assert_eq!((metadata.kind, metadata.mode), (FileKind::File, 0o600));
        assert_eq!(ahead.stat("/etc/b".into()).await.unwrap().unwrap().kind, FileKind::Directory);
        assert_eq!(ahead.list("/etc".into()).await.unwrap().unwrap(), ["a", "b"]);
        assert_eq!(ahead.read_text("/etc/a".into()).await.unwrap().as_deref(), Some("old"));
        assert_eq!(ahead.stat("/srv".into()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_removed_is_gone_with_all_below_until_something_is_put_there_again() {
        let host = FakeHost::default().file("/pki/ca.crt", "x").file("/pki/etcd/ca.crt", "y");
        let planned_host = expecting(&[remove("/pki")]);
        assert_eq!(planned_host.over(&host).read("/pki/etcd/ca.crt".into()).await.unwrap(), None);
        assert_eq!(planned_host.over(&host).list("/pki".into()).await.unwrap(), None);
        planned_host.expect(&[write("/pki/sa.key", "z")]);
        let ahead = planned_host.over(&host);
        assert_eq!(ahead.stat("/pki".into()).await.unwrap().unwrap().kind, FileKind::Directory);
        assert_eq!(ahead.stat("/pki/ca.crt".into()).await.unwrap(), None);
        assert_eq!(ahead.list("/pki".into()).await.unwrap().unwrap(), ["sa.key"]);
    }

    #[tokio::test]
    async fn what_is_yet_to_be_made_is_there_but_can_not_be_read() {
        let algorithm = crate::inventory::EncryptionAlgorithm::EcdsaP256;
        let pair = Change::MakeKeyPair { private: "/sa.key".into(), public: "/sa.pub".into(), algorithm };
        let (host, planned_host) = (FakeHost::default(), expecting(&[pair]));
        let ahead = planned_host.over(&host);
        assert!(ahead.stat("/sa.key".into()).await.unwrap().is_some());
        let failure = ahead.read("/sa.pub".into()).await.unwrap_err();
        assert!(failure.is_unforeseen());
        assert_eq!(failure.cause, "/sa.pub");
    }

    #[tokio::test]
    async fn a_unit_that_is_restarted_runs_anew() {
        let shown = "ActiveState=inactive\nUnitFileState=disabled\n";
        let host = FakeHost::default().answer("systemctl show a.service", 0, shown);
        let change =
            UnitChange { unit: "a.service".into(), enable: Some(true), start: Some(true), ..UnitChange::default() };
        let planned_host = expecting(&[Change::SetUnit(change)]);
        let output = planned_host.over(&host).query(&["systemctl", "show", "a.service"]).await.unwrap();
        assert_eq!(output.stdout, "ActiveState=active\nUnitFileState=enabled\n");
    }

    #[tokio::test]
    async fn a_mode_alone_leaves_the_rest() {
        let host = FakeHost::default().file("/a", "x");
        let planned_host = expecting(&[Change::SetMode { path: "/a".into(), mode: FileMode::PRIVATE }]);
        let ahead = planned_host.over(&host);
        assert_eq!(ahead.read("/a".into()).await.unwrap().unwrap(), b"x");
        assert_eq!(ahead.stat("/a".into()).await.unwrap().unwrap().mode, 0o600);
    }
}
