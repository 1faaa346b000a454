//! Lines for whoever has no live terminal: pipes, files, CI.

use std::io::Write;
use std::time::Instant;

use super::lines::Narrator;
use super::page::Page;
use super::plan::Plan;
use super::ticker::{Ticker, Timed};
use super::{Reporter, Summary, Verbosity, end};
use crate::engine::Event;

/// Writes a line for what is worth one, and the plan or the table at the end.
pub struct Plain {
    ticker: Ticker<State>,
}

struct State {
    narrator: Narrator,
    plan: Plan,
    out: Box<dyn Write + Send>,
    verbosity: Verbosity,
    color: bool,
    has_spoken: bool,
}

impl Plain {
    pub fn new(out: Box<dyn Write + Send>, verbosity: Verbosity, color: bool) -> Self {
        let narrator = Narrator::new(verbosity, false);
        Self {
            ticker: Ticker::new(State { narrator, plan: Plan::default(), out, verbosity, color, has_spoken: false }),
        }
    }
}

impl Reporter for Plain {
    fn event(&mut self, event: &Event) {
        self.ticker.with(|state| {
            state.plan.event(event);
            let page = state.narrator.event(event, Instant::now());
            state.write(&page);
        });
    }

    fn finish(&mut self, summary: &Summary) {
        self.ticker.with(|state| {
            let page = end(&state.plan, summary, state.verbosity, state.has_spoken);
            state.write(&page);
        });
    }
}

impl State {
    fn write(&mut self, page: &Page) {
        if page.is_empty() {
            return;
        }
        self.has_spoken = true;
        // A reader that is gone (`| head`) doesn't stop a run.
        let _ = self.out.write_all(page.render(self.color).as_bytes()).and_then(|()| self.out.flush());
    }
}

impl Timed for State {
    fn due(&self) -> Option<Instant> {
        self.narrator.due()
    }

    fn tick(&mut self, now: Instant) {
        let page = self.narrator.tick(now);
        self.write(&page);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SummaryBuilder, samples, sink::Buffer};
    use super::*;
    use crate::engine::Mode;

    fn run(mode: Mode, events: &[Event], verbosity: Verbosity) -> String {
        let buffer = Buffer::default();
        let mut plain = Plain::new(Box::new(buffer.clone()), verbosity, false);
        let mut builder = SummaryBuilder::new(mode, ["n1", "n2", "n3"]);
        for event in events {
            plain.event(event);
            builder.event(event);
        }
        plain.finish(&builder.finish(20_000));
        buffer.text()
    }

    #[test]
    fn a_whole_run() {
        insta::assert_snapshot!(run(Mode::Apply, &samples::apply(), Verbosity::Normal));
    }

    #[test]
    fn a_whole_dry_run_ends_with_the_plan() {
        let shown = run(Mode::Plan, &samples::plan(), Verbosity::Normal);
        assert_eq!(shown, super::super::plan::render(&samples::plan()));
    }

    #[test]
    fn quiet_is_silent_when_all_is_well() {
        let well: Vec<Event> = samples::apply().into_iter().filter(|event| event.host == "n3").collect();
        assert_eq!(run(Mode::Apply, &well, Verbosity::Quiet), "");
    }

    #[test]
    fn a_reader_that_is_gone_stops_nothing() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
        }
        let mut plain = Plain::new(Box::new(Gone), Verbosity::Verbose, false);
        samples::apply().iter().for_each(|event| plain.event(event));
        plain.finish(&SummaryBuilder::new(Mode::Apply, ["n1"]).finish(1));
    }
}
