//! One run at a time on a host. The kernel releases the lock when its holder dies.

use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::FlockOperation;

use super::{Failure, Result};

/// Held as long as this lives; its file goes with it.
pub struct HostLock {
    file: fs::File,
    path: Utf8PathBuf,
}

/// Who holds the lock, in the holder's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    pub holder: String,
    /// It only finishes the change in hand, for nobody tells it what to do any more.
    pub is_leaving: bool,
}

/// The second line of the lock's file, once its holder is leaving.
const LEAVING: &str = "leaving";

impl HostLock {
    pub const PATH: &str = "/run/kboot.lock";

    /// Takes the lock and writes `owner` into it, or says who holds it.
    pub fn take(path: &Utf8Path, owner: &str) -> Result<std::result::Result<Self, Busy>> {
        let mut file = open(path)?;
        match rustix::fs::flock(file.file(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                let (holder, is_leaving) = match holder.trim().split_once('\n') {
                    Some((holder, rest)) => (holder, rest == LEAVING),
                    None => (holder.trim(), false),
                };
                return Ok(Err(Busy { holder: holder.into(), is_leaving }));
            }
            Err(error) => return Err(Failure::new(format!("failed to lock {path}: {error}"))),
        }
        // Its last holder may have removed the file after it was opened here: then it locks nobody out.
        let is_current =
            std::fs::metadata(path).is_ok_and(|now| file.metadata().is_ok_and(|ours| ours.ino() == now.ino()));
        if !is_current {
            return Ok(Err(Busy { holder: "one that has just ended".into(), is_leaving: true }));
        }
        file.file().set_len(0)?;
        file.rewind()?;
        file.write_all(owner.as_bytes())?;
        Ok(Ok(Self { file, path: path.into() }))
    }

    /// Tells those who wait that the lock is about to be released.
    pub fn leave(&self) -> Result<()> {
        Ok((&self.file).write_all(format!("\n{LEAVING}").as_bytes())?)
    }
}

fn open(path: &Utf8Path) -> Result<fs::File> {
    Ok(fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?)
}

impl Drop for HostLock {
    fn drop(&mut self) {
        // While the lock is still held. A file that stays locks nobody out.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it_and_gets_it_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::try_from(folder.path().join("lock")).unwrap();
        let first = HostLock::take(&path, "up from desk, process 7").unwrap().unwrap_or_else(|_| panic!("free"));
        let second = HostLock::take(&path, "reset").unwrap();
        let busy = |is_leaving| Some(Busy { holder: "up from desk, process 7".into(), is_leaving });
        assert_eq!(second.err(), busy(false));
        first.leave().unwrap();
        assert_eq!(HostLock::take(&path, "reset").unwrap().err(), busy(true));
        drop(first);
        assert!(!path.exists());
        assert!(HostLock::take(&path, "reset").unwrap().is_ok());
    }
}
