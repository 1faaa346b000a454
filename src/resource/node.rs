//! A node's labels and taints, beside those that others set.
//!
//! What kboot has set is kept in an annotation of the node, with its values: of what is not wanted any more, that alone is taken away, and
//! only if nobody has changed it since.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Resource;
use super::object::retrying;
use crate::engine::{Change, MarkNode, Planned, Probe, Result};
use crate::inventory::Taint;
use crate::kube::Connector;

const MARKS: &str = "kboot/marks";

/// A node with these labels and taints.
pub struct Node {
    pub kube: Connector,
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub taints: Vec<Taint>,
    /// Whether the node must be there. One that is not has nothing to be marked.
    pub is_needed: bool,
    /// Whether what the cluster has of this name is a former node's, and will be gone by then.
    pub is_former: bool,
}

pub enum Observed {
    NoAnswer,
    Absent,
    Present(Value),
}

/// What kboot has set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Marks {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    /// As `key=value:Effect`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    taints: BTreeSet<String>,
}

#[async_trait]
impl Resource for Node {
    type Observed = Observed;

    async fn observe(&self, probe: &dyn Probe) -> Result<Observed> {
        let Some(view) = self.kube.view(probe).await? else { return Ok(Observed::NoAnswer) };
        if self.is_former {
            return Ok(Observed::Absent);
        }
        match view.get("v1", "Node", None, &self.name).await {
            Ok(Some(node)) => Ok(Observed::Present(node)),
            Ok(None) => Ok(Observed::Absent),
            Err(failure) if failure.retryable => Ok(Observed::NoAnswer),
            Err(failure) => Err(failure),
        }
    }

    fn diff(&self, observed: Observed) -> Result<Planned> {
        let node = match observed {
            Observed::Present(node) => node,
            Observed::Absent if !self.is_needed => return Ok(Planned::Satisfied),
            Observed::Absent => return Ok(Planned::after(format!("the node {}", self.name))),
            Observed::NoAnswer => return Ok(Planned::after("an answer of the API server")),
        };
        let marks = Marks::of(&node);
        let now = |key: &String| node["metadata"]["labels"][key].as_str();
        let is_wanted = |key: &String| self.labels.iter().any(|(wanted, _)| wanted == key);
        let is_stale = |(key, value): &(&String, &String)| !is_wanted(key) && now(key) == Some(value.as_str());
        // A label that was there before kboot came is not kboot's to take away some day, so it is not put on record either.
        let labels = self.labels.iter().filter(|(key, value)| now(key) != Some(value));
        let is_kept = |taint: &Taint| self.taints.contains(taint);
        let taints = self.taints.iter().filter(|taint| !has_taint(&node, taint) || !marks.has(taint));
        let former = marks.taints.iter().filter_map(|text| Taint::parse(text));
        let change = MarkNode {
            node: self.name.clone(),
            labels: labels.cloned().collect(),
            taints: taints.cloned().collect(),
            unlabel: marks.labels.iter().filter(is_stale).map(|(key, _)| key.clone()).collect(),
            untaint: former.filter(|taint| !is_kept(taint) && has_taint(&node, taint)).collect(),
        };
        Ok(if change.is_empty() { Planned::Satisfied } else { Planned::Changes(vec![Change::MarkNode(change)]) })
    }
}

impl Marks {
    fn of(node: &Value) -> Self {
        let text = node["metadata"]["annotations"][MARKS].as_str().unwrap_or_default();
        serde_json::from_str(text).unwrap_or_default()
    }

    fn has(&self, taint: &Taint) -> bool {
        self.taints.contains(&taint.to_string())
    }

    /// Only kboot's own are kept on record: what it sets now, and what it set before and is still so.
    fn after(mut self, node: &Value, change: &MarkNode) -> Self {
        self.labels.extend(change.labels.iter().cloned());
        self.labels.retain(|key, value| node["metadata"]["labels"][key].as_str() == Some(value));
        self.taints.extend(change.taints.iter().map(ToString::to_string));
        self.taints.retain(|text| Taint::parse(text).is_some_and(|taint| has_taint(node, &taint)));
        self
    }
}

fn has_taint(node: &Value, wanted: &Taint) -> bool {
    let taints = node["spec"]["taints"].as_array().map(Vec::as_slice).unwrap_or_default();
    taints.iter().any(|taint| is_of(taint, wanted) && taint["value"].as_str().unwrap_or_default() == wanted.value)
}

/// The same taint, of whatever value: a node has one of each key and effect.
fn is_of(taint: &Value, wanted: &Taint) -> bool {
    taint["key"] == wanted.key.as_str() && taint["effect"] == wanted.effect.as_str()
}

pub(super) async fn mark(kube: &Connector, change: &MarkNode) -> Result<()> {
    let edit = |object: &mut Value| edit(object, change);
    retrying(|| async { kube.writer().await?.update("v1", "Node", None, &change.node, edit).await }).await
}

