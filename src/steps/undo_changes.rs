//! Restores what kboot's runs changed to its earlier state: driven by the host's journal, subject by subject, the last first.
//!
//! It goes on past what can't be taken back. What somebody changed since is kept, and said.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};

use crate::engine::{
    AnyStep, Change, ChangeId, Entry, Journal, MemberAction, Planned, Probe, Remark, Result, Run, State, Subject,
    Touched, UnitChange, Verdict, take_back, touched,
};
use crate::kube::Connector;
use crate::resource;

use super::Make;
use super::context::{Undo, UndoScope};

/// What `reset --keep-packages` leaves: whence packages come, and the runtime's own settings.
const OF_PACKAGES: [&str; 4] =
    ["/etc/apt", "/etc/containerd", "/etc/crictl.yaml", "/etc/systemd/system/containerd.service.d"];

pub struct UndoChanges {
    kube: Connector,
    undo: Option<Undo>,
    deadline: Duration,
}

pub fn step(make: &Make<'_>) -> UndoChanges {
    UndoChanges {
        kube: make.services.kube.clone(),
        undo: make.context.inputs.undo.clone(),
        deadline: make.context.install_deadline(),
    }
}

/// What is to be done, and what stays, with the reason.
#[derive(Default)]
struct Way {
    changes: Vec<Change>,
    kept: Vec<String>,
}

#[async_trait]
impl AnyStep for UndoChanges {
    fn id(&self) -> &str {
        "undo-changes"
    }

    fn title(&self) -> String {
        "Take back what kboot changed".into()
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        Ok(Planned::of(self.way(probe).await?.changes))
    }

    fn is_lenient(&self) -> bool {
        true
    }

    async fn remarks(&self, probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(self.way(probe).await?.kept.into_iter().map(Remark::Warning).collect())
    }
}

impl UndoChanges {
    async fn way(&self, probe: &dyn Probe) -> Result<Way> {
        let Some(undo) = &self.undo else { return Ok(Way::default()) };
        let bytes = probe.read(Utf8Path::new(Journal::PATH)).await?.unwrap_or_default();
        let runs = Journal::runs(&bytes)?;
        let chosen: Vec<&Run> = runs.iter().filter(|run| undo.scope.covers(run)).collect();
        let undone = commands_undone(&bytes, &undo.scope)?;
        let mut way = Way::default();
        // Directories are empty once all that is in them goes.
        let mut going: BTreeSet<Utf8PathBuf> = BTreeSet::new();
        let mut units = Vec::new();
        let all = touched(&chosen);
        let packages_go = all.iter().any(|touched| touched.subject == Subject::Packages) && !undo.keeps_packages;
        for touched in all {
            if !undo.covers(&touched.subject, is_node_made(&chosen), is_member_made(&chosen)) {
                continue;
            }
            let now = self.now(probe, &touched.subject, &going).await?;
            let mut verdict = take_back(&touched, &now);
            if verdict != Verdict::Nothing && self.has_moved(probe, &touched, &now).await? {
                verdict = Verdict::Kept("it was changed since".into());
            }
            match verdict {
                Verdict::Nothing => {}
                // It went with its package; after a reset the look at what is left tells what somebody removed.
                Verdict::Kept(_) if now == State::Absent && (packages_go || undo.scope == UndoScope::All) => {}
                Verdict::Kept(why) => way.kept.push(format!("{}: kept, for {why}", subject(&touched))),
                Verdict::Changes(changes) => {
                    for change in without_others(probe, changes, &brought(&chosen), &mut way.kept).await? {
                        if undone.contains(&change.id()) {
                            continue;
                        }
                        if let Change::Remove { path } | Change::RemoveEmptyDirectory { path } = &change {
                            going.insert(path.clone());
                        }
                        way.changes.push(change);
                    }
                    continue;
                }
            }
            if let (Subject::Unit { unit }, State::Unit { is_active: true, .. }, State::Unit { is_active: true, .. }) =
                (&touched.subject, &touched.before, &now)
            {
                units.push(unit.clone());
            }
        }
        // Where packages go, their units go with them.
        let has = |is_one: fn(&Change) -> bool| way.changes.iter().any(is_one);
        if has(|change| matches!(change, Change::WriteFile { .. } | Change::Remove { .. }))
            && !has(|change| matches!(change, Change::RemovePackages { .. }))
        {
            way.changes.extend(units.into_iter().map(restarted));
        }
        Ok(way)
    }

