//! Objects of any kind, as JSON.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, DynamicObject, EvictParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

use super::{LIMIT, within};
use crate::engine::{Failure, Hint, Result, comparable};

/// The name under which kboot owns fields.
const MANAGER: &str = "kboot";

/// How long an answer about the API server itself may take. What waits for it asks again.
const RAW_LIMIT: Duration = Duration::from_secs(20);

/// Reads objects, and asks what applying one would make of it.
#[derive(Clone)]
pub struct View {
    client: Client,
}

/// What is there and what it would become.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    pub before: Option<Value>,
    pub is_same: bool,
}

impl View {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// None where there is no such object.
    pub async fn get(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>> {
        let api = api(&self.client, api_version, kind, namespace);
        let found =
            within(LIMIT, api.get_opt(name)).await.map_err(|error| explain(error, &format!("read {kind} {name}")))?;
        Ok(found.map(|object| to_value(&object)))
    }

    pub async fn list(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        labels: &str,
    ) -> Result<Vec<Value>> {
        let api = api(&self.client, api_version, kind, namespace);
        let parameters = ListParams::default().labels(labels);
        let list = within(LIMIT, api.list(&parameters))
            .await
            .map_err(|error| explain(error, &format!("list {kind} objects")))?;
        Ok(list.items.iter().map(to_value).collect())
    }

    /// All pods of a node.
    pub async fn pods_on(&self, node: &str) -> Result<Vec<Value>> {
        Ok(pods_on(&self.client, node).await?.iter().map(to_value).collect())
    }

    /// What is there of an object; None where there is nothing.
    pub async fn find(&self, object: &Value) -> Result<Option<Value>> {
        let target = Target::of(object)?;
        self.get(target.api_version, target.kind, target.namespace, target.name).await
    }

    /// Asks the API server what an object would become. It stores nothing.
    pub async fn preview(&self, object: &Value) -> Result<Applied> {
        self.preview_over(object, self.find(object).await?).await
    }

    /// The same, where it is known what is there.
    pub async fn preview_over(&self, object: &Value, before: Option<Value>) -> Result<Applied> {
        let target = Target::of(object)?;
        let Some(before) = before else { return Ok(Applied { before: None, is_same: false }) };
        let api = api(&self.client, target.api_version, target.kind, target.namespace);
        let parameters = PatchParams { dry_run: true, ..PatchParams::apply(MANAGER).force() };
        let after = within(LIMIT, api.patch(target.name, &parameters, &Patch::Apply(object)))
            .await
            .map_err(|error| explain(error, &format!("compare {} {}", target.kind, target.name)))?;
        let is_same = comparable(&before) == comparable(&to_value(&after));
        Ok(Applied { before: Some(before), is_same })
    }

    /// Asks for a path of the API server itself, as `/readyz`; Ok is the text of an answer of status 200.
    pub async fn raw(&self, path: &str) -> Result<String> {
        let request = http_get(path)?;
        within(RAW_LIMIT, self.client.request_text(request))
            .await
            .map_err(|error| explain(error, &format!("ask for {path}")))
    }
}

fn http_get(path: &str) -> Result<http::Request<Vec<u8>>> {
    http::Request::get(path).body(Vec::new()).map_err(|error| Failure::new(error.to_string()))
}

/// Writes objects.
pub struct Writer {
    client: Client,
}

impl Writer {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Server-side apply: kboot owns the fields that the object names and no others.
    pub async fn apply(&self, object: &Value) -> Result<Written> {
        let target = Target::of(object)?;
        let api = api(&self.client, target.api_version, target.kind, target.namespace);
        let parameters = PatchParams::apply(MANAGER).force();
        let applied = within(LIMIT, api.patch(target.name, &parameters, &Patch::Apply(object))).await;
        let Err(error) = applied else { return Ok(Written::Done) };
        let is_taken = is_address_taken(&target, &error);
        let failure = explain(error, &format!("apply {} {}", target.kind, target.name));
        if is_taken { Ok(Written::AddressTaken(failure)) } else { Err(failure) }
    }

