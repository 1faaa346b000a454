//! What was changed on this host, written down before it is done and after it.
//!
//! One JSON object a line, with types of its own, so that an old journal stays readable whatever becomes of [`Change`].
//! It is never the reason to skip work: the host is the truth.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use serde::{Deserialize, Serialize};

use super::{Change, Result};

/// The format's version, in each record.
const VERSION: u32 = 1;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    /// Which run, unique on this host.
    pub run: String,
    /// Milliseconds since 1970.
    pub at: u64,
    pub step: String,
    pub state: Stage,
    /// The change in one line, without anything secret.
    pub change: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Intent,
    Done,
    Failed { cause: String },
}

/// An open journal; appends only. None of its records is lost to a crash once `record` has returned.
pub struct Journal {
    file: Option<std::sync::Mutex<fs::File>>,
    run: String,
}

impl Journal {
    pub const PATH: &str = "/var/lib/kboot/journal.jsonl";

    /// Opens the journal for a new run, made if there is none (0600).
    pub fn open(path: &Utf8Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            make_private_folder(folder)?;
        }
        let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let run = format!("{:x}-{:x}", now_millis(), std::process::id());
        Ok(Self { file: Some(std::sync::Mutex::new(file)), run })
    }

    /// A journal that keeps nothing: for tests of the engine and for runs that change nothing.
    pub fn none() -> Self {
        Self { file: None, run: String::new() }
    }

    pub(super) fn record(&self, step: &str, change: &Change, state: Stage) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let record = Record {
            version: VERSION,
            run: self.run.clone(),
            at: now_millis(),
            step: step.into(),
            state,
            change: change.redacted().to_string(),
        };
        let mut line = serde_json::to_vec(&record).expect("a record is plain data");
        line.push(b'\n');
        let mut file = file.lock().expect("no panic while writing");
        file.write_all(&line)?;
        file.sync_data()?;
        Ok(())
    }

    /// All whole records of a journal; a torn last line is passed over.
    pub fn read(path: &Utf8Path) -> Result<Vec<Record>> {
        let text = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        Ok(text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}

fn make_private_folder(folder: &Utf8Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut missing: Vec<Utf8PathBuf> = Vec::new();
    let mut at = Some(folder);
    while let Some(path) = at.filter(|p| !p.as_str().is_empty() && !p.exists()) {
        missing.push(path.to_owned());
        at = path.parent();
    }
    for path in missing.iter().rev() {
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_passed_over_and_the_rest_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::try_from(folder.path().join("a/journal.jsonl")).unwrap();
        let journal = Journal::open(&path).unwrap();
        let change = Change::LoadModule { module: "overlay".into() };
        journal.record("load-modules", &change, Stage::Intent).unwrap();
        journal.record("load-modules", &change, Stage::Done).unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let records = Journal::read(&path).unwrap();
            let lines = whole[..cut].iter().filter(|b| **b == b'\n').count();
            assert!(records.len() == lines || records.len() == lines + 1, "cut at {cut}");
        }
    }
}
