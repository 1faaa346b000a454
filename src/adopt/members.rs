//! Whose nodes the named hosts are, and all nodes of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Draft, Named, Survey};
use crate::engine::hint::HostWord;
use crate::engine::{Failure, Result};
use crate::inventory::{CONTROL_PLANE, Host, Role};
use crate::kube::node;

/// Labels that Kubernetes, kubeadm or a cloud sets by itself, by their prefixes.
const AUTOMATIC: [&str; 8] = [
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "beta.kubernetes.io/",
    "node.kubernetes.io/instance-type",
    "node.kubernetes.io/exclude-from-external-load-balancers",
    "failure-domain.beta.kubernetes.io/",
    CONTROL_PLANE,
];

/// The hosts by their nodes' names, if all are nodes of one cluster and one of them a control plane. All that is wrong is told.
pub fn check(named: &[Named]) -> Result<BTreeMap<String, &Named>> {
    let mut wrong = Vec::new();
    for host in named.iter().filter(|host| !host.facts.node.has_kubelet_conf) {
        wrong.push(format!("{}: no node of a cluster: it has no /etc/kubernetes/kubelet.conf", host.target));
    }
    if !wrong.is_empty() {
        return Err(
            refused(wrong).hint_text("leave it out: a host that is to become a node goes into the inventory by hand")
        );
    }
    let Some(leader) = named.iter().find(|host| host.survey.objects.is_some()) else {
        let cause =
            "none of the hosts is a control plane: the cluster is read on one, with its /etc/kubernetes/admin.conf";
        return Err(Failure::new(cause).hint_text("name a control plane, too: --host USER@ADDRESS"));
    };
    agree_with(leader, named)?;
    let mut nodes: BTreeMap<String, &Named> = BTreeMap::new();
    for host in named {
        let name = node_name(host);
        if host.facts.node.ca != leader.facts.node.ca {
            wrong.push(format!(
                "{}: node {name} of another cluster than {}: its certificate authority is another",
                host.target, leader.target
            ));
        } else if leader.survey.object("Node", &name).is_none() {
            wrong.push(format!("{}: the cluster has no node {name}", host.target));
        } else if let Some(other) = nodes.insert(name.clone(), host) {
            wrong.push(format!("{}: node {name}, which {} is, too", host.target, other.target));
        }
    }
    if wrong.is_empty() { Ok(nodes) } else { Err(refused(wrong).hint_text("name hosts of one cluster, each once")) }
}

/// All that have an administrator's kubeconfig must say the same of the cluster: one that says something else may say what it likes.
fn agree_with(leader: &Named, named: &[Named]) -> Result<()> {
    let own = essence(&leader.survey);
    let others = named.iter().filter(|host| host.survey.objects.is_some() && essence(&host.survey) != own);
    let others: Vec<&str> = others.map(|host| host.target.as_str()).collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("{} and {} say different things of the cluster", leader.target, others.join(", "))).hint_text(
        "if nodes came or went just now, run the same command again; else compare `kubectl get nodes --show-labels` and \
         `kubectl -n kube-system get configmaps -o yaml` there: one of the hosts is not what it should be",
    ))
}

/// What of the cluster an inventory is made of, and does not change by itself.
fn essence(survey: &Survey) -> BTreeSet<String> {
    let objects = survey.objects.iter().flatten();
    objects
        .map(|object| {
            let metadata = &object["metadata"];
            let name = (&object["kind"], &metadata["namespace"], &metadata["name"]);
            match object["kind"] == "Node" {
                true => {
                    format!("{name:?} {:?} {:?} {:?}", labels(object), roles(object), node::internal_address(object))
                }
                false => {
                    let pod = object.pointer("/spec/template/spec").unwrap_or(&Value::Null);
                    format!("{name:?} {} {pod}", object["data"])
                }
            }
        })
        .collect()
}

fn refused(wrong: Vec<String>) -> Failure {
    Failure::new("the hosts are not nodes of one cluster").evidence(wrong)
}

fn node_name(host: &Named) -> String {
    let name = host.facts.node.immutable.node_name.clone();
    name.unwrap_or_else(|| host.facts.hostname.to_lowercase())
}

