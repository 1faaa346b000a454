//! The cluster's objects, without what differs between two clusters that are the same.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::events::text;
use crate::lab::Lab;

const KINDS: &str = "namespaces,nodes,configmaps,secrets,serviceaccounts,services,daemonsets,deployments,pods,\
                     roles,rolebindings,clusterroles,clusterrolebindings,csr,storageclasses,apiservices,priorityclasses";

/// On a control plane. Its notes of what the API server serves are not the host's.
pub const KUBECTL: &str =
    "kubectl --kubeconfig /etc/kubernetes/admin.conf --cache-dir /run/kubectl --request-timeout=20s";

/// By kind and name, how it is. Objects with made-up names are counted.
#[track_caller]
pub fn objects(lab: &Lab) -> BTreeMap<String, String> {
    let done = lab.on("n1", &format!("exec {KUBECTL} get {KINDS} -A -o json")).ok();
    let list: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}\n{done}"));
    let items = list["items"].as_array().unwrap_or_else(|| panic!("no list\n{done}"));
    assert!(items.len() > 60, "a cluster has more objects than {}\n{}", items.len(), done.stderr);
    let (mut found, mut counts) = (BTreeMap::new(), BTreeMap::<String, usize>::new());
    for item in items {
        match (text(&item["kind"]).as_str(), name_of(item)) {
            // Requests for certificates come and go with the kubelets' starts.
            ("CertificateSigningRequest", _) => {}
            ("Pod", _) => *counts.entry(pod_group(item)).or_default() += 1,
            ("Secret", name) if name.contains("/bootstrap-token-") => {
                *counts.entry("bootstrap tokens".into()).or_default() += 1;
            }
            (kind, name) => drop(found.insert(format!("{kind} {name}"), plain(item).to_string())),
        }
    }
    found.extend(counts.into_iter().map(|(group, count)| (group, count.to_string())));
    found
}

fn name_of(item: &Value) -> String {
    let meta = &item["metadata"];
    let namespace = meta["namespace"].as_str().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    format!("{namespace}{}", text(&meta["name"]))
}

/// Which part a pod plays, where, and how it is.
fn pod_group(pod: &Value) -> String {
    let labels = &pod["metadata"]["labels"];
    let part = ["component", "k8s-app", "app"].iter().find_map(|key| labels[key].as_str()).unwrap_or("?");
    let host = text(&pod["spec"]["nodeName"]);
    let going = if pod["metadata"]["deletionTimestamp"].is_null() { "" } else { ", going" };
    format!("pods of {part} on {host}, {}{going}", text(&pod["status"]["phase"]))
}

fn plain(item: &Value) -> Value {
    let mut item = item.clone();
    if let Some(object) = item.as_object_mut() {
        object.remove("status");
    }
    if let Some(meta) = item["metadata"].as_object_mut() {
        for key in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"] {
            meta.remove(key);
        }
        if let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
            // The network card's address is made up; the node controller's note comes when it gets to it.
            annotations
                .retain(|key, _| !key.starts_with("flannel.alpha.coreos.com/") && !key.starts_with("node.alpha"));
        }
    }
    if item["kind"] == "Node" {
        // Conditions as taints, of a moment.
        item["spec"]["taints"].as_array_mut().into_iter().for_each(|taints| {
            taints.retain(|taint| taint["key"].as_str().is_some_and(|key| !key.starts_with("node.kubernetes.io/")));
        });
    }
    without_chance(&mut item);
    item
}

/// Certificates, keys and signatures differ in each cluster.
fn without_chance(value: &mut Value) {
    match value {
        Value::String(text) => *text = shortened(text),
        Value::Array(values) => values.iter_mut().for_each(without_chance),
        Value::Object(map) => {
            map.retain(|key, _| !key.starts_with("jws-kubeconfig-"));
            map.values_mut().for_each(without_chance);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Certificates, and long runs of base64, become an ellipsis.
fn shortened(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    if let (Some(begin), Some(end)) = (text.find(BEGIN), text.rfind(END)) {
        return format!("{}…{}", &text[..begin], text[end..].split_once('\n').map_or("", |(_, rest)| rest));
    }
    let is_code = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let mut short = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_code(c)).unwrap_or(rest.len());
        short.push_str(if end >= 40 { "…" } else { &rest[..end] });
        rest = &rest[end..];
        let next = rest.find(is_code).unwrap_or(rest.len());
        short.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    short
}
