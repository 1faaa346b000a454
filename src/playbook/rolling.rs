//! A phase that hosts of a running cluster take a few at a time: each is well again before the next one begins, and what fails on one
//! is not done to the others. Hosts that are new to the cluster don't wait: nothing runs there that could be disturbed.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::written::Scalar;
use crate::engine::{Failure, Result};

/// How many hosts, as in Kubernetes' rolling updates: a number, or a share of those that take the phase, rounded up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MaxUnavailable {
    Count(usize),
    /// `10%`
    Share(Percent),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(usize);

impl TryFrom<String> for Percent {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
        match percent {
            Some(percent @ 1..=100) => Ok(Self(percent)),
            _ => Err(format!("{text} is neither a number of hosts nor a share as 10%")),
        }
    }
}

impl From<Percent> for String {
    fn from(Percent(percent): Percent) -> Self {
        format!("{percent}%")
    }
}

impl MaxUnavailable {
    /// As it is written in a playbook.
    pub(super) fn written(&self) -> Scalar {
        match self {
            Self::Count(count) => Scalar::Number(i64::try_from(*count).unwrap_or(i64::MAX)),
            Self::Share(percent) => Scalar::Text(percent.clone().into()),
        }
    }

    pub(super) fn read(written: &Scalar) -> std::result::Result<Self, String> {
        match written {
            Scalar::Number(count) => usize::try_from(*count)
                .ok()
                .filter(|count| *count > 0)
                .map(Self::Count)
                .ok_or_else(|| format!("{count} is no number of hosts")),
            Scalar::Text(text) => Percent::try_from(text.clone()).map(Self::Share),
        }
    }

    /// At least one: none at all would wait for ever.
    pub fn of(&self, hosts: usize) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::Share(Percent(percent)) => (hosts * percent).div_ceil(100),
        }
        .max(1)
    }
}

/// The turns of one phase.
pub(super) struct Turns {
    phase: String,
    free: Semaphore,
    /// The host on which the phase failed first.
    failed: Mutex<Option<String>>,
}

impl Turns {
    pub fn new(phase: &str, at_once: usize) -> Self {
        Self { phase: phase.into(), free: Semaphore::new(at_once), failed: Mutex::default() }
    }

    /// Waits for a place among those that are at it.
    pub async fn take(&self) -> Result<SemaphorePermit<'_>> {
        let place = self.free.acquire().await.expect("it is never closed");
        match self.failed.lock().expect("no panic while held").as_deref() {
            None => Ok(place),
            Some(host) => Err(Failure::new(format!("not tried, for the phase {} failed on {host}", self.phase))
                .hint_text("mend what failed there, then run the same command again")),
        }
    }

    pub fn failed(&self, host: &str) {
        self.failed.lock().expect("no panic while held").get_or_insert_with(|| host.into());
    }

    pub fn are_all_taken(&self) -> bool {
        self.free.available_permits() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_share() {
        let read = |text: &str| serde_yaml::from_str::<MaxUnavailable>(text).map(|max| max.of(25));
        assert_eq!(read("1").unwrap(), 1);
        assert_eq!(read("10%").unwrap(), 3);
        assert_eq!(read("100%").unwrap(), 25);
        assert_eq!(read("0").unwrap(), 1);
        for wrong in ["0%", "101%", "-1", "some", "1.5"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(MaxUnavailable::Share(Percent(10)).of(0), 1);
    }

    #[tokio::test]
    async fn after_a_failure_nobody_begins() {
        let turns = Turns::new("join", 1);
        let first = turns.take().await.unwrap();
        assert!(turns.are_all_taken());
        turns.failed("n2");
        drop(first);
        let failure = turns.take().await.unwrap_err();
        assert_eq!(failure.cause, "not tried, for the phase join failed on n2");
        assert!(!turns.are_all_taken());
    }
}
