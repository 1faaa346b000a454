//! What a change is, in a form that programs compare: the same from run to run, whatever is written about it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Change, UnitChange};
use crate::engine::{MarkNode, MemberAction, MemberChange};

/// A change's kind and what it is about, as `write-file:/etc/crictl.yaml` or `apply-object:v1/Node/n1`.
///
/// It names no content, no secret and nothing that differs from run to run, but for names that are made by chance. Two changes of
/// the same id do the same to the same subject. Journals keep it; the kinds are those of [`Change`] in JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChangeId(String);

impl ChangeId {
    /// What a command's run is known by.
    pub fn of_command(argv: &[String]) -> Self {
        Self(format!("run:{}", argv.join(" ")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Change {
    pub fn id(&self) -> ChangeId {
        let id = |kind: &str, about: &dyn fmt::Display| ChangeId(format!("{kind}:{about}"));
        match self {
            Change::WriteFile { path, .. } => id("write-file", path),
            Change::Remove { path } => id("remove", path),
            Change::MakeDirectory { path, .. } => id("make-directory", path),
            Change::RemoveEmptyDirectory { path } => id("remove-empty-directory", path),
            Change::MakeLink { path, .. } => id("make-link", path),
            Change::SetMode { path, .. } => id("set-mode", path),
            Change::SetOwner { path, .. } => id("set-owner", path),
            Change::RefreshPackages { source: Some(source) } => id("refresh-packages", source),
            Change::RefreshPackages { source: None } => id("refresh-packages", &"all"),
            Change::InstallPackages { packages, .. } => {
                let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
                id("install-packages", &names.join(","))
            }
            Change::RemovePackages { packages } => id("remove-packages", &packages.join(",")),
            Change::HoldPackages { packages, hold } => {
                let verb = if *hold { "hold" } else { "release" };
                id("hold-packages", &format_args!("{}:{verb}", packages.join(",")))
            }
            Change::MendPackages { .. } => id("mend-packages", &"dpkg"),
            Change::SetUnit(change) => id("set-unit", &format_args!("{}:{}", change.unit, verbs(change).join(","))),
            Change::LoadModule { module } => id("load-module", module),
            Change::UnloadModule { module } => id("unload-module", module),
            Change::SetSysctl { key, .. } => id("set-sysctl", key),
            Change::SwapOff { device } => id("swap-off", device),
            Change::SwapOn { device } => id("swap-on", device),
            Change::IssueCertificate { certificate, .. } => id("issue-certificate", certificate),
            Change::MakeKeyPair { private, .. } => id("make-key-pair", private),
            Change::WriteKubeconfig { path, .. } => id("write-kubeconfig", path),
            Change::PullImages { images } => id("pull-images", &images.join(",")),
            Change::RemoveImages { images } => id("remove-images", &images.join(",")),
            Change::ApplyObject { object, .. } => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let namespace = object["metadata"]["namespace"].as_str();
                let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
                id("apply-object", &reference(&api_version, &kind, namespace, &text(&object["metadata"]["name"])))
            }
            Change::DeleteObject { api_version, kind, namespace, name } => {
                id("delete-object", &reference(api_version, kind, namespace.as_deref(), name))
            }
            Change::MarkNode(marks) => {
                id("mark-node", &format_args!("{}:{}", marks.node, about_marks(marks).join(",")))
            }
            Change::RemoveFilterRules { program, .. } => id("remove-filter-rules", program),
            Change::RemoveFilterTable { family, table } => id("remove-filter-table", &format_args!("{family}/{table}")),
            Change::RemoveControlGroup { path } => id("remove-control-group", path),
            Change::DrainNode { node, pods, .. } => id("drain-node", &format_args!("{node}:{}", pods.join(","))),
            Change::SetMember(change) => id("set-member", &about_member(change)),
            Change::FetchKey { path, .. } => id("fetch-key", path),
            Change::Run { argv, .. } => ChangeId::of_command(argv),
        }
    }
}

/// As `v1/ConfigMap/kube-system/coredns` or `v1/Node/n1`.
fn reference(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> String {
    [Some(api_version), Some(kind), namespace, Some(name)].into_iter().flatten().collect::<Vec<_>>().join("/")
}

fn verbs(change: &UnitChange) -> Vec<&'static str> {
    let enable = change.enable.map(|enable| if enable { "enable" } else { "disable" });
    let run = match (&change.restart, change.start) {
        (Some(_), _) if change.reloads => Some("reload"),
        (Some(_), _) => Some("restart"),
        (None, Some(true)) => Some("start"),
        (None, Some(false)) => Some("stop"),
        (None, None) => None,
    };
    enable.into_iter().chain(run).collect()
}

fn about_marks(marks: &MarkNode) -> Vec<String> {
    let labels = marks.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let unlabel = marks.unlabel.iter().map(|key| format!("{key}-"));
    let untaint = marks.untaint.iter().map(|taint| format!("{taint}-"));
    // As kubectl takes them.
    labels.chain(marks.taints.iter().map(ToString::to_string)).chain(unlabel).chain(untaint).collect()
}

fn about_member(change: &MemberChange) -> String {
    let action = match change.action {
        MemberAction::Add => "add",
        MemberAction::Promote => "promote",
        MemberAction::Remove => "remove",
        MemberAction::ClearNoSpace => "clear-no-space",
        MemberAction::Move => "move",
    };
    format!("{action}:{}:{}", change.member, change.peer_url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Content, FileMode};

    #[test]
    fn what_was_there_before_is_no_matter() {
        let write = |before: Option<&str>| Change::WriteFile {
            path: "/etc/x".into(),
            mode: FileMode::PUBLIC,
            before: before.map(|text| Content::Text(text.into())),
            after: Content::Text("new".into()),
        };
        assert_eq!(write(None).id(), write(Some("old")).id());
        assert_eq!(write(None).id().as_str(), "write-file:/etc/x");
    }
}
