//! For any host and any wish: applied it holds, planned again there is nothing to do, and taken back the host is as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;
use crate::engine::{
    AnyStep, Cancel, Content, Drift, Failure, FileKind, Host, Journal, Metadata, Mode, Outcome, Output, Planned, Probe,
    Progress, Result, RunInfo, Runner, Sink,
};

/// All of a host that a test wants to see again.
#[derive(Debug, Clone, Default, PartialEq)]
struct Machine {
    /// Files by their paths: mode, owner, content.
    files: BTreeMap<Utf8PathBuf, (u32, u32, String)>,
    folders: BTreeSet<Utf8PathBuf>,
    sysctls: BTreeMap<String, String>,
    modules: BTreeSet<String>,
    packages: BTreeMap<String, String>,
    held: BTreeSet<String>,
    /// Enabled, active.
    units: BTreeMap<String, (bool, bool)>,
    swaps: BTreeSet<String>,
}

impl Machine {
    fn make_folders(&mut self, path: &Utf8Path) {
        let above = path.ancestors().skip(1).filter(|folder| *folder != "/");
        self.folders.extend(above.map(Utf8Path::to_owned));
    }

    fn names(&self, folder: &Utf8Path) -> Vec<String> {
        let all = self.files.keys().chain(&self.folders);
        all.filter(|path| path.parent() == Some(folder)).filter_map(|path| path.file_name()).map(String::from).collect()
    }

    fn state(&self, subject: &Subject) -> State {
        let presence = |is_there: bool| if is_there { State::Present } else { State::Absent };
        match subject {
            Subject::Path { path } => match self.files.get(path) {
                Some((mode, uid, text)) => State::file(*mode, *uid, 0, text.clone().into_bytes()),
                None if path == "/" || self.folders.contains(path) => {
                    State::Directory { mode: 0o755, uid: 0, gid: 0, is_empty: self.names(path).is_empty() }
                }
                None => State::Absent,
            },
            Subject::Packages => State::Packages { versions: self.packages.clone() },
            Subject::Hold { package } => presence(self.held.contains(package)),
            Subject::Unit { unit } => match self.units.get(unit) {
                Some((is_enabled, is_active)) => State::Unit { is_enabled: *is_enabled, is_active: *is_active },
                None => State::Absent,
            },
            Subject::Sysctl { key } => {
                self.sysctls.get(key).map_or(State::Absent, |value| State::Value { value: value.clone() })
            }
            Subject::Module { module } => presence(self.modules.contains(module)),
            Subject::Swap { device } => presence(self.swaps.contains(device)),
            other => panic!("{other:?}"),
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::WriteFile { path, mode, after, .. } => {
                self.make_folders(path);
                let text = String::from_utf8(after.bytes().unwrap()).unwrap();
                self.files.insert(path.clone(), (mode.0, 0, text));
            }
            Change::Remove { path } => {
                self.files.remove(path);
            }
            Change::RemoveEmptyDirectory { path } => {
                assert!(self.names(path).is_empty(), "{path} is not empty");
                self.folders.remove(path);
            }
            Change::MakeDirectory { path, .. } => {
                self.make_folders(path);
                self.folders.insert(path.clone());
            }
            Change::SetMode { path, mode } => self.files.get_mut(path).unwrap().0 = mode.0,
            Change::SetOwner { path, uid, .. } => self.files.get_mut(path).unwrap().1 = *uid,
            Change::SetSysctl { key, after, .. } => {
                self.sysctls.insert(key.clone(), after.clone());
            }
            Change::LoadModule { module } => {
                self.modules.insert(module.clone());
            }
            Change::UnloadModule { module } => {
                self.modules.remove(module);
            }
            Change::SwapOff { device } => {
                self.swaps.remove(device);
            }
            Change::SwapOn { device } => {
                self.swaps.insert(device.clone());
            }
            Change::InstallPackages { packages, .. } => {
                for package in packages {
                    self.packages.insert(package.name.clone(), package.to.clone().unwrap());
                    // As a dependency.
                    self.packages.entry(format!("lib{}", package.name)).or_insert("1".into());
                }
            }
            Change::RemovePackages { packages } => packages.iter().for_each(|name| drop(self.packages.remove(name))),
            Change::HoldPackages { packages, hold: true } => self.held.extend(packages.iter().cloned()),
            Change::HoldPackages { packages, hold: false } => {
                self.held.retain(|name| !packages.contains(name));
            }
            Change::SetUnit(change) => {
                let unit = self.units.get_mut(&change.unit).unwrap();
                *unit = (change.enable.unwrap_or(unit.0), change.start.unwrap_or(unit.1));
            }
            other => panic!("{other}"),
        }
    }
}

struct MemoryHost(Mutex<Machine>);

