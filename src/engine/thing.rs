//! What a change touches, and how that was: by this the journal knows the way back.
//!
//! These are the journal's own words. They are stored on hosts for years, so a variant may be added, and none may change its meaning.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::mask::has_secret;
use super::object::redact_object;
use super::{Change, Content, comparable, sha256};

/// Something on a host or in its cluster that a change touches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "thing", rename_all = "kebab-case")]
pub enum Thing {
    /// A file, a directory, a link, or nothing.
    Path {
        path: Utf8PathBuf,
    },
    /// The names in a folder whose files are no matter.
    Entries {
        folder: Utf8PathBuf,
    },
    /// All installed packages with their versions.
    Packages,
    /// Whether a package is held at its version.
    Hold {
        package: String,
    },
    Unit {
        unit: String,
    },
    Sysctl {
        key: String,
    },
    Module {
        module: String,
    },
    Swap {
        device: String,
    },
    /// The images that the container runtime has.
    Images,
    Object {
        api_version: String,
        kind: String,
        namespace: Option<String>,
        name: String,
    },
    /// A label of a node.
    Label {
        node: String,
        key: String,
    },
    /// A node's taint of this key and effect.
    Taint {
        node: String,
        key: String,
        effect: String,
    },
    /// Something that can't be looked at: what a command did.
    Command {
        why: String,
        undo: Option<Vec<String>>,
    },
}

/// How a thing is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    Absent,
    /// On or loaded, with nothing more to say.
    Present,
    File {
        mode: u32,
        uid: u32,
        gid: u32,
        /// SHA-256, 64 hexadecimal digits.
        digest: String,
        /// The content, unless it is secret or too large to be kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<Content>,
    },
    Directory {
        mode: u32,
        uid: u32,
        gid: u32,
        is_empty: bool,
    },
    Link {
        target: Utf8PathBuf,
    },
    Packages {
        versions: BTreeMap<String, String>,
    },
    Names {
        names: BTreeSet<String>,
    },
    Unit {
        is_enabled: bool,
        is_active: bool,
    },
    Value {
        value: String,
    },
    /// An object as the API server has it, without bookkeeping and status.
    Object {
        object: Value,
    },
    /// The fields of an object that kboot applied.
    Applied {
        object: Value,
    },
    /// It could not be told.
    Unknown {
        reason: String,
    },
}

/// A thing that a change touches, with what the change itself knows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Touch {
    pub thing: Thing,
    /// Its content is kept nowhere, only its digest.
    pub is_secret: bool,
    /// How it is before, where it was just observed.
    pub before: Option<State>,
    /// How it will be, where there is no need to look.
    pub after: Option<State>,
}

/// A thing and how it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    #[serde(flatten)]
    pub thing: Thing,
    #[serde(flatten)]
    pub state: State,
}

/// Where apt keeps the package lists that it has read.
const APT_LISTS: &str = "/var/lib/apt/lists";
/// A file larger than this is known by its digest only.
const MOST_KEPT: usize = 256 * 1024;

impl Thing {
    pub fn path(path: impl Into<Utf8PathBuf>) -> Self {
        Self::Path { path: path.into() }
    }

    pub fn object(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        Self::Object {
            api_version: text(&object["apiVersion"]),
            kind: text(&object["kind"]),
            namespace: object["metadata"]["namespace"].as_str().map(String::from),
            name: text(&object["metadata"]["name"]),
        }
    }
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Thing::Path { path } => write!(f, "{path}"),
            Thing::Entries { folder } => write!(f, "what is in {folder}"),
            Thing::Packages => f.write_str("the installed packages"),
            Thing::Hold { package } => write!(f, "the hold of the package {package}"),
            Thing::Unit { unit } => write!(f, "the unit {unit}"),
            Thing::Sysctl { key } => write!(f, "the kernel parameter {key}"),
            Thing::Module { module } => write!(f, "the kernel module {module}"),
            Thing::Swap { device } => write!(f, "swap on {device}"),
            Thing::Images => f.write_str("the container images"),
            Thing::Object { kind, namespace: Some(namespace), name, .. } => write!(f, "{kind} {namespace}/{name}"),
            Thing::Object { kind, namespace: None, name, .. } => write!(f, "{kind} {name}"),
            Thing::Label { node, key } => write!(f, "the label {key} of the node {node}"),
            Thing::Taint { node, key, effect } => write!(f, "the taint {key}:{effect} of the node {node}"),
            Thing::Command { why, .. } => f.write_str(why),
        }
    }
}

