//! What the screen shows while a run goes on: a line a host, and one for those that have no room. Pure: events, time and size in, lines out.

use std::collections::HashMap;
use std::time::Instant;

use super::page::{Line, Style};
use super::{redact, words};
use crate::engine::{Event, Kind, Outcome};

const SPINNER: [&str; 8] = ["⠋", "⠙", "⠸", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Stands for a step while a host does not answer; no step is called so.
const SILENCE: &str = " ";

/// Wider host and phase names push the rest of their line aside.
const WIDEST_NAME: usize = 24;

#[derive(Default)]
pub(super) struct Board {
    hosts: Vec<Host>,
    /// Where each host is, by its name.
    index: HashMap<String, usize>,
    frame: usize,
}

struct Host {
    name: String,
    phase: String,
    /// The steps that run now; the last one is shown.
    steps: Vec<Step>,
    state: State,
    changes: usize,
}

struct Step {
    id: String,
    title: String,
    doing: Doing,
    since: Instant,
}

enum Doing {
    Looking,
    Changing(String),
    Waiting(String),
    /// Fetching something again, for this reason.
    Retrying(String),
}

/// In the order in which hosts get room on the screen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Waiting,
    Working,
    Failed,
    Done,
    Skipped,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Working => "working",
            State::Failed => "failed",
            State::Done => "done",
            State::Skipped => "skipped",
        }
    }
}

impl Board {
    pub fn event(&mut self, event: &Event, now: Instant) {
        let at = *self.index.entry(event.host.clone()).or_insert_with(|| {
            self.hosts.push(Host::new(&event.host));
            self.hosts.len() - 1
        });
        self.hosts[at].event(event, now);
    }

    /// The next picture of the spinners.
    pub fn turn(&mut self) {
        self.frame = (self.frame + 1) % SPINNER.len();
    }

    /// At most `height` lines of at most `width` columns.
    pub fn lines(&self, width: usize, height: usize, now: Instant) -> Vec<Line> {
        if height == 0 {
            return Vec::new();
        }
        let room = if self.hosts.len() > height { height - 1 } else { height };
        let mut order: Vec<usize> = (0..self.hosts.len()).collect();
        order.sort_by_key(|at| (self.hosts[*at].state(), *at));
        let (shown, rest) = order.split_at(room.min(order.len()));
        // Whoever has room keeps the inventory's order, so that lines move as little as can be.
        let mut shown: Vec<&Host> = shown.iter().map(|at| &self.hosts[*at]).collect();
        shown.sort_by_key(|host| self.index[&host.name]);
        let names = widest(shown.iter().map(|host| host.name.as_str()));
        let phases = widest(shown.iter().map(|host| host.phase.as_str()));
        let spinner = SPINNER[self.frame];
        let mut lines: Vec<Line> = shown.iter().map(|host| host.line(spinner, names, phases, width, now)).collect();
        if !rest.is_empty() {
            lines.push(self.summed_up(rest).cut(width));
        }
        lines
    }

    fn summed_up(&self, hosts: &[usize]) -> Line {
        let states = [State::Waiting, State::Working, State::Failed, State::Done, State::Skipped];
        let counts = states.map(|state| (hosts.iter().filter(|at| self.hosts[**at].state() == state).count(), state));
        let parts: Vec<String> =
            counts.iter().filter(|(n, _)| *n > 0).map(|(n, state)| format!("{n} {}", state.word())).collect();
        Line::of(Style::Faint, format!("… and {} more: {}", hosts.len(), parts.join(", ")))
    }
}

fn widest<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| Line::plain(name).width()).max().unwrap_or(0).min(WIDEST_NAME)
}

impl Host {
    fn new(name: &str) -> Self {
        Self { name: name.into(), phase: String::new(), steps: Vec::new(), state: State::Working, changes: 0 }
    }

    fn event(&mut self, event: &Event, now: Instant) {
        let is_skipped = matches!(event.kind, Kind::PhaseFinished { outcome: Outcome::Skipped, .. });
        // A host that failed stays where it failed, though what comes after is skipped.
        let stays = is_skipped && self.state == State::Failed;
        if !stays && !event.phase.is_empty() {
            self.phase.clone_from(&event.phase);
        }
        self.steps.retain(|step| step.id != SILENCE);
        match &event.kind {
            Kind::PhaseStarted { .. } => self.state = State::Working,
            Kind::StepStarted { title } => {
                self.state = State::Working;
                self.steps.retain(|step| step.id != event.step);
                let (id, title) = (event.step.clone(), title.clone());
                self.steps.push(Step { id, title: title.to_string(), doing: Doing::Looking, since: now });
            }
            Kind::ChangeStarted { change } => {
                self.step(&event.step, Doing::Changing(redact::change(change).to_string()));
            }
            Kind::ChangeFinished { .. } => {
                self.changes += 1;
                self.step(&event.step, Doing::Looking);
            }
            Kind::Waiting { what } => self.step(&event.step, Doing::Waiting(what.to_string())),
            Kind::Retrying { why, .. } => self.step(&event.step, Doing::Retrying(why.to_string())),
            Kind::StepFinished { .. } => self.steps.retain(|step| step.id != event.step),
            Kind::Silent { .. } => {
                let (id, title) = (SILENCE.to_owned(), "No answer".to_owned());
                self.steps.push(Step { id, title: title.to_string(), doing: Doing::Looking, since: now });
            }
            Kind::Failed { .. } => self.state = State::Failed,
            Kind::PhaseFinished { outcome, .. } => {
                self.steps.clear();
                self.state = match outcome {
                    Outcome::Failed => State::Failed,
                    Outcome::Skipped if self.state == State::Failed => State::Failed,
                    Outcome::Skipped => State::Skipped,
                    Outcome::Unchanged | Outcome::Changed | Outcome::WouldChange => State::Done,
                };
            }
            Kind::Connected { .. }
            | Kind::InProgress { .. }
            | Kind::Planned { .. }
            | Kind::Warning { .. }
            | Kind::Note { .. }
            | Kind::Leftover { .. }
            | Kind::Idle
            | Kind::Journalled { .. } => {}
        }
    }

