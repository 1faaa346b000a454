//! What a run came to, host by host, made from its events alone. Pure; how it looks is `table`'s affair.

use serde::{Deserialize, Serialize};

use crate::engine::{Event, Failure, Kind, Mode, Outcome};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub mode: Mode,
    /// In the order given to [`SummaryBuilder::new`], then in that in which they were first heard of.
    pub hosts: Vec<HostSummary>,
    /// How long the whole run took.
    pub millis: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostSummary {
    pub name: String,
    pub outcome: Outcome,
    /// How many changes were made or, in a dry run, would be.
    pub changes: usize,
    /// How long the host itself was busy: connecting and in its phases.
    pub millis: u64,
    /// What failed for good; a step that failed and succeeded in the end is not among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<HostFailure>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostFailure {
    /// Empty before the first phase.
    pub phase: String,
    /// Empty for what concerns the whole phase.
    pub step: String,
    #[serde(flatten)]
    pub failure: Failure,
}

impl Summary {
    /// All hosts that came to this.
    pub fn with(&self, outcome: Outcome) -> impl Iterator<Item = &HostSummary> {
        self.hosts.iter().filter(move |host| host.outcome == outcome)
    }

    /// Whether every host is as wanted (or, in a dry run, was looked at).
    pub fn is_success(&self) -> bool {
        !self.hosts.iter().any(|host| matches!(host.outcome, Outcome::Failed | Outcome::Skipped))
    }

    /// Whether the run was stopped on request and nothing else went wrong.
    pub fn is_interrupted(&self) -> bool {
        let mut failures = self.hosts.iter().flat_map(|host| &host.failures).peekable();
        failures.peek().is_some() && failures.all(|failed| failed.failure.interrupted)
    }

    pub fn changes(&self) -> usize {
        self.hosts.iter().map(|host| host.changes).sum()
    }
}

/// Makes a [`Summary`] while a run goes on.
#[derive(Debug, Clone)]
pub struct SummaryBuilder {
    mode: Mode,
    hosts: Vec<Tally>,
}

#[derive(Debug, Clone, Default)]
struct Tally {
    name: String,
    changes: usize,
    millis: u64,
    failures: Vec<HostFailure>,
    /// A step or phase ended, other than by being skipped.
    is_tried: bool,
    is_skipped: bool,
    is_failed: bool,
    would_change: bool,
}

impl SummaryBuilder {
    /// `hosts` are those that take part, also if nothing is ever heard of them.
    pub fn new(mode: Mode, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let hosts = hosts.into_iter().map(|name| Tally { name: name.into(), ..Tally::default() }).collect();
        Self { mode, hosts }
    }

    pub fn event(&mut self, event: &Event) {
        let known = self.hosts.iter().position(|host| host.name == event.host);
        // What is said of no single host makes none, unless it is why nothing was done; nor does one that is only waited for.
        let is_failure = matches!(event.kind, Kind::Failed { .. });
        let is_silent = matches!(event.kind, Kind::Silent { .. });
        if known.is_none() && (is_silent || event.host.is_empty() && !is_failure) {
            return;
        }
        let at = known.unwrap_or_else(|| {
            self.hosts.push(Tally { name: event.host.clone(), ..Tally::default() });
            self.hosts.len() - 1
        });
        self.hosts[at].event(event);
    }

    /// `millis` is how long the whole run took.
    pub fn finish(self, millis: u64) -> Summary {
        Summary { mode: self.mode, hosts: self.hosts.into_iter().map(Tally::finish).collect(), millis }
    }
}

impl Tally {
    fn event(&mut self, event: &Event) {
        match &event.kind {
            Kind::Connected { millis } => self.millis += millis,
            Kind::Planned { changes, after } => {
                self.changes += changes.len();
                self.would_change |= !changes.is_empty() || after.is_some();
            }
            Kind::ChangeFinished { .. } => self.changes += 1,
            Kind::Failed { failure } => self.failures.push(HostFailure {
                phase: event.phase.clone(),
                step: event.step.clone(),
                failure: failure.clone(),
            }),
            Kind::StepFinished { outcome, .. } => {
                if *outcome != Outcome::Failed {
                    self.failures.retain(|failed| (&failed.phase, &failed.step) != (&event.phase, &event.step));
                }
                self.outcome(*outcome);
            }
            Kind::PhaseFinished { outcome, millis } => {
                self.millis += millis;
                self.is_failed |= *outcome == Outcome::Failed;
                self.outcome(*outcome);
            }
            Kind::Idle => self.outcome(Outcome::Unchanged),
            Kind::PhaseStarted { .. }
            | Kind::StepStarted { .. }
            | Kind::ChangeStarted { .. }
            | Kind::Waiting { .. }
            | Kind::InProgress { .. }
            | Kind::Silent { .. }
            | Kind::Retrying { .. }
            | Kind::Warning { .. }
            | Kind::Note { .. }
            | Kind::Leftover { .. }
            | Kind::Journalled { .. } => {}
        }
    }

