//! What must tell hosts apart, and what they must agree on: names, identifiers, clocks.

use std::collections::BTreeMap;

use super::{Check, Exchange, Finding, Severity, Subject, list};
use crate::facts::Facts;

/// etcd warns of members whose clocks differ by more than a second.
const SKEW_MS: u64 = 1_000;
/// The API server allows a service account's token a minute between its own clock and the issuer's.
const SKEW_MAX_MS: u64 = 60_000;

/// Identifiers that two hosts share.
pub fn unique(subjects: &[Subject]) -> Vec<Finding> {
    let hostnames = shared(subjects, |facts| Some(facts.hostname.as_str())).into_iter().map(|(hostname, hosts)| {
        let text = format!("{} have the same hostname {hostname}", names(&hosts));
        let hint =
            "give each its own: `hostnamectl set-hostname NAME`; or is it one machine that the inventory has twice?";
        Finding::error(Check::UniqueHostname, text, hint)
    });
    let ids = shared(subjects, |facts| facts.machine_id.as_deref()).into_iter().map(|(id, hosts)| {
        let text = format!("{} have the same machine-id {id}", names(&hosts));
        let hint = "they were copied from one disk; on all but one: `rm -f /etc/machine-id /var/lib/dbus/machine-id && \
                    systemd-machine-id-setup && reboot`";
        Finding::error(Check::UniqueMachineId, text, hint)
    });
    let uuids = shared(subjects, |facts| facts.product_uuid.as_deref()).into_iter().map(|(uuid, hosts)| {
        let text = format!("{} have the same product_uuid {uuid}", names(&hosts));
        match hosts.iter().all(|subject| subject.facts.is_container()) {
            true => Finding::warning(Check::UniqueProductUuid, text, "they are containers of one machine, whose it is"),
            false => {
                let hint = "give each virtual machine a UUID of its own; Weave Net tells its peers apart by it";
                Finding::error(Check::UniqueProductUuid, text, hint)
            }
        }
    });
    hostnames.chain(ids).chain(uuids).collect()
}

pub fn hostname(Subject { host, facts, .. }: &Subject) -> Option<Finding> {
    let text = format!("the host calls itself {}", facts.hostname);
    let hint = format!(
        "its node is named {0} all the same, by the kubelet's --hostname-override; `hostnamectl set-hostname {0}` makes \
         the two one",
        host.name
    );
    (facts.hostname != host.name).then(|| Finding::warning(Check::Hostname, text, hint))
}

/// Clocks that differ more than a probe's round trip explains. One clock is taken as the measure, the median one, so that
/// a single wrong clock makes a single finding.
pub fn clocks(subjects: &[Subject], exchanges: &BTreeMap<String, Exchange>) -> Vec<Finding> {
    let mut offsets: Vec<_> = subjects
        .iter()
        .filter_map(|subject| {
            Some((subject, Offset::new(subject.facts.time_unix_ms, exchanges.get(&subject.host.name)?)))
        })
        .collect();
    offsets.sort_by_key(|(_, offset)| offset.earliest + offset.latest);
    let median = match offsets.as_slice() {
        [] => return Vec::new(),
        // Of two, a control plane's is the measure.
        [_, (second, offset)] if second.host.is_control_plane() => *offset,
        offsets => offsets[(offsets.len() - 1) / 2].1,
    };
    let finding = |(subject, offset): &(&Subject, Offset)| {
        let (gap, direction) = offset.gap(median);
        let severity = match gap {
            ..=SKEW_MS => return None,
            gap if gap <= SKEW_MAX_MS => Severity::Warning,
            _ => Severity::Error,
        };
        let text = format!("the clock is at least {:.1} s {direction} the other hosts'", gap as f64 / 1000.0);
        let hint = "let something keep the time: `apt-get install chrony`, or `timedatectl set-ntp true`; certificates, \
                    tokens and etcd depend on it";
        let host = Some(subject.host.name.clone());
        Some(Finding { host, ..Finding::error(Check::TimeSkew, text, hint).with(severity) })
    };
    let mut findings: Vec<_> = offsets.iter().filter_map(finding).collect();
    let position =
        |finding: &Finding| subjects.iter().position(|subject| Some(&subject.host.name) == finding.host.as_ref());
    findings.sort_by_key(position);
    findings
}

/// How far a host's clock is ahead of the asker's, as far as can be told: it was read somewhen between question and answer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Offset {
    earliest: i64,
    latest: i64,
}

impl Offset {
    fn new(time: u64, exchange: &Exchange) -> Self {
        let difference = |from: u64| i64::try_from(i128::from(time) - i128::from(from)).unwrap_or(i64::MAX / 4);
        Self { earliest: difference(exchange.answered), latest: difference(exchange.asked) }
    }

    /// By how many milliseconds two clocks differ at the least.
    fn gap(self, other: Self) -> (u64, &'static str) {
        let ahead = self.earliest.saturating_sub(other.latest);
        let behind = other.earliest.saturating_sub(self.latest);
        match ahead >= behind {
            true => (u64::try_from(ahead).unwrap_or(0), "ahead of"),
            false => (u64::try_from(behind).unwrap_or(0), "behind"),
        }
    }
}

/// Groups of two hosts and more that have the same value.
fn shared<'a>(
    subjects: &'a [Subject<'a>],
    value: impl Fn(&'a Facts) -> Option<&'a str>,
) -> BTreeMap<&'a str, Vec<&'a Subject<'a>>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for subject in subjects {
        if let Some(value) = value(subject.facts) {
            groups.entry(value).or_default().push(subject);
        }
    }
    groups.retain(|_, hosts| hosts.len() > 1);
    groups
}

fn names(subjects: &[&Subject]) -> String {
    list(subjects.iter().map(|subject| &subject.host.name))
}

#[cfg(test)]
mod tests;
