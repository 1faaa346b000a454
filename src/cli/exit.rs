//! Exit codes, and everything that commands print themselves. All text for people is cleaned here, from every source.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use crate::engine::{Failure, Text};
use crate::inventory::InventoryError;
use crate::inventory::reading::reason;
use crate::playbook::PlaybookError;
use crate::report::{self, Stream};

use super::Global;

/// Something failed on a host or in the cluster.
pub const FAILED: u8 = 1;
/// The command line or the inventory is wrong.
pub const USAGE: u8 = 2;
/// With --detailed-exitcode: a dry run found something to do. Not 2, as in Terraform: here, 2 is an error that the user must fix
/// first.
pub const CHANGES: u8 = 3;
pub use crate::controller::INTERRUPTED;

/// Why a command could not do its work.
pub enum Problem {
    /// Bad input. Nothing was changed.
    Usage(Failure),
    /// A complete report, for example of an inventory's mistakes.
    Report(String),
    Failed(Failure),
}

impl Problem {
    pub fn usage(cause: impl Into<Text>) -> Self {
        Self::Usage(Failure::new(cause))
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Usage(failure) => Self::Usage(failure.hint_text(hint)),
            Self::Failed(failure) => Self::Failed(failure.hint_text(hint)),
            Self::Report(text) => Self::Report(text),
        }
    }

    /// Prints it to standard error.
    pub fn tell(self, global: Global) -> ExitCode {
        let options = global.options(Stream::Err);
        let code = match self {
            Self::Usage(failure) => {
                tell(&failure, options);
                USAGE
            }
            Self::Report(text) => {
                remark_lines(text);
                USAGE
            }
            Self::Failed(failure) => {
                tell(&failure, options);
                if failure.interrupted { INTERRUPTED } else { FAILED }
            }
        };
        ExitCode::from(code)
    }
}

/// Prints a failure to standard error.
pub fn tell(failure: &Failure, options: report::Options) {
    // The colors are kboot's own. The text was cleaned when it was rendered.
    error_line(report::render_failure(&[], failure, options.verbosity, options.is_colored()).trim_end());
}

/// Writes a result for people to standard output.
pub fn print(text: &str) -> Result<(), Problem> {
    write(&report::clean_text(text))
}

/// Writes a result for programs to standard output. Cleans it only for a terminal.
pub fn print_data(text: &str) -> Result<(), Problem> {
    if std::io::stdout().is_terminal() { print(text) } else { write(text) }
}

/// Writes a result as one JSON object on one line.
pub fn print_json(object: &serde_json::Value) -> Result<(), Problem> {
    print_data(&report::escape_json(&format!("{object}\n")))
}

/// A closed pipe is no error: its reader has read enough.
fn write(text: &str) -> Result<(), Problem> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::from(error).context("write to the standard output").into())
        }
        _ => Ok(()),
    }
}

/// Prints one line beside the result, to standard error.
pub fn remark(text: impl fmt::Display) {
    error_line(&report::clean_line(&text.to_string()));
}

/// Prints several lines beside the result, to standard error.
pub fn remark_lines(text: impl fmt::Display) {
    error_line(&report::clean_text(text.to_string().trim_end()));
}

/// Prints a question, which may have several lines.
pub fn question(text: &str) -> std::io::Result<()> {
    let mut error = std::io::stderr();
    write!(error, "{}", report::clean_text(text))?;
    error.flush()
}

fn error_line(text: &str) {
    // If standard error is closed, kboot has no way to report that.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The problem with a file that the command line names and that can't be read.
pub fn unreadable(path: impl fmt::Display, error: &std::io::Error) -> Problem {
    Problem::usage(format!("failed to read {path}: {}", reason(error)))
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<PlaybookError> for Problem {
    fn from(error: PlaybookError) -> Self {
        match error {
            PlaybookError::Invalid(_) => Self::Report(format!("error: {error}")),
            PlaybookError::Unreadable { .. } => Self::usage(error.to_string()),
        }
    }
}

impl From<InventoryError> for Problem {
    fn from(error: InventoryError) -> Self {
        match error {
            InventoryError::Invalid(mistakes) => Self::Report(format!("error: {mistakes}")),
            error => {
                let failure = Failure::new(error.to_string());
                Self::Usage(match error.hint() {
                    Some(hint) => failure.hint_text(hint),
                    None => failure,
                })
            }
        }
    }
}
