//! How a thing is: what the journal writes down before a change and after it.

use std::collections::BTreeSet;

use camino::Utf8Path;
use serde_json::Value;

use super::dpkg::Status;
use super::{image, kernel, unit};
use crate::engine::{Failure, FileKind, Probe, Result, State, Subject, comparable};
use crate::kube::Connector;

/// Never fails: what can't be told is unknown.
pub async fn state(probe: &dyn Probe, kube: &Connector, subject: &Subject) -> State {
    look(probe, kube, subject).await.unwrap_or_else(|failure| State::Unknown { reason: failure.cause })
}

async fn look(probe: &dyn Probe, kube: &Connector, subject: &Subject) -> Result<State> {
    match subject {
        Subject::Path { path } => at(probe, path).await,
        Subject::Entries { folder } => match probe.list(folder).await? {
            Some(names) => Ok(State::Names { names: names.into_iter().collect() }),
            None => Ok(State::Absent),
        },
        Subject::Packages => {
            let packages = Status::read(probe).await?.packages.into_iter();
            Ok(State::Packages { versions: packages.map(|(name, package)| (name, package.version)).collect() })
        }
        Subject::Hold { package } => Ok(match Status::read(probe).await?.package(package) {
            Some(package) if package.is_held => State::Present,
            Some(_) | None => State::Absent,
        }),
        Subject::Unit { unit } => unit::state(probe, unit).await,
        Subject::Sysctl { key } => Ok(match kernel::Sysctl::read(probe, key).await? {
            Some(value) => State::Value { value },
            None => State::Absent,
        }),
        Subject::Module { module } => Ok(presence(kernel::is_loaded(probe, module).await?)),
        Subject::Swap { device } => Ok(presence(kernel::swaps(probe).await?.contains(device))),
        Subject::Images => match image::present(probe).await? {
            Some(images) => Ok(State::Names { names: images.into_iter().collect::<BTreeSet<_>>() }),
            None => Ok(State::Absent),
        },
        Subject::Object { api_version, kind, namespace, name } => {
            let Some(view) = kube.view(probe).await? else {
                return Ok(State::Unknown { reason: "there is no way to the API server".into() });
            };
            Ok(match view.get(api_version, kind, namespace.as_deref(), name).await? {
                // A namespace takes its time to be gone, and there is no way back from it.
                Some(object) if object["metadata"]["deletionTimestamp"].is_string() => State::Absent,
                Some(object) => State::Object { object: comparable(&object) },
                None => State::Absent,
            })
        }
        Subject::Label { node, key } => {
            let Some(node) = self::node(probe, kube, node).await? else { return Ok(State::Absent) };
            Ok(value(&node["metadata"]["labels"][key]))
        }
        Subject::Taint { node, key, effect } => {
            let Some(node) = self::node(probe, kube, node).await? else { return Ok(State::Absent) };
            let taints = node["spec"]["taints"].as_array().map(Vec::as_slice).unwrap_or_default();
            let found = taints.iter().find(|taint| taint["key"] == *key && taint["effect"] == *effect);
            Ok(found.map_or(State::Absent, |taint| match value(&taint["value"]) {
                State::Absent => State::Value { value: String::new() },
                value => value,
            }))
        }
        Subject::Pod { .. }
        | Subject::Drain { .. }
        | Subject::Marks { .. }
        | Subject::Member { .. }
        | Subject::FilterRules { .. }
        | Subject::FilterTable { .. }
        | Subject::ControlGroup { .. }
        | Subject::Command { .. } => Ok(State::Unknown { reason: "a command leaves what it leaves".into() }),
    }
}

async fn node(probe: &dyn Probe, kube: &Connector, name: &str) -> Result<Option<Value>> {
    match kube.view(probe).await? {
        Some(view) => view.get("v1", "Node", None, name).await,
        None => Err(Failure::new("there is no way to the API server")),
    }
}

fn value(found: &Value) -> State {
    found.as_str().map_or(State::Absent, |value| State::Value { value: value.into() })
}

async fn at(probe: &dyn Probe, path: &Utf8Path) -> Result<State> {
    let Some(found) = probe.stat(path).await? else { return Ok(State::Absent) };
    let (mode, uid, gid) = (found.mode, found.uid, found.gid);
    match found.kind {
        FileKind::File => {
            let bytes = probe.read(path).await?.unwrap_or_default();
            Ok(State::file(mode, uid, gid, bytes))
        }
        FileKind::Directory => {
            let is_empty = probe.list(path).await?.is_none_or(|names| names.is_empty());
            Ok(State::Directory { mode, uid, gid, is_empty })
        }
        FileKind::Symlink => Ok(match probe.link(path).await? {
            Some(target) => State::Link { target },
            None => State::Absent,
        }),
        FileKind::Other => Ok(State::Unknown { reason: "neither a file, a directory nor a link".into() }),
    }
}

fn presence(is_there: bool) -> State {
    if is_there { State::Present } else { State::Absent }
}
