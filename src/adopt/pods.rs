//! The control plane's static pods as they are, against what kboot would render: flags, volumes and environment become settings, the
//! rest patches, and what only one of several control planes has is told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::survey::API_SERVER_CERTIFICATE;
use super::{Draft, Named};
use crate::engine::{Failure, Result};
use crate::equivalence;
use crate::inventory::{Cluster, Component, EnvVar, ExtraVolume, Host, Patch, PatchTarget, PatchType};
use crate::manifest::{self, NodeValues, StaticPod, paths};
use crate::pki::{self, LayoutParams};

const TARGETS: [(StaticPod, PatchTarget); 4] = [
    (StaticPod::Etcd, PatchTarget::Etcd),
    (StaticPod::ApiServer, PatchTarget::KubeApiserver),
    (StaticPod::ControllerManager, PatchTarget::KubeControllerManager),
    (StaticPod::Scheduler, PatchTarget::KubeScheduler),
];

pub fn settings(draft: &mut Draft<'_>) -> Result<()> {
    draft.cluster.control_plane.own_flags = false;
    for (pod, target) in TARGETS {
        let name = pod.name();
        let hosts = with_manifests(draft, pod);
        let found: Vec<Found> =
            hosts.iter().map(|(host, named)| look(draft, pod, host, named)).collect::<Result<_>>()?;
        let agreed = agreed(draft, name, &found);
        let component = component(&mut draft.cluster, pod);
        component.extra_args.extend(agreed.flags);
        component.extra_volumes.extend(agreed.volumes);
        if let Some(variables) = agreed.variables {
            component.extra_envs = variables;
        }
        // With these settings, what else is there?
        let rest: Vec<Vec<Value>> =
            hosts.iter().map(|(host, named)| rest(draft, pod, host, named)).collect::<Result<_>>()?;
        match rest.split_first() {
            Some((first, others)) if !first.is_empty() && others.iter().all(|other| other == first) => {
                let patch = Value::Array(first.clone());
                draft.cluster.patches.push(Patch { target, kind: PatchType::Json, patch });
            }
            _ => {}
        }
        for (host, named) in &hosts {
            if !is_same(draft, pod, host, named)? {
                let path = paths::static_pod(pod);
                draft.note(format!(
                    "`up` would write {path} of {} anew, and {name} starts again: see `kboot plan`",
                    host.name
                ));
            }
        }
    }
    fold(&mut draft.cluster);
    Ok(())
}

/// Names of the API server's certificates that follow from nothing else.
pub fn names(draft: &mut Draft<'_>) {
    let mut more = BTreeSet::new();
    for host in draft.cluster.control_planes() {
        let pem = draft.nodes.get(&host.name).and_then(|named| named.survey.file(API_SERVER_CERTIFICATE));
        let (Some(found), Ok(entries)) = (
            pem.and_then(|pem| pki::describe(pem).ok()),
            pki::cluster_certificates(&LayoutParams::of(&draft.cluster, host)),
        ) else {
            continue;
        };
        let Some(entry) = entries.iter().find(|entry| entry.stem == "apiserver") else { continue };
        let request = &entry.request;
        let addresses = request.ip_addresses.iter().map(ToString::to_string);
        let wanted: BTreeSet<String> = request.dns_names.iter().cloned().chain(addresses).collect();
        more.extend(found.sans.into_iter().filter(|name| !wanted.contains(name)));
    }
    draft.cluster.certificates.extra_sans.extend(more);
}

fn with_manifests<'a>(draft: &Draft<'a>, pod: StaticPod) -> Vec<(Host, &'a Named)> {
    let path = paths::static_pod(pod);
    let hosts = draft.cluster.control_planes().filter_map(|host| {
        let named = *draft.nodes.get(&host.name)?;
        named.survey.file(&path)?;
        Some((host.clone(), named))
    });
    hosts.collect()
}

/// A pod's settings that kboot would not make by itself.
#[derive(Default)]
struct Found {
    host: String,
    flags: BTreeMap<String, String>,
    /// Flags of kboot's that the pod has not.
    added: Vec<String>,
    /// Flags that the pod has more than once.
    repeated: Vec<String>,
    volumes: Vec<ExtraVolume>,
    /// None where they are as kboot has them.
    variables: Option<Vec<EnvVar>>,
}

struct Agreed {
    flags: BTreeMap<String, String>,
    volumes: Vec<ExtraVolume>,
    variables: Option<Vec<EnvVar>>,
}

fn look(draft: &Draft<'_>, pod: StaticPod, host: &Host, named: &Named) -> Result<Found> {
    let (ours, theirs) = both(draft, pod, host, named)?;
    let (own, there) = (flags(&ours), flags(&theirs));
    let mut found = Found { host: host.name.clone(), ..Found::default() };
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in &there {
        if known.insert(name, value).is_some() {
            found.repeated.push(name.clone());
        }
    }
    let kboots: BTreeMap<&str, &str> = own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    found.added = kboots.keys().filter(|name| !known.contains_key(*name)).map(|name| (*name).to_owned()).collect();
    let others = known.iter().filter(|(name, value)| kboots.get(*name) != Some(value));
    found.flags = others.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    found.volumes = volumes(&theirs).into_iter().filter(|volume| !volumes(&ours).contains(volume)).collect();
    let (ours, theirs) = (variables(&ours), variables(&theirs));
    found.variables = theirs.filter(|theirs| Some(theirs) != ours.as_ref());
    Ok(found)
}

