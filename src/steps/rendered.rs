//! Digests of what this kboot renders for a host and for the cluster: another kboot, or another inventory, may render something else.
//!
//! Files are taken from the steps themselves, which are asked what they would write on a host where nothing is. What depends on a host's
//! momentary state, or is secret, is left out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::engine::{Change, Content, Guard, Metadata, Output, Probe, Result, sha256};
use crate::kube::Connector;
use crate::manifest::{self, KubeProxyValues};

use super::{Context, Make, Outputs, Services, build, unrendered};

/// The steps that write what kboot renders.
const EVERYWHERE: [&str; 7] = [
    "load-kernel-modules",
    "set-sysctls",
    "configure-repositories",
    "configure-crictl",
    "configure-balancer",
    "configure-containerd",
    "configure-kubelet",
];
const CONTROL_PLANE: [&str; 1] = ["write-static-pods"];

/// Digests of the host's files, by their paths.
pub async fn files(context: &Context) -> Result<BTreeMap<String, String>> {
    let services = Services::new(Connector::default());
    let outputs = Arc::new(Mutex::new(Outputs::default()));
    let make = Make { context, services: &services, outputs: &outputs };
    let more: &[&str] = if context.host()?.is_worker() { &[] } else { &CONTROL_PLANE };
    let mut files = BTreeMap::new();
    for name in EVERYWHERE.iter().chain(more) {
        for change in build(name, &make)?.plan(&Nothing).await?.into_changes() {
            if let Change::WriteFile { path, after, .. } = change
                && !matches!(after, Content::Secret(_) | Content::Digest(_))
                && let Some(bytes) = after.bytes()
            {
                files.insert(path.into_string(), digest(&bytes));
            }
        }
    }
    Ok(files)
}

/// Digests of the cluster's objects, by `Kind namespace/name`.
pub fn objects(context: &Context) -> Result<BTreeMap<String, String>> {
    let cluster = &context.cluster;
    let values = KubeProxyValues { can_set_conntrack: !context.inputs.has_containers };
    let objects = [
        manifest::bootstrap_rbac(),
        manifest::kubeadm_config(cluster),
        manifest::kubelet_config_map(cluster, &context.kubelet_values()),
        manifest::pod_network(cluster),
        manifest::kube_proxy(cluster, values),
        manifest::coredns(cluster),
    ];
    let mut digests = BTreeMap::new();
    for object in objects.into_iter().collect::<std::result::Result<Vec<_>, _>>().map_err(unrendered)?.concat() {
        digests.insert(name(&object), digest(sorted(&object).as_bytes()));
    }
    Ok(digests)
}

fn name(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let kind = text("/kind").unwrap_or_default();
    let name = text("/metadata/name").unwrap_or_default();
    match text("/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// The object's JSON with its fields in order: whether serde_json's own maps are sorted depends on what else is in the build.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let fields: BTreeMap<&String, String> = map.iter().map(|(key, value)| (key, sorted(value))).collect();
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// A host where nothing is.
struct Nothing;

#[async_trait]
impl Probe for Nothing {
    async fn read(&self, _: &Utf8Path) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    async fn stat(&self, _: &Utf8Path) -> Result<Option<Metadata>> {
        Ok(None)
    }

    async fn list(&self, _: &Utf8Path) -> Result<Option<Vec<String>>> {
        Ok(None)
    }

    async fn link(&self, _: &Utf8Path) -> Result<Option<Utf8PathBuf>> {
        Ok(None)
    }

    async fn query(&self, _: &[&str]) -> Result<Output> {
        Ok(Output { code: Some(127), ..Output::default() })
    }

    async fn ask(&self, guard: &Guard) -> Result<Output> {
        self.query(&guard.argv()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::samples::sample;
    use crate::steps::Inputs;

    fn context(host: &str) -> Context {
        let sample = sample();
        let facts = sample.facts[host].clone();
        Context {
            cluster: sample.cluster,
            host: host.into(),
            facts,
            inputs: Inputs::default(),
            secrets: Default::default(),
        }
    }

    #[tokio::test]
    async fn the_files_are_those_that_the_steps_write() {
        let (control, worker) = (context("n1"), context("n2"));
        let (of_control, of_worker) = (files(&control).await.unwrap(), files(&worker).await.unwrap());
        for path in
            ["/etc/kubernetes/manifests/etcd.yaml", "/var/lib/kubelet/config.yaml", "/etc/containerd/config.toml"]
        {
            assert!(of_control[path].starts_with("sha256:"), "{path} is not in {of_control:#?}");
        }
        assert!(!of_worker.contains_key("/etc/kubernetes/manifests/etcd.yaml"));
        assert_eq!(of_control["/etc/crictl.yaml"], of_worker["/etc/crictl.yaml"]);
        assert_eq!(files(&control).await.unwrap(), of_control, "the same again");
    }

    #[tokio::test]
    async fn with_hosts_of_etcd_s_its_pod_is_there_and_the_others_are_not() {
        let of = |host: &str| {
            let sample = sample().with_etcd_host();
            let facts = sample.facts[host].clone();
            Context {
                cluster: sample.cluster,
                host: host.into(),
                facts,
                inputs: Inputs::default(),
                secrets: Default::default(),
            }
        };
        let (control, etcd) = (files(&of("n1")).await.unwrap(), files(&of("n3")).await.unwrap());
        let pods = |files: &BTreeMap<String, String>| -> Vec<String> {
            files.keys().filter_map(|path| path.strip_prefix("/etc/kubernetes/manifests/")).map(String::from).collect()
        };
        assert_eq!(pods(&etcd), ["etcd.yaml"]);
        assert_eq!(pods(&control), ["kube-apiserver.yaml", "kube-controller-manager.yaml", "kube-scheduler.yaml"]);
        assert_ne!(control["/var/lib/kubelet/config.yaml"], etcd["/var/lib/kubelet/config.yaml"]);
    }

    #[tokio::test]
    async fn another_inventory_renders_other_files_and_objects() {
        let mut context = context("n1");
        let (old_files, old_objects) = (files(&context).await.unwrap(), objects(&context).unwrap());
        context.cluster.network.dns_domain = "other.local".into();
        let (new_files, new_objects) = (files(&context).await.unwrap(), objects(&context).unwrap());
        assert_ne!(old_files["/var/lib/kubelet/config.yaml"], new_files["/var/lib/kubelet/config.yaml"]);
        assert_eq!(old_files["/etc/crictl.yaml"], new_files["/etc/crictl.yaml"]);
        assert_ne!(old_objects["ConfigMap kube-system/coredns"], new_objects["ConfigMap kube-system/coredns"]);
        assert_eq!(old_objects.len(), new_objects.len());
    }

    #[test]
    fn the_order_of_fields_does_not_matter() {
        let one: Value = serde_json::from_str(r#"{"b": [1, {"y": null, "x": "é"}], "a": 1}"#).unwrap();
        assert_eq!(sorted(&one), r#"{"a":1,"b":[1,{"x":"é","y":null}]}"#);
    }
}
