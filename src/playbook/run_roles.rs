//! Which control plane, and which etcd host, leads a run, and which hosts join. No host is special: their state decides.

use std::collections::BTreeSet;

use crate::engine::{Failure, Result};
use crate::facts::NodeState;
use crate::inventory::Cluster;

/// The hosts' roles in a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RunRoles {
    /// The first control plane that belongs to the cluster, and serves if any does; of a new cluster the one that begins it.
    pub leader: Option<String>,
    /// The same of the hosts that run etcd alone.
    pub etcd_leader: Option<String>,
    /// Control planes that do not belong to the cluster yet, and etcd hosts that are no members yet; and those that have lost what they
    /// were given when they joined, and get it again.
    pub joining: BTreeSet<String>,
}

/// Of a cluster's control planes and etcd hosts, by the facts that were reached.
///
/// Where none of them belongs to a cluster, one begins it; but not while another can't be asked, which may be one already.
pub fn run_roles<'a>(cluster: &Cluster, state: impl Fn(&str) -> Option<&'a NodeState>) -> Result<RunRoles> {
    let names: Vec<&String> = cluster.control_planes().map(|host| &host.name).collect();
    let nodes = || names.iter().filter_map(|name| state(name));
    // Who has the data of a member that a recovery went on without may run a cluster that is none any more.
    let is_given_up = |node: &NodeState| {
        node.etcd_member.as_ref().is_some_and(|member| nodes().any(|other| other.given_up.contains(member)))
    };
    let (leader, mut joining) =
        part("control plane", &names, &state, |node| is_established(node) && !is_given_up(node))?;
    let names: Vec<&String> = cluster.etcd_hosts().map(|host| &host.name).collect();
    let (etcd_leader, joining_etcd) =
        part("etcd host", &names, &state, |node| node.has_manifest("etcd") && node.has_etcd_data)?;
    joining.extend(joining_etcd);
    Ok(RunRoles { leader, etcd_leader, joining })
}

/// Who leads the hosts of one kind, and which of them are yet to join.
fn part<'a>(
    kind: &str,
    names: &[&String],
    state: impl Fn(&str) -> Option<&'a NodeState>,
    belongs: impl Fn(&NodeState) -> bool,
) -> Result<(Option<String>, BTreeSet<String>)> {
    let established: Vec<&String> = names.iter().copied().filter(|name| state(name).is_some_and(&belongs)).collect();
    let silent: Vec<&str> = names.iter().filter(|name| state(name).is_none()).map(|name| name.as_str()).collect();
    let has_lost = |name: &String| state(name).is_some_and(|node| node.has_lost_authorities);
    // One that came back after the cluster went on without it looks like all others, but its API server has no etcd.
    let serves = |name: &&&String| state(name).is_some_and(|node| node.serves);
    let mut able = established.iter().filter(|name| !has_lost(name)).peekable();
    let can_give = able.peek().is_some();
    let leader = match able.clone().find(serves).or(able.next()).or(established.first()) {
        Some(leader) => Some(*leader),
        None if names.len() > 1 && !silent.is_empty() && silent.len() < names.len() => {
            return Err(Failure::new(format!(
                "no {kind} that was reached belongs to a cluster yet, and {} may do so: a new one is not begun",
                silent.join(", ")
            ))
            .hint_text(
                "run the same command again once they answer; take a host that is gone for good out of the inventory",
            ));
        }
        None => {
            let has_begun = |name: &&&String| state(name).is_some_and(|node| node.has_begun_cluster);
            names.iter().find(has_begun).or(names.first()).copied()
        }
    };
    // Of one that does not answer nobody knows; it can't join either.
    let is_new = |name: &&String| {
        let is_whole = established.contains(name) && !(can_give && has_lost(name));
        Some(*name) != leader && !is_whole && state(name).is_some()
    };
    Ok((leader.cloned(), names.iter().copied().filter(is_new).cloned().collect()))
}

/// A member's API server comes last, when its etcd has a vote. With an etcd elsewhere it is all that there is to see.
fn is_established(node: &NodeState) -> bool {
    node.has_manifest("kube-apiserver") && (node.has_etcd_data || node.uses_etcd_elsewhere())
}

#[cfg(test)]
mod tests {
    use super::*;
    fn cluster(names: &[&str]) -> Cluster {
        let host = |(index, name): (usize, &&str)| {
            let address = format!("10.0.0.{}", index + 1);
            serde_json::from_value(serde_json::json!({"name": name, "address": address, "roles": ["control-plane"]}))
                .unwrap()
        };
        let mut hosts: Vec<crate::inventory::Host> = names.iter().enumerate().map(host).collect();
        let mut cluster = Cluster::single(hosts.remove(0));
        cluster.hosts.extend(hosts);
        cluster
    }

    fn roles_of(names: &[&str], states: &[(&str, NodeState)]) -> Result<RunRoles> {
        run_roles(&cluster(names), |name| states.iter().find(|(known, _)| *known == name).map(|(_, state)| state))
    }

    fn bare() -> NodeState {
        NodeState::default()
    }

    fn established() -> NodeState {
        let manifests = vec!["etcd.yaml".into(), "kube-apiserver.yaml".into()];
        NodeState { has_etcd_data: true, manifests, ..NodeState::default() }
    }

    fn told(names: &[&str], states: &[(&str, NodeState)]) -> (String, Vec<String>) {
        let roles = roles_of(names, states).unwrap();
        (roles.leader.unwrap_or_default(), roles.joining.into_iter().collect())
    }

    #[test]
    fn the_first_begins_and_the_others_join() {
        let all = [("a", bare()), ("b", bare()), ("c", bare())];
        assert_eq!(told(&["a", "b", "c"], &all), ("a".into(), vec!["b".into(), "c".into()]));
        assert_eq!(told(&["a"], &[("a", bare())]), ("a".into(), vec![]));
    }

