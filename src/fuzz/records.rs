//! What kboot itself wrote, and somebody may have changed since.

use camino::Utf8Path;

use super::host::{Sections, block_on};
use crate::baseline::{self, Baseline, explain};
use crate::engine::{Journal, Run, State, take_back, touched};
use crate::plan::{SavedPlan, moved};

/// Whole records stay what they are, whatever stands between them, and every thing has a way back or a reason against it.
pub fn journal(data: &[u8]) {
    let Ok(records) = Journal::parse(data) else { return };
    for record in records {
        let line = serde_json::to_vec(&record).expect("a record is plain data");
        assert_eq!(Journal::parse(&line), Ok(vec![record]));
    }
    let runs = Journal::runs(data).expect("its records were read");
    let chosen: Vec<&Run> = runs.iter().collect();
    for touched in touched(&chosen) {
        for now in [Some(State::Absent), Some(touched.before.clone()), touched.after.clone()].into_iter().flatten() {
            let _ = format!("{:?}", take_back(&touched, &now));
        }
    }
}

/// A plan that is carried out is to the byte what was written. A plan that was edited is whole once it is sealed again.
pub fn plan(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(plan) = SavedPlan::parse(text) {
        let written = plan.to_text();
        assert_eq!(SavedPlan::parse(&written).as_ref().map(SavedPlan::to_text), Ok(written));
    }
    let Ok(plan) = serde_json::from_str::<SavedPlan>(text) else { return };
    let sealed = plan.to_text();
    if let Ok(again) = SavedPlan::parse(&sealed) {
        let unsealed = |plan: &SavedPlan| {
            let mut value = serde_json::to_value(plan).expect("a plan is plain data");
            value["seal"].take();
            value
        };
        assert_eq!(unsealed(&again), unsealed(&plan));
        assert_eq!(again.id().len(), 64);
        assert_eq!(moved(&plan.hosts, &again.hosts, &Default::default()), Default::default());
    }
}

/// A baseline is the same as itself, and each difference has a reason.
pub fn baseline(data: &[u8]) {
    let host = Sections::file(baseline::PATH, data);
    let Ok(Some(baseline)) = block_on(Baseline::load(&host)) else { return };
    let again = Sections::file(baseline::PATH, &baseline.to_bytes());
    assert_eq!(block_on(Baseline::load(&again)).as_ref().map(Option::as_ref), Ok(Some(&baseline)));
    assert_eq!(baseline.compare(&baseline), []);
    let differences = [baseline.compare(&Baseline::default()), Baseline::default().compare(&baseline)].concat();
    let leftovers = block_on(explain(&host, &differences)).expect("nothing of the host is unreadable");
    assert_eq!(leftovers.len(), differences.len());
    for difference in &differences {
        let _ = (difference.is_of_a_node(), baseline.link(&difference.name));
        let _ = baseline.has_below(difference.kind, Utf8Path::new(&difference.name));
    }
}
