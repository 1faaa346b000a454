//! systemd units.

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};

use super::{Resource, command};
use crate::engine::{Change, Failure, Planned, Probe, Result, State, UnitChange};

/// Ticks of /proc/PID/stat a second: fixed at 100 for user space on Linux.
const TICKS: i128 = 100;
/// A file that changed less than this after the service started was there when it started: clocks are read this coarsely.
const COARSENESS: i128 = 30_000_000;

/// A service that is enabled and runs, with its files as they are now; or one that is stopped.
pub struct Unit {
    name: String,
    /// What it reads when it starts. It is restarted when one of these changed since.
    files: Vec<Utf8PathBuf>,
    is_wanted: bool,
}

impl Unit {
    pub fn running(name: impl Into<String>) -> Self {
        Self { name: name.into(), files: Vec::new(), is_wanted: true }
    }

    /// Not running; whether it is enabled is no matter.
    pub fn stopped(name: impl Into<String>) -> Self {
        Self { is_wanted: false, ..Self::running(name) }
    }

    pub fn reads(mut self, file: impl Into<Utf8PathBuf>) -> Self {
        self.files.push(file.into());
        self
    }
}

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    is_enabled: bool,
    is_active: bool,
    /// Files that changed after the service started.
    changed: Vec<Utf8PathBuf>,
}

#[async_trait]
impl Resource for Unit {
    type Observed = Observed;

    async fn observe(&self, probe: &dyn Probe) -> Result<Observed> {
        let shown = Shown::of(probe, &self.name).await?;
        let mut observed =
            Observed { is_enabled: shown.is_enabled(), is_active: shown.is_active(), changed: Vec::new() };
        let Some(started) = started(probe, shown.field("MainPID")).await? else { return Ok(observed) };
        for file in &self.files {
            let changed = probe.stat(file).await?.map(|metadata| metadata.changed);
            if changed.is_some_and(|changed| changed > started + COARSENESS) {
                observed.changed.push(file.clone());
            }
        }
        Ok(observed)
    }

    fn diff(&self, observed: Observed) -> Result<Planned> {
        let mut change = UnitChange { unit: self.name.clone(), ..UnitChange::default() };
        if !self.is_wanted {
            change.start = Some(false);
            return Ok(if observed.is_active {
                Planned::Changes(vec![Change::SetUnit(change)])
            } else {
                Planned::Satisfied
            });
        }
        if !observed.is_enabled {
            change.enable = Some(true);
        }
        if !observed.is_active {
            change.start = Some(true);
        } else if !observed.changed.is_empty() {
            let files: Vec<&str> = observed.changed.iter().map(|path| path.as_str()).collect();
            change.restart = Some(format!("{} changed", files.join(", ")));
        }
        let is_right = change.enable.is_none() && change.start.is_none() && change.restart.is_none();
        Ok(if is_right { Planned::Satisfied } else { Planned::Changes(vec![Change::SetUnit(change)]) })
    }
}

/// What `systemctl show` prints.
struct Shown(String);

impl Shown {
    async fn of(probe: &dyn Probe, unit: &str) -> Result<Self> {
        let fields = "--property=LoadState,ActiveState,UnitFileState,MainPID";
        Ok(Self(probe.query(&["systemctl", "show", unit, fields]).await?.stdout))
    }

    fn field(&self, name: &str) -> &str {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    }

    fn is_enabled(&self) -> bool {
        self.field("UnitFileState") == "enabled"
    }

    fn is_active(&self) -> bool {
        matches!(self.field("ActiveState"), "active" | "activating" | "reloading")
    }
}

/// How a unit is, for the journal.
pub(super) async fn state(probe: &dyn Probe, unit: &str) -> Result<State> {
    let shown = Shown::of(probe, unit).await?;
    Ok(match shown.field("LoadState") {
        "not-found" | "" => State::Absent,
        _ => State::Unit { is_enabled: shown.is_enabled(), is_active: shown.is_active() },
    })
}

/// When a process started, nanoseconds since 1970; None if there is none.
async fn started(probe: &dyn Probe, pid: &str) -> Result<Option<i128>> {
    if pid.is_empty() || pid == "0" {
        return Ok(None);
    }
    let Some(stat) = probe.read_text(Utf8Path::new(&format!("/proc/{pid}/stat"))).await? else { return Ok(None) };
    let Some(since_boot) = start_ticks(&stat) else { return Ok(None) };
    Ok(Some(probe.booted().await? + since_boot * (1_000_000_000 / TICKS)))
}

/// The 22nd field; the second may hold spaces and brackets of its own.
fn start_ticks(stat: &str) -> Option<i128> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
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
        (Some(_), _) | (None, Some(true)) => "restart",
        (None, Some(false)) => "stop",
        (None, None) => return Ok(()),
    };
    // A unit that failed too often in a row is not started again before it is forgiven.
    let _ = command::output(&["systemctl", "reset-failed", unit], &[], None).await;
    if let Err(failure) = command::run(&["systemctl", verb, unit]).await {
        return Err(with_journal(failure, unit).await);
    }
    Ok(())
}

async fn with_journal(failure: Failure, unit: &str) -> Failure {
    let argv = ["journalctl", "-u", unit, "-n", "12", "--no-pager", "-o", "cat"];
    let Ok(output) = command::output(&argv, &[], None).await else { return failure };
    let lines: Vec<String> = output.stdout.lines().map(String::from).collect();
    failure.evidence(lines).hint(format!("see `journalctl -u {unit}` on the host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_survives_a_name_with_brackets() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 1 0 98765 1 1";
        assert_eq!(start_ticks(stat), Some(98765));
    }

    #[test]
    fn a_changed_file_restarts_a_running_service_only() {
        let unit = Unit::running("kubelet.service");
        let running = Observed { is_enabled: true, is_active: true, ..Observed::default() };
        assert_eq!(unit.diff(running.clone()).unwrap(), Planned::Satisfied);
        let stale = Observed { changed: vec!["/etc/x".into()], ..running };
        let Planned::Changes(changes) = unit.diff(stale).unwrap() else { panic!("no change") };
        assert_eq!(changes[0].to_string(), "kubelet.service: restart (/etc/x changed)");
        let Planned::Changes(changes) = unit.diff(Observed::default()).unwrap() else { panic!("no change") };
        assert_eq!(changes[0].to_string(), "kubelet.service: enable and start");
    }
}
