//! An etcd that is not kboot's: whether it answers, takes the API servers for its clients, is new enough, and holds what it should.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use super::{Check, Finding, Severity, Subject, list};
use crate::facts::{EtcdState, EtcdView, Facts};
use crate::inventory::Cluster;

/// kubeadm's constant MinExternalEtcdVersion in 1.37.
const OLDEST: Version = Version::new(3, 5, 24);

/// What an API server should find when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedData {
    /// Nothing: the cluster is yet to be made.
    None,
    /// The cluster's, wherever it is looked for.
    Some,
    /// Whatever is there: the API servers use it already.
    Any,
}

impl ExpectedData {
    /// By what the control planes are. `leader` makes the cluster if there is none; without a leader the cluster is elsewhere.
    pub fn of(cluster: &Cluster, facts: &BTreeMap<String, Facts>, leader: Option<&str>) -> Self {
        let Some(endpoints) = cluster.etcd_endpoints() else { return Self::Any };
        let wanted = endpoints.join(",");
        let known: Vec<&str> =
            facts.values().filter_map(|facts| facts.node.immutable.etcd_servers.as_deref()).collect();
        match leader.and_then(|leader| facts.get(leader)) {
            _ if known.contains(&wanted.as_str()) => Self::Any,
            Some(leader) if !leader.node.has_manifest("kube-apiserver") => Self::None,
            _ => Self::Some,
        }
    }
}

/// Judges what the control planes saw, by their names. What all of them say is said once.
pub fn external_etcd(views: &BTreeMap<String, EtcdView>, expected: ExpectedData) -> Vec<Finding> {
    let mut seen: Vec<(Finding, BTreeSet<&str>)> = Vec::new();
    for (host, view) in views {
        for finding in one(view, expected) {
            match seen.iter_mut().find(|(known, _)| *known == finding) {
                Some((_, hosts)) => drop(hosts.insert(host)),
                None => seen.push((finding, [host.as_str()].into())),
            }
        }
    }
    let told = |(finding, hosts): (Finding, BTreeSet<&str>)| match hosts.len() == views.len() && views.len() > 1 {
        true => vec![finding],
        false => hosts.into_iter().map(|host| Finding { host: Some(host.into()), ..finding.clone() }).collect(),
    };
    seen.into_iter().flat_map(told).collect()
}

/// Where etcd has hosts of its own: a cluster whose state is there, and none of these hosts has any of it.
pub(super) fn lost(all: &[Subject]) -> Option<Finding> {
    let mut hosts = all.iter().filter(|subject| subject.host.is_etcd()).peekable();
    hosts.peek()?;
    let client =
        all.iter().find(|subject| subject.host.is_control_plane() && subject.facts.node.uses_etcd_elsewhere())?;
    if hosts.any(|subject| subject.facts.node.has_etcd_data) {
        return None;
    }
    let servers = client.facts.node.immutable.etcd_servers.as_deref().unwrap_or_default();
    let text = format!(
        "{} keeps the cluster's state in the etcd at {servers}, and no etcd host has any data",
        client.host.name
    );
    let hint = "a new etcd would be empty: bring one of its members back, or its data from a snapshot; if nothing in the cluster is needed any \
                more, make it anew: `kboot reset`, then `kboot up`";
    Some(Finding::error(Check::ExternalEtcdData, text, hint))
}

fn one(view: &EtcdView, expected: ExpectedData) -> Vec<Finding> {
    // A cluster that runs can do without a member; a new one is not begun on what is broken.
    let severe = match view.answers() && expected != ExpectedData::None {
        true => Severity::Warning,
        false => Severity::Error,
    };
    let mut findings = Vec::new();
    let mut clusters: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for endpoint in &view.endpoints {
        let url = &endpoint.url;
        let certificates = Check::ExternalEtcdClientCertificates;
        match &endpoint.state {
            EtcdState::Answers { version, cluster, complaints } => {
                clusters.entry(cluster).or_default().push(url);
                findings.extend(old(url, version));
                findings.extend(complaints.iter().map(|text| complaint(url, text)));
            }
            EtcdState::Silent { reason } => {
                let text = format!("etcd at {url} does not answer: it {reason}");
                let hint = "see that it runs, that `etcd.external.endpoints` has its client URL, and that nothing on the way keeps the \
                            control planes from it";
                findings.push(Finding::error(Check::ExternalEtcdVersion, text, hint).with(severe));
            }
            EtcdState::Untrusted { reason } => {
                let text = format!("etcd at {url} is not trusted: it {reason}");
                let hint = "`etcd.external.caFile` must have signed the member's certificate, and that must name the host of the URL";
                findings.push(Finding::error(certificates, text, hint).with(severe));
            }
            EtcdState::Refuses { reason } => {
                let text = format!("etcd at {url} refuses this cluster: it {reason}");
                let hint = "`etcd.external.certFile` must be signed by what that etcd has as `--trusted-ca-file`, and be valid by its clock";
                findings.push(Finding::error(certificates, text, hint).with(severe));
            }
        }
    }
    if clusters.len() > 1 {
        let groups: Vec<String> = clusters.values().map(list).collect();
        let text = format!("the endpoints belong to {} etcd clusters: {}", groups.len(), groups.join(" | "));
        let hint = "API servers would each have a state of their own: name the members of one";
        findings.push(Finding::error(Check::ExternalEtcdData, text, hint));
    }
    findings.extend(data(view, expected));
    findings
}

