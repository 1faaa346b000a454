//! One look at a host of a cluster that somebody else made: all that its inventory is written from, and that facts don't tell.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::{Probe, Result};
use crate::kube::{Connector, View};
use crate::manifest::{StaticPod, paths};

pub const API_SERVER_CERTIFICATE: &str = "/etc/kubernetes/pki/apiserver.crt";
const CA_KEY: &str = "/etc/kubernetes/pki/ca.key";
const SOURCES: &str = "/etc/apt/sources.list.d";
/// The packages whose repositories are looked for.
pub const PACKAGES: [&str; 3] = ["kubelet", "containerd.io", "containerd"];

/// What a host has. No file of it holds a key or a token of the cluster's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// Texts by their paths; what is not there, or no text, is left out.
    pub files: BTreeMap<String, String>,
    /// The public keys of repositories, as they are, by their paths.
    pub keys: BTreeMap<String, Vec<u8>>,
    pub has_ca_key: bool,
    /// What apt says of the repositories of [`PACKAGES`].
    pub policy: String,
    /// Objects of the cluster, Nodes last; None on a host that has no administrator's kubeconfig.
    pub objects: Option<Vec<Value>>,
}

impl Survey {
    pub fn file(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// An object of the cluster.
    pub fn object(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.iter().flatten().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }
}

/// Looks at this host, and where it is a control plane at the cluster. Changes nothing.
pub async fn survey(probe: &dyn Probe, kube: &Connector) -> Result<Survey> {
    let mut survey = Survey::default();
    let mut wanted: BTreeSet<String> = StaticPod::ALL.into_iter().map(paths::static_pod).collect();
    for path in [API_SERVER_CERTIFICATE, paths::KUBELET_CONFIG, paths::KUBELET_FLAGS, paths::CONTAINERD_CONFIG] {
        wanted.insert(path.into());
    }
    for registry in names(probe, paths::CERTS_D).await? {
        wanted.insert(paths::mirror_hosts(&registry));
    }
    let sources = names(probe, SOURCES).await?;
    let sources = sources.iter().filter(|name| name.ends_with(".list") || name.ends_with(".sources"));
    wanted.extend(sources.map(|name| format!("{SOURCES}/{name}")));
    wanted.insert("/etc/apt/sources.list".into());
    for path in wanted {
        if let Some(bytes) = probe.read(Utf8Path::new(&path)).await?
            && let Ok(text) = String::from_utf8(bytes)
        {
            survey.files.insert(path, text);
        }
    }
    let named: BTreeSet<String> = survey.files.values().flat_map(|text| keyrings(text)).collect();
    for path in named {
        if let Some(bytes) = probe.read(Utf8Path::new(&path)).await? {
            survey.keys.insert(path, bytes);
        }
    }
    survey.has_ca_key = probe.stat(Utf8Path::new(CA_KEY)).await?.is_some();
    let policy = ["apt-cache", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "policy"];
    survey.policy = probe.query(&policy.into_iter().chain(PACKAGES).collect::<Vec<_>>()).await?.stdout;
    if let Some(view) = kube.view(probe).await? {
        survey.objects = Some(objects(&view).await?);
    }
    Ok(survey)
}

async fn objects(view: &View) -> Result<Vec<Value>> {
    const SYSTEM: &str = "kube-system";
    const FLANNEL: &str = "kube-flannel";
    let mut found = Vec::new();
    for (api_version, kind, namespace, name) in [
        ("v1", "ConfigMap", SYSTEM, "kubeadm-config"),
        ("v1", "ConfigMap", SYSTEM, "kubelet-config"),
        ("v1", "ConfigMap", SYSTEM, "kube-proxy"),
        ("v1", "ConfigMap", SYSTEM, "coredns"),
        ("apps/v1", "DaemonSet", SYSTEM, "kube-proxy"),
        ("apps/v1", "Deployment", SYSTEM, "coredns"),
        ("v1", "ConfigMap", FLANNEL, "kube-flannel-cfg"),
        ("apps/v1", "DaemonSet", FLANNEL, "kube-flannel-ds"),
        ("apps/v1", "DaemonSet", SYSTEM, "weave-net"),
    ] {
        found.extend(view.get(api_version, kind, Some(namespace), name).await?);
    }
    let mut nodes = view.list("v1", "Node", None, "").await?;
    nodes.iter_mut().for_each(|node| node["kind"] = "Node".into());
    found.extend(nodes);
    Ok(found)
}

async fn names(probe: &dyn Probe, folder: &str) -> Result<Vec<String>> {
    Ok(probe.list(Utf8Path::new(folder)).await?.unwrap_or_default())
}

/// The files of keys that apt's sources name, of either format.
fn keyrings(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| c.is_whitespace() || ['[', ']', ','].contains(&c));
    let of_lines = words.filter_map(|word| word.strip_prefix("signed-by="));
    let of_fields = text.lines().filter_map(|line| line.strip_prefix("Signed-By:")).map(str::trim);
    of_lines.chain(of_fields).filter(|path| path.starts_with('/')).map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    const POLICY: &str =
        "apt-cache -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= policy kubelet containerd.io containerd";

    #[tokio::test]
    async fn files_are_read_and_keys_that_sources_name() {
        let host = FakeHost::default()
            .answer(POLICY, 0, "kubelet:\n")
            .file("/etc/kubernetes/manifests/etcd.yaml", "kind: Pod\n")
            .file("/etc/containerd/certs.d/ghcr.io/hosts.toml", "x")
            .file("/etc/apt/sources.list.d/k.list", "deb [arch=amd64 signed-by=/etc/apt/keyrings/k.gpg] https://k /\n")
            .file("/etc/apt/sources.list.d/d.sources", "Types: deb\nSigned-By: /etc/apt/keyrings/d.asc\n")
            .file("/etc/apt/sources.list.d/d.sources.bak", "Signed-By: /etc/other\n")
            .file("/etc/apt/keyrings/k.gpg", "k")
            .file("/etc/apt/keyrings/d.asc", "d");
        let survey = survey(&host, &Connector::default()).await.unwrap();
        let files: Vec<&str> = survey.files.keys().map(String::as_str).collect();
        assert_eq!(
            files,
            [
                "/etc/apt/sources.list.d/d.sources",
                "/etc/apt/sources.list.d/k.list",
                "/etc/containerd/certs.d/ghcr.io/hosts.toml",
                "/etc/kubernetes/manifests/etcd.yaml",
            ]
        );
        assert_eq!(survey.keys.keys().collect::<Vec<_>>(), ["/etc/apt/keyrings/d.asc", "/etc/apt/keyrings/k.gpg"]);
        assert_eq!((survey.policy.as_str(), &survey.objects), ("kubelet:\n", &None));
    }
}
