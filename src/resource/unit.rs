//! systemd units.
//!
//! Whether a service runs with its files as they are now can't be told from times: clocks jump, and files are touched. So a drop-in
//! has systemd note the files' digests whenever it starts the service, at boot and after a crash as well.

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};

use super::{Resource, command, file};
use crate::engine::hint::UnitWord;
use crate::engine::{
    Change, Content, Failure, FileMode, Hint, Metadata, Planned, Probe, Result, State, UnitChange, sha256,
};

/// Where the digests are, a file a unit. Gone after a boot, as the services' processes are.
const STARTED: &str = "/run/kboot/started";

/// A service that is enabled and runs, with its files as they are now; or one that is not. What is None is no matter.
pub struct Unit {
    name: String,
    /// What it reads when it starts. It is restarted when one of these is not as it was then.
    files: Vec<Utf8PathBuf>,
    is_running: Option<bool>,
    is_enabled: Option<bool>,
    /// Whether it takes up its files by `systemctl reload`.
    reloads: bool,
}

impl Unit {
    pub fn new(name: impl Into<String>, is_running: Option<bool>, is_enabled: Option<bool>) -> Self {
        Self { name: name.into(), files: Vec::new(), is_running, is_enabled, reloads: false }
    }

    /// Running, and enabled.
    pub fn running(name: impl Into<String>) -> Self {
        Self::new(name, Some(true), Some(true))
    }

    /// Not running; whether it is enabled is no matter.
    pub fn stopped(name: impl Into<String>) -> Self {
        Self::new(name, Some(false), None)
    }

    pub fn reads(mut self, file: impl Into<Utf8PathBuf>) -> Self {
        self.files.push(file.into());
        self
    }

    /// It takes its files up without ending.
    pub fn reloads(self) -> Self {
        Self { reloads: true, ..self }
    }

    /// The drop-in that has the digests noted.
    fn drop_in(&self) -> Utf8PathBuf {
        Utf8PathBuf::from(format!("/etc/systemd/system/{}.d/50-kboot.conf", self.name))
    }

    /// It must not keep the service from starting: without a note the service is only restarted once more. What is noted is as old as
    /// what the service reads, or older.
    fn drop_in_text(&self) -> String {
        let files: Vec<&str> = self.files.iter().map(|file| file.as_str()).collect();
        let note = format!(
            "-+/bin/sh -c 'mkdir -p {STARTED}; rm -f {STARTED}/%n; sha256sum {} >{STARTED}/%n 2>/dev/null'\n",
            files.join(" ")
        );
        let start = format!(
            "# What the service reads is noted when it starts, so that kboot knows when it must be restarted.\n\
             [Service]\n\
             ExecStartPre={note}"
        );
        // After the unit's own commands: one that fails, as for a wrong file, leaves the note as it is.
        if self.reloads { format!("{start}ExecReload={note}") } else { start }
    }

    fn note(&self) -> Utf8PathBuf {
        Utf8PathBuf::from(format!("{STARTED}/{}", self.name))
    }
}

/// What systemd says of a unit, and what is on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    is_enabled: bool,
    /// Has no [Install] section: it is neither enabled nor disabled, whatever one does.
    is_fixed: bool,
    is_active: bool,
    drop_in: Option<(Metadata, Vec<u8>)>,
    /// Files that are not as they were when the service started; all of them where that is not on record.
    changed: Vec<Utf8PathBuf>,
    is_noted: bool,
}

#[async_trait]
impl Resource for Unit {
    type Observed = Observed;

    async fn observe(&self, probe: &dyn Probe) -> Result<Observed> {
        let shown = Shown::of(probe, &self.name).await?;
        let (is_enabled, is_active) = (shown.is_enabled(), shown.is_active());
        let is_fixed =
            matches!(shown.field("UnitFileState"), "static" | "generated" | "transient" | "indirect" | "alias");
        let mut observed = Observed { is_enabled, is_fixed, is_active, ..Observed::default() };
        if self.files.is_empty() {
            return Ok(observed);
        }
        if let Some(metadata) = probe.stat(&self.drop_in()).await? {
            observed.drop_in = probe.read(&self.drop_in()).await?.map(|bytes| (metadata, bytes));
        }
        let note = probe.read_text(&self.note()).await?;
        observed.is_noted = note.is_some();
        let note = note.unwrap_or_default();
        for file in &self.files {
            let now = probe.read(file).await?.map(|bytes| sha256(&bytes));
            if now.as_deref() != noted(&note, file) || !observed.is_noted {
                observed.changed.push(file.clone());
            }
        }
        Ok(observed)
    }

