//! How a host is looked at, and, for the runner alone, how it is changed.

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::{Change, Progress, Result, State, Subject};

/// Looks at a host and can't change it. All that a step gets to observe with.
#[async_trait]
pub trait Probe: Send + Sync {
    /// A file's bytes; None where there is no such file.
    async fn read(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>>;

    /// The bytes that a file has now, also where a plan has it as it will be: by these something is asked that only changes with it.
    async fn read_present(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>> {
        self.read(path).await
    }

    /// The first bytes of a file that may be large.
    async fn read_head(&self, path: &Utf8Path, bytes: usize) -> Result<Option<Vec<u8>>> {
        let whole = self.read(path).await?;
        Ok(whole.map(|mut whole| {
            whole.truncate(bytes);
            whole
        }))
    }

    /// What is at a path, symbolic links not followed; None where there is nothing.
    async fn stat(&self, path: &Utf8Path) -> Result<Option<Metadata>>;

    /// Where a symbolic link leads, as it is written in it; None where there is none.
    async fn link(&self, path: &Utf8Path) -> Result<Option<Utf8PathBuf>>;

    /// Where a path leads: as the kernel names it, without links. What is not there is taken as it is written.
    async fn canonical(&self, path: &Utf8Path) -> Result<Utf8PathBuf> {
        /// As many as the kernel follows (path_resolution(7)).
        const MOST: usize = 40;
        let parts = |path: &Utf8Path| path.components().rev().map(|part| part.to_string()).collect::<Vec<_>>();
        let mut found = Utf8PathBuf::from("/");
        let mut left = parts(path);
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part.as_str() {
                "/" => found = "/".into(),
                "." => {}
                ".." => drop(found.pop()),
                name => match self.link(&found.join(name)).await? {
                    Some(_) if links == MOST => return Err(super::Failure::new(format!("{path} has too many links"))),
                    Some(target) => {
                        links += 1;
                        left.extend(parts(&target));
                    }
                    None => found.push(name),
                },
            }
        }
        Ok(found)
    }

    /// A directory's names, sorted; None where there is no such directory.
    async fn list(&self, path: &Utf8Path) -> Result<Option<Vec<String>>>;

    /// Runs a command that only reads. Refused unless it is one of those known to change nothing.
    async fn query(&self, argv: &[&str]) -> Result<Output>;

    /// Runs a command whose author says that it only reads: a guard of a playbook. It is the one way by which a dry run runs
    /// something that nobody has vetted, so nothing but such a guard may come here.
    async fn ask(&self, guard: &Guard) -> Result<Output>;

    /// A file's text; an error where it isn't UTF-8.
    async fn read_text(&self, path: &Utf8Path) -> Result<Option<String>> {
        let Some(bytes) = self.read(path).await? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|_| super::Failure::new(format!("{path} is not UTF-8 text")))
    }
}

/// A host that can be changed. Only the runner holds one.
#[async_trait]
pub trait Host: Probe {
    /// Carries a change out. Must be idempotent, for a run that was killed in the midst is repeated.
    async fn apply(&self, change: &Change, progress: &Progress) -> Result<()>;

    /// How a thing is that a change touches. What can't be told is unknown.
    async fn state(&self, subject: &Subject) -> State;

    fn probe(&self) -> &dyn Probe;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub kind: FileKind,
    /// Permission bits, as `0o644`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub inode: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    File,
    Directory,
    Symlink,
    Other,
}

/// A command that tells by its exit code whether something is so. Its author declares that it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Guard(Vec<String>);

impl Guard {
    pub fn declared_to_only_read(argv: Vec<String>) -> Self {
        Self(argv)
    }

    pub fn argv(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

/// What a command printed and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The exit code; None if a signal ended it, 127 if there is no such program.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output without the last newline.
    pub fn text(&self) -> &str {
        self.stdout.trim_end()
    }
}
