//! What a reset leaves where it is: what was there before the first run, what somebody else has mounted, and what belongs to other
//! container engines. Folders that hold such a thing are removed around it.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::baseline::{Baseline, Kind};
use crate::engine::{Change, FileKind, Probe, Remark, Result};
use crate::proc::Mount;

use super::mounts::{mounts, of_pods};

/// Where network configurations are, whoever wrote them.
const NETWORKS: &str = "/etc/cni/net.d";
/// Where the address plugin keeps each network's leases.
const LEASES: &str = "/var/lib/cni/networks";
/// Container engines that keep their networks there, too: a word that their configurations have.
const ENGINES: [&str; 3] = ["crio", "nerdctl", "podman"];

/// What of a folder is protected.
#[derive(Clone, Copy, PartialEq)]
pub enum Minding {
    /// What was there before, what others have, and mounts.
    All,
    /// Mounts alone: nobody but a node's parts writes there.
    Mounts,
}

pub struct Protected {
    baseline: Option<Baseline>,
    mounts: Vec<Mount>,
    /// What belongs to other container engines.
    others: BTreeSet<Utf8PathBuf>,
}

impl Protected {
    /// In a dry run the pods' mounts count as gone, for nothing has unmounted them.
    pub async fn of(probe: &dyn Probe, is_dry_run: bool) -> Result<Self> {
        let mut mounts = mounts(probe).await?;
        if is_dry_run {
            let going: BTreeSet<Utf8PathBuf> = of_pods(probe, &mounts).await?.into_iter().collect();
            mounts.retain(|mount| !going.contains(&mount.point));
        }
        Ok(Self { baseline: Baseline::load(probe).await?, mounts, others: of_other_engines(probe).await? })
    }

    pub fn baseline(&self) -> Option<&Baseline> {
        self.baseline.as_ref()
    }

    /// What removes a path with all that is in it, but for what is protected.
    pub async fn removal(&self, probe: &dyn Probe, path: &Utf8Path, minding: Minding) -> Result<Vec<Change>> {
        if probe.stat(path).await?.is_none() {
            return Ok(Vec::new());
        }
        let real = real(probe, path).await?;
        self.around(probe, path.into(), real, minding).await
    }

    /// What removes these names of a folder, but for what is protected. The folder may be a link or a mount point.
    pub async fn emptying(
        &self,
        probe: &dyn Probe,
        folder: &Utf8Path,
        names: impl IntoIterator<Item = String>,
        minding: impl Fn(&str) -> Minding,
    ) -> Result<Vec<Change>> {
        let real = probe.canonical(folder).await?;
        let mut changes = Vec::new();
        for name in names {
            let minding = minding(&name);
            changes.extend(self.around(probe, folder.join(&name), real.join(&name), minding).await?);
        }
        Ok(changes)
    }

