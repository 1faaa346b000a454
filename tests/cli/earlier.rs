//! What an earlier build left on hosts and beside an inventory is read by this one: a host keeps its journal and its baseline for years.
//!
//! `tests/data` has a folder for each such build, named by its commit: what `kboot lock`, `plan` and `up` wrote for a control plane n1 and
//! a worker n2 of the testbed, as it is.

use std::collections::BTreeSet;

use kboot::engine::{Journal, Outcome, Run, State, Subject, Verdict, take_back, touched};
use kboot::plan::SavedPlan;
use kboot::{inventory, lock, playbook};

use super::rooted;

const CONTROL_PLANE: &str = include_str!("../data/93cb162/journal-n1.jsonl");
const WORKER: &str = include_str!("../data/93cb162/journal-n2.jsonl");
const BASELINE: &str = include_str!("../data/93cb162/baseline-n2.json");
const LOCK: &str = include_str!("../data/93cb162/kboot.lock");
const PLAN: &str = include_str!("../data/93cb162/plan.json");
const INVENTORY: &str = include_str!("../data/93cb162/inventory.yaml");

#[test]
fn no_record_of_a_journal_is_lost() {
    for (journal, changes) in [(CONTROL_PLANE, 91), (WORKER, 31)] {
        let records = Journal::parse(journal.as_bytes()).unwrap();
        assert_eq!(records.len(), journal.lines().count());
        for (record, line) in records.iter().zip(journal.lines()) {
            // Nothing of it is passed over: a field that is not read would not be written either.
            let line = line.replace("\"version\":2", "\"version\":3").replace("\"thing\":", "\"subject\":");
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(serde_json::to_value(record).unwrap(), value);
        }
        let runs = Journal::runs(journal.as_bytes()).unwrap();
        let [run] = &runs[..] else { panic!("{} runs", runs.len()) };
        assert_eq!((run.info.command.as_str(), run.outcome), ("kboot up", Some(Outcome::Changed)));
        assert_eq!(run.changes.len(), changes);
        assert!(run.changes.iter().all(|made| made.after.is_some() && made.failure.is_none()));
    }
}

#[test]
fn all_that_a_journal_tells_of_has_a_way_back() {
    for journal in [CONTROL_PLANE, WORKER] {
        let runs = Journal::runs(journal.as_bytes()).unwrap();
        let all = touched(&runs.iter().collect::<Vec<&Run>>());
        for touched in &all {
            assert_eq!(take_back(touched, &touched.before), Verdict::Nothing, "{:?}", touched.subject);
            let after = touched.after.as_ref().unwrap();
            let verdict = take_back(touched, after);
            let is_same = matches!(verdict, Verdict::Nothing) && touched.before == *after;
            // A folder goes once what came into it is gone.
            let is_full = matches!(&verdict, Verdict::Kept(why) if why == "it is not empty");
            let has_way = is_same || is_full || matches!(verdict, Verdict::Changes(_));
            assert!(has_way, "{:?}: {verdict:?}", touched.subject);
        }
        let path =
            all.iter().find(|touched| touched.subject == Subject::path("/etc/sysctl.d/99-kubernetes.conf")).unwrap();
        assert_eq!(path.before, State::Absent);
    }
}

#[test]
fn a_lock_is_read_and_written_to_the_byte_and_covers_its_inventory() {
    let found = lock::parse(LOCK, "kboot.lock".into()).unwrap();
    assert_eq!(lock::print(&found, lock::head(LOCK)), LOCK);
    let cluster = inventory::parse(INVENTORY, "inventory.yaml".into()).unwrap();
    assert_eq!(lock::uncovered(&found, &cluster), [""; 0]);
}

#[test]
fn a_plan_of_the_same_version_is_read() {
    let plan = SavedPlan::parse(PLAN).unwrap();
    assert_eq!(plan.hosts.keys().collect::<Vec<_>>(), ["n1", "n2"]);
    // Its playbook is this build's to carry out: all steps are known.
    let steps = playbook::parse(&plan.playbook, "the plan".into()).unwrap();
    let known: BTreeSet<&str> = steps.steps().into_iter().collect();
    let planned = plan.hosts.values().flatten().flat_map(|phase| &phase.steps);
    assert_eq!(planned.map(|step| &step.step).find(|step| !known.contains(step.as_str())), None);
}

#[test]
fn a_worker_s_history_undo_and_reset_go_by_what_the_earlier_build_wrote() {
    let plan = SavedPlan::parse(PLAN).unwrap();
    let changes = plan.hosts["n2"].iter().flat_map(|phase| &phase.steps).flat_map(|step| &step.changes);
    let modules = changes.map(|change| serde_json::to_value(change).unwrap());
    let modules = modules.into_iter().find(|change| change["path"] == "/etc/modules-load.d/kubernetes.conf").unwrap();
    let modules = modules["after"]["text"].as_str().unwrap().to_owned();
    let script = format!(
        r#"
mkdir -p /etc/modules-load.d /etc/sysctl.d
cat > /var/lib/kboot/journal.jsonl <<'END-OF-IT'
{WORKER}END-OF-IT
cat > /var/lib/kboot/baseline.json <<'END-OF-IT'
{BASELINE}
END-OF-IT
cat > /etc/modules-load.d/kubernetes.conf <<'END-OF-IT'
{modules}END-OF-IT
echo other > /etc/sysctl.d/99-kubernetes.conf
/kboot history
/kboot undo --dry-run
/kboot reset --yes --dry-run
echo "exit $?"
"#
    );
    let Some(told) = rooted::run(&script) else { return };
    assert!(told.contains("kboot up  31       done\n"), "{told}");
    // It is as it was left.
    assert!(told.contains("- remove /etc/modules-load.d/kubernetes.conf"), "{told}");
    // Somebody has changed it since.
    assert!(!told.contains("- remove /etc/sysctl.d/99-kubernetes.conf"), "{told}");
    assert!(told.contains("/etc/sysctl.d/99-kubernetes.conf: kept, for it was changed since"), "{told}");
    assert!(told.ends_with("exit 0\n"), "{told}");
}
