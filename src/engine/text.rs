//! Words for people: why something failed, what is waited for, what a step is called.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Words for people. Only what shows them to people can read them: there is no way to search, cut or match them, so nothing decides by
/// them. What decides has a type of its own: a [`Hint`](super::Hint)'s code, a [`ChangeId`](super::ChangeId), a flag of a
/// [`Failure`](super::Failure).
///
/// ```compile_fail
/// let cause = kboot::engine::Text::from("no space left on device");
/// assert!(cause.contains("space"));
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// The words after "failed to", for a reporter that has said "failed" already.
    pub fn after_failed_to(&self) -> Option<&str> {
        self.0.strip_prefix(&super::disguise::words("failed to ".into()))
    }

    /// Changes the words as a whole, as for a place where they must be one line.
    pub fn map(self, change: impl FnOnce(&str) -> String) -> Self {
        Self(change(&self.0))
    }
}

impl From<String> for Text {
    fn from(words: String) -> Self {
        Self(super::disguise::words(words))
    }
}

impl From<&str> for Text {
    fn from(words: &str) -> Self {
        words.to_owned().into()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Tests compare words, as people read them, and so do fuzz targets.
#[cfg(any(test, fuzzing))]
impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

#[cfg(test)]
impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        self.0 == *other
    }
}