    fn around<'a>(
        &'a self,
        probe: &'a dyn Probe,
        path: Utf8PathBuf,
        real: Utf8PathBuf,
        minding: Minding,
    ) -> BoxFuture<'a, Result<Vec<Change>>> {
        async move {
            let is_of_others = minding == Minding::All && self.others.iter().any(|other| other.starts_with(&path));
            let was_there = minding == Minding::All && self.was_there(&path);
            let has_mount = self.mounts.iter().any(|mount| mount.point.starts_with(&real));
            if !is_of_others && !was_there && !has_mount {
                return Ok(vec![Change::Remove { path }]);
            }
            let is_folder = probe.stat(&path).await?.is_some_and(|found| found.kind == FileKind::Directory);
            let is_closed = self.is_mounted(&real) || self.others.contains(&path) || was_there && !self.knows(&path);
            if !is_folder || is_closed {
                return Ok(Vec::new());
            }
            let mut changes = Vec::new();
            for name in probe.list(&path).await?.unwrap_or_default() {
                changes.extend(self.around(probe, path.join(&name), real.join(&name), minding).await?);
            }
            Ok(changes)
        }
        .boxed()
    }

    /// Whether the baseline has a path, or something below it.
    fn was_there(&self, path: &Utf8Path) -> bool {
        let Some(baseline) = &self.baseline else { return false };
        kinds(path).iter().any(|kind| baseline.state(*kind, path.as_str()).is_some() || baseline.has_below(*kind, path))
    }

    /// Whether the baseline tells what was in a folder. What is in one that it only names may be anybody's.
    fn knows(&self, path: &Utf8Path) -> bool {
        let Some(baseline) = &self.baseline else { return true };
        kinds(path).iter().any(|kind| {
            let state = baseline.state(*kind, path.as_str());
            let is_empty = || baseline.path(*kind, path.as_str()).is_some_and(|state| state.is_empty());
            *kind == Kind::File || state.is_none() || is_empty() || baseline.has_below(*kind, path)
        })
    }

    /// Whether something is mounted at this very place.
    pub fn is_mounted(&self, real: &Utf8Path) -> bool {
        self.mounts.iter().any(|mount| mount.point == real)
    }

    /// Tells which mounts are left in folders that otherwise go; in folders that are only emptied, those below.
    pub async fn spared(&self, probe: &dyn Probe, whole: &[&str], emptied: &[&str]) -> Result<Vec<Remark>> {
        let mut told = BTreeSet::new();
        for (path, is_whole) in whole.iter().map(|path| (path, true)).chain(emptied.iter().map(|path| (path, false))) {
            let path = Utf8Path::new(path);
            let real = if is_whole { real(probe, path).await? } else { probe.canonical(path).await? };
            let is_in = |mount: &&Mount| mount.point.starts_with(&real) && (is_whole || mount.point != real);
            told.extend(self.mounts.iter().filter(is_in).map(|mount| format!("{} ({mount})", mount.point)));
        }
        let text = |mount| format!("{mount} stays mounted, and what is in it stays: kboot did not mount it");
        Ok(told.into_iter().map(|mount| Remark::Warning(text(mount))).collect())
    }
}

/// The kinds by which a baseline may know a path.
fn kinds(path: &Utf8Path) -> &'static [Kind] {
    if path.starts_with("/etc") { &[Kind::File] } else { &[Kind::Entry] }
}