/// What all control planes have alike; what one has alone is told.
fn agreed(draft: &mut Draft<'_>, name: &str, found: &[Found]) -> Agreed {
    let Some((first, others)) = found.split_first() else {
        return Agreed { flags: BTreeMap::new(), volumes: Vec::new(), variables: None };
    };
    let mut flags = first.flags.clone();
    flags.retain(|flag, value| others.iter().all(|other| other.flags.get(flag) == Some(value)));
    let mut volumes = first.volumes.clone();
    volumes.retain(|volume| others.iter().all(|other| other.volumes.contains(volume)));
    let variables = first.variables.clone().filter(|_| others.iter().all(|other| other.variables == first.variables));
    for one in found {
        for flag in &one.repeated {
            draft.note(format!("{name} of {} has --{flag} more than once, and an inventory says it once", one.host));
        }
        for flag in &one.added {
            draft.note(format!("{name} of {} lacks --{flag}, which kboot always sets", one.host));
        }
        for (flag, value) in one.flags.iter().filter(|(flag, _)| !flags.contains_key(*flag)) {
            draft
                .note(format!("{name} of {} alone has --{flag}={value}: an inventory has one value for all", one.host));
        }
        for volume in one.volumes.iter().filter(|volume| !volumes.contains(volume)) {
            draft.note(format!("{name} of {} alone has the volume {}", one.host, volume.name));
        }
        if one.variables.is_some() && variables.is_none() {
            draft.note(format!("{name} of {} has another environment than those of the others", one.host));
        }
    }
    Agreed { flags, volumes, variables }
}

/// kboot's pod and the host's.
fn both(draft: &Draft<'_>, pod: StaticPod, host: &Host, named: &Named) -> Result<(Value, Value)> {
    let text = named.survey.file(&paths::static_pod(pod)).unwrap_or_default();
    let theirs = serde_yaml::from_str(text).map_err(|error| {
        Failure::new(format!("failed to read {} of {}: {error}", paths::static_pod(pod), host.name))
    })?;
    let ours = serde_yaml::from_str(&rendered(draft, pod, host, named)?).expect("what was rendered is YAML");
    Ok((ours, theirs))
}

fn rendered(draft: &Draft<'_>, pod: StaticPod, host: &Host, named: &Named) -> Result<String> {
    let there = named.survey.file(&paths::static_pod(pod)).unwrap_or_default();
    let etcd = named.survey.file(&paths::static_pod(StaticPod::Etcd)).unwrap_or_default();
    let values = NodeValues {
        name: host.name.clone(),
        address: host.address,
        // Those that came later are no matter to `up` either.
        ca_folders: manifest::mounted_ca_folders(there),
        has_ca_key: named.survey.has_ca_key,
        etcd_members: manifest::joined_members(etcd),
    };
    manifest::static_pod(pod, &draft.cluster, &values).map_err(|error| Failure::new(format!("failed to {error}")))
}

fn is_same(draft: &Draft<'_>, pod: StaticPod, host: &Host, named: &Named) -> Result<bool> {
    let (ours, theirs) = both(draft, pod, host, named)?;
    Ok(equivalence::pod(&ours) == equivalence::pod(&theirs))
}

/// The operations that make kboot's pod the host's, beside flags and volumes.
fn rest(draft: &Draft<'_>, pod: StaticPod, host: &Host, named: &Named) -> Result<Vec<Value>> {
    let (ours, theirs) = both(draft, pod, host, named)?;
    let form = |pod: &Value| {
        let mut pod = equivalence::without_nothing(pod);
        if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("volumes");
        }
        if let Some(container) = pod.pointer_mut("/spec/containers/0").and_then(Value::as_object_mut) {
            container.retain(|field, _| field != "command" && field != "volumeMounts");
        }
        pod
    };
    let mut operations = Vec::new();
    differences(&form(&ours), &form(&theirs), "", &mut operations);
    Ok(operations)
}

