//! A folder of patches: files named `target[suffix][+type].yaml` or `.json`, applied in the order of their names.

use serde::Deserialize as _;
use serde_json::Value;

use crate::inventory::reading::{nearest, quote};
use crate::inventory::{Patch, PatchTarget, PatchType};

/// What is wrong with a file of the folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct PatchFileError {
    pub problem: String,
    pub hint: String,
}

/// The patches of a folder's files, of which each has a name and a content; and the files that are none, with the reason. Several
/// documents in a file are as many patches.
pub fn patches(files: &[(String, Vec<u8>)]) -> Result<(Vec<Patch>, Vec<String>), (String, PatchFileError)> {
    let mut files: Vec<&(String, Vec<u8>)> = files.iter().collect();
    files.sort();
    let (mut patches, mut ignored) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let refused = |error| (name.clone(), error);
        let (target, kind) = match named(name).map_err(refused)? {
            Name::Patch(target, kind) => (target, kind),
            Name::Other(why) => {
                ignored.push(format!("{name} is no patch: {why}"));
                continue;
            }
        };
        let documents = documents(content).map_err(refused)?;
        if documents.is_empty() {
            ignored.push(format!("{name} is empty"));
        }
        for patch in documents {
            fits(kind, &patch).map_err(refused)?;
            patches.push(Patch { target, kind, patch });
        }
    }
    Ok((patches, ignored))
}

enum Name {
    Patch(PatchTarget, PatchType),
    Other(&'static str),
}

fn named(name: &str) -> Result<Name, PatchFileError> {
    let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".json")).filter(|stem| !stem.is_empty());
    let Some(stem) = stem else { return Ok(Name::Other("its name ends with neither .yaml nor .json")) };
    let targets = PatchTarget::ALL.map(PatchTarget::name);
    let Some(target) = PatchTarget::ALL.into_iter().find(|target| stem.starts_with(target.name())) else {
        let word = stem.split(['.', '+']).next().unwrap_or_default();
        return match nearest(word, &targets) {
            // kubeadm would pass it over, and nobody would know.
            Some(near) => Err(PatchFileError {
                problem: "its name begins with no target of patches".into(),
                hint: format!("did you mean {}?", quote(near)),
            }),
            None => Ok(Name::Other("its name begins with no target of patches")),
        };
    };
    let rest = &stem[target.name().len()..];
    let Some((before, word)) = rest.split_once('+') else { return Ok(Name::Patch(target, PatchType::default())) };
    if before.contains('.') {
        return Err(PatchFileError {
            problem: "the type comes after a dot, where kubeadm does not look for it".into(),
            hint: format!("name it {}{}+{word}.yaml", target.name(), before.replace('.', "-")),
        });
    }
    let word = word.split('.').next().unwrap_or_default();
    match PatchType::ALL.into_iter().find(|kind| kind.name() == word) {
        Some(kind) => Ok(Name::Patch(target, kind)),
        None => Err(PatchFileError {
            problem: format!("{} is no type of patch", quote(word)),
            hint: "the types are strategic, merge and json, after a +".into(),
        }),
    }
}

fn documents(content: &[u8]) -> Result<Vec<Value>, PatchFileError> {
    let broken = |problem: String| PatchFileError { problem, hint: "it takes YAML or JSON".into() };
    let text = std::str::from_utf8(content).map_err(|_| broken("it is not UTF-8 text".into()))?;
    let mut all = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|error| broken(format!("not valid YAML: {error}")))?;
        if !value.is_null() {
            all.push(value);
        }
    }
    Ok(all)
}

fn fits(kind: PatchType, patch: &Value) -> Result<(), PatchFileError> {
    let (problem, hint) = match (kind, patch) {
        (PatchType::Json, Value::Array(operations)) if operations.iter().all(|one| one["op"].is_string()) => {
            return Ok(());
        }
        (PatchType::Json, _) => {
            ("it is no list of operations", "each is like `{op: add, path: /spec/priority, value: 1}`")
        }
        (PatchType::Strategic | PatchType::Merge, Value::Object(_)) => return Ok(()),
        (PatchType::Strategic | PatchType::Merge, Value::Array(_)) => (
            "it is a list, and takes fields",
            "a list of operations is of the type json: name the file TARGET+json.yaml",
        ),
        (PatchType::Strategic | PatchType::Merge, _) => {
            ("it has no fields", "those of the target that are to be changed")
        }
    };
    Err(PatchFileError { problem: problem.into(), hint: hint.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn files(list: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        list.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn names_say_target_and_type_and_the_order() {
        let (found, ignored) = patches(&files(&[
            ("kube-apiserver1+json.yaml", "- {op: remove, path: /a}\n"),
            ("kube-apiserver0+merge.yaml", "a: 1\n---\na: 2\n"),
            ("etcd.json", "{\"b\": 1}"),
            ("kubeletconfiguration-x+strategic.yaml", "c: 1\n"),
            ("corednsdeployment.v2.yaml", "d: 1\n"),
            ("README.md", "text"),
            ("kustomization.yaml", "resources: []"),
            ("kube-scheduler.yaml", "# nothing yet\n"),
        ]))
        .unwrap();
        let told: Vec<_> = found.iter().map(|p| (p.target.name(), p.kind.name(), p.patch.clone())).collect();
        assert_eq!(
            told,
            [
                ("corednsdeployment", "strategic", json!({"d": 1})),
                ("etcd", "strategic", json!({"b": 1})),
                ("kube-apiserver", "merge", json!({"a": 1})),
                ("kube-apiserver", "merge", json!({"a": 2})),
                ("kube-apiserver", "json", json!([{"op": "remove", "path": "/a"}])),
                ("kubeletconfiguration", "strategic", json!({"c": 1})),
            ]
        );
        assert_eq!(
            ignored,
            [
                "README.md is no patch: its name ends with neither .yaml nor .json",
                "kube-scheduler.yaml is empty",
                "kustomization.yaml is no patch: its name begins with no target of patches",
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told_by_file() {
        for (name, text, problem) in [
            ("kube-apisever.yaml", "a: 1", "its name begins with no target of patches"),
            ("etcd+xml.yaml", "a: 1", "`xml` is no type of patch"),
            ("etcd+.yaml", "a: 1", "`` is no type of patch"),
            ("etcd.x+merge.yaml", "a: 1", "the type comes after a dot, where kubeadm does not look for it"),
            ("etcd.yaml", "- {op: add}", "it is a list, and takes fields"),
            ("etcd+json.yaml", "a: 1", "it is no list of operations"),
            ("etcd.yaml", "text", "it has no fields"),
        ] {
            let (file, error) = patches(&files(&[(name, text)])).unwrap_err();
            assert_eq!((file.as_str(), error.problem.as_str()), (name, problem));
        }
        let (_, error) = patches(&files(&[("etcd.yaml", "a: [")])).unwrap_err();
        assert!(error.problem.starts_with("not valid YAML: "), "{error}");
    }
}