fn old(url: &str, version: &str) -> Option<Finding> {
    let known = Version::parse(version).ok()?;
    let text = format!("etcd at {url} is version {version}, and Kubernetes needs {OLDEST} at the least");
    (known < OLDEST)
        .then(|| Finding::error(Check::ExternalEtcdVersion, text, "upgrade it first, one member after the other"))
}

fn complaint(url: &str, said: &str) -> Finding {
    let text = format!("etcd at {url} is not well: {said}");
    let hint = match said {
        said if said.contains("NOSPACE") => {
            "it takes no more writes: compact and defragment it, or give it a larger `--quota-backend-bytes`, then `etcdctl alarm disarm`"
        }
        said if said.contains("no leader") => "a majority of its members must run: see its own log",
        _ => "see its own log, and `etcdctl endpoint status`",
    };
    Finding::error(Check::ExternalEtcdVersion, text, hint)
}

fn data(view: &EtcdView, expected: ExpectedData) -> Option<Finding> {
    match (view.has_data.as_ref()?, expected) {
        (Err(reason), _) => {
            let text = format!("etcd answers, but not for all of its cluster: {reason}");
            Some(Finding::error(Check::ExternalEtcdVersion, text, "a majority of its members must run: see their logs"))
        }
        (Ok(true), ExpectedData::None) => {
            let text = "etcd holds the state of a cluster, and none of these control planes belongs to one";
            let hint = "is it another cluster's? give this one an etcd or, by the API server's `etcd-prefix`, a place of its own. Is it what is \
                        left of one that is gone? empty it: `etcdctl del --prefix /registry/`. `--ignore-preflight ExternalEtcdData` takes it \
                        over as it is, with new certificates and keys";
            Some(Finding::error(Check::ExternalEtcdData, text, hint))
        }
        (Ok(false), ExpectedData::Some) => {
            let text = "etcd holds nothing, and the cluster has its state elsewhere";
            let hint = "`etcd.external.endpoints` must lead to the etcd that the cluster was made with, or to one that was restored from it";
            Some(Finding::error(Check::ExternalEtcdData, text, hint))
        }
        (Ok(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::EtcdEndpoint;

    fn answers(version: &str, cluster: &str, complaints: &[&str]) -> EtcdState {
        let complaints = complaints.iter().map(ToString::to_string).collect();
        EtcdState::Answers { version: version.into(), cluster: cluster.into(), complaints }
    }

    fn view(states: Vec<EtcdState>, has_data: Option<Result<bool, String>>) -> EtcdView {
        let endpoint = |(index, state)| EtcdEndpoint { url: format!("https://e{index}:2379"), state };
        EtcdView { endpoints: states.into_iter().enumerate().map(endpoint).collect(), has_data }
    }

    fn told(view: &EtcdView, expected: ExpectedData) -> Vec<String> {
        let views = [("n1".to_string(), view.clone())].into();
        external_etcd(&views, expected)
            .into_iter()
            .map(|finding| format!("{} {:?}: {}", finding.check, finding.severity, finding.text))
            .collect()
    }

    fn well() -> EtcdState {
        answers("3.7.0", "a1", &[])
    }

    #[test]
    fn one_that_is_well_and_empty_takes_a_new_cluster() {
        assert_eq!(told(&view(vec![well(), well()], Some(Ok(false))), ExpectedData::None), [""; 0]);
        assert_eq!(told(&view(vec![well()], Some(Ok(true))), ExpectedData::Some), [""; 0]);
        for has_data in [true, false] {
            assert_eq!(told(&view(vec![well()], Some(Ok(has_data))), ExpectedData::Any), [""; 0]);
        }
    }

    #[test]
    fn another_s_state_is_not_taken_over_and_none_is_not_taken_for_the_cluster_s() {
        let full = told(&view(vec![well()], Some(Ok(true))), ExpectedData::None);
        assert!(full[0].starts_with("ExternalEtcdData Error: etcd holds the state of a cluster"), "{full:?}");
        let empty = told(&view(vec![well()], Some(Ok(false))), ExpectedData::Some);
        assert!(empty[0].starts_with("ExternalEtcdData Error: etcd holds nothing"), "{empty:?}");
        let two = told(&view(vec![well(), answers("3.7.0", "b2", &[])], Some(Ok(false))), ExpectedData::None);
        assert!(two[0].contains("belong to 2 etcd clusters: https://e0:2379 | https://e1:2379"), "{two:?}");
    }

    #[test]
    fn what_is_in_the_way_is_told_by_its_kind() {
        let silent = EtcdState::Silent { reason: "refuses connections".into() };
        let untrusted = EtcdState::Untrusted { reason: "shows nothing".into() };
        let refuses = EtcdState::Refuses { reason: "says no".into() };
        let all = view(vec![silent.clone(), untrusted, refuses], None);
        assert_eq!(
            told(&all, ExpectedData::Any),
            [
                "ExternalEtcdVersion Error: etcd at https://e0:2379 does not answer: it refuses connections",
                "ExternalEtcdClientCertificates Error: etcd at https://e1:2379 is not trusted: it shows nothing",
                "ExternalEtcdClientCertificates Error: etcd at https://e2:2379 refuses this cluster: it says no",
            ]
        );
        // A cluster that runs does without one; a new one is not begun so.
        let one = view(vec![well(), silent], Some(Ok(true)));
        assert!(told(&one, ExpectedData::Any)[0].starts_with("ExternalEtcdVersion Warning"));
        assert!(told(&one, ExpectedData::None)[0].starts_with("ExternalEtcdVersion Error"));
    }

    #[test]
    fn its_age_and_its_health_are_told() {
        let old = told(&view(vec![answers("3.5.23", "a", &[])], Some(Ok(false))), ExpectedData::None);
        assert_eq!(
            old,
            [
                "ExternalEtcdVersion Error: etcd at https://e0:2379 is version 3.5.23, and Kubernetes needs 3.5.24 at the least"
            ]
        );
        let full =
            told(&view(vec![answers("3.6.8", "a", &["memberID:1 alarm:NOSPACE"])], Some(Ok(true))), ExpectedData::Any);
        assert!(full[0].ends_with("is not well: memberID:1 alarm:NOSPACE"), "{full:?}");
        let lost = told(&view(vec![well()], Some(Err("no leader".into()))), ExpectedData::Any);
        assert!(lost[0].contains("not for all of its cluster: no leader"), "{lost:?}");
    }

    #[test]
    fn what_all_see_is_told_once() {
        let silent = view(vec![EtcdState::Silent { reason: "x".into() }], None);
        let hosts = |views: &BTreeMap<String, EtcdView>| -> Vec<Option<String>> {
            external_etcd(views, ExpectedData::Any).into_iter().map(|finding| finding.host).collect()
        };
        let both = [("n1".into(), silent.clone()), ("n2".into(), silent.clone())].into();
        assert_eq!(hosts(&both), [None]);
        let one = [("n1".into(), silent), ("n2".into(), view(vec![well()], Some(Ok(true))))].into();
        assert_eq!(hosts(&one), [Some("n1".into())]);
    }

    #[test]
    fn what_is_expected_follows_from_the_control_planes() {
        let sample = super::super::samples::sample().with_etcd_at("https://e0:2379");
        let of = |facts: &BTreeMap<String, Facts>, leader| ExpectedData::of(&sample.cluster, facts, leader);
        assert_eq!(of(&sample.facts, Some("n1")), ExpectedData::None);
        // It joins one that is elsewhere.
        assert_eq!(of(&sample.facts, None), ExpectedData::Some);
        let mut facts = sample.facts.clone();
        let node = &mut facts.get_mut("n1").unwrap().node;
        node.manifests = vec!["kube-apiserver.yaml".into()];
        node.immutable.etcd_servers = Some("https://e0:2379".into());
        assert_eq!(of(&facts, Some("n1")), ExpectedData::Any);
        facts.get_mut("n1").unwrap().node.immutable.etcd_servers = Some("https://e9:2379".into());
        assert_eq!(of(&facts, Some("n1")), ExpectedData::Some);
    }
}