/// RFC 6902, from one value to another.
fn differences(from: &Value, to: &Value, path: &str, operations: &mut Vec<Value>) {
    match (from, to) {
        (Value::Object(from), Value::Object(to)) => {
            let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
            for name in names {
                let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                match (from.get(name), to.get(name)) {
                    (Some(from), Some(to)) => differences(from, to, &path, operations),
                    (Some(_), None) => operations.push(json!({"op": "remove", "path": path})),
                    (None, Some(to)) => operations.push(json!({"op": "add", "path": path, "value": to})),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(from), Value::Array(to)) if from.len() == to.len() => {
            for (index, (from, to)) in from.iter().zip(to).enumerate() {
                differences(from, to, &format!("{path}/{index}"), operations);
            }
        }
        (from, to) if from == to => {}
        (_, to) => operations.push(json!({"op": "replace", "path": path, "value": to})),
    }
}

fn component(cluster: &mut Cluster, pod: StaticPod) -> &mut Component {
    let components = &mut cluster.control_plane;
    match pod {
        StaticPod::Etcd => &mut components.etcd,
        StaticPod::ApiServer => &mut components.api_server,
        StaticPod::ControllerManager => &mut components.controller_manager,
        StaticPod::Scheduler => &mut components.scheduler,
    }
}

/// A cluster that has all of kboot's own flags needs none of them named.
fn fold(cluster: &mut Cluster) {
    let has_all = TARGETS.iter().all(|(pod, _)| {
        let flags = component(cluster, *pod).extra_args.clone();
        pod.own_flags().iter().all(|(name, value)| flags.get(*name).is_some_and(|found| found == value))
    });
    if has_all {
        cluster.control_plane.own_flags = true;
        for (pod, _) in TARGETS {
            let flags = &mut component(cluster, pod).extra_args;
            pod.own_flags().iter().for_each(|(name, _)| drop(flags.remove(*name)));
        }
    }
}

fn container(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]
}

fn flags(pod: &Value) -> Vec<(String, String)> {
    let words = container(pod)["command"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let flag = |word: &str| {
        let word = word.strip_prefix("--")?;
        // A flag without a value is one that is on.
        let (name, value) = word.split_once('=').unwrap_or((word, "true"));
        Some((name.to_owned(), value.to_owned()))
    };
    words.filter_map(flag).collect()
}

/// Those of the pod's volumes that are paths of the host, with where they are mounted.
fn volumes(pod: &Value) -> Vec<ExtraVolume> {
    let mounts = container(pod)["volumeMounts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(String::from);
    let volume = |volume: &Value| {
        let mount = mounts.iter().find(|mount| mount["name"] == volume["name"])?;
        Some(ExtraVolume {
            name: text(&volume["name"])?,
            host_path: text(&volume["hostPath"]["path"])?,
            mount_path: text(&mount["mountPath"])?,
            read_only: mount["readOnly"] == true,
            path_type: text(&volume["hostPath"]["type"]).filter(|kind| !kind.is_empty()),
        })
    };
    pod["spec"]["volumes"].as_array().into_iter().flatten().filter_map(volume).collect()
}

/// The environment, if all of it is plain values; none is an empty one.
fn variables(pod: &Value) -> Option<Vec<EnvVar>> {
    let list = container(pod)["env"].as_array().map(Vec::as_slice).unwrap_or_default();
    let variable = |variable: &Value| {
        let name = variable["name"].as_str()?.to_owned();
        variable["valueFrom"]
            .is_null()
            .then(|| EnvVar { name, value: variable["value"].as_str().unwrap_or_default().into() })
    };
    list.iter().map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_operations() {
        let from = json!({"a": {"x": 1, "y": [1, 2]}, "b/c": 1, "gone": true, "list": [1]});
        let to = json!({"a": {"x": 2, "y": [1, 3], "new": {}}, "b/c": 2, "list": [1, 2]});
        let mut operations = Vec::new();
        differences(&from, &to, "", &mut operations);
        assert_eq!(
            Value::Array(operations),
            json!([
                {"op": "add", "path": "/a/new", "value": {}},
                {"op": "replace", "path": "/a/x", "value": 2},
                {"op": "replace", "path": "/a/y/1", "value": 3},
                {"op": "replace", "path": "/b~1c", "value": 2},
                {"op": "remove", "path": "/gone"},
                {"op": "replace", "path": "/list", "value": [1, 2]},
            ])
        );
    }

    #[test]
    fn flags_volumes_and_environment_of_a_pod() {
        let pod = json!({"spec": {
            "containers": [{
                "command": ["kube-x", "--a=b=c", "--on"],
                "env": [{"name": "A", "value": "b"}, {"name": "E"}],
                "volumeMounts": [{"name": "v", "mountPath": "/m", "readOnly": true}],
            }],
            "volumes": [{"name": "v", "hostPath": {"path": "/h", "type": ""}}, {"name": "other", "emptyDir": {}}],
        }});
        assert_eq!(flags(&pod), [("a".to_owned(), "b=c".to_owned()), ("on".to_owned(), "true".to_owned())]);
        let [volume] = &volumes(&pod)[..] else { panic!("{:?}", volumes(&pod)) };
        assert_eq!((volume.host_path.as_str(), volume.mount_path.as_str(), volume.read_only), ("/h", "/m", true));
        assert_eq!(volume.path_type, None);
        assert_eq!(variables(&pod).unwrap().len(), 2);
        let secret = json!({"spec": {"containers": [{"env": [{"name": "A", "valueFrom": {}}]}]}});
        assert_eq!(variables(&secret), None);
    }
}
