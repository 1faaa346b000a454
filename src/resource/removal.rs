//! Removal of a file or of a whole tree. It is the only recursive removal of kboot's, and it can't leave its place.
//!
//! Links are removed and never followed, and no mount is entered: not at the path itself, and at no level below it. The whole tree is
//! looked at before anything goes, so a tree with a mount in it stays whole. Each level is opened by its parent's descriptor, so a
//! folder that is replaced by a link in the meantime leads nowhere.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use crate::engine::hint::PathWord;
use crate::engine::{Failure, Hint, Result};
use crate::proc;

/// Removes what is at a path, if anything is. Links above the last part of the path are followed: `/var/lib/kubelet/pods` is
/// found where an administrator moved `/var/lib/kubelet` elsewhere.
///
/// Fails with the mount's name, before anything is removed, where something is mounted at the path or below it.
pub(super) fn remove(path: &Utf8Path) -> Result<()> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Failure::new(format!("{path} is no path that can be removed")));
    };
    let folder = match fs::canonicalize(above) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        other => Utf8PathBuf::try_from(other?).map_err(|error| Failure::new(error.to_string()))?,
    };
    let name = CString::new(name).map_err(|error| Failure::new(error.to_string()))?;
    let walk = match open(CWD, folder.as_str(), Way::Absolute) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        opened => Walk { folder: opened.map_err(|errno| failed(&folder, errno))?, at: folder },
    };
    walk.go(&name, Act::Look)?;
    walk.go(&name, Act::Remove)?;
    Ok(rustix::fs::fsync(&walk.folder).map_err(std::io::Error::from)?)
}

#[derive(Clone, Copy, PartialEq)]
enum Act {
    Look,
    Remove,
}

/// The folder that something is removed from.
struct Walk {
    folder: OwnedFd,
    at: Utf8PathBuf,
}

/// A folder on the way down, with the names in it that are yet to be visited.
struct Level {
    folder: OwnedFd,
    place: Place,
    name: CString,
    names: Vec<CString>,
}

/// Where something is: on which mount and device.
#[derive(Clone, Copy)]
struct Place {
    kind: FileType,
    /// None before Linux 5.8.
    mount: Option<u64>,
    device: (u32, u32),
}

impl Walk {
    fn go(&self, name: &CStr, act: Act) -> Result<()> {
        let top = self.folder.try_clone()?;
        let place = look(top.as_fd(), c"", AtFlags::EMPTY_PATH).map_err(|errno| failed(&self.at, errno))?;
        let mut levels = vec![Level { folder: top, place, name: CString::default(), names: vec![name.to_owned()] }];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                let left = levels.pop();
                if let (Act::Remove, Some(left), Some(above)) = (act, left, levels.last()) {
                    let path = self.path(&levels, &left.name);
                    self.unlink(above.folder.as_fd(), &left.name, AtFlags::REMOVEDIR, &path)?;
                }
                continue;
            };
            let path = self.path(&levels, &name);
            let above = levels.last().expect("it was just looked at");
            let below = self.visit(above, &name, &path, act)?;
            levels.extend(below);
        }
        Ok(())
    }

    /// Looks at one name, and removes it if it is no folder; the folder that is to be visited next, if it is one.
    fn visit(&self, above: &Level, name: &CStr, path: &Utf8Path, act: Act) -> Result<Option<Level>> {
        let parent = above.folder.as_fd();
        let found = match look(parent, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
            Err(Errno::NOENT) => return Ok(None),
            other => other.map_err(|errno| failed(path, errno))?,
        };
        if found.is_mounted_on(above.place, path)? {
            return Err(self.mounted(path, found.mount));
        }
        if found.kind != FileType::Directory {
            if act == Act::Remove {
                self.unlink(parent, name, AtFlags::empty(), path)?;
            }
            return Ok(None);
        }
        let folder = match open(parent, name, Way::Below) {
            Err(Errno::XDEV) => return Err(self.mounted(path, None)),
            other => other.map_err(|errno| failed(path, errno))?,
        };
        // By the descriptor: the name may lead elsewhere since.
        let place = look(folder.as_fd(), c"", AtFlags::EMPTY_PATH).map_err(|errno| failed(path, errno))?;
        if place.is_mounted_on(above.place, path)? {
            return Err(self.mounted(path, place.mount));
        }
        let names = names(folder.as_fd()).map_err(|errno| failed(path, errno))?;
        Ok(Some(Level { folder, place, name: name.to_owned(), names }))
    }

    fn unlink(&self, parent: BorrowedFd<'_>, name: &CStr, flags: AtFlags, path: &Utf8Path) -> Result<()> {
        match rustix::fs::unlinkat(parent, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::BUSY) => Err(self.mounted(path, None)),
            Err(errno) => Err(failed(path, errno)),
        }
    }

    fn path(&self, levels: &[Level], name: &CStr) -> Utf8PathBuf {
        let names = levels.iter().skip(1).map(|level| level.name.as_c_str()).chain([name]);
        names.fold(self.at.clone(), |path, name| path.join(&*name.to_string_lossy()))
    }

    fn mounted(&self, path: &Utf8Path, id: Option<u64>) -> Failure {
        let mounts = mounts().unwrap_or_default();
        let found = mounts.iter().rfind(|mount| id == Some(mount.id) || mount.point == *path);
        let what = found.map(|mount| format!(" ({mount})")).unwrap_or_default();
        Failure::new(format!("something is mounted at {path}{what}, and no mount is ever removed from"))
            .hint(Hint::Unmount { path: PathWord::of(path) })
    }
}

impl Place {
    /// Whether something is mounted here, where the folder above is at `above`.
    fn is_mounted_on(self, above: Place, path: &Utf8Path) -> Result<bool> {
        match (self.mount, above.mount) {
            (Some(here), Some(above)) => Ok(here != above),
            // A bind mount may be of the same device.
            _ => Ok(self.device != above.device || mounts()?.iter().any(|mount| mount.point == *path)),
        }
    }
}

fn look(folder: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<Place, Errno> {
    let found = rustix::fs::statx(folder, name, flags, StatxFlags::TYPE | StatxFlags::MNT_ID)?;
    Ok(Place {
        kind: FileType::from_raw_mode(found.stx_mode.into()),
        mount: (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id),
        device: (found.stx_dev_major, found.stx_dev_minor),
    })
}

#[derive(Clone, Copy)]
enum Way {
    /// A whole path, that no link is part of any more.
    Absolute,
    /// A name in a folder.
    Below,
}

/// Opens a folder without following a link, and, below another one, without entering a mount.
fn open<P: rustix::path::Arg + Copy>(from: BorrowedFd<'_>, path: P, way: Way) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let resolve = match way {
        Way::Absolute => links,
        Way::Below => links | ResolveFlags::NO_XDEV | ResolveFlags::BENEATH,
    };
    match rustix::fs::openat2(from, path, flags, Mode::empty(), resolve) {
        // Before Linux 5.6, and where a sandbox does not know the call; the levels' mounts are compared in any case.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(from, path, flags, Mode::empty()),
        opened => opened,
    }
}

fn names(folder: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn mounts() -> Result<Vec<proc::Mount>> {
    let table = fs::read("/proc/self/mountinfo")?;
    Ok(proc::mounts(&String::from_utf8_lossy(&table)).collect())
}

fn failed(path: &Utf8Path, errno: Errno) -> Failure {
    Failure::from(std::io::Error::from(errno)).context(format_args!("remove {path}"))
}

#[cfg(test)]
mod tests;
