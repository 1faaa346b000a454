//! A change as people read it, in one line. Programs compare its [id](super::ChangeId).

use std::fmt;

use super::{Change, MarkNode, UnitChange};
use crate::engine::disguise::words;

/// One line that says what changes, as "write /etc/crictl.yaml".
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words(Words(self).to_string()))
    }
}

struct Words<'a>(&'a Change);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Change::WriteFile { path, before: None, mode, .. } => write!(f, "create {path} ({mode})"),
            Change::WriteFile { path, .. } => write!(f, "change {path}"),
            Change::Remove { path } => write!(f, "remove {path}"),
            Change::MakeDirectory { path, mode } => write!(f, "make directory {path} ({mode})"),
            Change::RemoveEmptyDirectory { path } => write!(f, "remove the empty directory {path}"),
            Change::MakeLink { path, target } => write!(f, "link {path} to {target}"),
            Change::SetOwner { path, uid, gid } => write!(f, "give {path} to user {uid} and group {gid}"),
            Change::SetMode { path, mode } => write!(f, "set the mode of {path} to {mode}"),
            Change::RefreshPackages { source: Some(source) } => write!(f, "read the package lists of {source}"),
            Change::RefreshPackages { source: None } => f.write_str("read all package lists"),
            Change::InstallPackages { packages, .. } => {
                f.write_str("install ")?;
                for (i, package) in packages.iter().enumerate() {
                    let separator = if i == 0 { "" } else { ", " };
                    write!(f, "{separator}{}", package.name)?;
                    match (&package.from, package.version()) {
                        (Some(from), to) => write!(f, " {from} -> {}", to.unwrap_or("newest"))?,
                        (None, Some(to)) => write!(f, " {to}")?,
                        (None, None) => {}
                    }
                }
                Ok(())
            }
            Change::RemovePackages { packages } => write!(f, "remove the packages {}", packages.join(", ")),
            Change::HoldPackages { packages, hold: true } => write!(f, "hold {}", packages.join(", ")),
            Change::HoldPackages { packages, hold: false } => write!(f, "no longer hold {}", packages.join(", ")),
            Change::MendPackages { why } => write!(f, "finish an interrupted dpkg run ({why})"),
            Change::SetUnit(unit) => write!(f, "{unit}"),
            Change::LoadModule { module } => write!(f, "load the kernel module {module}"),
            Change::UnloadModule { module } => write!(f, "unload the kernel module {module}"),
            Change::SetSysctl { key, before, after } => write!(f, "set {key} = {after} (was {before})"),
            Change::SwapOff { device } => write!(f, "switch off swap on {device}"),
            Change::SwapOn { device } => write!(f, "switch on swap on {device}"),
            Change::IssueCertificate { certificate, request, issuer, .. } => {
                let by = issuer.as_ref().map_or("itself".to_string(), |(path, _)| path.to_string());
                write!(f, "issue {certificate} ({request}, signed by {by})")
            }
            Change::MakeKeyPair { private, .. } => write!(f, "make the key pair {private}"),
            Change::WriteKubeconfig { path, server, request, .. } => {
                write!(f, "write {path} ({request}, for {server})")
            }
            Change::PullImages { images } => write!(f, "pull {}", images.join(", ")),
            Change::RemoveImages { images } => write!(f, "remove the images {}", images.join(", ")),
            Change::ApplyObject { object, before } => {
                let verb = if before.is_some() { "update" } else { "create" };
                write!(f, "{verb} {}", object_name(object))
            }
            Change::DeleteObject { kind, namespace, name, .. } => {
                write!(f, "delete {kind} {}{name}", namespace.as_ref().map(|n| format!("{n}/")).unwrap_or_default())
            }
            Change::MarkNode(change) => write!(f, "{change}"),
            Change::RemoveFilterRules { program, count, .. } => {
                write!(f, "remove {count} rules and chains of Kubernetes and the pod network from {program}")
            }
            Change::RemoveFilterTable { family, table } => {
                write!(f, "remove the packet filter's table {family} {table}")
            }
            Change::RemoveControlGroup { path } => write!(f, "remove the control group {path}"),
            Change::DrainNode { node, pods, .. } => {
                write!(f, "drain the node {node}")?;
                if pods.is_empty() { Ok(()) } else { write!(f, ": evict {}", pods.join(", ")) }
            }
            Change::SetMember(change) => write!(f, "{change}"),
            Change::FetchKey { url, path, fingerprints } => {
                write!(f, "download {path} from {url} (key {})", fingerprints.join(" or "))
            }
            Change::Run { argv, why, .. } => write!(f, "{why} (`{}`)", argv.join(" ")),
        }
    }
}

impl fmt::Display for MarkNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.labels.iter().map(|(key, value)| format!("label {key}={value}"));
        let taints = self.taints.iter().map(|taint| format!("taint {taint}"));
        let unlabel = self.unlabel.iter().map(|key| format!("no label {key}"));
        let untaint = self.untaint.iter().map(|taint| format!("no taint {taint}"));
        let all: Vec<String> = labels.chain(taints).chain(unlabel).chain(untaint).collect();
        write!(f, "mark the node {}: {}", self.node, all.join(", "))
    }
}

impl fmt::Display for UnitChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut verbs = Vec::new();
        match self.enable {
            Some(true) => verbs.push("enable".to_string()),
            Some(false) => verbs.push("disable".to_string()),
            None => {}
        }
        match (&self.restart, self.start) {
            (Some(why), _) => verbs.push(format!("{} ({why})", if self.reloads { "reload" } else { "restart" })),
            (None, Some(true)) => verbs.push("start".into()),
            (None, Some(false)) => verbs.push("stop".into()),
            (None, None) => {}
        }
        write!(f, "{}: {}", self.unit, verbs.join(" and "))
    }
}

/// `Kind namespace/name` of an object.
fn object_name(object: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let meta = &object["metadata"];
    match meta["namespace"].as_str() {
        Some(namespace) => format!("{} {namespace}/{}", text(&object["kind"]), text(&meta["name"])),
        None => format!("{} {}", text(&object["kind"]), text(&meta["name"])),
    }
}