#[async_trait]
impl Probe for MemoryHost {
    async fn read(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().files.get(path).map(|(_, _, text)| text.clone().into_bytes()))
    }

    async fn stat(&self, path: &Utf8Path) -> Result<Option<Metadata>> {
        let kind = match self.0.lock().unwrap().state(&Subject::path(path)) {
            State::File { .. } => FileKind::File,
            State::Directory { .. } => FileKind::Directory,
            _ => return Ok(None),
        };
        Ok(Some(Metadata { kind, mode: 0, uid: 0, gid: 0, size: 0, inode: 0 }))
    }

    async fn link(&self, _: &Utf8Path) -> Result<Option<Utf8PathBuf>> {
        Ok(None)
    }

    async fn list(&self, path: &Utf8Path) -> Result<Option<Vec<String>>> {
        Ok(Some(self.0.lock().unwrap().names(path)))
    }

    async fn query(&self, argv: &[&str]) -> Result<Output> {
        Err(Failure::new(argv.join(" ")))
    }

    async fn ask(&self, guard: &crate::engine::Guard) -> Result<Output> {
        self.query(&guard.argv()).await
    }
}

#[async_trait]
impl Host for MemoryHost {
    async fn apply(&self, change: &Change, _: &Progress) -> Result<()> {
        self.0.lock().unwrap().apply(change);
        Ok(())
    }

    async fn state(&self, subject: &Subject) -> State {
        self.0.lock().unwrap().state(subject)
    }

    fn probe(&self) -> &dyn Probe {
        self
    }
}

/// What is wanted of a machine; all else is as it may.
#[derive(Debug, Clone, Default)]
struct Wish {
    files: BTreeMap<Utf8PathBuf, Option<(u32, String)>>,
    sysctls: BTreeMap<String, String>,
    modules: BTreeSet<String>,
    packages: BTreeMap<String, String>,
    held: BTreeSet<String>,
    units: BTreeMap<String, (bool, bool)>,
    without_swap: bool,
}

impl Wish {
    fn changes(&self, now: &Machine) -> Vec<Change> {
        let mut changes = Vec::new();
        for (path, wanted) in &self.files {
            match (wanted, now.files.get(path)) {
                (None, Some(_)) => changes.push(Change::Remove { path: path.clone() }),
                (Some((mode, text)), there) if there.map(|(_, _, text)| text) != Some(text) => {
                    changes.push(Change::WriteFile {
                        path: path.clone(),
                        mode: FileMode(*mode),
                        before: None,
                        after: Content::Text(text.clone()),
                    });
                }
                (Some((mode, _)), Some((is, _, _))) if mode != is => {
                    changes.push(Change::SetMode { path: path.clone(), mode: FileMode(*mode) });
                }
                _ => {}
            }
        }
        for (key, after) in &self.sysctls {
            let before = now.sysctls[key].clone();
            if before != *after {
                changes.push(Change::SetSysctl { key: key.clone(), before, after: after.clone() });
            }
        }
        let missing = self.modules.difference(&now.modules);
        changes.extend(missing.map(|module| Change::LoadModule { module: module.clone() }));
        let packages: Vec<PackageChange> = self
            .packages
            .iter()
            .filter(|(name, version)| now.packages.get(*name) != Some(version))
            .map(|(name, version)| PackageChange {
                name: name.clone(),
                from: now.packages.get(name).cloned(),
                to: Some(version.clone()),
                candidate: None,
                brings: Vec::new(),
            })
            .collect();
        if !packages.is_empty() {
            changes.push(Change::InstallPackages { packages, lock: None });
        }
        let free: Vec<String> = self.held.difference(&now.held).cloned().collect();
        if !free.is_empty() {
            changes.push(Change::HoldPackages { packages: free, hold: true });
        }
        for (unit, (enable, start)) in &self.units {
            let (is_enabled, is_active) = now.units[unit];
            if (is_enabled, is_active) != (*enable, *start) {
                let enable = (is_enabled != *enable).then_some(*enable);
                let start = (is_active != *start).then_some(*start);
                changes.push(Change::SetUnit(UnitChange {
                    unit: unit.clone(),
                    enable,
                    start,
                    ..UnitChange::default()
                }));
            }
        }
        if self.without_swap {
            changes.extend(now.swaps.iter().map(|device| Change::SwapOff { device: device.clone() }));
        }
        changes
    }
}

enum Doing {
    Fulfil(Wish),
    /// Takes back these runs.
    TakeBack(Vec<Run>),
}

struct Doer(Arc<MemoryHost>, Doing);

#[async_trait]
impl AnyStep for Doer {
    fn id(&self) -> &str {
        "doer"
    }

    fn title(&self) -> String {
        "Do".into()
    }

    async fn plan(&self, _: &dyn Probe) -> Result<Planned> {
        let now = self.0.0.lock().unwrap().clone();
        Ok(Planned::of(match &self.1 {
            Doing::Fulfil(wish) => wish.changes(&now),
            Doing::TakeBack(runs) => {
                let mut machine = now;
                let mut changes = Vec::new();
                // Each is compared with the machine as those before it will have left it.
                for touched in touched(&runs.iter().collect::<Vec<_>>()) {
                    if let Verdict::Changes(more) = take_back(&touched, &machine.state(&touched.subject)) {
                        more.iter().for_each(|change| machine.apply(change));
                        changes.extend(more);
                    }
                }
                changes
            }
        }))
    }

    fn deadline(&self) -> std::time::Duration {
        std::time::Duration::from_secs(1)
    }
}