    fn outcome(&mut self, outcome: Outcome) {
        self.is_tried |= outcome != Outcome::Skipped;
        self.is_skipped |= outcome == Outcome::Skipped;
    }

    fn finish(self) -> HostSummary {
        let outcome = if self.is_failed || !self.failures.is_empty() {
            Outcome::Failed
        } else if self.is_skipped || !self.is_tried {
            Outcome::Skipped
        } else if self.would_change {
            Outcome::WouldChange
        } else if self.changes > 0 {
            Outcome::Changed
        } else {
            Outcome::Unchanged
        };
        HostSummary { name: self.name, outcome, changes: self.changes, millis: self.millis, failures: self.failures }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, at};
    use super::*;

    fn summary(mode: Mode, hosts: &[&str], events: &[Event]) -> Summary {
        let mut builder = SummaryBuilder::new(mode, hosts.iter().copied());
        events.iter().for_each(|event| builder.event(event));
        builder.finish(1_000)
    }

    fn outcomes(summary: &Summary) -> Vec<(&str, Outcome, usize)> {
        summary.hosts.iter().map(|host| (host.name.as_str(), host.outcome, host.changes)).collect()
    }

    #[test]
    fn each_host_has_its_outcome_changes_and_time() {
        let summary = summary(Mode::Apply, &["n1", "n2", "n3", "n4"], &samples::apply());
        assert_eq!(
            outcomes(&summary),
            [
                ("n1", Outcome::Changed, 3),
                ("n2", Outcome::Failed, 1),
                ("n3", Outcome::Unchanged, 0),
                ("n4", Outcome::Skipped, 0)
            ]
        );
        assert_eq!(summary.hosts[0].millis, 400 + 12_300);
        assert!(!summary.is_success());
        assert!(!summary.is_interrupted());
        assert_eq!(summary.with(Outcome::Failed).count(), 1);
        assert_eq!(summary.changes(), 4);
        let failed = &summary.hosts[1].failures;
        assert_eq!((failed.len(), failed[0].step.as_str()), (1, "install-packages"));
    }

    #[test]
    fn a_host_that_is_only_waited_for_takes_no_part() {
        let silent = at("n9", "", "", Kind::Silent { millis: 2000 });
        let summary = summary(Mode::Plan, &["n1"], &[silent, at("n1", "", "", Kind::Idle)]);
        assert_eq!(outcomes(&summary), [("n1", Outcome::Unchanged, 0)]);
    }

    #[test]
    fn a_dry_run_counts_what_would_change() {
        let summary = summary(Mode::Plan, &[], &samples::plan());
        assert_eq!(
            outcomes(&summary),
            [("n1", Outcome::WouldChange, 12), ("n2", Outcome::WouldChange, 0), ("n3", Outcome::Unchanged, 0)]
        );
        assert!(summary.is_success());
    }

    #[test]
    fn a_step_that_succeeds_in_the_end_has_not_failed() {
        let failed = Kind::Failed { failure: Failure::new("no answer").retryable() };
        let finished = |outcome| Kind::StepFinished { outcome, millis: 1 };
        let mut events = vec![
            at("n1", "join", "a", failed.clone()),
            at("n1", "join", "a", finished(Outcome::Failed)),
            at("n1", "join", "b", failed),
        ];
        assert_eq!(summary(Mode::Apply, &[], &events).hosts[0].failures.len(), 2);
        events.push(at("n1", "join", "a", finished(Outcome::Unchanged)));
        let summary = summary(Mode::Apply, &[], &events);
        assert_eq!(summary.hosts[0].failures.len(), 1);
        assert_eq!(summary.hosts[0].failures[0].step, "b");
    }

    #[test]
    fn a_warning_of_all_hosts_together_is_no_host() {
        let warning = Kind::Warning { text: "x".into(), hint: None };
        let events = [at("", "preflight", "TimeSkew", warning)];
        assert!(summary(Mode::Apply, &[], &events).is_success());
        let failed = Kind::Failed { failure: Failure::new("x") };
        assert!(!summary(Mode::Apply, &[], &[at("", "preflight", "TimeSkew", failed)]).is_success());
    }

    #[test]
    fn a_host_that_only_answered_was_not_tried() {
        let events = [at("n1", "", "", Kind::Connected { millis: 3 })];
        assert_eq!(
            outcomes(&summary(Mode::Apply, &["n1", "n2"], &events)),
            [("n1", Outcome::Skipped, 0), ("n2", Outcome::Skipped, 0)]
        );
    }

    #[test]
    fn only_what_was_asked_for_is_an_interruption() {
        let failed = |failure| at("n1", "join", "a", Kind::Failed { failure });
        let stopped = failed(Failure::interrupted());
        assert!(summary(Mode::Apply, &[], std::slice::from_ref(&stopped)).is_interrupted());
        assert!(!summary(Mode::Apply, &[], &[stopped, failed(Failure::new("no space"))]).is_interrupted());
        assert!(!summary(Mode::Apply, &[], &[]).is_interrupted());
    }

    #[test]
    fn it_survives_json() {
        let summary = summary(Mode::Apply, &["n1"], &samples::apply());
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
    }
}
