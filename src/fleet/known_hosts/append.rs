//! Adding a host's key to a known_hosts file.

use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use camino::Utf8Path;
use russh::keys::PublicKey;

use super::{Error, KnownHosts, fingerprint, host_field, reason};

/// What [`add`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    New,
    /// The key was on record already; the file is as it was.
    Present,
}

/// Puts `key` on record for `host` on `port`, in one write at the file's end, so that others who add to it at the same
/// time, ssh too, lose nothing. A new file is private, and so are the folders that are made for it.
///
/// Never replaces: another key of the same algorithm on record is [`Error::Conflict`], a key that the file revokes
/// [`Error::Revoked`].
pub fn add(file: &Utf8Path, host: &str, port: u16, key: &PublicKey) -> Result<Added, Error> {
    let failed = |error: std::io::Error| Error::Write { file: file.to_owned(), why: reason(&error) };
    if let Some(folder) = file.parent().filter(|folder| !folder.as_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    let mut open = std::fs::OpenOptions::new();
    let mut opened = open.create(true).read(true).append(true).mode(0o600).open(file).map_err(failed)?;
    // Two runs that learn the same host must not both find it missing.
    rustix::fs::flock(&opened, rustix::fs::FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;

    let mut bytes = Vec::new();
    opened.read_to_end(&mut bytes).map_err(failed)?;
    let record = KnownHosts::of(file, &bytes).record(host, port)?;
    let same = |entry: &&super::Entry| entry.key.key_data() == key.key_data();
    if let Some(entry) = record.revoked.iter().find(same) {
        return Err(Error::Revoked { file: file.to_owned(), line: entry.line });
    }
    if record.trusted.iter().any(|entry| same(&entry)) {
        return Ok(Added::Present);
    }
    if let Some(entry) = record.trusted.iter().find(|entry| entry.key.algorithm() == key.algorithm()) {
        return Err(Error::Conflict {
            file: file.to_owned(),
            line: entry.line,
            algorithm: key.algorithm().to_string(),
            expected: fingerprint(&entry.key),
            offered: fingerprint(key),
        });
    }

    let mut plain = key.clone();
    plain.set_comment("");
    let encoded = plain.to_openssh().map_err(|error| failed(std::io::Error::other(error)))?;
    let separator = if bytes.is_empty() || bytes.ends_with(b"\n") { "" } else { "\n" };
    let line = format!("{separator}{} {}\n", host_field(host, port), encoded.trim_end());
    opened.write_all(line.as_bytes()).map_err(failed)?;
    opened.sync_all().map_err(failed)?;
    Ok(Added::New)
}
