//! What was changed on this host, written down before it is done and after it, with how it was before.
//!
//! One JSON object a line, with types of its own, so that an old journal stays readable whatever becomes of [`Change`]. A line that
//! a crash has torn is no JSON and is passed over; a record that this kboot does not know is an error, for undo would do less than
//! it says. The journal is never the reason to skip work: the host is the truth. Undo, reset and the causes in a plan are made
//! from it.

mod format_2;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Change, ChangeId, Failure, Hint, Outcome, Result, Subject, Text, Trace, now_millis, sha256};

/// The format's version, in each record. Version 1 had the changes' text only: its records are passed over. Version 2 had no ids,
/// and only their text distinguished commands ([`format_2`]).
const VERSION: u32 = 3;
/// A journal larger than this is shortened when it is opened …
const MOST: u64 = 8 << 20;
/// … to the last runs that fit into this, and of those before them what was there at first.
const KEPT: usize = 4 << 20;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    /// Which run: the same on all hosts that took part in it.
    pub run: String,
    /// Milliseconds since 1970.
    pub at: u64,
    #[serde(flatten)]
    pub entry: Entry,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Entry {
    /// The run's first change follows.
    Begin(RunInfo),
    Intent {
        /// Counts the changes of a run.
        change: u64,
        step: String,
        /// None in a record of format 2, which had none, unless it says so in other words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<ChangeId>,
        /// The change in one line for people, without anything secret.
        text: String,
        /// What it touches, as it was before.
        before: Vec<Trace>,
        /// What it is to leave, by name; see [`Change::wants`].
        wants: BTreeMap<String, String>,
    },
    Done {
        change: u64,
        /// What it touched, as it was afterwards.
        after: Vec<Trace>,
    },
    Failed {
        change: u64,
        cause: Text,
        after: Vec<Trace>,
    },
    End {
        outcome: Outcome,
    },
}

/// What a run is. The controller makes it, so that it is the same on all hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Unique. It begins with the controller's time, which may be wrong: the order of runs is that of the journal.
    pub id: String,
    /// `kboot up`, as one would type it.
    pub command: String,
    /// Who runs it, for the one who finds the host locked.
    pub owner: String,
    /// The digest of all that the run wants: inventory, playbook and kboot's own version.
    pub wanted: String,
    /// The run that it takes back; `all` for a reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// The saved plan that it carries out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

impl RunInfo {
    pub fn new(command: impl Into<String>, owner: impl Into<String>, wanted: &[u8]) -> Self {
        // Hexadecimal milliseconds have as many digits until the year 2527.
        let id = format!("{:x}-{:04x}", now_millis(), std::process::id() & 0xffff);
        let wanted = sha256(wanted);
        Self { id, command: command.into(), owner: owner.into(), wanted, undoes: None, plan: None }
    }
}

/// A run as the journal has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub info: RunInfo,
    /// Milliseconds since 1970.
    pub at: u64,
    pub changes: Vec<Made>,
    /// None where the run was cut off.
    pub outcome: Option<Outcome>,
}

/// A change that was begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    pub at: u64,
    pub step: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ChangeId>,
    pub text: String,
    pub before: Vec<Trace>,
    pub wants: BTreeMap<String, String>,
    /// None where the change was cut off.
    pub after: Option<Vec<Trace>>,
    /// Why it failed, if it did.
    pub failure: Option<Text>,
}

/// An open journal; appends only. None of its records is lost to a crash once `record` has returned.
pub struct Journal {
    file: Option<Mutex<fs::File>>,
    info: RunInfo,
    changes: AtomicU64,
    /// Nanoseconds.
    spent: AtomicU64,
    has_begun: Mutex<bool>,
}

impl Journal {
    pub const PATH: &str = "/var/lib/kboot/journal.jsonl";

    /// Opens the journal for a run, made if there is none (0600). The run itself is written down with its first change.
    pub fn open(path: &Utf8Path, info: RunInfo) -> Result<Self> {
        if let Some(folder) = path.parent() {
            make_private_folder(folder)?;
        }
        shorten(path)?;
        let mut file = fs::OpenOptions::new().create(true).append(true).mode(0o600).read(true).open(path)?;
        end_line(&mut file)?;
        Ok(Self { file: Some(Mutex::new(file)), info, ..Self::none() })
    }

    /// A journal that keeps nothing: for tests of the engine and for runs that change nothing.
    pub fn none() -> Self {
        Self {
            file: None,
            info: RunInfo::default(),
            changes: AtomicU64::new(0),
            spent: AtomicU64::new(0),
            has_begun: Mutex::new(false),
        }
    }

