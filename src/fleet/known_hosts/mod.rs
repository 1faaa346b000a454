//! Which key a host has, as OpenSSH's known_hosts files say it: read strictly, matched fully, and added to.
//!
//! The format is that of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". Stricter than ssh: a host on another port than 22 is only
//! found as `[host]:port`, and a line for this host that can't be read is an error rather than no line.
//! Beside a user's own file the machine's are read, as ssh does (its GlobalKnownHostsFile): a key in any of them is known, and one that
//! any of them revokes is not trusted.
//! Knows files and keys; knows nothing of connections.

mod append;
mod line;

use camino::{Utf8Path, Utf8PathBuf};
use russh::keys::{Algorithm, HashAlg, PublicKey};

pub use append::{Added, add};
use line::{Line, Marker};

/// The machine's own files, which root keeps for all users.
const GLOBAL: [&str; 2] = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];

/// A known_hosts file's content.
#[derive(Debug)]
pub struct KnownHosts {
    file: Utf8PathBuf,
    text: String,
}

/// What files say of one host.
#[derive(Debug, Clone)]
pub struct Record {
    /// The file that kboot would add to.
    file: Utf8PathBuf,
    trusted: Vec<Entry>,
    revoked: Vec<Entry>,
    authority: Option<(Utf8PathBuf, usize)>,
}

/// A key, and the file and line, counted from one, that it stands on.
#[derive(Debug, Clone)]
pub struct Entry {
    pub file: Utf8PathBuf,
    pub line: usize,
    pub key: PublicKey,
}

/// Whether a key that a host shows is the one on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Match,
    /// Nothing is on record for this host.
    Unknown,
    /// Another key is on record.
    Changed {
        file: Utf8PathBuf,
        line: usize,
        /// The fingerprint of the key on record.
        expected: String,
    },
    /// Only keys of other algorithms are on record: this one may be the host's, too.
    OtherAlgorithm {
        file: Utf8PathBuf,
        line: usize,
        /// The fingerprint of a key on record.
        expected: String,
    },
    /// The file says never to trust this key.
    Revoked {
        file: Utf8PathBuf,
        line: usize,
    },
    /// Only a certificate authority is on record, which kboot does not follow.
    OnlyAuthority {
        file: Utf8PathBuf,
        line: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("can't read {file}: {why}")]
    Read { file: Utf8PathBuf, why: String },
    #[error("can't write {file}: {why}")]
    Write { file: Utf8PathBuf, why: String },
    #[error("{file}:{line}: {why}")]
    Line { file: Utf8PathBuf, line: usize, why: String },
    #[error("{file}:{line} has another {algorithm} key for this host: {expected}, not {offered}")]
    Conflict { file: Utf8PathBuf, line: usize, algorithm: String, expected: String, offered: String },
    #[error("{file}:{line} revokes this key")]
    Revoked { file: Utf8PathBuf, line: usize },
}

/// All that `file` and the machine's own files say of `host` on `port`.
pub fn record(file: &Utf8Path, host: &str, port: u16) -> Result<Record, Error> {
    record_in(file, &GLOBAL.map(Utf8Path::new), host, port)
}

fn record_in(file: &Utf8Path, global: &[&Utf8Path], host: &str, port: u16) -> Result<Record, Error> {
    let mut record = KnownHosts::read(file)?.record(host, port)?;
    for other in global.iter().filter(|other| **other != file) {
        let further = KnownHosts::read(other)?.record(host, port)?;
        record.trusted.extend(further.trusted);
        record.revoked.extend(further.revoked);
        record.authority = record.authority.or(further.authority);
    }
    Ok(record)
}

/// A key's fingerprint as OpenSSH prints it: `SHA256:` and unpadded base64.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

impl KnownHosts {
    /// Reads a file. One that does not exist knows no host.
    pub fn read(file: &Utf8Path) -> Result<Self, Error> {
        match fs_err::read(file) {
            Ok(bytes) => Ok(Self::of(file, &bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::of(file, b"")),
            Err(error) => Err(Error::Read { file: file.to_owned(), why: reason(&error) }),
        }
    }

    /// What a file has in it.
    pub(crate) fn of(file: &Utf8Path, bytes: &[u8]) -> Self {
        Self { file: file.to_owned(), text: String::from_utf8_lossy(bytes).into_owned() }
    }

    /// All that the file says of `host`, a name or an address, on `port`.
    pub fn record(&self, host: &str, port: u16) -> Result<Record, Error> {
        let name = host_field(host, port);
        let mut record = Record { file: self.file.clone(), trusted: Vec::new(), revoked: Vec::new(), authority: None };
        for (index, text) in self.text.lines().enumerate() {
            let Some(line) = Line::split(text) else { continue };
            let number = index + 1;
            let error = |why: String| Error::Line { file: self.file.clone(), line: number, why };
            match line.matches(&name) {
                Ok(true) => {}
                // A line that may be about any host hides nothing, unless it takes trust away.
                Err(why) if line.marker == Ok(Marker::Revoked) => return Err(error(why)),
                Ok(false) | Err(_) => continue,
            }
            let entry = |key| Entry { file: self.file.clone(), line: number, key };
            match line.marker.map_err(|marker| error(format!("unknown marker {marker}")))? {
                Marker::Authority => record.authority = record.authority.or(Some((self.file.clone(), number))),
                Marker::Revoked => record.revoked.push(entry(line.key().map_err(error)?)),
                // A line for many hosts, or of an algorithm that kboot does not know, is no word about this host's keys.
                Marker::None if line.is_vague() && line.key().is_err() => {}
                Marker::None => record.trusted.push(entry(line.key().map_err(error)?)),
            }
        }
        Ok(record)
    }
}

impl Record {
    pub fn file(&self) -> &Utf8Path {
        &self.file
    }

    pub fn trusted(&self) -> &[Entry] {
        &self.trusted
    }

    /// The algorithms of the keys on record. A host must be asked for one of these: asked for any other, it shows a key
    /// that nothing is known of.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let mut algorithms: Vec<Algorithm> = Vec::new();
        for entry in &self.trusted {
            if !algorithms.contains(&entry.key.algorithm()) {
                algorithms.push(entry.key.algorithm());
            }
        }
        algorithms
    }

    pub fn check(&self, key: &PublicKey) -> Verdict {
        let same = |entry: &&Entry| entry.key.key_data() == key.key_data();
        if let Some(Entry { file, line, .. }) = self.revoked.iter().find(same).cloned() {
            return Verdict::Revoked { file, line };
        }
        if self.trusted.iter().any(|entry| same(&entry)) {
            return Verdict::Match;
        }
        if let Some(entry) = self.trusted.iter().find(|entry| entry.key.algorithm() == key.algorithm()) {
            return Verdict::Changed { file: entry.file.clone(), line: entry.line, expected: fingerprint(&entry.key) };
        }
        if let Some(entry) = self.trusted.first() {
            return Verdict::OtherAlgorithm {
                file: entry.file.clone(),
                line: entry.line,
                expected: fingerprint(&entry.key),
            };
        }
        match self.authority.clone() {
            Some((file, line)) => Verdict::OnlyAuthority { file, line },
            None => Verdict::Unknown,
        }
    }
}

/// A host as known_hosts files write it: bare on port 22, `[host]:port` elsewhere, in lower case.
pub fn host_field(host: &str, port: u16) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// An error's own words, without the path that our messages already carry.
fn reason(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => std::io::Error::from_raw_os_error(code).to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
