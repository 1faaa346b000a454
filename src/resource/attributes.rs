//! Extended attributes of a file that another one replaces: access control lists, labels, and users' own.

use camino::Utf8Path;
use rustix::fs::{XattrFlags, fsetxattr, lgetxattr, llistxattr};
use rustix::io::Errno;

use crate::engine::{Failure, Result};

/// What is the file's, and not its content's or the kernel's. The mode that a file gets afterwards bounds what a list grants.
const KEPT: [&str; 2] = ["system.posix_acl_access", "security.selinux"];
const OF_USERS: &str = "user.";
/// The kernel's own limit for names and for each value (XATTR_LIST_MAX, XATTR_SIZE_MAX).
const MOST: usize = 64 << 10;

/// Gives a new file the attributes of the regular file at a path, if there is one.
pub(super) fn copy(from: &Utf8Path, to: &std::fs::File) -> Result<()> {
    if !from.symlink_metadata().is_ok_and(|found| found.is_file()) {
        return Ok(());
    }
    let mut buffer = vec![0; MOST];
    for name in names(from, &mut buffer).map_err(|errno| failed("read", from, errno))? {
        let length = match lgetxattr(from.as_str(), name.as_str(), &mut buffer[..]) {
            Err(Errno::NODATA) => continue,
            read => read.map_err(|errno| failed("read", from, errno))?,
        };
        match fsetxattr(to, name.as_str(), &buffer[..length], XattrFlags::empty()) {
            // The same label comes by the folder's rule, and a policy may forbid to set it.
            Err(Errno::PERM | Errno::ACCESS) if name.starts_with("security.") => {}
            set => set.map_err(|errno| failed("keep", from, errno))?,
        }
    }
    Ok(())
}

fn names(path: &Utf8Path, buffer: &mut [u8]) -> Result<Vec<String>, Errno> {
    let length = match llistxattr(path.as_str(), &mut *buffer) {
        // The file system has none.
        Err(Errno::NOTSUP) => 0,
        listed => listed?,
    };
    let names = buffer[..length].split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    Ok(names.filter(|name| KEPT.contains(name) || name.starts_with(OF_USERS)).map(String::from).collect())
}

fn failed(what: &str, path: &Utf8Path, errno: Errno) -> Failure {
    Failure::from(std::io::Error::from(errno)).context(format_args!("{what} the extended attributes of {path}"))
}

#[cfg(test)]
mod tests {
    use rustix::fs::setxattr;

    use super::*;
    use crate::engine::FileMode;
    use crate::resource::file;

    /// `u::rw-,u:1234:r--,g::r--,m::r--,o::---` as the kernel has it (linux/posix_acl_xattr.h).
    fn list(mask: u16) -> Vec<u8> {
        const NOBODY: u32 = u32::MAX;
        let entries = [(0x01, 6, NOBODY), (0x02, 4, 1234), (0x04, 4, NOBODY), (0x10, mask, NOBODY), (0x20, 0, NOBODY)];
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, id) in entries {
            bytes.extend(u16::to_le_bytes(tag));
            bytes.extend(u16::to_le_bytes(rights));
            bytes.extend(u32::to_le_bytes(id));
        }
        bytes
    }

    fn attribute(path: &Utf8Path, name: &str) -> Option<Vec<u8>> {
        let mut buffer = vec![0; MOST];
        let length = lgetxattr(path.as_str(), name, &mut buffer[..]).ok()?;
        Some(buffer[..length].to_vec())
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
    fn a_file_that_is_written_anew_keeps_its_list_and_its_users_attributes() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("fstab");
        std::fs::write(&path, "old").unwrap();
        if setxattr(path.as_str(), KEPT[0], &list(4), XattrFlags::empty()) == Err(Errno::NOTSUP) {
            eprintln!("this test did not run: the file system has no access control lists");
            return;
        }
        let has_own = setxattr(path.as_str(), "user.note", b"mine", XattrFlags::empty()).is_ok();
        file::write(&path, b"new", FileMode(0o640)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(attribute(&path, KEPT[0]), Some(list(4)));
        assert_eq!(attribute(&path, "user.note"), has_own.then(|| b"mine".to_vec()));
        // A file that becomes private is nobody else's, whatever the list says.
        file::write(&path, b"secret", FileMode::PRIVATE).unwrap();
        assert_eq!(attribute(&path, KEPT[0]), Some(list(0)));
    }
}