    /// Whether anything is written at all.
    pub(super) fn is_kept(&self) -> bool {
        self.file.is_some()
    }

    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// Counts the time since then as spent for the journal's sake.
    pub(super) fn spend(&self, since: Instant) {
        self.spent.fetch_add(u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long the journal took so far: looking at what is changed, and writing it down.
    pub fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Ordering::Relaxed))
    }

    /// Writes down what is about to be done; the number is for [`Self::done`] and [`Self::failed`].
    pub(super) fn intent(&self, step: &str, change: &Change, before: Vec<Trace>) -> Result<u64> {
        self.begin()?;
        let number = self.changes.fetch_add(1, Ordering::Relaxed);
        let text = change.redacted().to_string();
        let (step, id, wants) = (step.into(), Some(change.id()), change.wants());
        self.write(Entry::Intent { change: number, step, id, text, before, wants })?;
        Ok(number)
    }

    pub(super) fn done(&self, change: u64, after: Vec<Trace>) -> Result<()> {
        self.write(Entry::Done { change, after })
    }

    pub(super) fn failed(&self, change: u64, cause: &Text, after: Vec<Trace>) -> Result<()> {
        self.write(Entry::Failed { change, cause: cause.clone(), after })
    }

    /// The run is over. One that changed nothing is written down only if `is_news`.
    pub fn end(&self, outcome: Outcome, is_news: bool) -> Result<()> {
        if !*self.has_begun.lock().expect("no panic while held") && !is_news {
            return Ok(());
        }
        self.begin()?;
        self.write(Entry::End { outcome })
    }

    fn begin(&self) -> Result<()> {
        let mut has_begun = self.has_begun.lock().expect("no panic while held");
        if !*has_begun {
            self.write(Entry::Begin(self.info.clone()))?;
            *has_begun = true;
        }
        Ok(())
    }

    fn write(&self, entry: Entry) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let record = Record { version: VERSION, run: self.info.id.clone(), at: now_millis(), entry };
        let line = line(&record);
        let mut file = file.lock().expect("no panic while writing");
        file.write_all(&line).and_then(|()| file.sync_data()).map_err(unwritten)?;
        Ok(())
    }

    /// All whole records in these bytes, in their order.
    pub fn parse(bytes: &[u8]) -> Result<Vec<Record>> {
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        lines.filter_map(|(index, line)| record(line, index + 1).transpose()).collect()
    }

    /// The runs in this host's journal, the oldest first.
    pub fn past() -> Result<Vec<Run>> {
        match std::fs::read(Self::PATH) {
            Ok(bytes) => Self::runs(&bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Failure::from(error).context(format_args!("read {}", Self::PATH))),
        }
    }

    /// The runs in these bytes, the oldest first.
    pub fn runs(bytes: &[u8]) -> Result<Vec<Run>> {
        Ok(runs(Self::parse(bytes)?))
    }
}

/// The record of a line; none of one that a crash has torn.
fn record(line: &[u8], number: usize) -> Result<Option<Record>> {
    /// What every format has.
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return Ok(None) };
    let unknown = |why: String| Failure::new(format!("line {number} of {}: {why}", Journal::PATH));
    let value = match Versioned::deserialize(&value) {
        Err(_) => return Err(unknown("this is no record of kboot's journal".into()).hint(Hint::RestoreJournal)),
        Ok(Versioned { version: 1 }) => return Ok(None),
        Ok(Versioned { version: 2 }) => format_2::converted(value),
        Ok(Versioned { version: VERSION }) => value,
        Ok(Versioned { version }) => {
            let why = format!("the journal is of format {version}, and this kboot reads formats up to {VERSION}");
            return Err(unknown(why).hint(Hint::RunNewerKboot));
        }
    };
    let record = Record::deserialize(value).map_err(|error| unknown(error.to_string()).hint(Hint::RestoreJournal))?;
    Ok(Some(record))
}

fn unwritten(error: std::io::Error) -> Failure {
    let failure = Failure::from(error);
    failure.context("write the journal")
}

fn line(record: &Record) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).expect("a record is plain data");
    line.push(b'\n');
    line
}

/// After a torn line the next one must not be its continuation.
fn end_line(file: &mut fs::File) -> Result<()> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(());
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    if last != [b'\n'] {
        file.write_all(b"\n").map_err(unwritten)?;
    }
    Ok(())
}