    /// How a thing is now; a directory whose whole content goes counts as empty.
    async fn now(&self, probe: &dyn Probe, subject: &Subject, going: &BTreeSet<Utf8PathBuf>) -> Result<State> {
        let now = resource::state(probe, &self.kube, subject).await;
        if let (Subject::Path { path }, State::Directory { mode, uid, gid, is_empty: false }) = (subject, &now) {
            let names = probe.list(path).await?.unwrap_or_default();
            let is_empty = names.iter().all(|name| going.contains(&path.join(name)));
            return Ok(State::Directory { mode: *mode, uid: *uid, gid: *gid, is_empty });
        }
        Ok(now)
    }

    /// Whether somebody changed a field of an object that kboot had applied. Only the API server can tell.
    async fn has_moved(&self, probe: &dyn Probe, touched: &Touched, now: &State) -> Result<bool> {
        let (Some(State::Applied { object }), State::Object { .. }) = (&touched.after, now) else { return Ok(false) };
        if object["kind"] == "Secret" {
            return Ok(false);
        }
        match self.kube.view(probe).await? {
            Some(view) => Ok(!view.preview(object).await?.is_same),
            None => Ok(false),
        }
    }
}

/// The changes, without the removal of packages that others need, or that somebody has asked for since.
async fn without_others(
    probe: &dyn Probe,
    changes: Vec<Change>,
    asked: &BTreeSet<String>,
    kept: &mut Vec<String>,
) -> Result<Vec<Change>> {
    let mut possible = Vec::new();
    for change in changes {
        let Change::RemovePackages { mut packages } = change else {
            possible.push(change);
            continue;
        };
        // Of those that kboot asked for itself apt can't tell whose they are now.
        let dependencies = packages.iter().filter(|package| !asked.is_empty() && !asked.contains(*package));
        let manual = resource::marked_manual(probe, dependencies.cloned().collect()).await?;
        packages.retain(|package| !manual.contains(package));
        let is_manual = |package: &String| {
            format!("the package {package}: kept, for it was marked as installed by hand since (`apt-mark showmanual`)")
        };
        kept.extend(manual.iter().map(is_manual));
        if packages.is_empty() {
            continue;
        }
        let removal = resource::removal(probe, &packages).await?;
        for (package, others) in removal.kept {
            let others: Vec<String> = others.into_iter().collect();
            kept.push(format!("the package {package}: kept, for {} needs it", others.join(", ")));
        }
        if !removal.goes.is_empty() {
            possible.push(Change::RemovePackages { packages: removal.goes });
        }
    }
    Ok(possible)
}

/// The packages that these runs asked apt for; all others that came are what those need.
fn brought(runs: &[&Run]) -> BTreeSet<String> {
    let wants = runs.iter().flat_map(|run| &run.changes).flat_map(|made| &made.wants);
    let wants = wants.filter(|(_, value)| value.as_str() != "absent");
    wants.filter_map(|(name, _)| name.strip_prefix("package ")).map(String::from).collect()
}

fn restarted(unit: String) -> Change {
    let restart = Some("its configuration was taken back".into());
    Change::SetUnit(UnitChange { unit, restart, ..UnitChange::default() })
}

fn subject(touched: &Touched) -> String {
    match touched.subject.can_be_observed() {
        false => format!("`{}`", touched.text),
        true => touched.subject.to_string(),
    }
}

/// Whether these runs made the host a node, whose objects go with it or with its etcd.
pub fn is_node_made(runs: &[&Run]) -> bool {
    is_any_made(runs, &["/etc/kubernetes/kubelet.conf", "/etc/kubernetes/bootstrap-kubelet.conf"])
}

/// Whether these runs made the host a member of etcd.
pub fn is_member_made(runs: &[&Run]) -> bool {
    is_any_made(runs, &["/etc/kubernetes/manifests/etcd.yaml"])
}

fn is_any_made(runs: &[&Run], signs: &[&str]) -> bool {
    let traces = runs.iter().flat_map(|run| &run.changes).flat_map(|made| &made.before);
    traces.into_iter().any(|trace| {
        matches!(&trace.subject, Subject::Path { path } if signs.contains(&path.as_str()))
            && trace.state == State::Absent
    })
}

