//! Saved plans: reading and showing them.

use camino::Utf8Path;

use crate::engine::{Event, Kind, Mode, Outcome, Proposed};
use crate::plan::{Hosts, PlanError, SavedPlan};
use crate::report::{self, Stream, SummaryBuilder};

use super::Global;
use super::exit::{Problem, unreadable};

/// The plan in a file.
pub fn read(path: &Utf8Path) -> Result<SavedPlan, Problem> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| unreadable(path, &error).hint("make one: kboot plan -i INVENTORY --out FILE"))?;
    SavedPlan::parse(&text).map_err(|error: PlanError| {
        Problem::usage(format!("failed to read the plan {path}: {error}")).hint(error.hint())
    })
}

/// Reports a plan as `kboot plan` did.
pub fn show(plan: &SavedPlan, global: Global) {
    let mut reporter = report::reporter(global.options(Stream::Out));
    let mut summary = SummaryBuilder::new(Mode::Plan, plan.cluster.hosts.iter().map(|host| host.name.clone()));
    for event in events(&plan.hosts) {
        reporter.event(&event);
        summary.event(&event);
    }
    reporter.finish(&summary.finish(0));
}

/// The events of the dry run that made the plan, as far as the plan has them.
fn events(hosts: &Hosts) -> Vec<Event> {
    let mut events = Vec::new();
    for (host, phases) in hosts {
        for phase in phases {
            for planned in &phase.steps {
                let changes = planned.changes.iter().cloned().map(Proposed::from).collect();
                for kind in [
                    Kind::StepStarted { title: planned.step.as_str().into() },
                    Kind::Planned { changes, after: planned.after.clone() },
                    Kind::StepFinished { outcome: Outcome::WouldChange, millis: 0 },
                ] {
                    let (host, phase, step) = (host.clone(), phase.phase.clone(), planned.step.clone());
                    events.push(Event { host, phase, step, kind });
                }
            }
        }
    }
    events
}