    fn diff(&self, observed: Observed) -> Result<Planned> {
        let differing = |wanted: Option<bool>, found: bool| wanted.filter(|wanted| *wanted != found);
        let mut change = UnitChange { unit: self.name.clone(), ..UnitChange::default() };
        change.enable = differing(self.is_enabled, observed.is_enabled).filter(|_| !observed.is_fixed);
        change.start = differing(self.is_running, observed.is_active);
        let mut changes = Vec::new();
        if !self.files.is_empty() {
            let text = Content::Text(self.drop_in_text());
            changes.extend(file::write_if_different(&self.drop_in(), observed.drop_in, &text, FileMode::PUBLIC));
        }
        if self.is_running == Some(true) && observed.is_active && !observed.changed.is_empty() {
            let files: Vec<&str> = observed.changed.iter().map(|path| path.as_str()).collect();
            let files = files.join(", ");
            change.reloads = self.reloads;
            change.restart =
                Some(if observed.is_noted { format!("{files} changed") } else { format!("to take up {files}") });
        }
        if change.enable.is_some() || change.start.is_some() || change.restart.is_some() {
            changes.push(Change::SetUnit(change));
        }
        Ok(Planned::of(changes))
    }
}

/// The digest of a file in what `sha256sum` printed; None where the file was not there.
fn noted<'a>(note: &'a str, file: &Utf8Path) -> Option<&'a str> {
    let mut pairs = note.lines().filter_map(|line| line.split_once("  "));
    pairs.find_map(|(digest, name)| (name == file.as_str()).then_some(digest))
}

/// What `systemctl show` prints.
struct Shown(String);

impl Shown {
    async fn of(probe: &dyn Probe, unit: &str) -> Result<Self> {
        let fields = "--property=LoadState,ActiveState,UnitFileState";
        Ok(Self(probe.query(&["systemctl", "show", unit, fields]).await?.stdout))
    }

    fn field(&self, name: &str) -> &str {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    }

    fn is_known(&self) -> bool {
        !matches!(self.field("LoadState"), "not-found" | "")
    }

    fn is_enabled(&self) -> bool {
        self.field("UnitFileState") == "enabled"
    }

    fn is_active(&self) -> bool {
        matches!(self.field("ActiveState"), "active" | "activating" | "reloading")
    }
}

/// Whether a unit runs, or is about to; None where there is no such unit.
pub async fn unit_runs(probe: &dyn Probe, unit: &str) -> Result<Option<bool>> {
    let shown = Shown::of(probe, unit).await?;
    Ok(shown.is_known().then(|| shown.is_active()))
}

/// How a unit is, for the journal.
pub(super) async fn state(probe: &dyn Probe, unit: &str) -> Result<State> {
    let shown = Shown::of(probe, unit).await?;
    Ok(match shown.is_known() {
        true => State::Unit { is_enabled: shown.is_enabled(), is_active: shown.is_active() },
        false => State::Absent,
    })
}

pub(super) async fn set(change: &UnitChange) -> Result<()> {
    let unit = change.unit.as_str();
    command::run(&["systemctl", "daemon-reload"]).await?;
    match change.enable {
        Some(true) => command::run(&["systemctl", "enable", "--quiet", unit]).await?,
        Some(false) => command::run(&["systemctl", "disable", "--quiet", unit]).await?,
        None => {}
    }
    let verb = match (&change.restart, change.start) {
        (Some(_), _) if change.reloads => "reload",
        (Some(_), _) | (None, Some(true)) => "restart",
        (None, Some(false)) => "stop",
        (None, None) => return Ok(()),
    };
    // systemd does not start a unit again that has failed too often.
    forget_failure(unit).await;
    if let Err(failure) = command::run(&["systemctl", verb, unit]).await {
        return Err(with_journal(failure, unit).await);
    }
    if verb == "stop" {
        // A program that has to stop while it starts ends with an error. That is no failure.
        forget_failure(unit).await;
    }
    Ok(())
}

/// systemd lists a failed unit until `reset-failed`, even if the unit file is gone.
pub(super) async fn forget_failure(unit: &str) {
    // It is an error if systemd does not know the unit, or not any more.
    let _ = command::output(&["systemctl", "reset-failed", unit], &[], None).await;
}

