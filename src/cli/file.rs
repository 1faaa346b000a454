//! Files that commands write on the controller.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

/// The prefix of the names of temporary files.
const TEMPORARY: &str = ".kboot-";
/// A killed command has left a temporary file that is older than this.
const ABANDONED: Duration = Duration::from_secs(3600);
/// The number of attempts to take a lock that another program holds, and the pause between them.
const TRIES: (usize, Duration) = (20, Duration::from_millis(100));

/// Writes a file atomically: a reader never sees a part of it. Follows a link. The file keeps its owner; a new file gets the owner of
/// its folder.
pub fn replace(path: &Utf8Path, text: &str, mode: u32) -> std::io::Result<()> {
    let path = target(path)?;
    let folder = path.parent().filter(|folder| !folder.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    remove_abandoned(folder);
    // No other user can read the file before it has its mode.
    let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    // With sudo, files in a user's home directory still belong to that user.
    if rustix::process::geteuid().is_root() {
        let owner = std::fs::metadata(&path).or_else(|_| std::fs::metadata(folder))?;
        std::os::unix::fs::fchown(file.as_file(), Some(owner.uid()), Some(owner.gid()))?;
    }
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(&path).map(drop).map_err(|error| error.error)
}

/// Creates a folder and its parents. Each gets the owner of its parent.
pub fn make_folder(folder: &Utf8Path) -> std::io::Result<()> {
    if folder.as_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    make_folder(above)?;
    std::fs::create_dir(folder)?;
    if rustix::process::geteuid().is_root() {
        let owner = std::fs::metadata(above)?;
        std::os::unix::fs::chown(folder, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// The lock that kubectl takes while it changes a kubeconfig: a file beside it, which must not exist before.
pub struct KubectlLock {
    path: Utf8PathBuf,
}

impl KubectlLock {
    /// Takes the lock. Waits a moment for a program that holds it.
    pub async fn take(kubeconfig: &Utf8Path) -> std::io::Result<Self> {
        let path = Utf8PathBuf::from(format!("{kubeconfig}.lock"));
        let (most, pause) = TRIES;
        for attempt in 1.. {
            match std::fs::File::create_new(&path) {
                Ok(_) => break,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && attempt < most => {
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self { path })
    }
}

impl Drop for KubectlLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The target of a path, after all links. The target need not exist.
fn target(path: &Utf8Path) -> std::io::Result<Utf8PathBuf> {
    let mut path = path.to_owned();
    // Linux follows this many links.
    for _ in 0..40 {
        match path.read_link_utf8() {
            Ok(next) => path = path.parent().unwrap_or(Utf8Path::new("")).join(next),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(std::io::Error::other("too many symbolic links"))
}

/// Removes temporary files of killed commands. Ignores errors, because they must not prevent a write.
fn remove_abandoned(folder: &Utf8Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY));
        if !random.is_some_and(|random| random.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            continue;
        }
        let age =
            entry.metadata().ok().filter(std::fs::Metadata::is_file).and_then(|it| it.modified().ok()?.elapsed().ok());
        if age.is_some_and(|age| age > ABANDONED) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_followed_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        std::fs::create_dir(folder.join("dotfiles")).unwrap();
        std::os::unix::fs::symlink("dotfiles/config", folder.join("config")).unwrap();
        for text in ["first", "second"] {
            replace(&folder.join("config"), text, 0o600).unwrap();
            assert!(folder.join("config").is_symlink());
            assert_eq!(std::fs::read_to_string(folder.join("dotfiles/config")).unwrap(), text);
        }
    }

    #[test]
    fn a_temporary_file_of_a_killed_command_is_removed_and_a_new_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * ABANDONED;
        for name in [".kboot-Abc123", ".kboot-new", ".kboot-my.conf"] {
            let file = std::fs::File::create(folder.join(name)).unwrap();
            if name != ".kboot-new" {
                file.set_modified(long_ago).unwrap();
            }
        }
        replace(&folder.join("x"), "", 0o600).unwrap();
        let mut left: Vec<_> =
            folder.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_string()).collect();
        left.sort();
        assert_eq!(left, [".kboot-my.conf", ".kboot-new", "x"]);
    }

    #[tokio::test]
    async fn a_lock_that_kubectl_holds_is_waited_for_and_never_broken() {
        let folder = tempfile::tempdir().unwrap();
        let config = Utf8Path::from_path(folder.path()).unwrap().join("config");
        let lock = config.with_file_name("config.lock");
        drop(KubectlLock::take(&config).await.unwrap());
        assert!(!lock.exists());
        std::fs::write(&lock, "").unwrap();
        assert_eq!(KubectlLock::take(&config).await.err().unwrap().kind(), std::io::ErrorKind::AlreadyExists);
        assert!(lock.exists());
    }
}