    pub async fn exists(&self, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Result<bool> {
        let found = within(LIMIT, api(&self.client, api_version, kind, namespace).get_opt(name)).await;
        Ok(found.map_err(|error| explain(error, &format!("read {kind} {name}")))?.is_some())
    }

    /// Asks a pod to leave a node, as far as disruption budgets let it.
    pub async fn evict(&self, namespace: &str, name: &str, node: &str) -> Result<Evicted> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let what = format!("evict the pod {namespace}/{name}");
        let pod = within(LIMIT, api.get_opt(name)).await.map_err(|error| explain(error, &what))?;
        // One of the same name may have begun elsewhere.
        let pod = pod.filter(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node));
        let Some(pod) = pod else { return Ok(Evicted::Gone) };
        if pod.metadata.deletion_timestamp.is_some() {
            return Ok(Evicted::Ending);
        }
        match within(LIMIT, api.evict(name, &EvictParams::default())).await {
            Ok(_) => Ok(Evicted::Ending),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Evicted::Gone),
            // A disruption budget, or another eviction at the same time.
            Err(kube::Error::Api(status)) if status.code == 429 => Ok(Evicted::Refused { why: status.message.clone() }),
            Err(error) => Err(explain(error, &what)),
        }
    }

    /// No error where there is no such object. A Node's pods are deleted with it.
    pub async fn delete(&self, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Result<()> {
        let api = api(&self.client, api_version, kind, namespace);
        delete(&api, name, &DeleteParams::background(), kind).await?;
        if (api_version, kind) == ("v1", "Node") { self.delete_pods_of(name).await } else { Ok(()) }
    }

    /// Deletes the pods of a node that is gone, as the pod garbage collector does 40 s later (`quarantineTime` in
    /// podgc/gc_controller.go). A host that comes back by the same name before that would adopt them: its kubelet rejects for good
    /// those whose node selector names a label that the new Node does not have yet, and others pass for ready with their old status.
    async fn delete_pods_of(&self, node: &str) -> Result<()> {
        for pod in pods_on(&self.client, node).await? {
            let (Some(name), namespace) = (pod.metadata.name, pod.metadata.namespace) else { continue };
            let preconditions = Preconditions { uid: pod.metadata.uid, ..Preconditions::default() };
            let parameters =
                DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default().grace_period(0) };
            delete(&api(&self.client, "v1", "Pod", namespace.as_deref()), &name, &parameters, "Pod").await?;
        }
        Ok(())
    }

    /// Reads an object, has it changed, and writes it back unless somebody else did meanwhile; then all over again.
    pub async fn update(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
        edit: impl Fn(&mut Value) + Send + Sync,
    ) -> Result<()> {
        let api = api(&self.client, api_version, kind, namespace);
        let what = format!("update {kind} {name}");
        for _ in 0..10 {
            let object = within(LIMIT, api.get(name)).await.map_err(|error| explain(error, &what))?;
            let mut value = to_value(&object);
            edit(&mut value);
            let edited: DynamicObject =
                serde_json::from_value(value).map_err(|error| Failure::new(format!("failed to {what}: {error}")))?;
            let parameters = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
            match within(LIMIT, api.replace(name, &parameters, &edited)).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(explain(error, &what)),
            }
        }
        Err(Failure::new(format!("failed to {what}: others change it all the time")).retryable())
    }
}

async fn pods_on(client: &Client, node: &str) -> Result<Vec<DynamicObject>> {
    let parameters = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let list = within(LIMIT, api(client, "v1", "Pod", None).list(&parameters)).await;
    Ok(list.map_err(|error| explain(error, "list the node's pods"))?.items)
}

/// No error where there is no such object, or another one than the parameters' preconditions name.
async fn delete(api: &Api<DynamicObject>, name: &str, parameters: &DeleteParams, kind: &str) -> Result<()> {
    match within(LIMIT, api.delete(name, parameters)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 && parameters.preconditions.is_some() => Ok(()),
        Err(error) => Err(explain(error, &format!("delete {kind} {name}"))),
    }
}

/// What became of asking a pod to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evicted {
    Gone,
    /// It was asked and has not ended yet.
    Ending,
    Refused {
        why: String,
    },
}

/// The outcome of applying an object.
#[derive(Debug)]
pub enum Written {
    Done,
    /// The Service's address is another object's, or set aside for one that was never stored.
    AddressTaken(Failure),
}

/// The API server gives this no reason of its own but `Invalid`.
fn is_address_taken(target: &Target<'_>, error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    target.kind == "Service" && status.message.contains("provided IP is already allocated")
}

struct Target<'a> {
    api_version: &'a str,
    kind: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
}

impl<'a> Target<'a> {
    fn of(object: &'a Value) -> Result<Self> {
        let text = |value: &'a Value| value.as_str();
        let metadata = &object["metadata"];
        match (text(&object["apiVersion"]), text(&object["kind"]), text(&metadata["name"])) {
            (Some(api_version), Some(kind), Some(name)) => {
                Ok(Self { api_version, kind, namespace: text(&metadata["namespace"]), name })
            }
            _ => Err(Failure::new("an object without apiVersion, kind and name")),
        }
    }
}

fn api(client: &Client, api_version: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

fn to_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).expect("an object is JSON")
}

/// What went wrong, in a word that tells an unreachable API server from one that says no.
fn explain(error: kube::Error, what: &str) -> Failure {
    match error {
        kube::Error::Api(status) => {
            let failure = Failure::new(format!("failed to {what}: {}", status.message));
            match status.code {
                429 | 500 | 502..=504 => failure.retryable(),
                _ => failure,
            }
        }
        other => Failure::new(format!("failed to {what}: the API server does not answer: {}", chain(&other)))
            .hint(Hint::ApiServerIsSilent)
            .retryable(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(message: &str) -> kube::Error {
        let status = json!({"status": "Failure", "message": message, "reason": "Invalid", "code": 422});
        kube::Error::Api(serde_json::from_value(status).expect("it is a status"))
    }

    #[test]
    fn only_a_services_address_is_waited_for() {
        // As the API server says it.
        let taken = answer(
            "Service \"kube-dns\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: \
             provided IP is already allocated",
        );
        let (service, map) = (
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns"}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-dns"}}),
        );
        let is_taken = |object, error| is_address_taken(&Target::of(object).expect("it has a name"), error);
        assert!(is_taken(&service, &taken));
        assert!(!is_taken(&map, &taken));
        assert!(!is_taken(&service, &answer("not in range")));
    }
}
