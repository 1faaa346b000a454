//! What a step is: it observes, and a pure function says what differs.

use std::time::Duration;

use async_trait::async_trait;

use super::{Change, Hint, Probe, Result, Text};

/// How long a step waits that says nothing else.
const DEADLINE: Duration = Duration::from_secs(300);

/// One thing that must hold on a host. Implementations only look and compare; the runner changes.
#[async_trait]
pub trait Step: Send + Sync {
    type Observed: Send;

    /// A short kebab-case name, as in a playbook.
    fn id(&self) -> &str;

    /// What it does, as a title: "Load kernel modules".
    fn title(&self) -> String;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed>;

    /// What differs from what is wanted. Pure: no I/O, no clock, no chance.
    fn diff(&self, observed: Self::Observed) -> Planned;

    /// How long the step may wait for what it needs.
    fn deadline(&self) -> Duration {
        DEADLINE
    }

    /// Collects what tells why a wait ended in vain.
    async fn evidence(&self, _probe: &dyn Probe) -> Evidence {
        Evidence::default()
    }

    /// Whether it goes on past a change that fails, which is then told as a warning.
    fn is_lenient(&self) -> bool {
        false
    }

    /// What people should know of what was left as it is, once the step is done.
    async fn remarks(&self, _probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(Vec::new())
    }
}

/// What a step found out when its wait ended in vain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    pub lines: Vec<String>,
    /// What to do about it.
    pub hint: Option<Hint>,
}

/// What a step says of what it left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    Warning(String),
    Note(String),
    /// Something that is not as it was before kboot came, and why.
    Leftover {
        thing: String,
        name: String,
        why: String,
    },
}

/// What a step wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Planned {
    /// All is as it should be.
    Satisfied,
    /// These changes, in this order; then it is observed again.
    Changes(Vec<Change>),
    /// More can't be known, or can't hold, before this is there: a dry run says so, a real one waits for it.
    After { what: Text },
    /// These changes, and more that can't be known before this is there.
    Until { changes: Vec<Change>, what: Text },
}

impl Planned {
    pub fn after(what: impl Into<Text>) -> Self {
        Self::After { what: what.into() }
    }

    /// The changes so far, where what follows them can't be known before `what` is there.
    pub fn until(changes: Vec<Change>, what: impl Into<Text>) -> Self {
        let what = what.into();
        if changes.is_empty() { Self::After { what } } else { Self::Until { changes, what } }
    }

    /// Satisfied when there is nothing to change.
    pub fn of(changes: Vec<Change>) -> Self {
        if changes.is_empty() { Self::Satisfied } else { Self::Changes(changes) }
    }

    /// The changes that are known already.
    pub fn into_changes(self) -> Vec<Change> {
        match self {
            Self::Changes(changes) | Self::Until { changes, .. } => changes,
            Self::Satisfied | Self::After { .. } => Vec::new(),
        }
    }
}

/// A step whatever it observes.
#[async_trait]
pub trait AnyStep: Send + Sync {
    fn id(&self) -> &str;
    fn title(&self) -> String;
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned>;

    /// How long the step may wait for what it needs.
    fn deadline(&self) -> Duration {
        DEADLINE
    }

    /// Collects what tells why a wait ended in vain.
    async fn evidence(&self, _probe: &dyn Probe) -> Evidence {
        Evidence::default()
    }

    /// Whether it goes on past a change that fails, which is then told as a warning.
    fn is_lenient(&self) -> bool {
        false
    }

    /// What people should know of what was left as it is, once the step is done.
    async fn remarks(&self, _probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl<S: Step> AnyStep for S {
    fn id(&self) -> &str {
        Step::id(self)
    }

    fn title(&self) -> String {
        Step::title(self)
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        Ok(self.diff(self.observe(probe).await?))
    }

    fn deadline(&self) -> Duration {
        Step::deadline(self)
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        Step::evidence(self, probe).await
    }

    fn is_lenient(&self) -> bool {
        Step::is_lenient(self)
    }

    async fn remarks(&self, probe: &dyn Probe) -> Result<Vec<Remark>> {
        Step::remarks(self, probe).await
    }
}
