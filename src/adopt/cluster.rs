//! What the cluster's ConfigMaps say, by the same way as kubeadm's own files. What kboot can't do is taken out and told.

use std::net::{IpAddr, Ipv4Addr};

use camino::Utf8Path;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::Named;
use crate::engine::{Failure, Result};
use crate::equivalence;
use crate::inventory::{Cluster, Mistake, Path};
use crate::kubeadm::{self, Here};

const CLUSTER: &str = "ClusterConfiguration";

/// Without these the cluster would become another one: they can't be left out with a word.
const GRAVE: [&str; 5] = [
    "ClusterConfiguration.etcd.local.dataDir",
    "ClusterConfiguration.etcd.external",
    "ClusterConfiguration.certificatesDir",
    "ClusterConfiguration.networking",
    "ClusterConfiguration.kubernetesVersion",
];

/// Fields that kboot takes from each host, wherever the cluster's own has them.
const OF_HOSTS: [&str; 4] = ["cgroupDriver", "failCgroupV1", "resolvConf", "containerRuntimeEndpoint"];

/// The cluster, with no host of its own yet, and what it has that an inventory can't say.
pub fn read(named: &[Named]) -> Result<(Cluster, Vec<String>)> {
    let leader = named.iter().find(|host| host.survey.objects.is_some()).expect("members::check has seen to it");
    let document = |map: &str, key: &str| -> Result<Option<Value>> {
        let text = leader.survey.object("ConfigMap", map).and_then(|map| map["data"][key].as_str());
        let read = |text| serde_yaml::from_str(text);
        text.map(read).transpose().map_err(|error| Failure::new(format!("failed to read ConfigMap {map}: {error}")))
    };
    let Some(configuration) = document("kubeadm-config", CLUSTER)? else {
        return Err(Failure::new(
            "the cluster has no ConfigMap kube-system/kubeadm-config, so kubeadm did not make it",
        )
        .hint_text("kboot adopts clusters of kubeadm's only"));
    };
    let mut documents = vec![equivalence::without_nothing(&configuration)];
    if let Some(kubelet) = document("kubelet-config", "kubelet")? {
        let mut kubelet = equivalence::kubelet(&kubelet);
        if let Some(fields) = kubelet.as_object_mut() {
            fields.retain(|name, _| !OF_HOSTS.contains(&name.as_str()));
        }
        documents.push(kubelet);
    }
    if let Some(proxy) = document("kube-proxy", "config.conf")? {
        let mut proxy = equivalence::kube_proxy(&proxy);
        as_by_kboot(&mut proxy);
        documents.push(proxy);
    }
    let mut notes = Vec::new();
    if documents[0]["networking"]["podSubnet"].is_null() {
        notes.push(
            "the cluster was made without networking.podSubnet, and kboot always has one: see network.podSubnet, and what \
             `kboot plan` says of the controller manager"
                .to_owned(),
        );
    }
    let cluster = carried_over(documents, &mut notes)?;
    Ok((cluster, notes))
}

/// Takes out what kboot sets to the same.
fn as_by_kboot(proxy: &mut Value) {
    const KUBECONFIG: &str = "/var/lib/kube-proxy/kubeconfig.conf";
    if let Some(connection) = proxy.get_mut("clientConnection").and_then(Value::as_object_mut)
        && connection.get("kubeconfig").is_some_and(|path| path == KUBECONFIG)
    {
        connection.remove("kubeconfig");
    }
    let own = [("mode", json!("iptables")), ("bindAddress", json!("0.0.0.0")), ("clientConnection", json!({}))];
    if let Some(fields) = proxy.as_object_mut() {
        fields.retain(|name, value| !own.iter().any(|(known, set)| name == known && value == set));
    }
}

fn carried_over(mut documents: Vec<Value>, notes: &mut Vec<String>) -> Result<Cluster> {
    // The hosts come later, and nothing of this one stays.
    let here = Here {
        name: "node".into(),
        address: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
        now: OffsetDateTime::UNIX_EPOCH,
    };
    // Each round takes something out.
    for _ in 0..100 {
        let texts: Vec<String> = documents.iter().filter_map(|document| serde_yaml::to_string(document).ok()).collect();
        let mistakes = match kubeadm::init(&texts.join("---\n"), Utf8Path::new("the cluster"), &here) {
            Ok(read) if read.cluster.etcd.is_some() => {
                return Err(Failure::new("the cluster has an etcd of its own, and kboot can't adopt such a one yet")
                    .hint_text("write the inventory by hand: docs/external-etcd.md has the fields of `etcd`"));
            }
            Ok(read) => return Ok(Cluster { hosts: Vec::new(), ..read.cluster }),
            Err(mistakes) => mistakes,
        };
        let told: Vec<&Mistake> = mistakes.iter().collect();
        let is_grave = |mistake: &&Mistake| {
            let path = mistake.path.to_string();
            GRAVE.iter().any(|grave| path.starts_with(grave))
        };
        if told.iter().any(is_grave) {
            return Err(refused(&told));
        }
        let mut is_less = false;
        for mistake in &told {
            let is_of = |document: &&mut Value| {
                let kind = document["kind"].as_str().unwrap_or_default();
                mistake.path.is_within(&Path::of(kind))
            };
            if let Some(document) = documents.iter_mut().find(is_of) {
                let kind = document["kind"].as_str().unwrap_or_default().to_owned();
                is_less |= mistake.path.inside(&Path::of(&kind)).is_some_and(|path| path.take_out(document));
            }
            let note = format!("{mistake}");
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        if !is_less {
            return Err(refused(&told));
        }
    }
    Err(Failure::new("failed to read the cluster's configuration"))
}

fn refused(mistakes: &[&Mistake]) -> Failure {
    Failure::new("the cluster is one that kboot can't look after")
        .evidence(mistakes.iter().map(ToString::to_string))
        .hint_text("these would become others, and with them the cluster: no inventory was written")
}