/// Every node of the cluster: control planes first, then by name.
pub fn hosts(draft: &mut Draft<'_>) -> Result<()> {
    let objects = draft.leader().objects.clone().unwrap_or_default();
    let nodes: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "Node").collect();
    let mut hosts = Vec::new();
    for node in nodes {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        let Some(address) = node::internal_address(node).and_then(|address| address.parse().ok()) else {
            return Err(Failure::new(format!("the node {name} has no address in the cluster"))
                .hint_text(format!("see `kubectl get node {} -o yaml`: its kubelet reports one", HostWord::of(name))));
        };
        let mut host = Host::new(name, address, Vec::new());
        (host.roles, host.taints) = roles(node);
        host.labels = labels(node);
        if !draft.nodes.contains_key(name) {
            draft.note(format!("{name} was not looked at: add --host USER@{address} to have it read as well"));
        }
        hosts.push(host);
    }
    hosts.sort_by_key(|host| (!host.is_control_plane(), host.name.clone()));
    draft.cluster.hosts = hosts;
    Ok(())
}

/// Roles, and taints where they are not those of the roles.
fn roles(node: &Value) -> (Vec<Role>, Option<Vec<String>>) {
    let is_control_plane = node["metadata"]["labels"].get(CONTROL_PLANE).is_some();
    let taints: Vec<String> = node["spec"]["taints"].as_array().into_iter().flatten().filter_map(taint).collect();
    match (is_control_plane, taints.as_slice()) {
        (true, [one]) if *one == format!("{CONTROL_PLANE}:NoSchedule") => (vec![Role::ControlPlane], None),
        (true, []) => (vec![Role::ControlPlane, Role::Worker], None),
        (true, _) => (vec![Role::ControlPlane], Some(taints)),
        (false, []) => (vec![Role::Worker], None),
        (false, _) => (vec![Role::Worker], Some(taints)),
    }
}

/// As an inventory has it; None for what the cluster sets and takes away by itself.
fn taint(taint: &Value) -> Option<String> {
    let text = |field: &str| taint[field].as_str().unwrap_or_default();
    let (key, value, effect) = (text("key"), text("value"), text("effect"));
    if key.starts_with("node.kubernetes.io/") || key.starts_with("node.cloudprovider.kubernetes.io/") {
        return None;
    }
    Some(if value.is_empty() { format!("{key}:{effect}") } else { format!("{key}={value}:{effect}") })
}

fn labels(node: &Value) -> BTreeMap<String, String> {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let own = labels.filter(|(key, _)| !AUTOMATIC.iter().any(|known| key.starts_with(known)));
    own.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn roles_and_taints_of_a_node() {
        let node =
            |labels: Value, taints: Value| roles(&json!({"metadata": {"labels": labels}, "spec": {"taints": taints}}));
        let control = json!({CONTROL_PLANE: ""});
        let own = json!({"key": CONTROL_PLANE, "effect": "NoSchedule"});
        let database = json!({"key": "dedicated", "value": "db", "effect": "NoExecute"});
        let passing = json!({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"});
        for (labels, taints, expected) in [
            (&control, json!([own]), (vec![Role::ControlPlane], None)),
            (&control, json!([passing, own]), (vec![Role::ControlPlane], None)),
            (&control, json!([]), (vec![Role::ControlPlane, Role::Worker], None)),
            (&control, json!([database]), (vec![Role::ControlPlane], Some(vec!["dedicated=db:NoExecute".to_owned()]))),
            (&json!({}), Value::Null, (vec![Role::Worker], None)),
            (
                &json!({}),
                json!([passing, database]),
                (vec![Role::Worker], Some(vec!["dedicated=db:NoExecute".to_owned()])),
            ),
        ] {
            assert_eq!(node(labels.clone(), taints.clone()), expected, "{taints}");
        }
    }

    #[test]
    fn labels_that_come_by_themselves_are_left_out() {
        let node = json!({"metadata": {"labels": {
            "kubernetes.io/hostname": "n1", "beta.kubernetes.io/os": "linux", CONTROL_PLANE: "",
            "disk": "ssd", "topology.kubernetes.io/zone": "a", "node-role.kubernetes.io/db": "",
        }}});
        let expected = [("disk", "ssd"), ("node-role.kubernetes.io/db", ""), ("topology.kubernetes.io/zone", "a")];
        assert_eq!(labels(&node), expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }
}