    fn step(&mut self, id: &str, doing: Doing) {
        if let Some(step) = self.steps.iter_mut().find(|step| step.id == id) {
            step.doing = doing;
        }
    }

    fn state(&self) -> State {
        match (self.state, self.steps.last()) {
            (State::Working, Some(Step { doing: Doing::Waiting(_), .. })) => State::Waiting,
            (state, _) => state,
        }
    }

    fn line(&self, spinner: &str, names: usize, phases: usize, width: usize, now: Instant) -> Line {
        let state = self.state();
        let (mark, style) = match state {
            State::Waiting => (spinner, Style::Notable),
            State::Working => (spinner, Style::Position),
            State::Failed => ("✗", Style::Bad),
            State::Done => ("✓", Style::Good),
            State::Skipped => ("-", Style::Faint),
        };
        let mut line = Line::of(style, mark).text(" ").padded(Style::Strong, &self.name, names).text("  ");
        if phases > 0 {
            line = line.padded(Style::Faint, &self.phase, phases).text("  ");
        }
        let step = self.steps.last().filter(|_| matches!(state, State::Waiting | State::Working));
        let Some(step) = step else {
            let end = match self.changes {
                0 => state.word().to_string(),
                changes => format!("{}, {}", state.word(), words::count(changes, "change")),
            };
            return line.add(Style::Faint, end).cut(width);
        };
        line = match &step.doing {
            Doing::Looking => line.text(&step.title),
            Doing::Changing(change) => line.text(&step.title).add(Style::Faint, format!(": {change}")),
            Doing::Waiting(what) => line.text(&step.title).add(Style::Notable, format!(": waiting for {what}")),
            Doing::Retrying(why) => line.text(&step.title).add(Style::Notable, format!(": trying again: {why}")),
        };
        match now.saturating_duration_since(step.since).as_secs() {
            0 => line.cut(width),
            seconds => {
                // The time stays to be seen, whatever must be cut for it.
                let elapsed = format!("  {}", words::whole_seconds(seconds));
                line.cut(width.saturating_sub(elapsed.len())).add(Style::Faint, elapsed).cut(width)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::samples::{self, at};
    use super::*;
    use crate::engine::Failure;

    fn shown(board: &Board, width: usize, height: usize, now: Instant) -> String {
        board.lines(width, height, now).iter().map(|line| line.render(false) + "\n").collect()
    }

    /// `count` hosts: every tenth waits, every hundredth failed, the rest is done.
    fn many(count: usize, now: Instant) -> Board {
        let mut board = Board::default();
        for n in 1..=count {
            let host = format!("n{n}");
            board.event(&at(&host, "join", "start", Kind::StepStarted { title: "Start the kubelet".into() }), now);
            let kind = match n {
                n if n % 100 == 0 => Kind::Failed { failure: Failure::new("x") },
                n if n % 10 == 0 => Kind::Waiting { what: "the node object".into() },
                _ => Kind::PhaseFinished { outcome: Outcome::Changed, millis: 1 },
            };
            board.event(&at(&host, "join", "start", kind), now);
        }
        board
    }

    #[test]
    fn a_host_a_line_with_what_it_does() {
        let now = Instant::now();
        let mut board = Board::default();
        let mut pictures = Vec::new();
        for (second, event) in samples::apply().iter().enumerate() {
            board.event(event, now + Duration::from_secs(second as u64));
            if second % 6 == 5 {
                board.turn();
                pictures.push(shown(&board, 100, 10, now + Duration::from_secs(second as u64 + 2)));
            }
        }
        insta::assert_snapshot!(pictures.join("--\n"));
    }

    #[test]
    fn hundreds_of_hosts_are_summed_up() {
        let now = Instant::now();
        let board = many(500, now);
        insta::assert_snapshot!(shown(&board, 80, 12, now + Duration::from_secs(61)));
        assert_eq!(shown(&board, 80, 1, now), "… and 500 more: 45 waiting, 5 failed, 450 done\n");
        assert_eq!(shown(&board, 80, 0, now), "");
    }

    #[test]
    fn the_time_is_seen_on_narrow_screens() {
        let now = Instant::now();
        let board = many(10, now);
        let line = shown(&board, 40, 2, now + Duration::from_secs(75));
        assert_eq!(line.lines().next(), Some("⠋ n10  join  Start the kube…  1 min 15 s"));
    }

    #[test]
    fn a_new_phase_makes_a_done_host_work_again() {
        let now = Instant::now();
        let mut board = many(1, now);
        assert_eq!(shown(&board, 80, 5, now), "✓ n1  join  done\n");
        board.event(&at("n1", "addons", "", Kind::PhaseStarted { steps: 1 }), now);
        assert_eq!(shown(&board, 80, 5, now), "⠋ n1  addons  working\n");
    }

    proptest! {
        #[test]
        fn it_never_outgrows_the_screen(count in 0usize..130, width in 0usize..90, height in 0usize..30, seconds in 0u64..5000) {
            let now = Instant::now();
            let lines = many(count, now).lines(width, height, now + Duration::from_secs(seconds));
            prop_assert!(lines.len() <= height);
            prop_assert!(lines.iter().all(|line| line.width() <= width), "{lines:?}");
            if height > 0 && count > 0 {
                prop_assert!(!lines.is_empty());
            }
        }
    }
}