    #[test]
    fn any_member_leads_whoever_is_first_in_the_inventory() {
        let all = [("a", bare()), ("b", established()), ("c", established())];
        assert_eq!(told(&["a", "b", "c"], &all), ("b".into(), vec!["a".into()]));
        // The first is gone.
        assert_eq!(told(&["a", "b"], &[("b", established())]), ("b".into(), vec![]));
    }

    #[test]
    fn who_has_lost_the_authorities_gets_them_from_who_has_them() {
        let lost = NodeState { has_lost_authorities: true, serves: true, ..established() };
        let all = [("a", lost.clone()), ("b", established()), ("c", established())];
        assert_eq!(told(&["a", "b", "c"], &all), ("b".into(), vec!["a".into()]));
        let all = [("a", lost.clone()), ("b", lost)];
        assert_eq!(told(&["a", "b"], &all), ("a".into(), vec![]));
    }

    #[test]
    fn one_that_serves_leads_before_one_that_does_not() {
        let serving = NodeState { serves: true, ..established() };
        let all = [("a", established()), ("b", serving.clone()), ("c", serving)];
        assert_eq!(told(&["a", "b", "c"], &all), ("b".into(), vec![]));
        let all = [("a", bare()), ("b", established()), ("c", established())];
        assert_eq!(told(&["a", "b", "c"], &all), ("b".into(), vec!["a".into()]));
    }

    #[test]
    fn who_had_begun_goes_on_and_who_was_joining_does_not_lead() {
        let began = NodeState { has_begun_cluster: true, has_etcd_data: true, ..bare() };
        let joining = NodeState { has_etcd_data: true, manifests: vec!["etcd.yaml".into()], ..bare() };
        let all = [("a", bare()), ("b", began), ("c", joining.clone())];
        assert_eq!(told(&["a", "b", "c"], &all), ("b".into(), vec!["a".into(), "c".into()]));
        let all = [("a", established()), ("b", joining)];
        assert_eq!(told(&["a", "b"], &all), ("a".into(), vec!["b".into()]));
    }

    #[test]
    fn with_an_etcd_elsewhere_an_api_server_makes_a_member() {
        let servers = Some("https://10.0.0.21:2379,https://10.0.0.22:2379".into());
        let immutable = crate::facts::ImmutableSettings { etcd_servers: servers, ..Default::default() };
        let member = NodeState { manifests: vec!["kube-apiserver.yaml".into()], immutable, ..bare() };
        let all = [("a", bare()), ("b", member), ("c", bare())];
        assert_eq!(told(&["a", "b", "c"], &all), ("b".into(), vec!["a".into(), "c".into()]));
        // One that lost its etcd is none.
        let lost = NodeState { manifests: vec!["kube-apiserver.yaml".into()], ..bare() };
        assert_eq!(told(&["a", "b"], &[("a", bare()), ("b", lost)]), ("a".into(), vec!["b".into()]));
    }

    #[test]
    fn hosts_of_etcd_s_have_a_leader_of_their_own() {
        let mut cluster = cluster(&["a", "e1", "e2"]);
        cluster.hosts[1..].iter_mut().for_each(|host| host.roles = vec![crate::inventory::Role::Etcd]);
        let member = NodeState { manifests: vec!["etcd.yaml".into()], has_etcd_data: true, ..bare() };
        let of = |states: &[(&str, NodeState)]| {
            run_roles(&cluster, |name| states.iter().find(|(known, _)| *known == name).map(|(_, state)| state))
        };
        let roles = of(&[("a", bare()), ("e1", bare()), ("e2", member.clone())]).unwrap();
        assert_eq!((roles.leader.as_deref(), roles.etcd_leader.as_deref()), (Some("a"), Some("e2")));
        assert_eq!(roles.joining, BTreeSet::from(["e1".to_string()]));
        let roles = of(&[("a", bare()), ("e1", bare()), ("e2", bare())]).unwrap();
        assert_eq!((roles.etcd_leader.as_deref(), roles.joining), (Some("e1"), BTreeSet::from(["e2".to_string()])));
        let failure = of(&[("a", bare()), ("e1", bare())]).unwrap_err();
        assert!(failure.cause.starts_with("no etcd host that was reached"), "{}", failure.cause);
        // Members go on without one that is silent.
        assert_eq!(of(&[("a", bare()), ("e2", member)]).unwrap().etcd_leader.as_deref(), Some("e2"));
    }

    #[test]
    fn who_was_given_up_by_a_recovery_neither_leads_nor_belongs() {
        let with = |member: &str, given_up: &[&str]| NodeState {
            etcd_member: Some(member.into()),
            given_up: given_up.iter().map(ToString::to_string).collect(),
            ..established()
        };
        let all = [("a", with("1", &[])), ("b", with("2", &[])), ("c", with("3", &["1", "2"]))];
        assert_eq!(told(&["a", "b", "c"], &all), ("c".into(), vec!["a".into(), "b".into()]));
        // b has joined again, as another member.
        let all = [("a", with("1", &[])), ("b", with("4", &[])), ("c", with("3", &["1", "2"]))];
        assert_eq!(told(&["a", "b", "c"], &all), ("b".into(), vec!["a".into()]));
    }

    #[test]
    fn no_second_cluster_is_begun_beside_one_that_can_t_be_seen() {
        let failure = roles_of(&["a", "b"], &[("b", bare())]).unwrap_err();
        assert!(failure.cause.contains("and a may do so"), "{}", failure.cause);
        // Alone it is told where it is missed.
        assert_eq!(told(&["a"], &[]), ("a".into(), vec![]));
    }
}