/// All of it, and what is on record of it, in one write.
fn edit(node: &mut Value, change: &MarkNode) {
    let marks = Marks::of(node);
    for (key, value) in &change.labels {
        node["metadata"]["labels"][key] = json!(value);
    }
    if let Some(labels) = node["metadata"]["labels"].as_object_mut() {
        labels.retain(|key, _| !change.unlabel.contains(key));
    }
    let mut taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    taints.retain(|old| !change.untaint.iter().chain(&change.taints).any(|taint| is_of(old, taint)));
    for taint in &change.taints {
        let mut new = json!({"key": taint.key, "effect": taint.effect});
        if !taint.value.is_empty() {
            new["value"] = json!(taint.value);
        }
        taints.push(new);
    }
    if taints.is_empty() {
        if let Some(spec) = node["spec"].as_object_mut() {
            spec.remove("taints");
        }
    } else {
        node["spec"]["taints"] = json!(taints);
    }
    let marks = marks.after(node, change);
    if marks != Marks::default() {
        node["metadata"]["annotations"][MARKS] = json!(serde_json::to_string(&marks).expect("plain data"));
    } else if let Some(annotations) = node["metadata"]["annotations"].as_object_mut() {
        annotations.remove(MARKS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(labels: &[(&str, &str)], taints: &[&str]) -> Node {
        Node {
            kube: Connector::default(),
            name: "n2".into(),
            labels: labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            taints: taints.iter().filter_map(|text| Taint::parse(text)).collect(),
            is_needed: true,
            is_former: false,
        }
    }

    /// A node of somebody's, with a label and a taint that kboot knows nothing of.
    fn node() -> Value {
        json!({
            "metadata": {"name": "n2", "labels": {"team": "a"}, "annotations": {"volumes": "x"}},
            "spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]},
        })
    }

    fn change(wanted: &Node, node: &Value) -> Option<MarkNode> {
        match wanted.diff(Observed::Present(node.clone())).unwrap() {
            Planned::Satisfied => None,
            Planned::Changes(changes) => match changes.as_slice() {
                [Change::MarkNode(change)] => Some(change.clone()),
                other => panic!("{other:?}"),
            },
            Planned::After { what } | Planned::Until { what, .. } => panic!("after {what}"),
        }
    }

    /// Makes the node as wanted; what it said it would do.
    fn converge(wanted: &Node, node: &mut Value) -> String {
        let Some(change) = change(wanted, node) else { return String::new() };
        edit(node, &change);
        assert_eq!(super::tests::change(wanted, node), None, "{node}");
        Change::MarkNode(change).to_string()
    }

    #[test]
    fn marks_come_change_and_go_and_others_stay() {
        let mut node = node();
        let both = wanted(&[("disk", "ssd"), ("zone", "1")], &["dedicated=db:NoSchedule"]);
        assert_eq!(
            converge(&both, &mut node),
            "mark the node n2: label disk=ssd, label zone=1, taint dedicated=db:NoSchedule"
        );
        let other = wanted(&[("disk", "hdd"), ("zone", "1")], &["dedicated=web:NoSchedule"]);
        assert_eq!(
            converge(&other, &mut node),
            "mark the node n2: label disk=hdd, taint dedicated=web:NoSchedule, no taint dedicated=db:NoSchedule"
        );
        let none = wanted(&[], &[]);
        assert_eq!(
            converge(&none, &mut node),
            "mark the node n2: no label disk, no label zone, no taint dedicated=web:NoSchedule"
        );
        assert_eq!(node, super::tests::node());
    }

    #[test]
    fn what_others_set_or_changed_is_left_alone() {
        let mut node = node();
        // The label is there already, and is not kboot's.
        assert_eq!(converge(&wanted(&[("team", "a")], &[]), &mut node), "");
        assert_eq!(converge(&wanted(&[], &[]), &mut node), "");
        converge(&wanted(&[("disk", "ssd")], &["a:NoSchedule"]), &mut node);
        node["metadata"]["labels"]["disk"] = json!("nvme");
        assert_eq!(converge(&wanted(&[], &["a:NoSchedule"]), &mut node), "");
        assert_eq!(node["metadata"]["labels"]["disk"], "nvme");
    }

    #[test]
    fn a_taint_that_the_kubelet_registered_is_put_on_record() {
        let mut node = node();
        node["spec"]["taints"] = json!([{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]);
        let tainted = wanted(&[], &["dedicated=db:NoSchedule"]);
        assert_eq!(converge(&tainted, &mut node), "mark the node n2: taint dedicated=db:NoSchedule");
        assert_eq!(converge(&wanted(&[], &[]), &mut node), "mark the node n2: no taint dedicated=db:NoSchedule");
        assert_eq!(node["spec"]["taints"], Value::Null);
    }

    #[test]
    fn what_somebody_took_away_comes_back() {
        let mut node = node();
        let labelled = wanted(&[("disk", "ssd")], &[]);
        converge(&labelled, &mut node);
        node["metadata"]["labels"].as_object_mut().unwrap().remove("disk");
        assert_eq!(converge(&labelled, &mut node), "mark the node n2: label disk=ssd");
    }

    #[test]
    fn a_node_that_is_not_there_is_waited_for_only_if_it_is_needed() {
        let mut wanted = wanted(&[("disk", "ssd")], &[]);
        assert_eq!(wanted.diff(Observed::Absent).unwrap(), Planned::after("the node n2"));
        wanted.is_needed = false;
        assert_eq!(wanted.diff(Observed::Absent).unwrap(), Planned::Satisfied);
        assert_eq!(wanted.diff(Observed::NoAnswer).unwrap(), Planned::after("an answer of the API server"));
    }
}