const PATHS: [&str; 5] = ["/etc/a", "/etc/b.d/x", "/etc/b.d/c/y", "/opt/new/z", "/var/q"];

fn files() -> impl Strategy<Value = BTreeMap<Utf8PathBuf, (u32, u32, String)>> {
    let file = (prop_oneof![Just(0o600u32), Just(0o644)], 0..3u32, "[a-c]{0,2}");
    prop::collection::btree_map(prop::sample::select(&PATHS[..]).prop_map(Utf8PathBuf::from), file, 0..5)
}

fn named(names: &'static [&'static str]) -> impl Strategy<Value = BTreeSet<String>> {
    prop::collection::btree_set(prop::sample::select(names).prop_map(String::from), 0..=names.len())
}

fn valued(names: &'static [&'static str]) -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::vec(prop::option::of("[12]"), names.len()).prop_map(|values| {
        names.iter().zip(values).filter_map(|(name, value)| Some((name.to_string(), value?))).collect()
    })
}

const SYSCTLS: &[&str] = &["net.a", "net.b"];
const MODULES: &[&str] = &["overlay", "ip_vs"];
const PACKAGES: &[&str] = &["kubelet", "curl"];
const UNITS: [&str; 2] = ["x.service", "y.service"];

fn machine() -> impl Strategy<Value = Machine> {
    let units = any::<[(bool, bool); 2]>();
    let parts = (files(), valued(SYSCTLS), named(MODULES), valued(PACKAGES), named(PACKAGES), units);
    (parts, named(&["/swap"])).prop_map(|((files, mut sysctls, modules, packages, held, units), swaps)| {
        let units = UNITS.iter().zip(units).map(|(unit, state)| (unit.to_string(), state)).collect();
        // The kernel has all of them.
        for key in SYSCTLS {
            sysctls.entry(key.to_string()).or_insert("0".into());
        }
        let mut machine = Machine { sysctls, modules, packages, held, units, swaps, ..Machine::default() };
        files.keys().for_each(|path| machine.make_folders(path));
        machine.files = files;
        machine
    })
}

fn wish() -> impl Strategy<Value = Wish> {
    let file = prop::option::of((prop_oneof![Just(0o600u32), Just(0o644)], "[a-c]{0,2}"));
    let files = prop::collection::btree_map(prop::sample::select(&PATHS[..]).prop_map(Utf8PathBuf::from), file, 0..5);
    let units = any::<[(bool, bool); 2]>();
    let parts = (files, valued(SYSCTLS), named(MODULES), valued(PACKAGES), named(PACKAGES), units);
    (parts, any::<bool>()).prop_map(|((files, sysctls, modules, packages, held, units), without_swap)| {
        let units = UNITS.iter().zip(units).map(|(unit, state)| (unit.to_string(), state)).collect();
        Wish { files, sysctls, modules, packages, held, units, without_swap }
    })
}

fn run(host: &Arc<MemoryHost>, path: &Utf8Path, id: &str, mode: Mode, doing: Doing) -> crate::engine::Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let info = RunInfo { id: id.into(), ..RunInfo::default() };
        let journal = Arc::new(Journal::open(path, info).unwrap());
        let runner = Runner {
            host: host.clone(),
            mode,
            journal: journal.clone(),
            last: Arc::default(),
            drift: Drift::Repair,
            cancel: Cancel::default(),
            planned_host: crate::engine::PlannedHost::default(),
        };
        let (sender, _events) = mpsc::unbounded_channel();
        let report = runner.run(&Doer(host.clone(), doing), &Sink::new("n1", sender)).await.unwrap();
        journal.end(report.outcome, false).unwrap();
        report
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn applied_it_holds_and_taken_back_the_host_is_as_it_was(
        initial in machine(),
        wishes in prop::collection::vec(wish(), 1..3),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("journal.jsonl");
        let host = Arc::new(MemoryHost(Mutex::new(initial.clone())));
        let mut states = vec![initial.clone()];
        for (at, wish) in wishes.iter().enumerate() {
            run(&host, &path, &at.to_string(), Mode::Apply, Doing::Fulfil(wish.clone()));
            let now = host.0.lock().unwrap().clone();
            prop_assert!(wish.changes(&now).is_empty());
            let again = run(&host, &path, "plan", Mode::Plan, Doing::Fulfil(wish.clone()));
            prop_assert_eq!(again.outcome, Outcome::Unchanged);
            states.push(now);
        }
        let runs = Journal::runs(&std::fs::read(&path).unwrap_or_default()).unwrap();
        // The last one alone, and then all.
        let last = runs.iter().filter(|run| run.info.id == (wishes.len() - 1).to_string()).cloned().collect();
        run(&host, &path, "undo", Mode::Apply, Doing::TakeBack(last));
        prop_assert_eq!(&*host.0.lock().unwrap(), &states[wishes.len() - 1]);
        let all = Journal::runs(&std::fs::read(&path).unwrap_or_default()).unwrap();
        run(&host, &path, "all", Mode::Apply, Doing::TakeBack(all));
        prop_assert_eq!(&*host.0.lock().unwrap(), &initial);
    }
}
