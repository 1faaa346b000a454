//! One run at a time on a host. The kernel releases the lock when its holder dies.

use std::io::{Read as _, Seek as _, Write as _};

use camino::Utf8Path;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::FlockOperation;

use super::{Failure, Result};

/// Held as long as this lives.
pub struct HostLock {
    _file: fs::File,
}

/// Who holds the lock, in the holder's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    pub holder: String,
}

impl HostLock {
    pub const PATH: &str = "/run/kboot.lock";

    /// Takes the lock and writes `owner` into it, or says who holds it.
    pub fn take(path: &Utf8Path, owner: &str) -> Result<std::result::Result<Self, Busy>> {
        let mut file =
            fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
        match rustix::fs::flock(file.file(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                return Ok(Err(Busy { holder: holder.trim().into() }));
            }
            Err(error) => return Err(Failure::new(format!("failed to lock {path}: {error}"))),
        }
        file.file().set_len(0)?;
        file.rewind()?;
        file.write_all(owner.as_bytes())?;
        Ok(Ok(Self { _file: file }))
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
        assert_eq!(second.err(), Some(Busy { holder: "up from desk, process 7".into() }));
        drop(first);
        assert!(HostLock::take(&path, "reset").unwrap().is_ok());
    }
}
