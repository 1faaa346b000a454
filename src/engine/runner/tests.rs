//! The runner on a host that exists only in memory, with steps that want exactly what a test says.

use std::sync::Mutex;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use proptest::prelude::*;
use serde_json::json;
use tokio::sync::{Barrier, mpsc};

use super::*;
use crate::engine::fake::FakeHost;
use crate::engine::{Content, Entry, Event, Evidence, FileMode, Probe, Record, RunInfo};

/// What a step finds, look by look; at the last it stays.
struct Script {
    looks: Mutex<Vec<Planned>>,
    deadline: Duration,
}

fn script(looks: impl IntoIterator<Item = Planned>) -> Script {
    let mut looks: Vec<Planned> = looks.into_iter().collect();
    looks.reverse();
    Script { looks: Mutex::new(looks), deadline: Duration::from_secs(60) }
}

#[async_trait]
impl AnyStep for Script {
    fn id(&self) -> &str {
        "script"
    }

    fn title(&self) -> String {
        "Do as the test says".into()
    }

    async fn plan(&self, _: &dyn Probe) -> Result<Planned> {
        let mut looks = self.looks.lock().unwrap();
        Ok(if looks.len() > 1 { looks.pop().unwrap() } else { looks[0].clone() })
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn evidence(&self, _: &dyn Probe) -> Evidence {
        Evidence { lines: vec!["kubelet: no such pod".into()], hint: Some(Hint::text("look at the kubelet")) }
    }
}

fn load(module: &str) -> Change {
    Change::LoadModule { module: module.into() }
}

fn loading(module: &str) -> String {
    load(module).to_string()
}

fn object(kind: &str, name: &str) -> Change {
    Change::ApplyObject { object: json!({ "kind": kind, "metadata": { "name": name } }), before: None }
}

fn runner(host: Arc<FakeHost>, mode: Mode, journal: Arc<Journal>, cancel: Cancel) -> Runner {
    Runner {
        host,
        mode,
        journal,
        last: Arc::default(),
        drift: Drift::Repair,
        cancel,
        planned_host: PlannedHost::default(),
    }
}

/// How far a change is in the journal.
#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Intent,
    Done,
    Failed { cause: String },
}

/// A runner with a journal of its own in a temporary folder, and what it told.
struct Bench {
    runner: Runner,
    folder: tempfile::TempDir,
    sink: Sink,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Bench {
    fn new(host: FakeHost, mode: Mode) -> Self {
        Self::with(Arc::new(host), mode, Cancel::default())
    }

    fn with(host: Arc<FakeHost>, mode: Mode, cancel: Cancel) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let info = RunInfo { id: "1".into(), ..RunInfo::default() };
        let journal = Arc::new(Journal::open(&journal_in(&folder), info).unwrap());
        let (sender, events) = mpsc::unbounded_channel();
        Self { runner: runner(host, mode, journal, cancel), folder, sink: Sink::new("n1", sender), events }
    }

    async fn run(&mut self, step: &dyn AnyStep) -> Result<Report> {
        self.runner.run(step, &self.sink).await
    }

    fn told(&mut self) -> Vec<Kind> {
        let mut kinds = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            assert_eq!((event.host.as_str(), event.step.as_str()), ("n1", "script"));
            kinds.push(event.kind);
        }
        kinds
    }

    fn journal(&self) -> Vec<(String, Stage)> {
        stages(&journal_in(&self.folder))
    }
}

fn journal_in(folder: &tempfile::TempDir) -> Utf8PathBuf {
    Utf8Path::from_path(folder.path()).unwrap().join("journal.jsonl")
}

/// The changes by their texts, each with its stage, in the order in which they were written down.
fn stages(path: &Utf8Path) -> Vec<(String, Stage)> {
    let mut texts = Vec::new();
    let records = Journal::parse(&fs_err::read(path).unwrap_or_default()).unwrap();
    let stage = |record: Record| match record.entry {
        Entry::Begin(_) | Entry::End { .. } => None,
        Entry::Intent { change, text, .. } => {
            texts.push((change, text.clone()));
            Some((text, Stage::Intent))
        }
        Entry::Done { change, .. } => Some((text_of(&texts, change), Stage::Done)),
        Entry::Failed { change, cause, .. } => {
            Some((text_of(&texts, change), Stage::Failed { cause: cause.to_string() }))
        }
    };
    records.into_iter().filter_map(stage).collect()
}

