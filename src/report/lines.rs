//! What is said while a run goes on, as lines: pure, with the time given from outside. Where they are shown is another's affair.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::page::{Line, Page, Style};
use super::words::{count, duration, names, whole_seconds};
use super::{Verbosity, failure, redact};
use crate::engine::{Event, Failure, Kind, Outcome};

/// How long a step must wait before it's worth a line: the first, the second, and then each as long after the one before.
const WAIT_TOLD: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(60)];

/// Says what a person wants to know of each event, at most.
pub(super) struct Narrator {
    verbosity: Verbosity,
    /// Whether the hosts' progress is seen anyway, so that only what must not scroll away is said.
    is_live: bool,
    steps: HashMap<Place, Running>,
}

/// Host, phase and step.
type Place = (String, String, String);

struct Running {
    title: String,
    changes: usize,
    wait: Option<Wait>,
}

struct Wait {
    /// As `waiting for the node object`.
    what: String,
    since: Instant,
    told: usize,
}

impl Wait {
    fn due(&self) -> Instant {
        let last = WAIT_TOLD.len() - 1;
        let again = u32::try_from(self.told.saturating_sub(last)).unwrap_or(u32::MAX);
        self.since + WAIT_TOLD[self.told.min(last)] + WAIT_TOLD[last].saturating_mul(again)
    }
}

impl Narrator {
    pub fn new(verbosity: Verbosity, is_live: bool) -> Self {
        Self { verbosity, is_live, steps: HashMap::new() }
    }

    pub fn event(&mut self, event: &Event, now: Instant) -> Page {
        let mut page = Page::new();
        if self.verbosity == Verbosity::Quiet {
            return page;
        }
        let place = (event.host.clone(), event.phase.clone(), event.step.clone());
        if !matches!(event.kind, Kind::Waiting { .. }) {
            // Whatever happens in a phase ends the wait for its beginning.
            self.steps.remove(&(event.host.clone(), event.phase.clone(), String::new()));
        }
        let title = self.steps.get(&place).map_or(event.step.clone(), |running| running.title.clone());
        let head = || head(&event.host, &event.phase, &title);
        match &event.kind {
            Kind::StepStarted { title } => {
                self.steps.insert(place, Running { title: title.to_string(), changes: 0, wait: None });
            }
            Kind::Waiting { what } => {
                let running = self.steps.entry(place).or_insert(Running { title, changes: 0, wait: None });
                running.wait = Some(Wait { what: format!("waiting for {what}"), since: now, told: 0 });
            }
            Kind::InProgress { what, millis } => {
                let running = self.steps.entry(place).or_insert(Running { title, changes: 0, wait: None });
                let what = format!("still at it: {what}");
                // The host says so over and over; what it said first counts on.
                if running.wait.as_ref().is_none_or(|wait| wait.what != what) {
                    let since = now.checked_sub(Duration::from_millis(*millis)).unwrap_or(now);
                    running.wait = Some(Wait { what, since, told: 0 });
                }
            }
            Kind::Retrying { what, why, millis } => {
                self.no_longer_waits(&place);
                if !self.is_live {
                    page.push(head().text(super::retrying(what, why, *millis)));
                }
            }
            Kind::ChangeStarted { .. } => self.no_longer_waits(&place),
            Kind::ChangeFinished { change, millis } => {
                self.no_longer_waits(&place);
                if let Some(running) = self.steps.get_mut(&place) {
                    running.changes += 1;
                }
                if self.is_verbose() {
                    let text = format!("{} ({})", redact::change(change), duration(*millis));
                    page.push(head().text(text));
                }
            }
            Kind::StepFinished { outcome, millis } => {
                let changes = self.steps.remove(&place).map_or(0, |running| running.changes);
                if self.is_told(*outcome) {
                    page.push(head().add(style(*outcome), word(*outcome)).text(step_end(changes, *millis)));
                }
            }
            Kind::PhaseFinished { outcome, millis } if self.is_verbose() => {
                let line = phase_head(&event.host, &event.phase).add(style(*outcome), word(*outcome));
                page.push(line.text(format!(" ({})", duration(*millis))));
            }
            Kind::Failed { failure } => {
                page.push(failed(head(), failure));
            }
            Kind::Warning { text, hint } => {
                page.push(head().add(Style::Notable, "warning").text(format!(": {text}")));
                if let Some(hint) = hint {
                    page.append(failure::hint(hint));
                }
            }
            Kind::Leftover { thing, name, why } => {
                page.push(head().add(Style::Notable, "left behind").text(format!(": the {thing} {name}: {why}")));
            }
            Kind::Note { text } => page.push(head().text(text.to_string())),
            Kind::Silent { millis } => {
                let text = format!("no answer for {} yet, and the run waits for it", duration(*millis));
                page.push(phase_head(&event.host, &event.phase).add(Style::Notable, text));
            }
            Kind::Connected { millis } if self.is_verbose() => {
                page.push(phase_head(&event.host, "").text(format!("connected ({})", duration(*millis))));
            }
            Kind::Connected { .. }
            | Kind::PhaseStarted { .. }
            | Kind::PhaseFinished { .. }
            | Kind::Planned { .. }
            | Kind::Idle
            | Kind::Journalled { .. } => {}
        }
        page
    }

