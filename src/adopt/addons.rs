//! The pod network, CoreDNS and kube-proxy: as kboot has them, or left alone.

use serde_json::{Value, json};

use super::Draft;
use crate::engine::{Failure, Result};
use crate::inventory::{Cni, Patch, PatchTarget, PatchType};
use crate::manifest;

const UNKNOWN: &str = "kboot leaves the pod network alone: network.cni is none";

pub fn network(draft: &mut Draft<'_>) {
    let leader = draft.leader().clone();
    draft.cluster.network.cni = Cni::None;
    if let Some(flannel) = leader.object("DaemonSet", "kube-flannel-ds") {
        let configuration = leader.object("ConfigMap", "kube-flannel-cfg");
        match differs_from_flannel(draft, flannel, configuration) {
            None => draft.cluster.network.cni = Cni::Flannel,
            Some(why) => draft.note(format!("flannel is not as kboot installs it: {why}; {UNKNOWN}")),
        }
        return;
    }
    if let Some(weave) = leader.object("DaemonSet", "weave-net") {
        let range = variable(weave, "IPALLOC_RANGE").unwrap_or("10.32.0.0/12").to_owned();
        let ours = manifest::weave(&draft.cluster).unwrap_or_default();
        if !same_images(weave, &ours) {
            return draft.note(format!("Weave Net is of another release than kboot's; {UNKNOWN}"));
        }
        let has_subnet = draft.cluster.network.pod_subnet != crate::inventory::Network::default().pod_subnet;
        match range.parse() {
            Ok(subnet) if !has_subnet || draft.cluster.network.pod_subnet == subnet => {
                draft.cluster.network.pod_subnet = subnet;
                draft.cluster.network.cni = Cni::Weave;
            }
            _ => draft
                .note(format!("Weave Net has addresses of {range}, and the cluster's podSubnet is another; {UNKNOWN}")),
        }
        return;
    }
    let files: Vec<String> = draft.named.iter().flat_map(|named| named.facts.node.immutable.networks.clone()).collect();
    let what = files.first().map_or("there is none".to_owned(), |file| format!("it is that of /etc/cni/net.d/{file}"));
    draft.note(format!("the pod network is none of kboot's ({what}); {UNKNOWN}"));
}

fn differs_from_flannel(draft: &Draft<'_>, flannel: &Value, configuration: Option<&Value>) -> Option<String> {
    let ours = manifest::flannel(&draft.cluster).ok()?;
    if !same_images(flannel, &ours) {
        return Some(format!("its image is {}", images_of(flannel).join(", ")));
    }
    let parsed = |object: Option<&Value>| {
        let text = object?["data"]["net-conf.json"].as_str()?;
        serde_json::from_str::<Value>(text).ok()
    };
    let own = ours.iter().find(|object| object["kind"] == "ConfigMap");
    match (parsed(own), parsed(configuration)) {
        (own, Some(found)) if own.as_ref() != Some(&found) => Some(format!("its net-conf.json says {found}")),
        (_, None) => Some("it has no ConfigMap kube-flannel-cfg".into()),
        _ => None,
    }
}

fn images_of(workload: &Value) -> Vec<String> {
    let containers = workload.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    containers.into_iter().flatten().filter_map(|container| container["image"].as_str().map(String::from)).collect()
}

fn same_images(workload: &Value, objects: &[Value]) -> bool {
    let ours = manifest::images(objects);
    let theirs = images_of(workload);
    !theirs.is_empty() && theirs.iter().all(|image| ours.contains(image))
}

fn variable<'a>(workload: &'a Value, name: &str) -> Option<&'a str> {
    let containers = workload.pointer("/spec/template/spec/containers")?.as_array()?;
    let variables = containers.iter().filter_map(|container| container["env"].as_array()).flatten();
    variables.filter(|variable| variable["name"] == name).find_map(|variable| variable["value"].as_str())
}

/// CoreDNS: its image and number as they are; one of a person's own is left alone.
pub fn dns(draft: &mut Draft<'_>) -> Result<()> {
    const ALONE: &str = "kboot leaves CoreDNS alone: dns.enabled is false";
    let leader = draft.leader().clone();
    let Some(deployment) = leader.object("Deployment", "coredns") else {
        if draft.cluster.dns.enabled {
            draft.cluster.dns.enabled = false;
            draft.note(format!("there is no CoreDNS in kube-system; {ALONE}"));
        }
        return Ok(());
    };
    let ours = manifest::coredns(&draft.cluster).map_err(|error| Failure::new(format!("failed to {error}")))?;
    let corefile = |object: Option<&Value>| object.and_then(|object| object["data"]["Corefile"].as_str()).map(lines);
    let own = ours.iter().find(|object| object["kind"] == "ConfigMap");
    if corefile(own) != corefile(leader.object("ConfigMap", "coredns")) {
        draft.cluster.dns.enabled = false;
        draft.note(format!("CoreDNS has a Corefile of its own; {ALONE}"));
        return Ok(());
    }
    let images = images_of(deployment);
    if let Some((repository, tag)) = images.first().and_then(|image| image.rsplit_once(':'))
        && images.first() != Some(&draft.cluster.image("coredns"))
    {
        let repository = repository.strip_suffix("/coredns").unwrap_or(repository);
        let has_other = draft.cluster.image("coredns").rsplit_once('/').map(|(folder, _)| folder.to_owned());
        if has_other.as_deref() != Some(repository) {
            draft.cluster.dns.image_repository = Some(repository.into());
        }
        draft.cluster.dns.image_tag = Some(tag.into());
    }
    let count = &deployment["spec"]["replicas"];
    let own = ours.iter().find(|object| object["kind"] == "Deployment").map(|object| &object["spec"]["replicas"]);
    if own != Some(count) {
        let patch = json!({"spec": {"replicas": count}});
        draft.cluster.patches.push(Patch { target: PatchTarget::CoreDnsDeployment, kind: PatchType::Strategic, patch });
    }
    Ok(())
}

/// Blank lines and spaces at the ends are no matter.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

pub fn kube_proxy(draft: &mut Draft<'_>) {
    if draft.leader().object("DaemonSet", "kube-proxy").is_none() && draft.cluster.kube_proxy.enabled {
        draft.cluster.kube_proxy.enabled = false;
        draft.note("there is no kube-proxy in kube-system; kboot installs none: kubeProxy.enabled is false");
    }
}
