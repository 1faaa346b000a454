//! What a change touches, and how that was: by this the journal knows the way back.
//!
//! These are the journal's own words. They are stored on hosts for years, so a variant may be added, and none may change its meaning.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::mask::has_secret;
use super::object::redact_object;
use super::{Change, Content, MemberAction, Text, comparable, sha256};

/// Something on a host or in its cluster that a change touches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "subject", rename_all = "kebab-case")]
pub enum Subject {
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
    /// A deleted pod. Its owner recreates it.
    Pod {
        namespace: String,
        name: String,
    },
    /// A node that was drained.
    Drain {
        node: String,
    },
    /// Labels and taints of a node, in a journal that does not say which.
    Marks {
        node: String,
    },
    /// A member of etcd, and what was done about it.
    Member {
        member: String,
        action: MemberAction,
    },
    /// Rules of a packet filter, `iptables` or `ip6tables`.
    FilterRules {
        program: String,
    },
    FilterTable {
        family: String,
        table: String,
    },
    ControlGroup {
        path: Utf8PathBuf,
    },
    /// What a command did.
    Command {
        /// Empty in a journal of format 2, which did not say.
        #[serde(default)]
        argv: Vec<String>,
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
        reason: Text,
    },
}

/// A thing that a change touches, with what the change itself knows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Touch {
    pub subject: Subject,
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
    pub subject: Subject,
    #[serde(flatten)]
    pub state: State,
}

/// Where apt keeps the package lists that it has read.
const APT_LISTS: &str = "/var/lib/apt/lists";
/// A file larger than this is known by its digest only.
const MOST_KEPT: usize = 256 * 1024;

