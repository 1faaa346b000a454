//! Commands that are run only where a guard says that they are needed.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::AnyResource;
use crate::engine::{Change, Failure, Guard, Hint, Planned, Probe, Result};

/// By what one sees that a command need not be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Something is at this path.
    Exists(Utf8PathBuf),
    /// Nothing is at this path.
    IsGone(Utf8PathBuf),
    /// This command succeeds.
    Succeeds(Guard),
}

/// A command that makes its condition hold.
pub struct Guarded {
    argv: Vec<String>,
    why: String,
    condition: Condition,
    undo: Option<Vec<String>>,
    /// A command that does not reach its end must not be run again and again.
    is_planned: AtomicBool,
}

impl Guarded {
    /// `why` is what it is good for, as "make the database"; `undo` takes it back.
    pub fn new(argv: Vec<String>, why: impl Into<String>, condition: Condition, undo: Option<Vec<String>>) -> Self {
        Self { argv, why: why.into(), condition, undo, is_planned: AtomicBool::new(false) }
    }
}

impl Condition {
    /// None where it holds, else what there is instead.
    async fn lacking(&self, probe: &dyn Probe) -> Result<Option<String>> {
        match self {
            Condition::Exists(path) => {
                Ok(probe.stat(path).await?.is_none().then(|| format!("{path} is still not there")))
            }
            Condition::IsGone(path) => Ok(probe.stat(path).await?.is_some().then(|| format!("{path} is still there"))),
            Condition::Succeeds(guard) => {
                let output = probe.ask(guard).await?;
                let argv = guard.argv().join(" ");
                match output.code {
                    Some(0) => Ok(None),
                    // The shell's and `timeout`'s word for a program that is not there, or can't be run.
                    Some(126 | 127) => {
                        Err(Failure::new(format!("the guard `{argv}` can't be run")).hint(Hint::InstallGuard))
                    }
                    code => Ok(Some(match code {
                        Some(code) => format!("`{argv}` still ends with exit code {code}"),
                        None => format!("`{argv}` was ended by a signal"),
                    })),
                }
            }
        }
    }
}

#[async_trait]
impl AnyResource for Guarded {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let Some(lacking) = self.condition.lacking(probe).await? else { return Ok(Planned::Satisfied) };
        if self.is_planned.swap(true, Ordering::Relaxed) {
            return Err(
                Failure::new(format!("`{}` succeeded, but {lacking}", self.argv.join(" "))).hint(Hint::CorrectGuard)
            );
        }
        let (argv, why, undo) = (self.argv.clone(), self.why.clone(), self.undo.clone());
        Ok(Planned::Changes(vec![Change::Run { argv, why, undo }]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    fn guarded(condition: Condition) -> Guarded {
        Guarded::new(vec!["make-db".into()], "make the database", condition, None)
    }

    #[tokio::test]
    async fn a_command_is_run_only_where_its_guard_wants_it() {
        let exists = || guarded(Condition::Exists("/db".into()));
        assert_eq!(exists().plan(&FakeHost::default().file("/db", "")).await.unwrap(), Planned::Satisfied);
        let Planned::Changes(changes) = exists().plan(&FakeHost::default()).await.unwrap() else { panic!("no change") };
        assert_eq!(changes[0].to_string(), "make the database (`make-db`)");

        let gone = guarded(Condition::IsGone("/old".into()));
        assert_eq!(gone.plan(&FakeHost::default()).await.unwrap(), Planned::Satisfied);
        let is_made = || Condition::Succeeds(Guard::declared_to_only_read(vec!["has-db".into(), "x".into()]));
        let host = FakeHost::default().answer("has-db x", 0, "");
        assert_eq!(guarded(is_made()).plan(&host).await.unwrap(), Planned::Satisfied);
        let host = FakeHost::default().answer("has-db x", 1, "");
        assert!(matches!(guarded(is_made()).plan(&host).await.unwrap(), Planned::Changes(_)));
    }

    #[tokio::test]
    async fn a_command_that_misses_its_guard_is_told_rather_than_repeated() {
        let command = guarded(Condition::Exists("/db".into()));
        let host = FakeHost::default();
        command.plan(&host).await.unwrap();
        let failure = command.plan(&host).await.unwrap_err();
        assert_eq!(failure.cause, "`make-db` succeeded, but /db is still not there");
    }

    #[tokio::test]
    async fn a_guard_that_cannot_be_asked_is_an_error() {
        let condition = Condition::Succeeds(Guard::declared_to_only_read(vec!["nothing".into()]));
        let host = FakeHost::default().answer("nothing", 127, "");
        assert!(guarded(condition).plan(&host).await.unwrap_err().cause.contains("can't be run"));
    }
}
