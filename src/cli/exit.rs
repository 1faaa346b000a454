//! How a command ends.

use std::io::Write as _;
use std::process::ExitCode;

use crate::engine::Failure;
use crate::inventory::InventoryError;
use crate::report::{self, Stream};

use super::Global;

/// Something failed on a host or in the cluster.
pub const FAILED: u8 = 1;
/// The user's: the command line or the inventory.
pub const USAGE: u8 = 2;
pub const INTERRUPTED: u8 = 130;

/// Why a command could not do its work.
pub enum Problem {
    /// Bad input. Nothing was touched.
    Usage(Failure),
    /// A report of its own, as of an inventory's mistakes.
    Report(String),
    Failed(Failure),
}

impl Problem {
    pub fn usage(cause: impl Into<String>) -> Self {
        Self::Usage(Failure::new(cause))
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Usage(failure) => Self::Usage(failure.hint(hint)),
            Self::Failed(failure) => Self::Failed(failure.hint(hint)),
            Self::Report(text) => Self::Report(text),
        }
    }

    /// Prints it to standard error.
    pub fn tell(self, global: Global) -> ExitCode {
        let options = global.options(Stream::Err);
        let (text, code) = match self {
            Self::Usage(failure) => (render(&failure, options), USAGE),
            Self::Report(text) => (text, USAGE),
            Self::Failed(failure) if failure.interrupted => (render(&failure, options), INTERRUPTED),
            Self::Failed(failure) => (render(&failure, options), FAILED),
        };
        // Nobody is left to be told where standard error is closed.
        let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
        ExitCode::from(code)
    }
}

fn render(failure: &Failure, options: report::Options) -> String {
    report::render_failure(&[], failure, options.verbosity, options.is_colored())
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

impl From<InventoryError> for Problem {
    fn from(error: InventoryError) -> Self {
        match error {
            InventoryError::Invalid(mistakes) => Self::Report(format!("error: {mistakes}")),
            error => {
                let failure = Failure::new(error.to_string());
                Self::Usage(match error.hint() {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                })
            }
        }
    }
}