impl State {
    /// A file's state; `bytes` are kept unless they are secret, a key, or too many.
    pub fn file(mode: u32, uid: u32, gid: u32, bytes: Vec<u8>) -> Self {
        let digest = sha256(&bytes);
        let is_kept = bytes.len() <= MOST_KEPT && !holds_key(&bytes);
        Self::File { mode, uid, gid, digest, content: is_kept.then(|| Content::from_bytes(bytes)) }
    }

    /// The same, known by its digest only.
    pub fn without_content(self) -> Self {
        match self {
            State::File { mode, uid, gid, digest, .. } => State::File { mode, uid, gid, digest, content: None },
            State::Object { object } => State::Object { object: redact_object(&object) },
            other => other,
        }
    }

    /// Whether both are the same thing's same state, however much of it was kept.
    pub fn is_like(&self, other: &State) -> bool {
        match (self, other) {
            (
                State::File { mode, uid, gid, digest, .. },
                State::File { mode: mode2, uid: uid2, gid: gid2, digest: digest2, .. },
            ) => (mode, uid, gid, digest) == (mode2, uid2, gid2, digest2),
            (State::Directory { mode, uid, gid, .. }, State::Directory { mode: mode2, uid: uid2, gid: gid2, .. }) => {
                (mode, uid, gid) == (mode2, uid2, gid2)
            }
            (State::Unknown { .. }, _) | (_, State::Unknown { .. }) => false,
            (a, b) => a == b,
        }
    }
}

/// Private keys and what lets one in are never written down a second time, whatever file they are in.
fn holds_key(bytes: &[u8]) -> bool {
    const SIGNS: [&[u8]; 4] = [b"PRIVATE KEY", b"client-key-data", b"BEGIN OPENSSH", b"token: "];
    SIGNS.iter().any(|sign| bytes.windows(sign.len()).any(|window| window == *sign))
        || std::str::from_utf8(bytes).is_ok_and(has_secret)
}

impl Change {
    /// What this change touches, in the order in which it does.
    pub fn touches(&self) -> Vec<Touch> {
        let plain = |thing| Touch { thing, is_secret: false, before: None, after: None };
        let secret = |path: &Utf8PathBuf| Touch { is_secret: true, ..plain(Thing::path(path)) };
        match self {
            Change::WriteFile { path, after, .. } => {
                let is_secret = matches!(after, Content::Secret(_) | Content::Digest(_));
                vec![Touch { is_secret, ..plain(Thing::path(path)) }]
            }
            Change::Remove { path }
            | Change::RemoveEmptyDirectory { path }
            | Change::MakeDirectory { path, .. }
            | Change::MakeLink { path, .. }
            | Change::SetMode { path, .. }
            | Change::SetOwner { path, .. }
            | Change::FetchKey { path, .. } => vec![plain(Thing::path(path))],
            Change::RefreshPackages { .. } => vec![plain(Thing::Entries { folder: APT_LISTS.into() })],
            Change::InstallPackages { .. } | Change::RemovePackages { .. } | Change::MendPackages { .. } => {
                vec![plain(Thing::Packages)]
            }
            Change::HoldPackages { packages, .. } => {
                packages.iter().map(|package| plain(Thing::Hold { package: package.clone() })).collect()
            }
            Change::SetUnit(change) => vec![plain(Thing::Unit { unit: change.unit.clone() })],
            Change::LoadModule { module } | Change::UnloadModule { module } => {
                vec![plain(Thing::Module { module: module.clone() })]
            }
            Change::SetSysctl { key, .. } => vec![plain(Thing::Sysctl { key: key.clone() })],
            Change::SwapOff { device } | Change::SwapOn { device } => {
                vec![plain(Thing::Swap { device: device.clone() })]
            }
            Change::IssueCertificate { certificate, key, .. } => {
                vec![secret(key), plain(Thing::path(certificate))]
            }
            Change::MakeKeyPair { private, public, .. } => vec![secret(private), plain(Thing::path(public))],
            Change::WriteKubeconfig { path, .. } => vec![secret(path)],
            Change::PullImages { .. } | Change::RemoveImages { .. } => vec![plain(Thing::Images)],
            Change::ApplyObject { object, before } => vec![Touch {
                thing: Thing::object(object),
                is_secret: object["kind"] == "Secret",
                before: Some(
                    before.as_ref().map_or(State::Absent, |object| State::Object { object: comparable(object) }),
                ),
                after: Some(State::Applied { object: redact_object(object) }),
            }],
            // Its owner makes another one.
            Change::DeleteObject { kind, .. } if kind == "Pod" => {
                vec![plain(Thing::Command { why: self.to_string(), undo: None })]
            }
            Change::DeleteObject { api_version, kind, namespace, name } => {
                let (api_version, kind, name) = (api_version.clone(), kind.clone(), name.clone());
                let is_secret = kind == "Secret";
                let thing = Thing::Object { api_version, kind, namespace: namespace.clone(), name };
                vec![Touch { is_secret, after: Some(State::Absent), ..plain(thing) }]
            }
            Change::MarkNode(marks) => marked(marks).map(plain).collect(),
            Change::RemoveFilterRules { .. }
            | Change::RemoveFilterTable { .. }
            | Change::RemoveControlGroup { .. }
            | Change::DrainNode { .. }
            | Change::SetMember(_) => {
                vec![plain(Thing::Command { why: self.to_string(), undo: None })]
            }
            Change::Run { why, undo, .. } => {
                vec![plain(Thing::Command { why: why.clone(), undo: undo.clone() })]
            }
        }
    }

