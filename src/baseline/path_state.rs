//! What a baseline says of a path, as `directory 0755 0:0 empty` or `link 0777 0:0 -> /usr/bin/x`: this is the format on disk.

use std::fmt;
use std::str::FromStr;

use crate::engine::{FileKind, Metadata, sha256};

/// A file, directory or link below a folder that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathState {
    pub kind: FileKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub detail: Detail,
}

/// What is known beyond mode and owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Detail {
    #[default]
    None,
    /// The beginning of a file's SHA-256, 32 hexadecimal digits.
    Digest(String),
    /// The size of a file that is too large to be read, in bytes.
    Size(u64),
    /// A directory has nothing in it.
    Empty,
    /// Where a link leads. Baselines of earlier builds do not say it of all links.
    Target(String),
}

const KINDS: [(FileKind, &str); 4] = [
    (FileKind::File, "file"),
    (FileKind::Directory, "directory"),
    (FileKind::Symlink, "link"),
    (FileKind::Other, "special"),
];

impl PathState {
    pub fn of(metadata: &Metadata, detail: Detail) -> Self {
        let Metadata { kind, mode, uid, gid, .. } = *metadata;
        Self { kind, mode, uid, gid, detail }
    }

    pub fn is_empty(&self) -> bool {
        self.detail == Detail::Empty
    }

    /// Whether a file holds what this digest is of: the whole one, as journals have it, or its beginning.
    pub fn has_digest(&self, digest: &str) -> bool {
        matches!(&self.detail, Detail::Digest(known) if digest.starts_with(known.as_str()))
    }

    /// The same without the detail.
    pub fn without_detail(&self) -> Self {
        Self { detail: Detail::None, ..self.clone() }
    }
}

impl Detail {
    pub fn digest(bytes: &[u8]) -> Self {
        Self::Digest(sha256(bytes)[..32].into())
    }
}

impl fmt::Display for PathState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, uid, gid, .. } = self;
        let kind = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or("special", |(_, word)| word);
        write!(f, "{kind} {mode:04o} {uid}:{gid}")?;
        match &self.detail {
            Detail::None => Ok(()),
            Detail::Digest(digest) => write!(f, " {digest}"),
            Detail::Size(bytes) => write!(f, " {bytes} bytes"),
            Detail::Empty => f.write_str(" empty"),
            Detail::Target(target) => write!(f, " -> {target}"),
        }
    }
}

impl FromStr for PathState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(4, ' ');
        let mut next = || parts.next().ok_or(());
        let (word, mode, owner) = (next()?, next()?, next()?);
        let kind = KINDS.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind).ok_or(())?;
        let mode = u32::from_str_radix(mode, 8).map_err(drop)?;
        let (uid, gid) = owner.split_once(':').ok_or(())?;
        let detail = match parts.next() {
            None => Detail::None,
            Some("empty") => Detail::Empty,
            Some(rest) => match (rest.strip_prefix("-> "), rest.strip_suffix(" bytes")) {
                (Some(target), _) => Detail::Target(target.into()),
                (None, Some(size)) => Detail::Size(size.parse().map_err(drop)?),
                (None, None) => Detail::Digest(rest.into()),
            },
        };
        Ok(Self { kind, mode, uid: uid.parse().map_err(drop)?, gid: gid.parse().map_err(drop)?, detail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_disk_is_read_and_written_as_it_is() {
        for (text, kind, detail) in [
            ("directory 0755 0:0", FileKind::Directory, Detail::None),
            ("directory 1777 0:0 empty", FileKind::Directory, Detail::Empty),
            (
                "file 0644 0:42 0123456789abcdef0123456789abcdef",
                FileKind::File,
                Detail::Digest("0123456789abcdef0123456789abcdef".into()),
            ),
            ("file 0600 7:7 2097152 bytes", FileKind::File, Detail::Size(2_097_152)),
            ("link 0777 0:0", FileKind::Symlink, Detail::None),
            ("link 0777 0:0 -> /a b -> c", FileKind::Symlink, Detail::Target("/a b -> c".into())),
            ("special 0666 0:0", FileKind::Other, Detail::None),
        ] {
            let state: PathState = text.parse().unwrap();
            assert_eq!((state.kind, &state.detail), (kind, &detail), "{text}");
            assert_eq!(state.to_string(), text);
        }
        for text in ["", "file", "file 0644", "pipe 0644 0:0", "file 0648 0:0", "file 0644 0", "file 0644 0:0 x bytes"]
        {
            assert_eq!(text.parse::<PathState>(), Err(()), "{text}");
        }
    }
}