fn text_of(texts: &[(u64, String)], change: u64) -> String {
    texts.iter().find(|(number, _)| *number == change).expect("an intent first").1.clone()
}

fn done(change: String) -> [(String, Stage); 2] {
    [(change.clone(), Stage::Intent), (change, Stage::Done)]
}

#[tokio::test]
async fn a_plan_says_what_would_change_and_makes_no_change() {
    // No change is foreseen: any fails the test.
    let mut bench = Bench::new(FakeHost::default(), Mode::Plan);
    let report = bench.run(&script([Planned::Changes(vec![load("overlay"), load("br_netfilter")])])).await.unwrap();
    assert_eq!(report, Report { outcome: Outcome::WouldChange, changes: 2 });
    let told = bench.told();
    assert!(
        matches!(&told[..], [
            Kind::StepStarted { .. },
            Kind::Planned { changes, after: None },
            Kind::StepFinished { outcome: Outcome::WouldChange, .. },
        ] if *changes == ["overlay", "br_netfilter"].map(|name| Proposed { change: load(name), cause: Some(Cause::New) })),
        "{told:?}"
    );
    assert_eq!(bench.journal(), []);
}

#[tokio::test]
async fn a_plan_does_not_wait() {
    let mut bench = Bench::new(FakeHost::default(), Mode::Plan);
    let report = bench.run(&script([Planned::after("the API server")])).await.unwrap();
    assert_eq!(report, Report { outcome: Outcome::WouldChange, changes: 0 });
    let told = bench.told();
    assert!(
        matches!(&told[1], Kind::Planned { changes, after: Some(what) } if changes.is_empty() && *what == "the API server"),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_is_as_it_should_be_is_left_alone() {
    for mode in [Mode::Plan, Mode::Apply] {
        let mut bench = Bench::new(FakeHost::default(), mode);
        let report = bench.run(&script([Planned::Satisfied])).await.unwrap();
        assert_eq!(report, Report { outcome: Outcome::Unchanged, changes: 0 });
        assert_eq!(bench.told().len(), 2);
        assert_eq!(bench.journal(), []);
    }
}

#[tokio::test]
async fn changes_are_made_in_their_order_one_at_a_time() {
    let names = ["overlay", "br_netfilter", "vxlan"];
    let host = names.iter().fold(FakeHost::default(), |host, name| {
        host.change_by(&loading(name), || async {
            tokio::task::yield_now().await;
            Ok(())
        })
    });
    let host = Arc::new(host);
    let mut bench = Bench::with(host.clone(), Mode::Apply, Cancel::default());
    let changes = names.map(load).to_vec();
    let report = bench.run(&script([Planned::Changes(changes), Planned::Satisfied])).await.unwrap();
    assert_eq!(report, Report { outcome: Outcome::Changed, changes: 3 });
    assert_eq!((host.applied(), host.most_in_hand()), (names.map(loading).to_vec(), 1));
    assert_eq!(bench.journal(), names.map(|name| done(loading(name))).concat());
}

#[tokio::test]
async fn the_intent_is_on_disk_before_the_change_and_the_result_after() {
    let path: Arc<Mutex<Utf8PathBuf>> = Arc::default();
    let seen = path.clone();
    let host = FakeHost::default().change_by(&loading("overlay"), move || {
        let states: Vec<Stage> = stages(&seen.lock().unwrap()).into_iter().map(|(_, stage)| stage).collect();
        assert_eq!(states, [Stage::Intent]);
        async { Ok(()) }
    });
    let mut bench = Bench::new(host, Mode::Apply);
    *path.lock().unwrap() = journal_in(&bench.folder);
    bench.run(&script([Planned::Changes(vec![load("overlay")]), Planned::Satisfied])).await.unwrap();
    assert_eq!(bench.journal(), done(loading("overlay")));
}

#[tokio::test]
async fn a_change_without_a_journal_is_not_made() {
    // No change is foreseen, and every write to this one fails.
    let mut bench = Bench::new(FakeHost::default(), Mode::Apply);
    bench.runner.journal = Arc::new(Journal::open("/dev/full".into(), RunInfo::default()).unwrap());
    let failure = bench.run(&script([Planned::Changes(vec![load("overlay")])])).await.unwrap_err();
    assert!(failure.cause.contains("No space left on device"), "{failure:?}");
}

#[tokio::test]
async fn a_host_that_does_not_stay_as_it_was_made_is_a_failure() {
    let host = (0..ROUNDS).fold(FakeHost::default(), |host, _| host.change(&loading("overlay")));
    let mut bench = Bench::new(host, Mode::Apply);
    let failure = bench.run(&script([Planned::Changes(vec![load("overlay")])])).await.unwrap_err();
    assert_eq!(failure.cause, "the host does not stay as it was made");
    assert_eq!(failure.evidence, ["still to do: load the kernel module overlay"]);
    assert!(failure.hint.is_some());
}

#[tokio::test]
async fn what_the_host_shows_only_after_a_change_is_done_as_well() {
    let host = FakeHost::default().change(&loading("overlay")).change(&loading("vxlan"));
    let mut bench = Bench::new(host, Mode::Apply);
    let looks = [Planned::Changes(vec![load("overlay")]), Planned::Changes(vec![load("vxlan")]), Planned::Satisfied];
    assert_eq!(bench.run(&script(looks)).await.unwrap(), Report { outcome: Outcome::Changed, changes: 2 });
}

#[tokio::test]
async fn a_wait_is_told_once_and_ends_as_soon_as_what_is_awaited_is_there() {
    let mut bench = Bench::new(FakeHost::default(), Mode::Apply);
    let (etcd, server) = (Planned::after("etcd"), Planned::after("the API server"));
    let looks = [etcd.clone(), etcd, server.clone(), server, Planned::Satisfied];
    let report = bench.run(&script(looks)).await.unwrap();
    assert_eq!(report, Report { outcome: Outcome::Unchanged, changes: 0 });
    let waits: Vec<String> = bench
        .told()
        .into_iter()
        .filter_map(|kind| if let Kind::Waiting { what } = kind { Some(what.to_string()) } else { None })
        .collect();
    assert_eq!(waits, ["etcd", "the API server"]);
}

#[tokio::test]
async fn a_wait_in_vain_ends_with_what_the_step_found_out() {
    let mut bench = Bench::new(FakeHost::default(), Mode::Apply);
    let step = Script { deadline: Duration::from_millis(1), ..script([Planned::after("the API server")]) };
    let failure = bench.run(&step).await.unwrap_err();
    assert!(
        failure.cause.starts_with("timed out after ") && failure.cause.ends_with(" s waiting for the API server"),
        "{failure:?}"
    );
    assert_eq!(failure.evidence, ["kubelet: no such pod"]);
    assert_eq!(failure.hint, Some(Hint::text("look at the kubelet")));
    let told = bench.told();
    assert!(matches!(&told[told.len() - 2..], [
        Kind::Failed { failure: shown },
        Kind::StepFinished { outcome: Outcome::Failed, .. },
    ] if *shown == failure));
}

#[tokio::test]
async fn asked_to_stop_it_finishes_the_change_in_hand_and_begins_no_other() {
    let cancel = Cancel::default();
    let asked = cancel.clone();
    let host = Arc::new(FakeHost::default().change_by(&loading("overlay"), move || {
        asked.cancel();
        async { Ok(()) }
    }));
    let mut bench = Bench::with(host, Mode::Apply, cancel);
    let changes = Planned::Changes(vec![load("overlay"), load("vxlan")]);
    let failure = bench.run(&script([changes])).await.unwrap_err();
    assert_eq!(failure, Failure::interrupted());
    assert_eq!(bench.journal(), done(loading("overlay")));
}

#[test]
fn the_slower_a_look_the_longer_the_pause_after_it() {
    assert_eq!(pause(Duration::from_millis(10)), POLL);
    assert_eq!(pause(Duration::from_millis(700)), Duration::from_millis(700));
    assert_eq!(pause(Duration::from_secs(60)), LONGEST_POLL);
}

#[tokio::test]
async fn asked_to_stop_while_it_waits_it_stops() {
    let cancel = Cancel::default();
    let mut bench = Bench::with(Arc::default(), Mode::Apply, cancel.clone());
    let step = script([Planned::after("the API server")]);
    let (result, ()) = tokio::join!(bench.run(&step), async {
        tokio::time::sleep(POLL / 2).await;
        cancel.cancel();
    });
    assert_eq!(result, Err(Failure::interrupted()));
}

#[tokio::test]
async fn objects_are_applied_at_the_same_time() {
    let names = ["a", "b", "c"];
    let all = Arc::new(Barrier::new(names.len()));
    let host = names.iter().fold(FakeHost::default(), |host, name| {
        let all = all.clone();
        // Each waits for the others: one after the other they would wait for ever.
        host.change_by(&object("Service", name).to_string(), move || {
            let all = all.clone();
            async move {
                all.wait().await;
                Ok(())
            }
        })
    });
    let mut bench = Bench::new(host, Mode::Apply);
    let step = script([Planned::Changes(names.map(|name| object("Service", name)).to_vec()), Planned::Satisfied]);
    let ran = tokio::time::timeout(Duration::from_secs(10), bench.run(&step)).await.expect("they overlap");
    assert_eq!(ran.unwrap().changes, 3);
}

#[tokio::test]
async fn namespaces_are_there_before_what_is_in_them_and_not_too_much_is_done_at_once() {
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(())
    };
    let services: Vec<Change> = (0..3 * AT_ONCE).map(|n| object("Service", &n.to_string())).collect();
    let changes = [vec![object("Namespace", "kube-flannel")], services].concat();
    let host = changes.iter().fold(FakeHost::default(), |host, change| host.change_by(&change.to_string(), slow));
    let host = Arc::new(host);
    let mut bench = Bench::with(host.clone(), Mode::Apply, Cancel::default());
    bench.run(&script([Planned::Changes(changes), Planned::Satisfied])).await.unwrap();
    assert_eq!((host.applied()[0].as_str(), host.most_in_hand()), ("create Namespace kube-flannel", AT_ONCE));
    let journal = bench.journal();
    assert_eq!(journal[..2], done("create Namespace kube-flannel".into()));
    assert_eq!(journal.iter().filter(|(_, state)| *state == Stage::Done).count(), 1 + 3 * AT_ONCE);
}

#[tokio::test]
async fn a_failed_change_is_recorded_and_ends_the_step() {
    let host = Arc::new(FakeHost::default().change(&loading("overlay")).change_by(&loading("vxlan"), || async {
        Err(Failure::new("modprobe ended with exit code 1")
            .evidence(["not found"])
            .hint_text("install linux-modules-extra"))
    }));
    let mut bench = Bench::with(host.clone(), Mode::Apply, Cancel::default());
    let changes = ["overlay", "vxlan", "ip_vs"].map(load).to_vec();
    let failure = bench.run(&script([Planned::Changes(changes)])).await.unwrap_err();
    assert_eq!(failure.cause, "failed to load the kernel module vxlan: modprobe ended with exit code 1");
    assert_eq!(failure.evidence, ["not found"]);
    assert_eq!(failure.hint, Some(Hint::text("install linux-modules-extra")));
    assert_eq!(host.applied(), [loading("overlay"), loading("vxlan")]);
    let failed = Stage::Failed { cause: "modprobe ended with exit code 1".into() };
    let last = [(loading("vxlan"), Stage::Intent), (loading("vxlan"), failed)];
    assert_eq!(bench.journal(), [done(loading("overlay")), last].concat());
    let told = bench.told();
    assert!(told.iter().any(|kind| matches!(kind, Kind::Failed { failure: shown } if *shown == failure)), "{told:?}");
    assert!(matches!(told.last(), Some(Kind::StepFinished { outcome: Outcome::Failed, .. })));
}

#[tokio::test]
async fn a_failure_beside_others_lets_them_end_and_be_recorded() {
    let both = Arc::new(Barrier::new(2));
    let failing = both.clone();
    let host = FakeHost::default()
        .change_by("create Service bad", move || {
            let both = failing.clone();
            async move {
                both.wait().await;
                Err(Failure::new("refused"))
            }
        })
        .change_by("create Service slow", move || {
            let both = both.clone();
            async move {
                both.wait().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(())
            }
        });
    let mut bench = Bench::new(host, Mode::Apply);
    let step = script([Planned::Changes(vec![object("Service", "bad"), object("Service", "slow")])]);
    let failure = bench.run(&step).await.unwrap_err();
    assert_eq!(failure.cause, "failed to create Service bad: refused");
    assert!(bench.journal().contains(&("create Service slow".into(), Stage::Done)), "{:?}", bench.journal());
}

#[tokio::test]
async fn secrets_are_neither_told_nor_recorded() {
    let change = Change::WriteFile {
        path: "/etc/kubernetes/bootstrap-kubelet.conf".into(),
        mode: FileMode::PRIVATE,
        before: Some(Content::Text("token: old-secret".into())),
        after: Content::Secret("token: new-secret".into()),
    };
    for mode in [Mode::Plan, Mode::Apply] {
        let host = match mode {
            Mode::Plan => FakeHost::default(),
            Mode::Apply => FakeHost::default().change(&change.to_string()),
        };
        let mut bench = Bench::new(host, mode);
        bench.run(&script([Planned::Changes(vec![change.clone()]), Planned::Satisfied])).await.unwrap();
        let told = format!("{:?} {:?}", bench.told(), bench.journal());
        assert!(told.contains("bootstrap-kubelet.conf") && !told.contains("secret\""), "{told}");
        assert!(!told.contains("old-secret") && !told.contains("new-secret"), "{told}");
    }
}

/// Wants files to have contents; all others may be as they are.
struct Files(Vec<(String, String)>);

#[async_trait]
impl crate::engine::Step for Files {
    type Observed = Vec<Option<Vec<u8>>>;

    fn id(&self) -> &str {
        "files"
    }

    fn title(&self) -> String {
        "Write files".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        let mut found = Vec::new();
        for (path, _) in &self.0 {
            found.push(probe.read(Utf8Path::new(path)).await?);
        }
        Ok(found)
    }

    fn diff(&self, observed: Self::Observed) -> Planned {
        let wanted = self.0.iter().zip(observed).filter(|((_, text), found)| found.as_deref() != Some(text.as_bytes()));
        Planned::of(wanted.map(|((path, text), found)| write(path, found.is_some(), text)).collect())
    }
}

fn write(path: &str, is_there: bool, text: &str) -> Change {
    Change::WriteFile {
        path: path.into(),
        mode: FileMode::PUBLIC,
        before: is_there.then(|| Content::Text(String::new())),
        after: Content::Text(text.into()),
    }
}

proptest! {
    /// Whatever was there: exactly what differs is changed, and afterwards nothing does.
    #[test]
    fn applying_converges_and_a_second_run_changes_nothing(
        initial in proptest::collection::btree_map("/[ab]{1,2}", "[xy]{0,2}", 0..5),
        wanted in proptest::collection::btree_map("/[ab]{1,2}", "[xy]{0,2}", 0..5),
    ) {
        let mut host = FakeHost::default();
        for (path, text) in &initial {
            host = host.file(path, text.as_bytes());
        }
        let differing: Vec<_> = wanted.iter().filter(|(path, text)| initial.get(*path) != Some(*text)).collect();
        for (path, text) in &differing {
            host = host.change(&write(path, initial.contains_key(*path), text).to_string());
        }
        let step = Files(wanted.clone().into_iter().collect());
        let (sender, _events) = mpsc::unbounded_channel();
        let sink = Sink::new("n1", sender);
        let runner = |host: &Arc<FakeHost>, mode| runner(host.clone(), mode, Arc::new(Journal::none()), Cancel::default());
        let host = Arc::new(host);
        let reports = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
            let mut reports = Vec::new();
            for mode in [Mode::Plan, Mode::Apply, Mode::Apply, Mode::Plan] {
                reports.push(runner(&host, mode).run(&step, &sink).await.unwrap());
            }
            reports
        });
        let unchanged = Report { outcome: Outcome::Unchanged, changes: 0 };
        let changes = differing.len();
        let (would, did) = match changes {
            0 => (unchanged.clone(), unchanged.clone()),
            _ => (Report { outcome: Outcome::WouldChange, changes }, Report { outcome: Outcome::Changed, changes }),
        };
        prop_assert_eq!(reports, [would, did, unchanged.clone(), unchanged]);
        prop_assert_eq!(host.applied().len(), changes);
    }
}