    /// Tells of waits that have become long by now; hosts that wait for the same share a line.
    pub fn tick(&mut self, now: Instant) -> Page {
        let mut waits: Vec<(u64, &Place, &Running, &str)> = Vec::new();
        for (place, running) in &mut self.steps {
            let Some(wait) = running.wait.as_mut().filter(|wait| wait.due() <= now) else { continue };
            while wait.due() <= now {
                wait.told += 1;
            }
            let seconds = now.saturating_duration_since(wait.since).as_secs();
            let running = &*running;
            let what = running.wait.as_ref().map_or("", |wait| wait.what.as_str());
            waits.push((seconds, place, running, what));
        }
        // The map's order is random; a reader's is not.
        waits.sort_by(|a, b| (&a.1.1, &a.2.title, a.3, a.1).cmp(&(&b.1.1, &b.2.title, b.3, b.1)));
        let mut page = Page::new();
        for alike in waits.chunk_by(|a, b| (&a.1.1, &a.2.title, a.3) == (&b.1.1, &b.2.title, b.3)) {
            let hosts: Vec<String> = alike.iter().map(|(_, place, ..)| place.0.clone()).collect();
            let longest = alike.iter().map(|(seconds, ..)| *seconds).max().unwrap_or(0);
            let (_, place, running, what) = alike[0];
            let text = format!("{what} ({})", whole_seconds(longest));
            page.push(head(&names(&hosts), &place.1, &running.title).text(text));
        }
        page
    }

    /// When [`Narrator::tick`] has something to say.
    pub fn due(&self) -> Option<Instant> {
        if self.is_live {
            return None;
        }
        self.steps.values().filter_map(|running| running.wait.as_ref()).map(Wait::due).min()
    }

    fn no_longer_waits(&mut self, place: &Place) {
        if let Some(running) = self.steps.get_mut(place) {
            running.wait = None;
        }
    }

    fn is_verbose(&self) -> bool {
        self.verbosity == Verbosity::Verbose
    }

    /// Whether a step's end is worth a line. A failure has had its own, and what would change is in the plan.
    fn is_told(&self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Changed => self.is_verbose() || !self.is_live,
            Outcome::Failed => false,
            Outcome::Unchanged | Outcome::WouldChange | Outcome::Skipped => self.is_verbose(),
        }
    }
}

/// `n1  prepare  Load kernel modules: `, without what is not known.
fn head(host: &str, phase: &str, title: &str) -> Line {
    if title.is_empty() {
        return phase_head(host, phase);
    }
    let mut line = Line::of(Style::Strong, host);
    if !phase.is_empty() {
        line = line.text("  ").add(Style::Faint, phase);
    }
    line.text("  ").text(title).text(": ")
}

