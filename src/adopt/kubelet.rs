//! The kubelets' files as they are, against what kboot would render.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Draft, Named};
use crate::engine::{Failure, Result};
use crate::equivalence;
use crate::facts::{Cgroup, Facts};
use crate::inventory::{Patch, PatchTarget, PatchType};
use crate::manifest::{self, CgroupDriver, KubeletValues, paths};

/// Flags that kboot sets by itself, or that count only when a node registers.
const BY_ITSELF: [&str; 6] = [
    "hostname-override",
    "node-ip",
    "register-with-taints",
    "node-labels",
    "pod-infra-container-image",
    "container-runtime-endpoint",
];
/// Fields by which the kubelet and the container runtime would part ways.
const GRAVE: [&str; 2] = ["cgroupDriver", "containerRuntimeEndpoint"];

pub fn settings(draft: &mut Draft<'_>) -> Result<()> {
    flags(draft);
    let mut found: Vec<(String, Map<String, Value>)> = Vec::new();
    for (name, named) in &draft.nodes {
        if let Some(others) = others(draft, named)? {
            found.push((name.clone(), others));
        }
    }
    for (name, fields) in &found {
        if let Some(field) = GRAVE.iter().find(|field| fields.contains_key(**field)) {
            let value = &fields[*field];
            return Err(Failure::new(format!("{name}: the kubelet has `{field}: {value}`, and kboot would set up another"))
                .hint_text("kboot uses containerd, with systemd's cgroup driver on cgroup v2 and cgroupfs on v1: change that first"));
        }
    }
    let Some(((_, first), others)) = found.split_first() else { return Ok(()) };
    // What all have alike, and the cluster's ConfigMap has not, is as by kubeadm's patches.
    let mut common = first.clone();
    common.retain(|field, value| others.iter().all(|(_, fields)| fields.get(field) == Some(value)));
    for (name, fields) in &found {
        for (field, value) in fields.iter().filter(|(field, _)| !common.contains_key(*field)) {
            let value = if value.is_null() { "not set".to_owned() } else { value.to_string() };
            draft.note(format!("the kubelet of {name} alone has `{field}` {value}: an inventory has one value for all, and `up` would set that"));
        }
    }
    if !common.is_empty() {
        // To add what is there already is to replace it.
        let operation = |(field, value): (&String, &Value)| match value {
            Value::Null => json!({"op": "remove", "path": format!("/{field}")}),
            value => json!({"op": "add", "path": format!("/{field}"), "value": value}),
        };
        let patch = Value::Array(common.iter().map(operation).collect());
        draft.cluster.patches.push(Patch { target: PatchTarget::KubeletConfiguration, kind: PatchType::Json, patch });
    }
    Ok(())
}

/// The fields of a host's configuration that differ from kboot's; null for one that kboot's has and the host's has not.
fn others(draft: &Draft<'_>, named: &Named) -> Result<Option<Map<String, Value>>> {
    let Some(text) = named.survey.file(paths::KUBELET_CONFIG) else { return Ok(None) };
    let read = |text: &str| serde_yaml::from_str::<Value>(text).map(|value| equivalence::kubelet(&value));
    let theirs = read(text).map_err(|error| {
        Failure::new(format!("{}: failed to read {}: {error}", named.target, paths::KUBELET_CONFIG))
    })?;
    let ours = manifest::kubelet_config(&draft.cluster, &values(&named.facts))
        .map_err(|error| Failure::new(format!("failed to {error}")))?;
    let ours = read(&ours).expect("what was rendered is YAML");
    let mut fields = Map::new();
    for (field, value) in theirs.as_object().into_iter().flatten() {
        if ours.get(field) != Some(value) {
            fields.insert(field.clone(), value.clone());
        }
    }
    for field in ours.as_object().into_iter().flat_map(Map::keys).filter(|field| theirs.get(*field).is_none()) {
        fields.insert(field.clone(), Value::Null);
    }
    // The same socket in another spelling, or as the kubelet's default.
    let is_socket = |value: &Value| {
        value.is_null() || value.as_str().is_some_and(|path| path.ends_with("/run/containerd/containerd.sock"))
    };
    if fields.get("containerRuntimeEndpoint").is_some_and(is_socket) {
        fields.remove("containerRuntimeEndpoint");
    }
    Ok(Some(fields))
}

/// As the steps have it.
fn values(facts: &Facts) -> KubeletValues {
    let is_cgroup_v1 = facts.cgroup == Cgroup::V1;
    KubeletValues {
        cgroup_driver: if is_cgroup_v1 { CgroupDriver::Cgroupfs } else { CgroupDriver::Systemd },
        is_cgroup_v1,
        resolv_conf: (facts.resolv_conf != "/etc/resolv.conf").then(|| facts.resolv_conf.clone()),
    }
}

fn flags(draft: &mut Draft<'_>) {
    let of = |named: &Named| flags_of(named.survey.file(paths::KUBELET_FLAGS).unwrap_or_default());
    let all: Vec<(String, BTreeMap<String, String>)> =
        draft.nodes.iter().map(|(name, named)| (name.clone(), of(named))).collect();
    let Some(((_, first), others)) = all.split_first() else { return };
    let mut common = first.clone();
    common.retain(|flag, value| others.iter().all(|(_, flags)| flags.get(flag) == Some(value)));
    for (name, flags) in &all {
        for (flag, value) in flags.iter().filter(|(flag, _)| !common.contains_key(*flag)) {
            draft.note(format!("the kubelet of {name} alone has --{flag}={value}: an inventory has one value for all, and `up` would take it away"));
        }
    }
    draft.cluster.kubelet.extra_args = common;
}

/// The flags in kubeadm's file, without those that kboot sets by itself.
fn flags_of(text: &str) -> BTreeMap<String, String> {
    let words = text.split(|c: char| c.is_whitespace() || c == '"').filter_map(|word| word.strip_prefix("--"));
    let flags = words.map(|word| word.split_once('=').unwrap_or((word, "true")));
    flags.filter(|(name, _)| !BY_ITSELF.contains(name)).map(|(name, value)| (name.into(), value.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_a_person_gave() {
        let text = "KUBELET_KUBEADM_ARGS=\"--node-ip=10.0.0.1 --v=4 --hostname-override=n1 --node-labels=a=b --seccomp-default\"\n";
        assert_eq!(flags_of(text), [("seccomp-default", "true"), ("v", "4")].map(|(a, b)| (a.into(), b.into())).into());
        assert_eq!(flags_of(""), BTreeMap::new());
    }
}