/// The commands that an earlier run of this undo has run: nothing on the host shows that they were.
fn commands_undone(journal: &[u8], scope: &UndoScope) -> Result<BTreeSet<ChangeId>> {
    let records = Journal::parse(journal)?;
    let mut undoing = BTreeSet::new();
    let mut begun = std::collections::BTreeMap::new();
    let mut undone = BTreeSet::new();
    for record in records {
        match record.entry {
            Entry::Begin(info) if info.undoes.as_deref() == Some(scope.name()) => {
                undoing.insert(info.id);
            }
            Entry::Intent { change, id: Some(id), before, .. } if undoing.contains(&record.run) => {
                if before.iter().any(|trace| matches!(trace.subject, Subject::Command { .. })) {
                    begun.insert((record.run, change), id);
                }
            }
            Entry::Done { change, .. } => undone.extend(begun.remove(&(record.run, change))),
            Entry::Begin(_) | Entry::Intent { .. } | Entry::Failed { .. } | Entry::End { .. } => {}
        }
    }
    Ok(undone)
}

impl Undo {
    fn covers(&self, subject: &Subject, is_node_made: bool, is_member_made: bool) -> bool {
        let is_all = self.scope == UndoScope::All;
        let goes_with_cluster = is_node_made || is_all;
        match subject {
            Subject::Object { .. } | Subject::Label { .. } | Subject::Taint { .. } => !goes_with_cluster,
            Subject::Packages | Subject::Hold { .. } | Subject::Entries { .. } | Subject::Images => {
                !self.keeps_packages
            }
            // Others, as a balancer, run on without what they were configured to.
            Subject::Unit { unit } => !self.keeps_packages || unit != "containerd.service",
            Subject::Path { path } => !self.keeps_packages || !OF_PACKAGES.iter().any(|kept| path.starts_with(kept)),
            // A node's marks go with it.
            Subject::Marks { .. } => !goes_with_cluster,
            // That it is a member, and its vote, end with the member.
            Subject::Member { action: MemberAction::Add | MemberAction::Promote, .. } => !(is_member_made || is_all),
            Subject::Member {
                action: MemberAction::Remove | MemberAction::ClearNoSpace | MemberAction::Move, ..
            }
            | Subject::Sysctl { .. }
            | Subject::Module { .. }
            | Subject::Swap { .. }
            | Subject::Pod { .. }
            | Subject::Drain { .. }
            | Subject::FilterRules { .. }
            | Subject::FilterTable { .. }
            | Subject::ControlGroup { .. }
            | Subject::Command { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;
    use crate::engine::{Outcome, Record, RunInfo, Trace};

    fn record(run: &str, entry: Entry) -> String {
        let record = Record { version: 3, run: run.into(), at: 1, entry };
        serde_json::to_string(&record).unwrap() + "\n"
    }

    fn wrote(run: &str, number: u64, path: &str, before: State, after: &str) -> String {
        let trace = |state| vec![Trace { subject: Subject::path(path), state }];
        let text = format!("change {path}");
        let (step, wants) = ("s".into(), Default::default());
        record(run, Entry::Intent { change: number, step, id: None, text, before: trace(before), wants })
            + &record(run, Entry::Done { change: number, after: trace(file(after)) })
    }

    fn file(text: &str) -> State {
        State::file(0o644, 0, 0, text.into())
    }

    fn begin(id: &str) -> String {
        record(id, Entry::Begin(RunInfo { id: id.into(), ..RunInfo::default() }))
    }

    fn step_for(scope: UndoScope) -> UndoChanges {
        let undo = Some(Undo { scope, keeps_packages: false });
        UndoChanges { kube: Connector::default(), undo, deadline: Duration::from_secs(1) }
    }

    async fn way(host: &FakeHost, scope: UndoScope) -> (Vec<String>, Vec<String>) {
        let way = step_for(scope).way(host).await.unwrap();
        (way.changes.iter().map(ToString::to_string).collect(), way.kept)
    }

    #[tokio::test]
    async fn a_run_is_taken_back_and_what_others_changed_is_kept() {
        let journal = begin("1")
            + &wrote("1", 0, "/a/x", State::Absent, "1")
            + &record("1", Entry::End { outcome: Outcome::Changed })
            + &begin("2")
            + &wrote("2", 0, "/a/x", file("1"), "2")
            + &wrote("2", 1, "/a/y", State::Absent, "y");
        let host = FakeHost::default().file(Journal::PATH, journal).file("/a/x", "2").file("/a/y", "edited");
        let kept = vec!["/a/y: kept, for it was changed since".to_string()];
        assert_eq!(way(&host, UndoScope::Run("2".into())).await, (vec!["change /a/x".into()], kept.clone()));
        assert_eq!(way(&host, UndoScope::All).await, (vec!["remove /a/x".into()], kept));
    }

    #[test]
    fn of_the_packages_that_are_kept_only_containerd_runs_on_as_it_is() {
        let undo = Undo { scope: UndoScope::All, keeps_packages: true };
        let covers = |subject: Subject| undo.covers(&subject, true, true);
        assert!(
            covers(Subject::Unit { unit: "haproxy.service".into() })
                && covers(Subject::path("/etc/haproxy/haproxy.cfg"))
        );
        assert!(
            !covers(Subject::Unit { unit: "containerd.service".into() })
                && !covers(Subject::path("/etc/containerd/config.toml"))
        );
        assert!(!covers(Subject::Packages) && !covers(Subject::Images));
    }

    #[test]
    fn a_member_s_vote_goes_with_it() {
        let told = |scope, is_member_made| {
            let undo = Undo { scope, keeps_packages: false };
            let covers = |action| undo.covers(&Subject::Member { member: "n2".into(), action }, false, is_member_made);
            [covers(MemberAction::Promote), covers(MemberAction::Remove)]
        };
        assert_eq!(told(UndoScope::Run("1".into()), false), [true, true]);
        assert_eq!(told(UndoScope::Run("1".into()), true), [false, true]);
        assert_eq!(told(UndoScope::All, false), [false, true]);
    }

    /// The journal of a run by which these packages came, of which it wanted some.
    fn installed(names: &[&str], wants: &[&str]) -> String {
        let ones = |names: &[&str]| names.iter().map(|name| (name.to_string(), "1".to_string())).collect();
        let trace =
            |names| vec![Trace { subject: Subject::Packages, state: State::Packages { versions: ones(names) } }];
        let (step, text) = ("s".into(), "install".into());
        let intent = Entry::Intent { change: 0, step, id: None, text, before: trace(&[]), wants: ones(wants) };
        begin("1") + &record("1", intent) + &record("1", Entry::Done { change: 0, after: trace(names) })
    }

    fn package(name: &str) -> String {
        format!("Package: {name}\nStatus: install ok installed\nVersion: 1\n\n")
    }

    #[tokio::test]
    async fn a_package_that_somebody_else_s_package_needs_is_kept_and_named() {
        let journal = installed(&["iptables", "socat"], &[]);
        let purge = |names: &str| {
            format!(
                "apt-get -s -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= --allow-change-held-packages purge {names}"
            )
        };
        let host = FakeHost::default()
            .file(Journal::PATH, journal)
            .file("/var/lib/dpkg/status", ["iptables", "socat", "ufw"].map(package).concat())
            .answer(&purge("iptables socat"), 0, "Purg ufw [1]\nPurg iptables [1]\nPurg socat [1]\n")
            .answer(&purge("iptables"), 0, "Purg ufw [1]\nPurg iptables [1]\n")
            .answer(&purge("socat"), 0, "Purg socat [1]\n");
        let expected = (
            vec!["remove the packages socat".to_string()],
            vec!["the package iptables: kept, for ufw needs it".to_string()],
        );
        assert_eq!(way(&host, UndoScope::All).await, expected);
    }

    #[tokio::test]
    async fn a_dependency_that_was_marked_manual_since_is_kept_and_named() {
        let came = ["ethtool", "kubelet", "libmnl0"];
        let journal = installed(&came, &["package kubelet"]);
        let host = FakeHost::default()
            .file(Journal::PATH, journal)
            .file("/var/lib/dpkg/status", came.map(package).concat())
            // ethtool is in no list of what came by itself any more; kubelet never was.
            .file("/var/lib/apt/extended_states", "Package: libmnl0\nArchitecture: amd64\nAuto-Installed: 1\n\n")
            .answer(
                "apt-get -s -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= --allow-change-held-packages purge kubelet libmnl0",
                0,
                "Purg kubelet [1]\nPurg libmnl0 [1]\n",
            );
        let kept = "the package ethtool: kept, for it was marked as installed by hand since (`apt-mark showmanual`)";
        let expected = (vec!["remove the packages kubelet, libmnl0".to_string()], vec![kept.to_string()]);
        assert_eq!(way(&host, UndoScope::All).await, expected);
    }

    #[tokio::test]
    async fn without_a_journal_there_is_nothing_to_take_back() {
        assert_eq!(way(&FakeHost::default(), UndoScope::All).await, (vec![], vec![]));
    }
}
