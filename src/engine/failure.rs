//! Why something did not work, in the words that a person needs: cause, evidence, and what mends it.

use serde::{Deserialize, Serialize};

use super::Text;
use super::hint::{self, Hint};

pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// A failure of a step or of a whole host. It travels from the agent to the controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{cause}")]
pub struct Failure {
    /// What failed, as a lower-case fragment.
    pub cause: Text,
    /// Lines that show it: a log's end, a container's exit, what a command printed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// What to do about it, with the command that mends it.
    #[serde(flatten, with = "hint::wire")]
    pub hint: Option<Hint>,
    /// Whether the same attempt may well succeed a moment later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retryable: bool,
    /// Whether the run was stopped on request rather than by something broken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Whether this only says that something can't be known before a planned change is made. It never leaves the planning.
    #[serde(skip)]
    pub unforeseen: bool,
    /// What was being done when it failed, where that is only a part of the change in hand. It never leaves the runner.
    #[serde(skip)]
    pub part: Option<String>,
}

impl Failure {
    pub fn new(cause: impl Into<Text>) -> Self {
        Self {
            cause: cause.into(),
            evidence: Vec::new(),
            hint: None,
            retryable: false,
            interrupted: false,
            unforeseen: false,
            part: None,
        }
    }

    pub fn interrupted() -> Self {
        Self { interrupted: true, ..Self::new("interrupted").hint(Hint::RunAgain) }
    }

    /// `what` can't be looked at before a planned change has made it.
    pub fn unforeseen(what: impl Into<Text>) -> Self {
        Self { unforeseen: true, ..Self::new(what) }
    }

    /// Whether it was made by [`Self::unforeseen`]; the cause is then what must be there first.
    pub fn is_unforeseen(&self) -> bool {
        self.unforeseen
    }

    pub fn hint(self, hint: impl Into<Hint>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// A hint in the controller's own words. What may run on a host gives a [`Hint`] with a code: its words would be dropped.
    pub fn hint_text(self, hint: impl Into<String>) -> Self {
        self.hint(Hint::text(hint))
    }

    pub fn evidence(self, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { evidence: lines.into_iter().map(Into::into).collect(), ..self }
    }

    pub fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }

    /// Names the part of a change that failed, as `pull the image pause:3.10`.
    pub fn part(self, part: impl Into<String>) -> Self {
        Self { part: Some(part.into()), ..self }
    }

    /// Puts the change in hand before the cause, or the part of it that failed.
    pub fn during(mut self, change: impl std::fmt::Display) -> Self {
        match self.part.take() {
            Some(part) => self.context(part),
            None => self.context(change),
        }
    }

    /// Puts what was being done before the cause: `failed to {what}: {cause}`.
    pub fn context(self, what: impl std::fmt::Display) -> Self {
        Self { cause: format!("failed to {what}: {}", self.cause).into(), ..self }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let hint = match error.raw_os_error() {
            Some(libc_errno::ENOSPC) => Some(Hint::DiskFull),
            Some(libc_errno::EROFS) => Some(Hint::FileSystemReadOnly),
            _ => None,
        };
        Self { hint, ..Self::new(error.to_string()) }
    }
}

/// The numbers of Linux's errno.h that get a hint.
mod libc_errno {
    pub const ENOSPC: i32 = 28;
    pub const EROFS: i32 = 30;
}
