//! Files, directories, and what must not be there.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::{Resource, attributes};
use crate::engine::hint::PathWord;
use crate::engine::{Change, Content, Failure, FileKind, FileMode, Hint, Metadata, Planned, Probe, Result};

/// A file with this content and mode.
pub struct File {
    path: Utf8PathBuf,
    content: Content,
    mode: FileMode,
    is_equivalent: Option<fn(&str, &str) -> bool>,
}

impl File {
    pub fn new(path: impl Into<Utf8PathBuf>, content: Content) -> Self {
        Self { path: path.into(), content, mode: FileMode::PUBLIC, is_equivalent: None }
    }

    pub fn text(path: impl Into<Utf8PathBuf>, text: impl Into<String>) -> Self {
        Self::new(path, Content::Text(text.into()))
    }

    pub fn bytes(path: impl Into<Utf8PathBuf>, bytes: Vec<u8>) -> Self {
        Self::new(path, Content::from_bytes(bytes))
    }

    /// A file that only root may read, and that no plan or journal shows.
    pub fn secret(path: impl Into<Utf8PathBuf>, text: impl Into<String>) -> Self {
        Self::new(path, Content::Secret(text.into())).mode(FileMode::PRIVATE)
    }

    /// What says the same by this measure is as good, and stays.
    pub fn or_equivalent(self, is_equivalent: fn(&str, &str) -> bool) -> Self {
        Self { is_equivalent: Some(is_equivalent), ..self }
    }

    /// What is wanted: the text that is there, if it says the same.
    fn wanted(&self, observed: Option<&(Metadata, Vec<u8>)>) -> Content {
        if let (Some(is_equivalent), Content::Text(text), Some((_, bytes))) =
            (self.is_equivalent, &self.content, observed)
            && let Ok(there) = std::str::from_utf8(bytes)
            && is_equivalent(text, there)
        {
            return Content::Text(there.into());
        }
        self.content.clone()
    }

    pub fn mode(self, mode: FileMode) -> Self {
        Self { mode, ..self }
    }
}

#[async_trait]
impl Resource for File {
    type Observed = Option<(Metadata, Vec<u8>)>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        let Some(metadata) = probe.stat(&self.path).await? else { return Ok(None) };
        if metadata.kind == FileKind::Directory {
            return Err(Failure::new(format!("{} is a directory, and a file is needed there", self.path)));
        }
        Ok(probe.read(&self.path).await?.map(|bytes| (metadata, bytes)))
    }

    fn diff(&self, observed: Self::Observed) -> Result<Planned> {
        let wanted = self.wanted(observed.as_ref());
        Ok(Planned::of(write_if_different(&self.path, observed, &wanted, self.mode)))
    }
}

pub(super) fn write_if_different(
    path: &Utf8Path,
    observed: Option<(Metadata, Vec<u8>)>,
    wanted: &Content,
    mode: FileMode,
) -> Vec<Change> {
    let before = match observed {
        None => None,
        Some((metadata, bytes)) if Some(&bytes) == wanted.bytes().as_ref() => {
            if metadata.kind == FileKind::File {
                let owner = disowned(path, &metadata);
                let mode = (metadata.mode != mode.0).then(|| Change::SetMode { path: path.into(), mode });
                return owner.into_iter().chain(mode).collect();
            }
            Some(bytes)
        }
        Some((_, bytes)) => Some(bytes),
    };
    let before = before.map(|bytes| match (Content::from_bytes(bytes), wanted) {
        (Content::Text(text), Content::Secret(_)) => Content::Secret(text),
        (content, _) => content,
    });
    vec![Change::WriteFile { path: path.into(), mode, before, after: wanted.clone() }]
}

/// What gives a file back to root, who made it. Tests run as other users, and what they make is theirs.
fn disowned(path: &Utf8Path, metadata: &Metadata) -> Option<Change> {
    let is_own = |id: u32, own: u32| id == 0 || id == own;
    let is_right = is_own(metadata.uid, rustix::process::geteuid().as_raw())
        && is_own(metadata.gid, rustix::process::getegid().as_raw());
    (!is_right).then(|| Change::SetOwner { path: path.into(), uid: 0, gid: 0 })
}

/// What takes rights away from a file that is kept as it is: those of its mode beyond this one, and those of another owner. A link
/// is somebody else's matter.
pub(super) fn guard(path: &Utf8Path, metadata: Option<&Metadata>, mode: FileMode) -> Vec<Change> {
    let Some(metadata) = metadata.filter(|metadata| metadata.kind == FileKind::File) else { return Vec::new() };
    let owner = disowned(path, metadata);
    let mode = (metadata.mode & !mode.0 != 0).then(|| Change::SetMode { path: path.into(), mode });
    owner.into_iter().chain(mode).collect()
}

/// A file that is not kboot's own, with an edit made to its text. Where there is no such file, there is nothing to edit.
pub struct Edited {
    path: Utf8PathBuf,
    edit: fn(&str) -> String,
}

impl Edited {
    /// `edit` must be idempotent.
    pub fn new(path: impl Into<Utf8PathBuf>, edit: fn(&str) -> String) -> Self {
        Self { path: path.into(), edit }
    }
}

