//! Live progress on a terminal: the board is redrawn in place, and what must not be missed scrolls by above it.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

use super::board::Board;
use super::lines::Narrator;
use super::plan::Plan;
use super::ticker::{Ticker, Timed};
use super::{Reporter, Summary, Verbosity, end};
use crate::engine::Event;

/// How often the board is redrawn, however fast events come.
const REDRAW: Duration = Duration::from_millis(100);

/// Draws on anything like a terminal.
pub struct Terminal {
    ticker: Ticker<Screen>,
}

struct Screen {
    board: Board,
    narrator: Narrator,
    plan: Plan,
    terminal: Box<dyn TermLike>,
    /// One bar whose message is all lines of the board: a bar for each host would redraw all of them for each.
    bar: ProgressBar,
    next: Option<Instant>,
    verbosity: Verbosity,
    color: bool,
    has_spoken: bool,
}

impl Terminal {
    pub fn new(terminal: impl TermLike + Clone + 'static, verbosity: Verbosity, color: bool) -> Self {
        Self { ticker: Ticker::new(Screen::new(terminal, verbosity, color)) }
    }
}

impl Reporter for Terminal {
    fn event(&mut self, event: &Event) {
        self.ticker.with(|screen| screen.event(event, Instant::now()));
    }

    fn finish(&mut self, summary: &Summary) {
        self.ticker.with(|screen| screen.finish(summary));
    }
}

impl Screen {
    fn new(terminal: impl TermLike + Clone + 'static, verbosity: Verbosity, color: bool) -> Self {
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 20);
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is valid"));
        Self {
            board: Board::default(),
            narrator: Narrator::new(verbosity, true),
            plan: Plan::default(),
            terminal: Box::new(terminal),
            bar,
            next: None,
            verbosity,
            color,
            has_spoken: false,
        }
    }

    fn event(&mut self, event: &Event, now: Instant) {
        self.plan.event(event);
        self.board.event(event, now);
        let page = self.narrator.event(event, now);
        if !page.is_empty() {
            self.has_spoken = true;
            self.bar.println(page.render(self.color).trim_end_matches('\n'));
        }
        self.next.get_or_insert(now);
    }

    fn redraw(&mut self, now: Instant) {
        // The last line stays free for the cursor.
        let height = usize::from(self.terminal.height()).saturating_sub(1);
        let lines = self.board.lines(usize::from(self.terminal.width()), height, now);
        let text: Vec<String> = lines.iter().map(|line| line.render(self.color)).collect();
        let text = text.join("\n");
        if text != self.bar.message() {
            self.bar.set_message(text);
        }
    }

    fn finish(&mut self, summary: &Summary) {
        self.next = None;
        self.bar.finish_and_clear();
        let page = end(&self.plan, summary, self.verbosity, self.has_spoken);
        // A terminal that is gone doesn't stop a run.
        let _ = self.terminal.write_str(&page.render(self.color)).and_then(|()| self.terminal.flush());
    }
}

impl Timed for Screen {
    fn due(&self) -> Option<Instant> {
        self.next
    }

    fn tick(&mut self, now: Instant) {
        self.board.turn();
        self.redraw(now);
        self.next = Some(now + REDRAW);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::super::{SummaryBuilder, samples, sink::Buffer};
    use super::*;
    use crate::engine::{Kind, Mode};

    /// Writes down what it is told, with the cursor's moves in words.
    #[derive(Debug, Clone)]
    struct Paper(Buffer, u16);

    impl Paper {
        fn put(&self, text: impl AsRef<str>) -> io::Result<()> {
            self.0.clone().write_all(text.as_ref().as_bytes())
        }
    }

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            60
        }
        fn height(&self) -> u16 {
            self.1
        }
        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            self.put(format!("<up {n}>"))
        }
        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.put(format!("<down {n}>"))
        }
        fn move_cursor_right(&self, n: usize) -> io::Result<()> {
            self.put(format!("<right {n}>"))
        }
        fn move_cursor_left(&self, n: usize) -> io::Result<()> {
            self.put(format!("<left {n}>"))
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.put(format!("{text}\n"))
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.put(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            self.put("<clear>")
        }
        fn flush(&self) -> io::Result<()> {
            self.put("<flush>\n")
        }
    }

    fn screen(paper: &Paper) -> Screen {
        // Without its thread, so that the test alone makes time pass.
        Screen::new(paper.clone(), Verbosity::Normal, false)
    }

    #[test]
    fn failures_scroll_by_above_the_board_and_the_table_comes_last() {
        let paper = Paper(Buffer::default(), 10);
        let mut screen = screen(&paper);
        let mut builder = SummaryBuilder::new(Mode::Apply, ["n1", "n2", "n3", "n4"]);
        let now = Instant::now();
        for (at, event) in samples::apply().iter().enumerate() {
            builder.event(event);
            screen.event(event, now);
            if at % 15 == 14 {
                screen.tick(now);
            }
        }
        screen.finish(&builder.finish(20_000));
        insta::assert_snapshot!(paper.0.text());
    }

    #[test]
    fn a_board_that_stands_still_is_not_redrawn() {
        let paper = Paper(Buffer::default(), 10);
        let mut screen = screen(&paper);
        let now = Instant::now();
        let done = Kind::PhaseFinished { outcome: crate::engine::Outcome::Unchanged, millis: 1 };
        screen.event(&samples::at("n1", "prepare", "", done), now);
        screen.tick(now);
        let drawn = paper.0.text();
        assert!(drawn.contains("✓ n1  prepare  done"), "{drawn}");
        screen.tick(now + REDRAW);
        assert_eq!(paper.0.text(), drawn);
    }

    #[test]
    fn events_alone_redraw_nothing() {
        let paper = Paper(Buffer::default(), 10);
        let mut screen = screen(&paper);
        let now = Instant::now();
        for n in 0..1_000 {
            let title = Kind::StepStarted { title: "x".into() };
            screen.event(&samples::at(&format!("n{n}"), "prepare", "x", title), now);
        }
        assert_eq!(paper.0.text(), "");
        assert_eq!(screen.due(), Some(now));
        screen.tick(now);
        assert_eq!(screen.due(), Some(now + REDRAW));
        let text = paper.0.text();
        assert_eq!(text.matches("<flush>").count(), 1);
        assert_eq!(text.matches(" n").count(), 8, "{text}");
        assert!(text.contains("… and 992 more: 992 working"), "{text}");
    }
}