    /// What this change is meant to leave, each part under a name of its own: equal for two changes that want the same. Nothing
    /// for a change that only follows from others.
    pub fn wants(&self) -> BTreeMap<String, String> {
        let mut wants = BTreeMap::new();
        let mut want = |name: String, value: &str| {
            wants.insert(name, value.to_string());
        };
        match self {
            Change::WriteFile { path, mode, after, .. } => {
                let digest = after.bytes().map_or_else(|| format!("{after:?}"), |bytes| sha256(&bytes));
                want(format!("file {path}"), &format!("{mode} {digest}"));
            }
            Change::Remove { path } | Change::RemoveEmptyDirectory { path } => want(format!("file {path}"), "absent"),
            Change::MakeDirectory { path, mode } => want(format!("directory {path}"), &mode.to_string()),
            Change::MakeLink { path, target } => want(format!("link {path}"), target.as_str()),
            Change::SetMode { path, mode } => want(format!("mode {path}"), &mode.to_string()),
            Change::SetOwner { path, uid, gid } => want(format!("owner {path}"), &format!("{uid}:{gid}")),
            Change::InstallPackages { packages, .. } => {
                for package in packages {
                    want(format!("package {}", package.name), package.to.as_deref().unwrap_or("any"));
                }
            }
            Change::RemovePackages { packages } => {
                packages.iter().for_each(|package| want(format!("package {package}"), "absent"));
            }
            Change::HoldPackages { packages, hold } => {
                packages.iter().for_each(|package| want(format!("hold {package}"), &hold.to_string()));
            }
            Change::SetUnit(change) => {
                if let Some(enable) = change.enable {
                    want(format!("unit {} enabled", change.unit), &enable.to_string());
                }
                if let (Some(start), None) = (change.start, &change.restart) {
                    want(format!("unit {} running", change.unit), &start.to_string());
                }
            }
            Change::LoadModule { module } => want(format!("module {module}"), "loaded"),
            Change::UnloadModule { module } => want(format!("module {module}"), "absent"),
            Change::SetSysctl { key, after, .. } => want(format!("sysctl {key}"), after),
            Change::SwapOff { device } => want(format!("swap {device}"), "off"),
            Change::SwapOn { device } => want(format!("swap {device}"), "on"),
            Change::IssueCertificate { certificate, request, .. } => {
                want(format!("certificate {certificate}"), &request.to_string());
            }
            Change::MakeKeyPair { private, algorithm, .. } => want(format!("key {private}"), &format!("{algorithm:?}")),
            Change::WriteKubeconfig { path, server, request, .. } => {
                want(format!("kubeconfig {path}"), &format!("{server} {request}"));
            }
            Change::PullImages { images } => images.iter().for_each(|image| want(format!("image {image}"), "present")),
            Change::RemoveImages { images } => images.iter().for_each(|image| want(format!("image {image}"), "absent")),
            Change::ApplyObject { object, .. } => {
                want(Thing::object(object).to_string(), &sha256(object.to_string().as_bytes()));
            }
            Change::DeleteObject { kind, .. } if kind == "Pod" => {}
            Change::DeleteObject { .. } => {
                self.touches().iter().for_each(|touch| want(touch.thing.to_string(), "absent"));
            }
            Change::MarkNode(super::MarkNode { node, labels, taints, unlabel, untaint }) => {
                labels.iter().for_each(|(key, value)| want(format!("label {node} {key}"), value));
                taints.iter().for_each(|taint| want(format!("taint {node} {taint}"), "present"));
                unlabel.iter().for_each(|key| want(format!("label {node} {key}"), "absent"));
                untaint.iter().for_each(|taint| want(format!("taint {node} {taint}"), "absent"));
            }
            Change::FetchKey { path, fingerprints, .. } => want(format!("key {path}"), &fingerprints.join(" ")),
            Change::RefreshPackages { .. }
            | Change::MendPackages { .. }
            | Change::RemoveFilterRules { .. }
            | Change::RemoveFilterTable { .. }
            | Change::RemoveControlGroup { .. }
            | Change::DrainNode { .. }
            | Change::SetMember(_)
            | Change::Run { .. } => {}
        }
        wants
    }
}

