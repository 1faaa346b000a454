//! Objects of the cluster, through its API.

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::Resource;
use crate::engine::{Change, Planned, Probe, Result};
use crate::inventory::Taint;
use crate::kube::{Applied, Connector, comparable};

/// Requests at the same time.
const AT_ONCE: usize = 8;

/// Objects that exist with the fields named here.
pub struct Objects {
    pub kube: Connector,
    pub objects: Vec<Value>,
}

#[async_trait]
impl Resource for Objects {
    /// None where the API can't be asked yet.
    type Observed = Option<Vec<Applied>>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        let Some(view) = self.kube.view(probe).await? else { return Ok(None) };
        let previews: Vec<_> = self.objects.iter().map(|object| view.preview(object)).collect();
        let compared = stream::iter(previews).buffered(AT_ONCE).try_collect::<Vec<Applied>>().await;
        match compared {
            Ok(applied) => Ok(Some(applied)),
            Err(failure) if failure.retryable => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn diff(&self, observed: Self::Observed) -> Result<Planned> {
        let Some(applied) = observed else { return Ok(Planned::after("an answer of the API server")) };
        let different = self.objects.iter().zip(applied).filter(|(_, applied)| !applied.is_same);
        let mut changes: Vec<Change> = different
            .map(|(object, applied)| Change::ApplyObject {
                object: object.clone(),
                before: applied.before.as_ref().map(comparable),
            })
            .collect();
        // A namespace must be there before what it holds.
        changes.sort_by_key(
            |change| !matches!(change, Change::ApplyObject { object, .. } if object["kind"] == "Namespace"),
        );
        Ok(Planned::of(changes))
    }
}

/// A node with these labels and, beside those that it has, these taints.
pub struct Node {
    pub kube: Connector,
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub taints: Vec<Taint>,
}

#[async_trait]
impl Resource for Node {
    type Observed = Option<Value>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        let Some(view) = self.kube.view(probe).await? else { return Ok(None) };
        match view.get("v1", "Node", None, &self.name).await {
            Err(failure) if failure.retryable => Ok(None),
            other => other,
        }
    }

    fn diff(&self, node: Self::Observed) -> Result<Planned> {
        let Some(node) = node else { return Ok(Planned::after(format!("the node {}", self.name))) };
        let labels: Vec<(String, String)> = self
            .labels
            .iter()
            .filter(|(key, value)| node["metadata"]["labels"][key].as_str() != Some(value))
            .cloned()
            .collect();
        let taints: Vec<Taint> = self.taints.iter().filter(|taint| !has_taint(&node, taint)).cloned().collect();
        if labels.is_empty() && taints.is_empty() {
            return Ok(Planned::Satisfied);
        }
        Ok(Planned::Changes(vec![Change::MarkNode { node: self.name.clone(), labels, taints }]))
    }
}

fn has_taint(node: &Value, wanted: &Taint) -> bool {
    let taints = node["spec"]["taints"].as_array().map(Vec::as_slice).unwrap_or_default();
    taints.iter().any(|taint| {
        taint["key"] == wanted.key.as_str()
            && taint["effect"] == wanted.effect.as_str()
            && taint["value"].as_str().unwrap_or_default() == wanted.value
    })
}

pub(super) async fn apply(kube: &Connector, object: &Value) -> Result<()> {
    retrying(|| async { kube.writer().await?.apply(object).await }).await
}

pub(super) async fn delete(
    kube: &Connector,
    api_version: &str,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
) -> Result<()> {
    retrying(|| async { kube.writer().await?.delete(api_version, kind, namespace, name).await }).await
}

pub(super) async fn mark_node(
    kube: &Connector,
    node: &str,
    labels: &[(String, String)],
    taints: &[Taint],
) -> Result<()> {
    let edit = |object: &mut Value| {
        for (key, value) in labels {
            object["metadata"]["labels"][key] = json!(value);
        }
        let mut all = object["spec"]["taints"].as_array().cloned().unwrap_or_default();
        for taint in taints {
            all.retain(|old| old["key"] != taint.key.as_str() || old["effect"] != taint.effect.as_str());
            let mut new = json!({"key": taint.key, "effect": taint.effect});
            if !taint.value.is_empty() {
                new["value"] = json!(taint.value);
            }
            all.push(new);
        }
        if !all.is_empty() {
            object["spec"]["taints"] = json!(all);
        }
    };
    retrying(|| async { kube.writer().await?.update("v1", "Node", None, node, edit).await }).await
}

/// An API server that has just started refuses now and then.
async fn retrying<F: Future<Output = Result<()>>>(attempt: impl Fn() -> F) -> Result<()> {
    let mut left = 50;
    loop {
        match attempt().await {
            Err(failure) if failure.retryable && left > 0 => left -= 1,
            other => return other,
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
