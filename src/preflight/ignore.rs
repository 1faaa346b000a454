//! `--ignore-preflight NAME,…`: which errors are to be warnings.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::{Check, Finding, Severity};

/// The checks whose errors are taken for warnings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    all: bool,
    checks: BTreeSet<Check>,
}

/// A name that no check has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no preflight check named {name:?}")]
pub struct UnknownCheck {
    pub name: String,
    /// The name that was probably meant.
    pub suggestion: Option<String>,
}

impl Ignore {
    pub fn is_ignored(&self, check: Check) -> bool {
        self.all || self.checks.contains(&check)
    }

    /// Makes warnings of the errors that are ignored.
    pub fn apply(&self, findings: Vec<Finding>) -> Vec<Finding> {
        let soften = |finding: Finding| match self.is_ignored(finding.check) {
            true => finding.with(Severity::Warning),
            false => finding,
        };
        findings.into_iter().map(soften).collect()
    }
}

impl FromStr for Ignore {
    type Err = UnknownCheck;

    /// Names with commas between them, in any case; `all` for every check.
    fn from_str(text: &str) -> Result<Self, UnknownCheck> {
        let mut ignore = Self::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name.eq_ignore_ascii_case("all") {
                ignore.all = true;
                continue;
            }
            ignore.checks.insert(Check::by_name(name).ok_or_else(|| UnknownCheck::new(name))?);
        }
        Ok(ignore)
    }
}

impl UnknownCheck {
    pub(super) fn new(name: &str) -> Self {
        let distance = |known: &String| strsim::damerau_levenshtein(&known.to_lowercase(), &name.to_lowercase());
        let closest = Check::all().map(|check| check.to_string()).min_by_key(distance);
        // Beyond a third of the letters it is another word.
        let suggestion = closest.filter(|known| distance(known) * 3 <= known.len().max(name.len()));
        Self { name: name.into(), suggestion }
    }

    pub fn hint(&self) -> String {
        match &self.suggestion {
            Some(known) => format!("did you mean {known}?"),
            None => {
                format!("known are {}", super::list(Check::all().map(|check| check.to_string()).chain(["all".into()])))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_case() {
        let ignore: Ignore = "numcpu, Port-6443,,".parse().unwrap();
        assert!(ignore.is_ignored(Check::NumCpu) && ignore.is_ignored(Check::Port(6443)));
        assert!(!ignore.is_ignored(Check::Mem) && !ignore.is_ignored(Check::Port(10250)));
        assert_eq!("".parse(), Ok(Ignore::default()));
        assert!("ALL".parse::<Ignore>().unwrap().is_ignored(Check::Mem));
    }

    #[test]
    fn an_unknown_name_is_an_error_with_a_suggestion() {
        let unknown = "Mem,NumCPUs".parse::<Ignore>().unwrap_err();
        assert_eq!(unknown.to_string(), "there is no preflight check named \"NumCPUs\"");
        assert_eq!(unknown.hint(), "did you mean NumCPU?");
        let hint = "Moonphase".parse::<Ignore>().unwrap_err().hint();
        assert!(hint.starts_with("known are IsPrivilegedUser, ") && hint.ends_with(" and all"), "{hint}");
    }

    #[test]
    fn ignored_errors_are_warnings() {
        let ignore: Ignore = "Mem".parse().unwrap();
        let findings = vec![Finding::error(Check::Mem, "a", "b"), Finding::error(Check::NumCpu, "a", "b")];
        let severities: Vec<_> = ignore.apply(findings).into_iter().map(|finding| finding.severity).collect();
        assert_eq!(severities, [Severity::Warning, Severity::Error]);
    }
}