/// The labels and taints that become others.
fn marked(marks: &super::MarkNode) -> impl Iterator<Item = Thing> {
    let node = &marks.node;
    let keys = marks.labels.iter().map(|(key, _)| key).chain(&marks.unlabel);
    let labels = keys.map(|key| Thing::Label { node: node.clone(), key: key.clone() });
    let taints = marks.taints.iter().chain(&marks.untaint).map(|taint| Thing::Taint {
        node: node.clone(),
        key: taint.key.clone(),
        effect: taint.effect.clone(),
    });
    labels.chain(taints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::FileMode;

    #[test]
    fn a_private_key_is_known_by_its_digest_whatever_file_it_is_in() {
        let kept = |text: &str| match State::file(0o600, 0, 0, text.into()) {
            State::File { content, .. } => content.is_some(),
            other => panic!("{other:?}"),
        };
        assert!(kept("net.ipv4.ip_forward = 1\n"));
        assert!(!kept("-----BEGIN EC PRIVATE KEY-----\n"));
        assert!(!kept("users:\n- user:\n    client-key-data: AAAA\n"));
        assert!(!kept("[auth]\n  password = \"hunter2\"\n"));
        assert!(!kept(&"x".repeat(MOST_KEPT + 1)));
    }

    #[test]
    fn wants_are_equal_for_the_same_wish_whatever_was_there_before() {
        let write = |before: Option<&str>, after: &str| Change::WriteFile {
            path: "/etc/x".into(),
            mode: FileMode::PUBLIC,
            before: before.map(|text| Content::Text(text.into())),
            after: Content::Text(after.into()),
        };
        assert_eq!(write(None, "a").wants(), write(Some("b"), "a").wants());
        assert_ne!(write(None, "a").wants(), write(None, "b").wants());
    }

    #[test]
    fn what_the_journal_keeps_is_read_back_as_it_was() {
        let traces = [
            Trace { thing: Thing::path("/etc/x"), state: State::file(0o644, 0, 0, b"a".to_vec()) },
            Trace { thing: Thing::Packages, state: State::Packages { versions: [("a".into(), "1".into())].into() } },
            Trace {
                thing: Thing::Command { why: "a".into(), undo: Some(vec!["b".into()]) },
                state: State::Unknown { reason: "c".into() },
            },
            Trace {
                thing: Thing::Object {
                    api_version: "v1".into(),
                    kind: "Secret".into(),
                    namespace: Some("a".into()),
                    name: "b".into(),
                },
                state: State::Object { object: serde_json::json!({ "kind": "Secret" }) },
            },
            Trace {
                thing: Thing::Unit { unit: "kubelet.service".into() },
                state: State::Unit { is_enabled: true, is_active: false },
            },
        ];
        for trace in traces {
            let text = serde_json::to_string(&trace).unwrap();
            assert_eq!(serde_json::from_str::<Trace>(&text).unwrap(), trace, "{text}");
        }
    }
}