fn runs(records: Vec<Record>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut places: BTreeMap<(String, u64), (usize, usize)> = BTreeMap::new();
    for Record { run: id, at, entry, .. } in records {
        let place = runs.iter().rposition(|run| run.info.id == id);
        let run = match (&entry, place) {
            (_, Some(place)) => place,
            (Entry::Begin(info), None) => {
                runs.push(Run { info: info.clone(), at, changes: Vec::new(), outcome: None });
                continue;
            }
            // Its beginning was torn.
            (_, None) => {
                let info = RunInfo { id: id.clone(), command: "unknown".into(), ..RunInfo::default() };
                runs.push(Run { info, at, changes: Vec::new(), outcome: None });
                runs.len() - 1
            }
        };
        let made = |change: u64| places.get(&(id.clone(), change)).copied();
        match entry {
            Entry::Begin(_) => {}
            Entry::Intent { change, step, id: change_id, text, before, wants } => {
                let made = Made { at, step, id: change_id, text, before, wants, after: None, failure: None };
                places.insert((id, change), (run, runs[run].changes.len()));
                runs[run].changes.push(made);
            }
            Entry::Done { change, after } => {
                if let Some((run, at)) = made(change) {
                    runs[run].changes[at].after = Some(after);
                }
            }
            Entry::Failed { change, cause, after } => {
                if let Some((run, at)) = made(change) {
                    let made = &mut runs[run].changes[at];
                    made.failure = Some(cause);
                    made.after = Some(after);
                }
            }
            Entry::End { outcome } => runs[run].outcome = Some(outcome),
        }
    }
    runs
}

/// Keeps a journal from growing without end: the last runs stay whole; of those before them stays, for each thing, the first
/// state that it was found in and the last wish for it.
fn shorten(path: &Utf8Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MOST => {}
        _ => return Ok(()),
    }
    let records = Journal::parse(&fs::read(path)?)?;
    let bytes = shortened(&records, KEPT);
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    // 0600, as temporary files are.
    let mut temporary = tempfile::Builder::new().prefix(".kboot-").tempfile_in(folder)?;
    temporary.write_all(&bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| Failure::from(error.error))?;
    Ok(())
}

fn shortened(records: &[Record], most: usize) -> Vec<u8> {
    let sizes: Vec<usize> = records.iter().map(|record| line(record).len()).collect();
    let mut left = most;
    let mut cut = records.len();
    while cut > 0 && sizes[cut - 1] <= left {
        left -= sizes[cut - 1];
        cut -= 1;
    }
    // Whole runs only.
    while cut > 0 && cut < records.len() && records[cut - 1].run == records[cut].run {
        cut += 1;
    }
    let (old, recent) = records.split_at(cut);
    let mut last_wish: BTreeMap<&String, usize> = BTreeMap::new();
    for (at, record) in old.iter().enumerate() {
        if let Entry::Intent { wants, .. } = &record.entry {
            last_wish.extend(wants.keys().map(|name| (name, at)));
        }
    }
    let mut seen: BTreeSet<&Subject> = BTreeSet::new();
    let mut dropped: BTreeSet<(&String, u64)> = BTreeSet::new();
    let mut kept: Vec<Record> = Vec::new();
    for (at, record) in old.iter().enumerate() {
        match &record.entry {
            Entry::Intent { change, step, id, text, before, wants } => {
                let before: Vec<Trace> = before.iter().filter(|trace| seen.insert(&trace.subject)).cloned().collect();
                if before.is_empty() && !wants.keys().any(|name| last_wish.get(name) == Some(&at)) {
                    dropped.insert((&record.run, *change));
                    continue;
                }
                let (change, step, id) = (*change, step.clone(), id.clone());
                let (text, wants) = (text.clone(), wants.clone());
                kept.push(Record { entry: Entry::Intent { change, step, id, text, before, wants }, ..record.clone() });
            }
            Entry::Done { change, .. } | Entry::Failed { change, .. } if dropped.contains(&(&record.run, *change)) => {}
            Entry::Begin(_) | Entry::Done { .. } | Entry::Failed { .. } | Entry::End { .. } => {
                kept.push(record.clone())
            }
        }
    }
    kept.iter().chain(recent).flat_map(line).collect()
}

/// Makes a folder that only its owner may enter, and those above it that are missing.
pub fn make_private_folder(folder: &Utf8Path) -> Result<()> {
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

#[cfg(test)]
mod tests;
