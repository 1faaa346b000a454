//! Objects of the cluster, through its API.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::{AnyResource, Resource};
use crate::engine::{Change, Planned, Probe, Result, comparable};
use crate::equivalence;
use crate::kube::{Applied, Connector, View, Written};

/// Requests at the same time.
const AT_ONCE: usize = 8;

/// Objects that exist with the fields named here.
pub struct Objects {
    pub kube: Connector,
    pub objects: Vec<Value>,
}

#[async_trait]
impl Resource for Objects {
    /// What is to be applied, and what that would make of what is there; None where the API can't be asked yet.
    type Observed = Option<Vec<(Value, Applied)>>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        let Some(view) = self.kube.view(probe).await? else { return Ok(None) };
        match self.compared(&view).await {
            Ok(compared) => Ok(Some(compared)),
            Err(failure) if failure.retryable => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn diff(&self, observed: Self::Observed) -> Result<Planned> {
        let Some(compared) = observed else { return Ok(Planned::after("an answer of the API server")) };
        let different = compared.into_iter().filter(|(_, applied)| !applied.is_same);
        let mut changes: Vec<Change> = different
            .map(|(object, applied)| Change::ApplyObject { object, before: applied.before.as_ref().map(comparable) })
            .collect();
        // A namespace must be there before what it holds.
        changes.sort_by_key(
            |change| !matches!(change, Change::ApplyObject { object, .. } if object["kind"] == "Namespace"),
        );
        Ok(Planned::of(changes))
    }
}

impl Objects {
    async fn compared(&self, view: &View) -> Result<Vec<(Value, Applied)>> {
        let found: Vec<_> = self.objects.iter().map(|object| view.find(object)).collect();
        let before: Vec<_> = stream::iter(found).buffered(AT_ONCE).try_collect().await?;
        let mut objects = self.objects.clone();
        equivalence::keep(&mut objects, &before);
        let previews: Vec<_> =
            objects.iter().zip(before).map(|(object, before)| view.preview_over(object, before)).collect();
        let applied: Vec<_> = stream::iter(previews).buffered(AT_ONCE).try_collect().await?;
        Ok(objects.into_iter().zip(applied).collect())
    }
}

/// No object of this kind and name.
pub struct ObjectAbsent {
    pub kube: Connector,
    pub api_version: String,
    pub kind: String,
    pub namespace: Option<String>,
    pub name: String,
}

#[async_trait]
impl AnyResource for ObjectAbsent {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let waits = || Ok(Planned::after("an answer of the API server"));
        let Some(view) = self.kube.view(probe).await? else { return waits() };
        let Self { api_version, kind, namespace, name, .. } = self;
        match view.get(api_version, kind, namespace.as_deref(), name).await {
            Err(failure) if failure.retryable => waits(),
            Err(failure) => Err(failure),
            Ok(None) => Ok(Planned::Satisfied),
            Ok(Some(object)) if object["metadata"]["deletionTimestamp"].is_string() => {
                Ok(Planned::after(format!("the end of {kind} {name}")))
            }
            Ok(Some(_)) => Ok(Planned::Changes(vec![Change::DeleteObject {
                api_version: api_version.clone(),
                kind: kind.clone(),
                namespace: namespace.clone(),
                name: name.clone(),
            }])),
        }
    }
}

pub(super) async fn apply(kube: &Connector, object: &Value) -> Result<()> {
    let started = Instant::now();
    loop {
        match retrying(|| async { kube.writer().await?.apply(object).await }).await? {
            Written::Done => return Ok(()),
            Written::AddressTaken(_) if started.elapsed() < LEAKED => tokio::time::sleep(Duration::from_secs(1)).await,
            Written::AddressTaken(failure) => return Err(failure),
        }
    }
}

/// The API server sets a Service's address aside before it stores the Service. Where a run was killed between the two, it frees
/// the address by itself, a minute later (its `repairip` controller); until then nobody can have it.
const LEAKED: Duration = Duration::from_secs(90);

pub(super) async fn delete(
    kube: &Connector,
    api_version: &str,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
) -> Result<()> {
    retrying(|| async { kube.writer().await?.delete(api_version, kind, namespace, name).await }).await
}

/// An API server that has just started refuses now and then.
pub(super) async fn retrying<T, F: Future<Output = Result<T>>>(attempt: impl Fn() -> F) -> Result<T> {
    let mut left = 50;
    loop {
        match attempt().await {
            Err(failure) if failure.retryable && left > 0 => left -= 1,
            other => return other,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