/// The end of a failure's line, without saying "failed" twice.
fn failed(head: Line, failure: &Failure) -> Line {
    if failure.interrupted {
        return head.add(Style::Notable, "stopped");
    }
    match failure.cause.after_failed_to() {
        Some(what) => head.add(Style::Bad, "failed").text(format!(" to {what}")),
        None => head.add(Style::Bad, "failed").text(format!(": {failure}")),
    }
}

fn phase_head(host: &str, phase: &str) -> Line {
    let line = Line::of(Style::Strong, host).text("  ");
    if phase.is_empty() { line } else { line.add(Style::Faint, phase).text(": ") }
}

fn step_end(changes: usize, millis: u64) -> String {
    match changes {
        0 => format!(" ({})", duration(millis)),
        _ => format!(" ({}, {})", count(changes, "change"), duration(millis)),
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Unchanged => "unchanged",
        Outcome::Changed => "changed",
        Outcome::WouldChange => "would change",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
    }
}

fn style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Unchanged => Style::Good,
        Outcome::Changed | Outcome::WouldChange => Style::Notable,
        Outcome::Failed => Style::Bad,
        Outcome::Skipped => Style::Faint,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, at};
    use super::*;

    fn shown(events: &[Event], verbosity: Verbosity, is_live: bool) -> String {
        let mut narrator = Narrator::new(verbosity, is_live);
        let now = Instant::now();
        events.iter().map(|event| narrator.event(event, now).render(false)).collect()
    }

    fn waiting(host: &str, what: &str) -> [Event; 2] {
        [
            at(host, "join", "start", Kind::StepStarted { title: "Start the kubelet".into() }),
            at(host, "join", "start", Kind::Waiting { what: what.into() }),
        ]
    }

    #[test]
    fn normal_tells_what_changed_or_failed() {
        insta::assert_snapshot!(shown(&samples::apply(), Verbosity::Normal, false));
    }

    #[test]
    fn verbose_tells_every_change_and_every_step() {
        insta::assert_snapshot!(shown(&samples::apply(), Verbosity::Verbose, false));
    }

    #[test]
    fn beside_live_progress_only_trouble_is_told() {
        insta::assert_snapshot!(shown(&samples::apply(), Verbosity::Normal, true));
    }

    #[test]
    fn a_failure_is_said_once() {
        let line = |failure| shown(&[at("n1", "join", "", Kind::Failed { failure })], Verbosity::Normal, false);
        assert_eq!(line(Failure::new("no space")), "n1  join: failed: no space\n");
        assert_eq!(line(Failure::new("no space").context("write /x")), "n1  join: failed to write /x: no space\n");
        assert_eq!(line(Failure::interrupted()), "n1  join: stopped\n");
    }

    #[test]
    fn quiet_waits_for_the_summary() {
        assert_eq!(shown(&samples::apply(), Verbosity::Quiet, false), "");
    }

    #[test]
    fn a_dry_run_leaves_the_telling_to_the_plan() {
        assert_eq!(shown(&samples::plan(), Verbosity::Normal, false), "");
    }

    #[test]
    fn a_long_wait_is_told_after_5_s_then_30_then_each_minute() {
        let start = Instant::now();
        let mut narrator = Narrator::new(Verbosity::Normal, false);
        assert_eq!(narrator.due(), None);
        for event in waiting("n1", "the node object") {
            assert!(narrator.event(&event, start).is_empty());
        }
        let mut told = Vec::new();
        for second in 0..200 {
            let text = narrator.tick(start + Duration::from_secs(second)).render(false);
            if !text.is_empty() {
                told.push(text);
            }
        }
        assert_eq!(
            told.concat(),
            "n1  join  Start the kubelet: waiting for the node object (5 s)\n\
             n1  join  Start the kubelet: waiting for the node object (30 s)\n\
             n1  join  Start the kubelet: waiting for the node object (1 min 0 s)\n\
             n1  join  Start the kubelet: waiting for the node object (2 min 0 s)\n\
             n1  join  Start the kubelet: waiting for the node object (3 min 0 s)\n"
        );
        assert_eq!(narrator.due(), Some(start + Duration::from_secs(240)));
    }

    #[test]
    fn a_wait_for_a_phase_is_over_when_the_phase_goes_on() {
        let start = Instant::now();
        let mut narrator = Narrator::new(Verbosity::Normal, false);
        let _ = narrator.event(&at("n1", "join", "", Kind::Waiting { what: "the other hosts".into() }), start);
        assert!(narrator.due().is_some());
        let _ = narrator.event(&at("n1", "join", "start", Kind::StepStarted { title: "Start".into() }), start);
        assert_eq!(narrator.due(), None);
    }

    #[test]
    fn a_wait_that_is_over_is_not_told() {
        let start = Instant::now();
        let ends = [
            Kind::ChangeStarted { change: samples::module("overlay") },
            Kind::StepFinished { outcome: Outcome::Unchanged, millis: 1 },
        ];
        for end in ends {
            let mut narrator = Narrator::new(Verbosity::Normal, false);
            waiting("n1", "x").iter().for_each(|event| drop(narrator.event(event, start)));
            assert!(narrator.due().is_some());
            narrator.event(&at("n1", "join", "start", end), start);
            assert_eq!(narrator.due(), None);
            assert!(narrator.tick(start + Duration::from_secs(60)).is_empty());
        }
    }

    #[test]
    fn a_change_that_takes_long_is_told_once_and_then_at_growing_intervals() {
        let start = Instant::now();
        let mut narrator = Narrator::new(Verbosity::Normal, false);
        let mut told = Vec::new();
        for second in 0..130 {
            let now = start + Duration::from_secs(second);
            for host in ["n1", "n2"].iter().filter(|_| [10, 20, 40, 80].contains(&second)) {
                let (what, millis) = ("unmount /a (`umount /a`)".into(), second * 1000);
                assert!(
                    narrator.event(&at(host, "reset", "unmount", Kind::InProgress { what, millis }), now).is_empty()
                );
            }
            let text = narrator.tick(now).render(false);
            told.extend((!text.is_empty()).then_some(text));
        }
        assert_eq!(
            told.concat(),
            "n1 and n2  reset  unmount: still at it: unmount /a (`umount /a`) (10 s)\n\
             n1 and n2  reset  unmount: still at it: unmount /a (`umount /a`) (30 s)\n\
             n1 and n2  reset  unmount: still at it: unmount /a (`umount /a`) (1 min 0 s)\n\
             n1 and n2  reset  unmount: still at it: unmount /a (`umount /a`) (2 min 0 s)\n"
        );
        let finished = Kind::ChangeFinished { change: samples::module("overlay"), millis: 1 };
        for host in ["n1", "n2"] {
            let _ = narrator.event(&at(host, "reset", "unmount", finished.clone()), start);
        }
        assert_eq!(narrator.due(), None);
    }

    #[test]
    fn hosts_that_wait_for_the_same_share_a_line() {
        let start = Instant::now();
        let mut narrator = Narrator::new(Verbosity::Normal, false);
        for host in ["n4", "n1", "n3", "n2"] {
            waiting(host, "the API server").iter().for_each(|event| drop(narrator.event(event, start)));
        }
        waiting("n5", "the image").iter().for_each(|event| drop(narrator.event(event, start)));
        assert_eq!(
            narrator.tick(start + Duration::from_secs(6)).render(false),
            "n1, n2 and 2 more  join  Start the kubelet: waiting for the API server (6 s)\n\
             n5  join  Start the kubelet: waiting for the image (6 s)\n"
        );
    }
}