impl Subject {
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

impl Subject {
    /// Whether its state can be looked at. Of the others only is known that something was done.
    pub fn can_be_observed(&self) -> bool {
        match self {
            Subject::Path { .. }
            | Subject::Entries { .. }
            | Subject::Packages
            | Subject::Hold { .. }
            | Subject::Unit { .. }
            | Subject::Sysctl { .. }
            | Subject::Module { .. }
            | Subject::Swap { .. }
            | Subject::Images
            | Subject::Object { .. }
            | Subject::Label { .. }
            | Subject::Taint { .. } => true,
            Subject::Pod { .. }
            | Subject::Drain { .. }
            | Subject::Marks { .. }
            | Subject::Member { .. }
            | Subject::FilterRules { .. }
            | Subject::FilterTable { .. }
            | Subject::ControlGroup { .. }
            | Subject::Command { .. } => false,
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Subject::Path { path } => write!(f, "{path}"),
            Subject::Entries { folder } => write!(f, "what is in {folder}"),
            Subject::Packages => f.write_str("the installed packages"),
            Subject::Hold { package } => write!(f, "the hold of the package {package}"),
            Subject::Unit { unit } => write!(f, "the unit {unit}"),
            Subject::Sysctl { key } => write!(f, "the kernel parameter {key}"),
            Subject::Module { module } => write!(f, "the kernel module {module}"),
            Subject::Swap { device } => write!(f, "swap on {device}"),
            Subject::Images => f.write_str("the container images"),
            Subject::Object { kind, namespace: Some(namespace), name, .. } => write!(f, "{kind} {namespace}/{name}"),
            Subject::Object { kind, namespace: None, name, .. } => write!(f, "{kind} {name}"),
            Subject::Label { node, key } => write!(f, "the label {key} of the node {node}"),
            Subject::Taint { node, key, effect } => write!(f, "the taint {key}:{effect} of the node {node}"),
            Subject::Pod { namespace, name } => write!(f, "Pod {namespace}/{name}"),
            Subject::Drain { node } => write!(f, "the pods of the node {node}"),
            Subject::Marks { node } => write!(f, "the labels and taints of the node {node}"),
            Subject::Member { member, .. } => write!(f, "the etcd member {member}"),
            Subject::FilterRules { program } => write!(f, "the rules of {program}"),
            Subject::FilterTable { family, table } => write!(f, "the nftables table {family} {table}"),
            Subject::ControlGroup { path } => write!(f, "the control group {path}"),
            Subject::Command { why, .. } => f.write_str(why),
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
        let plain = |subject| Touch { subject, is_secret: false, before: None, after: None };
        let secret = |path: &Utf8PathBuf| Touch { is_secret: true, ..plain(Subject::path(path)) };
        match self {
            Change::WriteFile { path, after, .. } => {
                let is_secret = matches!(after, Content::Secret(_) | Content::Digest(_));
                vec![Touch { is_secret, ..plain(Subject::path(path)) }]
            }
            Change::Remove { path }
            | Change::RemoveEmptyDirectory { path }
            | Change::MakeDirectory { path, .. }
            | Change::MakeLink { path, .. }
            | Change::SetMode { path, .. }
            | Change::SetOwner { path, .. }
            | Change::FetchKey { path, .. } => vec![plain(Subject::path(path))],
            Change::RefreshPackages { .. } => vec![plain(Subject::Entries { folder: APT_LISTS.into() })],
            Change::InstallPackages { .. } | Change::RemovePackages { .. } | Change::MendPackages { .. } => {
                vec![plain(Subject::Packages)]
            }
            Change::HoldPackages { packages, .. } => {
                packages.iter().map(|package| plain(Subject::Hold { package: package.clone() })).collect()
            }
            Change::SetUnit(change) => vec![plain(Subject::Unit { unit: change.unit.clone() })],
            Change::LoadModule { module } | Change::UnloadModule { module } => {
                vec![plain(Subject::Module { module: module.clone() })]
            }
            Change::SetSysctl { key, .. } => vec![plain(Subject::Sysctl { key: key.clone() })],
            Change::SwapOff { device } | Change::SwapOn { device } => {
                vec![plain(Subject::Swap { device: device.clone() })]
            }
            Change::IssueCertificate { certificate, key, .. } => {
                vec![secret(key), plain(Subject::path(certificate))]
            }
            Change::MakeKeyPair { private, public, .. } => vec![secret(private), plain(Subject::path(public))],
            Change::WriteKubeconfig { path, .. } => vec![secret(path)],
            Change::PullImages { .. } | Change::RemoveImages { .. } => vec![plain(Subject::Images)],
            Change::ApplyObject { object, before } => vec![Touch {
                subject: Subject::object(object),
                is_secret: object["kind"] == "Secret",
                before: Some(
                    before.as_ref().map_or(State::Absent, |object| State::Object { object: comparable(object) }),
                ),
                after: Some(State::Applied { object: redact_object(object) }),
            }],
            // Its owner makes another one.
            Change::DeleteObject { kind, namespace, name, .. } if kind == "Pod" => {
                let namespace = namespace.clone().unwrap_or_default();
                vec![plain(Subject::Pod { namespace, name: name.clone() })]
            }
            Change::DeleteObject { api_version, kind, namespace, name } => {
                let (api_version, kind, name) = (api_version.clone(), kind.clone(), name.clone());
                let is_secret = kind == "Secret";
                let subject = Subject::Object { api_version, kind, namespace: namespace.clone(), name };
                vec![Touch { is_secret, after: Some(State::Absent), ..plain(subject) }]
            }
            Change::MarkNode(marks) => marked(marks).map(plain).collect(),
            Change::RemoveFilterRules { program, .. } => vec![plain(Subject::FilterRules { program: program.clone() })],
            Change::RemoveFilterTable { family, table } => {
                vec![plain(Subject::FilterTable { family: family.clone(), table: table.clone() })]
            }
            Change::RemoveControlGroup { path } => vec![plain(Subject::ControlGroup { path: path.clone() })],
            Change::DrainNode { node, .. } => vec![plain(Subject::Drain { node: node.clone() })],
            Change::SetMember(change) => {
                // One that never started has no name.
                let member = if change.member.is_empty() { &change.peer_url } else { &change.member };
                vec![plain(Subject::Member { member: member.clone(), action: change.action })]
            }
            Change::Run { argv, why, undo } => {
                vec![plain(Subject::Command { argv: argv.clone(), why: why.clone(), undo: undo.clone() })]
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
                want(object_wish(&Subject::object(object)), &sha256(object.to_string().as_bytes()));
            }
            Change::DeleteObject { kind, .. } if kind == "Pod" => {}
            Change::DeleteObject { .. } => {
                self.touches().iter().for_each(|touch| want(object_wish(&touch.subject), "absent"));
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

/// The name of a wish for an object, as `ConfigMap kube-system/coredns`.
fn object_wish(subject: &Subject) -> String {
    match subject {
        Subject::Object { kind, namespace: Some(namespace), name, .. } => format!("{kind} {namespace}/{name}"),
        Subject::Object { kind, namespace: None, name, .. } => format!("{kind} {name}"),
        other => unreachable!("{other:?} is no object"),
    }
}

/// The labels and taints that become others.
fn marked(marks: &super::MarkNode) -> impl Iterator<Item = Subject> {
    let node = &marks.node;
    let keys = marks.labels.iter().map(|(key, _)| key).chain(&marks.unlabel);
    let labels = keys.map(|key| Subject::Label { node: node.clone(), key: key.clone() });
    let taints = marks.taints.iter().chain(&marks.untaint).map(|taint| Subject::Taint {
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
            Trace { subject: Subject::path("/etc/x"), state: State::file(0o644, 0, 0, b"a".to_vec()) },
            Trace {
                subject: Subject::Packages,
                state: State::Packages { versions: [("a".into(), "1".into())].into() },
            },
            Trace {
                subject: Subject::Command { argv: vec!["a".into()], why: "a".into(), undo: Some(vec!["b".into()]) },
                state: State::Unknown { reason: "c".into() },
            },
            Trace {
                subject: Subject::Object {
                    api_version: "v1".into(),
                    kind: "Secret".into(),
                    namespace: Some("a".into()),
                    name: "b".into(),
                },
                state: State::Object { object: serde_json::json!({ "kind": "Secret" }) },
            },
            Trace {
                subject: Subject::Unit { unit: "kubelet.service".into() },
                state: State::Unit { is_enabled: true, is_active: false },
            },
        ];
        for trace in traces {
            let text = serde_json::to_string(&trace).unwrap();
            assert_eq!(serde_json::from_str::<Trace>(&text).unwrap(), trace, "{text}");
        }
    }
}
