//! What people and programs see of a run. A [`Reporter`] reads events, and nothing else; terminal, lines and JSON are interchangeable.
//!
//! Beside the command line this is the only place that prints. It may use the engine's data types; it must not know of hosts'
//! connections, of steps' insides or of Kubernetes. All text that comes from hosts passes through `clean` (people) or is escaped
//! (JSON), and all changes through `redact`.

mod ask;
mod board;
mod clean;
mod failure;
mod json;
mod lines;
mod page;
mod plain;
pub mod plan;
mod redact;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod sink;
mod summary;
mod surroundings;
mod table;
mod terminal;
mod ticker;
mod words;

use crate::engine::{Event, Mode};
use page::{Line, Page};
use plan::Plan;
use surroundings::Surroundings;

pub use ask::ask_secret;
pub use clean::{clean_line, clean_text, escape_json};
pub use failure::render as render_failure;
pub use json::Json;
pub use plain::Plain;
pub use summary::{HostFailure, HostSummary, Summary, SummaryBuilder};
pub use terminal::Terminal;
pub use words::{count, retrying};

/// Shows a run. Never fails and never stops a run: a reader that is gone is nobody's trouble but its own.
pub trait Reporter: Send {
    fn event(&mut self, event: &Event);

    /// The run is over: the plan of a dry run, the table of another, all failures in full. Nothing may follow.
    fn finish(&mut self, summary: &Summary);
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    pub format: Format,
    pub verbosity: Verbosity,
    pub color: Color,
    /// Where people's formats go; a command whose output is data (a kubeconfig, a token) keeps the standard output for that.
    pub stream: Stream,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Live on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    Plain,
    /// On the standard output, always.
    Json,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Failures, and one line a change in a plan.
    Quiet,
    /// What changed, failed or takes long.
    #[default]
    Normal,
    /// Every step and every change, and nothing cut.
    Verbose,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Color {
    /// As the terminal, `NO_COLOR`, `CLICOLOR` and `CLICOLOR_FORCE` say.
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stream {
    #[default]
    Out,
    Err,
}

impl Options {
    /// Whether to colour what goes to the options' stream, as for [`render_failure`].
    pub fn is_colored(&self) -> bool {
        Surroundings::read(self.stream).color(self.color)
    }
}

/// The reporter that fits the options and the surroundings.
pub fn reporter(options: Options) -> Box<dyn Reporter> {
    let Options { format, verbosity, color, stream } = options;
    let surroundings = Surroundings::read(stream);
    let color = surroundings.color(color);
    let out: Box<dyn std::io::Write + Send> = match stream {
        Stream::Out => Box::new(std::io::stdout()),
        Stream::Err => Box::new(std::io::stderr()),
    };
    match surroundings.format(format) {
        Format::Json => Box::new(Json::new(Box::new(std::io::stdout()))),
        Format::Auto if verbosity != Verbosity::Quiet => {
            let terminal = match stream {
                Stream::Out => console::Term::buffered_stdout(),
                Stream::Err => console::Term::buffered_stderr(),
            };
            Box::new(Terminal::new(terminal, verbosity, color))
        }
        Format::Auto | Format::Plain => Box::new(Plain::new(out, verbosity, color)),
    }
}

/// All that people see when a run is over; set off from what was said before, if anything was.
fn end(plan: &Plan, summary: &Summary, verbosity: Verbosity, has_spoken: bool) -> Page {
    let plan = if summary.mode == Mode::Plan { plan.page(verbosity) } else { Page::new() };
    let mut page = Page::new();
    for part in [plan, table::page(summary, verbosity)] {
        if !part.is_empty() && (has_spoken || !page.is_empty()) {
            page.push(Line::new());
        }
        page.append(part);
    }
    page
}