/// Where a path is, the last link not followed: it is the link that is removed.
async fn real(probe: &dyn Probe, path: &Utf8Path) -> Result<Utf8PathBuf> {
    let folder = probe.canonical(path.parent().unwrap_or(Utf8Path::new("/"))).await?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

/// The networks of other container engines: their configurations and their leases.
async fn of_other_engines(probe: &dyn Probe) -> Result<BTreeSet<Utf8PathBuf>> {
    let mut found = BTreeSet::new();
    for name in probe.list(Utf8Path::new(NETWORKS)).await?.unwrap_or_default() {
        let path = Utf8Path::new(NETWORKS).join(&name);
        // A folder is no configuration.
        let bytes = probe.read(&path).await.ok().flatten().unwrap_or_default();
        let text = format!("{name} {}", String::from_utf8_lossy(&bytes));
        if !ENGINES.iter().any(|engine| text.contains(engine)) {
            continue;
        }
        let network: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let name = network["name"].as_str().filter(|name| !name.contains('/'));
        let leases = name.map(|name| Utf8Path::new(LEASES).join(name));
        // Those of an engine that keeps its leases elsewhere keep no folder here.
        if let Some(leases) = leases
            && probe.stat(&leases).await?.is_some()
        {
            found.insert(leases);
        }
        found.insert(path);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;
    use crate::steps::mounts::mounts_of_host;

    fn baseline(things: &[(Kind, &str, &str)]) -> Vec<u8> {
        let mut baseline = Baseline::default();
        for (kind, name, state) in things {
            baseline.insert(*kind, *name, *state);
        }
        baseline.to_bytes()
    }

    async fn removal(host: &FakeHost, path: &str) -> Vec<String> {
        let protected = Protected::of(host, false).await.unwrap();
        let changes = protected.removal(host, path.into(), Minding::All).await.unwrap();
        changes.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn what_was_there_stays_file_by_file() {
        let before = baseline(&[
            (Kind::File, "/etc/kubernetes/pki", "directory 0755 0:0"),
            (Kind::File, "/etc/kubernetes/pki/ca.key", "file 0600 0:0 x"),
            (Kind::Entry, "/var/lib/cni", "directory 0755 0:0"),
            (Kind::Entry, "/var/lib/calico", "directory 0755 0:0 empty"),
        ]);
        let host = FakeHost::default()
            .file("/var/lib/kboot/baseline.json", before)
            .file("/etc/kubernetes/pki/ca.crt", "")
            .file("/etc/kubernetes/pki/ca.key", "")
            .file("/etc/kubernetes/pki/etcd/ca.key", "")
            .file("/var/lib/cni/results", "")
            .file("/var/lib/calico/nodename", "");
        let gone = ["remove /etc/kubernetes/pki/ca.crt", "remove /etc/kubernetes/pki/etcd"];
        assert_eq!(removal(&host, "/etc/kubernetes/pki").await, gone);
        assert_eq!(removal(&host, "/var/lib/cni").await, Vec::<String>::new(), "nobody knows what was in it");
        assert_eq!(removal(&host, "/var/lib/calico").await, ["remove /var/lib/calico/nodename"]);
    }

    #[tokio::test]
    async fn a_folder_is_removed_around_a_mount_wherever_links_lead() {
        let mountinfo = "36 35 98:0 / /data/logs/a/volume\\040x rw - nfs4 server:/x rw\n";
        let host = FakeHost::default()
            .symlink("/var/log", "/data/logs")
            .file("/proc/self/mountinfo", mountinfo)
            .file("/var/log/a/b", "")
            .file("/var/log/a/volume x/ledger", "")
            .file("/var/log/b/c", "");
        assert_eq!(removal(&host, "/var/log/a").await, ["remove /var/log/a/b"]);
        assert_eq!(removal(&host, "/var/log/a/volume x").await, Vec::<String>::new());
        assert_eq!(removal(&host, "/var/log/b").await, ["remove /var/log/b"]);
        let protected = Protected::of(&host, false).await.unwrap();
        let told = protected.spared(&host, &["/var/log/a", "/var/log/b"], &["/var/log"]).await.unwrap();
        let text =
            "/data/logs/a/volume x (nfs4 server:/x) stays mounted, and what is in it stays: kboot did not mount it";
        assert_eq!(told, [Remark::Warning(text.into())]);
    }

    #[tokio::test]
    async fn other_engines_keep_their_networks() {
        let host = FakeHost::default()
            .file("/etc/cni/net.d/10-flannel.conflist", r#"{"name": "cbr0"}"#)
            .file("/etc/cni/net.d/87-podman-bridge.conflist", r#"{"name": "podman"}"#)
            .file("/var/lib/cni/networks/cbr0/10.244.0.2", "")
            .file("/var/lib/cni/networks/podman/10.88.0.2", "");
        assert_eq!(removal(&host, "/etc/cni").await, ["remove /etc/cni/net.d/10-flannel.conflist"]);
        assert_eq!(removal(&host, "/var/lib/cni").await, ["remove /var/lib/cni/networks/cbr0"]);
    }

    #[tokio::test]
    async fn leases_that_an_engine_does_not_have_here_keep_no_folder() {
        let host = FakeHost::default()
            .file("/etc/cni/net.d/87-podman-bridge.conflist", r#"{"name": "podman"}"#)
            .file("/var/lib/cni/networks/cbr0/10.244.0.2", "");
        assert_eq!(removal(&host, "/var/lib/cni").await, ["remove /var/lib/cni"]);
    }

    #[tokio::test]
    async fn the_host_s_mounts_are_those_of_the_baseline_and_of_each_boot() {
        let host = FakeHost::default()
            .symlink("/var/lib/kubelet", "/data/kubelet")
            .file("/var/lib/kboot/baseline.json", baseline(&[(Kind::Mount, "/data/my\\040disk", "ext4 /dev/sda")]))
            .file("/etc/fstab", "# /dev/x /x ext4\nserver:/a /var/lib/kubelet/a nfs defaults\n/dev/sdb none swap sw\n");
        let found: Vec<Utf8PathBuf> = mounts_of_host(&host).await.unwrap().into_iter().collect();
        assert_eq!(found, ["/data/kubelet/a", "/data/my disk"]);
    }
}
