//! Whether hosts are fit for what an inventory wants of them: every finding at once, before anything is changed.
//!
//! Pure functions of the inventory and of [`Facts`]: nothing here looks at a host or asks a clock. What a step will mend is
//! a warning that says so; what no step can mend, or what must not be done unasked, is an error.

mod balancer;
mod catalogue;
mod etcd;
mod identity;
mod ignore;
mod machine;
mod membership;
mod network;
mod runtime;
mod settings;

#[cfg(test)]
pub(crate) mod samples;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::Failure;
use crate::facts::Facts;
use crate::inventory::{Cluster, Host};

pub use catalogue::Check;
pub use etcd::{ExpectedData, external_etcd};
pub use ignore::{Ignore, UnknownCheck};
pub use membership::is_pod_network;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The host's name in the inventory; None where several hosts, or the inventory, are to blame.
    pub host: Option<String>,
    pub check: Check,
    pub severity: Severity,
    /// What was found, as a lower-case fragment.
    pub text: String,
    /// What mends it, or what kboot does about it.
    pub hint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Warning,
    Error,
}

/// When a host was asked for its facts and when it had answered, by the asker's clock, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    pub asked: u64,
    pub answered: u64,
}

/// Judges all hosts whose facts are known. Both maps go by the inventory's names; a host without an exchange is left out
/// when clocks are compared. The order is that of the inventory, what concerns several hosts first.
pub fn check(cluster: &Cluster, facts: &BTreeMap<String, Facts>, clocks: &BTreeMap<String, Exchange>) -> Vec<Finding> {
    let subjects: Vec<_> = cluster
        .hosts
        .iter()
        .filter_map(|host| Some(Subject { cluster, host, facts: facts.get(&host.name)? }))
        .collect();
    let mut findings = network::own_subnets(cluster);
    findings.extend(identity::unique(&subjects));
    findings.extend(identity::clocks(&subjects, clocks));
    findings.extend(etcd::lost(&subjects));
    for subject in &subjects {
        let found = machine::check(subject)
            .into_iter()
            .chain(identity::hostname(subject))
            .chain(runtime::check(subject))
            .chain(membership::check(subject, &subjects))
            .chain(settings::check(subject))
            .chain(network::check(subject))
            .chain(balancer::check(subject));
        findings.extend(found.map(|finding| Finding { host: Some(subject.host.name.clone()), ..finding }));
    }
    findings
}

/// Whether to go on: an error that lists all errors, if there are any. Warnings don't count.
pub fn verdict(findings: &[Finding]) -> Result<(), Failure> {
    let errors: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    let count = match errors.len() {
        0 => return Ok(()),
        1 => "a reason".into(),
        count => format!("{count} reasons"),
    };
    Err(Failure::new(format!("the preflight checks found {count} not to begin"))
        .evidence(errors.iter().map(|finding| finding.to_string()))
        .hint_text("mend this and run the same command again; `--ignore-preflight NAME,…` goes on in spite of a check"))
}

/// A host in the light of its inventory.
struct Subject<'a> {
    cluster: &'a Cluster,
    host: &'a Host,
    facts: &'a Facts,
}

impl Finding {
    fn error(check: Check, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { host: None, check, severity: Severity::Error, text: text.into(), hint: hint.into() }
    }

    fn warning(check: Check, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(check, text, hint) }
    }

    fn with(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, "{host}: ")?;
        }
        write!(f, "{} [{}]; hint: {}", self.text, self.check, self.hint)
    }
}

/// `a, b and c`
fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    match items.as_slice() {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        items => items.join(", "),
    }
}

#[cfg(test)]
mod tests;