#[async_trait]
impl Resource for Edited {
    type Observed = Option<(Metadata, String)>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        let Some(metadata) = probe.stat(&self.path).await? else { return Ok(None) };
        Ok(probe.read_text(&self.path).await?.map(|text| (metadata, text)))
    }

    fn diff(&self, observed: Self::Observed) -> Result<Planned> {
        let Some((metadata, text)) = observed else { return Ok(Planned::Satisfied) };
        let edited = (self.edit)(&text);
        if edited == text {
            return Ok(Planned::Satisfied);
        }
        // Written through no link, as any file; but here what it leads to is somebody else's.
        if metadata.kind == FileKind::Symlink {
            return Err(Failure::new(format!("{} is a symbolic link, and kboot edits only a file itself", self.path))
                .hint(Hint::CopyLinkTarget { path: PathWord::of(&self.path) }));
        }
        let (before, after) = (Some(Content::Text(text)), Content::Text(edited));
        let mut changes =
            vec![Change::WriteFile { path: self.path.clone(), mode: FileMode(metadata.mode), before, after }];
        // A file that is written anew is root's at first.
        if disowned(&self.path, &metadata).is_some() {
            changes.push(Change::SetOwner { path: self.path.clone(), uid: metadata.uid, gid: metadata.gid });
        }
        Ok(Planned::Changes(changes))
    }
}

/// A directory with this mode.
pub struct Directory {
    path: Utf8PathBuf,
    mode: FileMode,
}

impl Directory {
    pub fn new(path: impl Into<Utf8PathBuf>, mode: FileMode) -> Self {
        Self { path: path.into(), mode }
    }
}

#[async_trait]
impl Resource for Directory {
    type Observed = Option<Metadata>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        probe.stat(&self.path).await
    }

    fn diff(&self, observed: Self::Observed) -> Result<Planned> {
        match observed {
            None => Ok(Planned::Changes(vec![Change::MakeDirectory { path: self.path.clone(), mode: self.mode }])),
            Some(metadata) if metadata.kind != FileKind::Directory => {
                Err(Failure::new(format!("{} is there and not a directory", self.path)))
            }
            Some(metadata) if metadata.mode != self.mode.0 => {
                Ok(Planned::Changes(vec![Change::SetMode { path: self.path.clone(), mode: self.mode }]))
            }
            Some(_) => Ok(Planned::Satisfied),
        }
    }
}

/// Nothing at this path.
pub struct Absent {
    path: Utf8PathBuf,
}

impl Absent {
    pub fn new(path: impl Into<Utf8PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

#[async_trait]
impl Resource for Absent {
    type Observed = bool;

    async fn observe(&self, probe: &dyn Probe) -> Result<bool> {
        Ok(probe.stat(&self.path).await?.is_some())
    }

    fn diff(&self, is_there: bool) -> Result<Planned> {
        Ok(Planned::of(if is_there { vec![Change::Remove { path: self.path.clone() }] } else { Vec::new() }))
    }
}

/// What the names of temporary files begin with; [`tempfile`] adds letters and digits.
const TEMPORARY: &str = ".kboot-";

/// Removes the temporary files that killed writes left in this folder. The caller holds the host's lock, so none is in use.
pub fn remove_temporaries(folder: &Utf8Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY));
        let is_ours = random.is_some_and(|random| random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if is_ours && !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Writes a whole file or nothing: a temporary one beside it, flushed, takes its place.
pub(super) fn write(path: &Utf8Path, bytes: &[u8], mode: FileMode) -> Result<()> {
    use std::io::Write as _;
    let folder = path.parent().ok_or_else(|| Failure::new(format!("{path} has no parent directory")))?;
    make_directory(folder, FileMode::DIRECTORY)?;
    let mut temporary = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    attributes::copy(path, temporary.as_file())?;
    // After the attributes: it bounds what an access control list grants.
    temporary.as_file().set_permissions(std::fs::Permissions::from_mode(mode.0))?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| Failure::from(error.error))?;
    sync_directory(folder)
}

/// Makes a directory and those above it that are missing; those get 0755.
pub(super) fn make_directory(path: &Utf8Path, mode: FileMode) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directory(parent, FileMode::DIRECTORY)?;
    }
    match std::fs::DirBuilder::new().mode(mode.0).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(Failure::from(error).context(format_args!("make the directory {path}"))),
        Ok(()) => set_mode(path, mode),
    }
}

pub(super) fn remove_empty_directory(path: &Utf8Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}

/// The link takes the place of what is there, unless that is a directory.
pub(super) fn make_link(path: &Utf8Path, target: &Utf8Path) -> Result<()> {
    let folder = path.parent().ok_or_else(|| Failure::new(format!("{path} has no parent directory")))?;
    make_directory(folder, FileMode::DIRECTORY)?;
    let temporary = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .make_in(folder, |at| std::os::unix::fs::symlink(target, at))?
        .into_temp_path();
    temporary.persist(path).map_err(|error| Failure::from(error.error))?;
    sync_directory(folder)
}

pub(super) fn set_owner(path: &Utf8Path, uid: u32, gid: u32) -> Result<()> {
    Ok(std::os::unix::fs::lchown(path, Some(uid), Some(gid))?)
}

pub(super) fn set_mode(path: &Utf8Path, mode: FileMode) -> Result<()> {
    Ok(fs::set_permissions(path, std::fs::Permissions::from_mode(mode.0))?)
}

fn sync_directory(path: &Utf8Path) -> Result<()> {
    Ok(fs::File::open(path)?.sync_all()?)
}

#[cfg(test)]
mod tests;