async fn with_journal(failure: Failure, unit: &str) -> Failure {
    let argv = ["journalctl", "-u", unit, "-n", "12", "--no-pager", "-o", "cat"];
    let Ok(output) = command::output(&argv, &[], None).await else { return failure };
    let lines: Vec<String> = output.stdout.lines().map(String::from).collect();
    failure.evidence(lines).hint(Hint::UnitJournal { unit: UnitWord::of(unit) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    const SHOW: &str = "systemctl show kubelet.service --property=LoadState,ActiveState,UnitFileState";
    const RUNNING: &str = "ActiveState=active\nUnitFileState=enabled\n";
    const DROP_IN: &str = "/etc/systemd/system/kubelet.service.d/50-kboot.conf";
    const NOTE: &str = "/run/kboot/started/kubelet.service";

    fn kubelet() -> Unit {
        Unit::running("kubelet.service").reads("/etc/a").reads("/etc/b")
    }

    fn running() -> FakeHost {
        FakeHost::default()
            .answer(SHOW, 0, RUNNING)
            .file(DROP_IN, kubelet().drop_in_text())
            .file("/etc/a", "1\n")
            .file("/etc/b", "2\n")
    }

    /// As sha256sum prints it.
    fn note(files: &[(&str, &str)]) -> String {
        files.iter().map(|(file, text)| format!("{}  {file}\n", sha256(text.as_bytes()))).collect()
    }

    async fn changes(unit: &Unit, host: &FakeHost) -> Vec<String> {
        match unit.diff(unit.observe(host).await.unwrap()).unwrap() {
            Planned::Satisfied => Vec::new(),
            Planned::Changes(changes) => changes.iter().map(ToString::to_string).collect(),
            Planned::After { what } | Planned::Until { what, .. } => panic!("after {what}"),
        }
    }

    #[tokio::test]
    async fn a_service_that_runs_with_its_files_as_they_are_is_left_alone() {
        let host = running().file(NOTE, note(&[("/etc/a", "1\n"), ("/etc/b", "2\n")]));
        assert_eq!(changes(&kubelet(), &host).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_file_that_is_not_as_it_was_restarts_the_service() {
        let host = running().file(NOTE, note(&[("/etc/a", "1\n"), ("/etc/b", "1\n")]));
        assert_eq!(changes(&kubelet(), &host).await, ["kubelet.service: restart (/etc/b changed)"]);
        // One that was not there then, or is not there now.
        let host = running().file(NOTE, note(&[("/etc/a", "1\n")]));
        assert_eq!(changes(&kubelet(), &host).await, ["kubelet.service: restart (/etc/b changed)"]);
        let unit = kubelet().reads("/etc/c");
        let all = note(&[("/etc/a", "1\n"), ("/etc/b", "2\n"), ("/etc/c", "3\n")]);
        let host = running().file(NOTE, all).file(DROP_IN, unit.drop_in_text());
        assert_eq!(changes(&unit, &host).await, ["kubelet.service: restart (/etc/c changed)"]);
    }

    #[tokio::test]
    async fn without_a_note_nobody_knows_what_it_runs_with() {
        let why = "kubelet.service: restart (to take up /etc/a, /etc/b)";
        assert_eq!(changes(&kubelet(), &running()).await, [why]);
    }

    #[tokio::test]
    async fn the_drop_in_comes_before_the_start_that_it_is_to_note() {
        let host = FakeHost::default().answer(SHOW, 0, "ActiveState=inactive\nUnitFileState=disabled\n");
        let start = "kubelet.service: enable and start".to_string();
        assert_eq!(changes(&kubelet(), &host).await, [format!("create {DROP_IN} (0644)"), start.clone()]);
        assert_eq!(changes(&Unit::running("kubelet.service"), &host).await, [start]);
        assert_eq!(changes(&Unit::stopped("kubelet.service"), &host).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_service_that_can_is_reloaded_and_notes_that_as_well() {
        let unit = kubelet().reloads();
        let host =
            running().file(DROP_IN, unit.drop_in_text()).file(NOTE, note(&[("/etc/a", "1\n"), ("/etc/b", "1\n")]));
        assert_eq!(changes(&unit, &host).await, ["kubelet.service: reload (/etc/b changed)"]);
        let text = unit.drop_in_text();
        let [.., start, reload] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert_eq!(reload.replace("ExecReload", "ExecStartPre"), start);
        assert!(!kubelet().drop_in_text().contains("ExecReload"));
    }

    #[test]
    fn the_drop_in_notes_all_files_and_never_fails() {
        let text = kubelet().drop_in_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "[Service]");
        assert_eq!(
            lines[2],
            "ExecStartPre=-+/bin/sh -c 'mkdir -p /run/kboot/started; rm -f /run/kboot/started/%n; \
             sha256sum /etc/a /etc/b >/run/kboot/started/%n 2>/dev/null'"
        );
    }
}
