//! What steps are made from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bootstrap::Token;
use crate::engine::{Failure, PackageLock, PackagePin, Result, Run};
use crate::facts::{Cgroup, Facts};
use crate::inventory::{Cluster, Host};
use crate::kube::Connector;
use crate::lock::{Packages, Pins};
use crate::manifest::{CgroupDriver, KubeletValues};

use super::secrets::{Handout, Outputs};

/// All that is known of the cluster and of the host that a step is for. Travels to the agent.
#[derive(Serialize, Deserialize)]
pub struct Context {
    pub cluster: Cluster,
    /// The host's name in the cluster.
    pub host: String,
    pub facts: Facts,
    pub inputs: Inputs,
    /// What of the run's secrets this host gets for this phase.
    pub secrets: Handout,
}

/// What comes from the controller or from other hosts, and is no secret.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Inputs {
    /// The public keys of package repositories that the inventory gives as files, by the repository's name, not armored.
    pub keys: BTreeMap<String, Vec<u8>>,
    /// Whether a join token is needed, and for whom.
    #[serde(default)]
    pub join_token: JoinToken,
    /// Hosts that failed in this run, or could not be reached: nobody waits for what they were to do.
    #[serde(default)]
    pub failed: BTreeSet<String>,
    /// Hosts whose nodes are yet to register.
    #[serde(default)]
    pub unregistered: BTreeSet<String>,
    /// Those of them that have nothing of a node: what the cluster has of their names is a former self's.
    #[serde(default)]
    pub bare: BTreeSet<String>,
    /// Where the cluster is elsewhere: its API server, as `https://10.0.0.1:6443`.
    #[serde(default)]
    pub server: Option<String>,
    /// Whether the cluster moves to another endpoint: what led to the API servers before goes on for now, for those who still ask by it.
    #[serde(default)]
    pub moves_endpoint: bool,
    /// Whether it has just done so: nobody asks by what led to the API servers before.
    #[serde(default)]
    pub has_moved: bool,
    /// Whether some host is a container, where kube-proxy can't size the kernel's connection table.
    pub has_containers: bool,
    /// What a lock file beside the inventory says.
    #[serde(default)]
    pub lock: Option<Pins>,
    /// The control plane that speaks for the cluster in this run: it makes it, if there is none. None where none can.
    #[serde(default)]
    pub leader: Option<String>,
    /// The host that speaks for an etcd on hosts of its own, likewise. None without such hosts.
    #[serde(default)]
    pub etcd_leader: Option<String>,
    /// Control planes that are yet to join the others, and etcd hosts that are.
    #[serde(default)]
    pub joining: BTreeSet<String>,
    /// The hosts that a reset takes out of the cluster.
    pub leaving: Vec<String>,
    /// How a recovery of etcd was begun, if that is what the run is about.
    #[serde(default)]
    pub recovery_start: Option<RecoveryStart>,
    /// Whether nothing is to be changed: what follows only from changes can't be told then.
    pub is_dry_run: bool,
    /// Whether nobody deletes the node from the cluster.
    pub node_stays: bool,
    /// How long pods may take to leave a node that is reset, in seconds; 0 leaves them no time at all.
    pub drain_seconds: u64,
    /// What is to be taken back, by undo and reset.
    pub undo: Option<Undo>,
}

/// The bootstrap token that a run makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JoinToken {
    #[default]
    Unneeded,
    /// For the hosts that join in this run: it lives for an hour, and the run deletes it once all have joined.
    ForRun,
    /// For whoever is told of it.
    ForPeople,
}

impl Inputs {
    /// Whether a reset leaves packages, their repositories and the images that they pulled.
    pub fn keeps_packages(&self) -> bool {
        self.undo.as_ref().is_some_and(|undo| undo.keeps_packages)
    }
}

/// What the controller knows of a recovery of etcd.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryStart {
    /// When it was begun, as `20261123-041500`, UTC.
    pub at: String,
    /// The control planes that were reached.
    pub reached: BTreeSet<String>,
}

/// What is to be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    pub scope: UndoScope,
    /// Packages, and what they need, stay.
    pub keeps_packages: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UndoScope {
    /// The run of this id.
    Run(String),
    /// Every run: back to what there was before kboot came.
    All,
}

impl UndoScope {
    pub const ALL: &str = "all";

    /// As it stands in the journal of the run that takes back.
    pub fn name(&self) -> &str {
        match self {
            Self::Run(id) => id,
            Self::All => Self::ALL,
        }
    }

    pub(super) fn covers(&self, run: &Run) -> bool {
        match self {
            Self::Run(id) => run.info.id == *id,
            Self::All => true,
        }
    }
}

pub type Outbox = Arc<Mutex<Outputs>>;

/// What lives where the steps run.
#[derive(Clone)]
pub struct Services {
    pub kube: Connector,
    /// The bootstrap token of this run. It is made where it is issued, so that nobody need send it there.
    token: Arc<OnceLock<Token>>,
}

impl Services {
    pub fn new(kube: Connector) -> Self {
        Self { kube, token: Arc::default() }
    }

    /// The run's own token, which this makes if there is none yet.
    pub(super) fn own_token(&self) -> Result<&Token> {
        if self.token.get().is_none() {
            let new = Token::generate().map_err(|error| Failure::new(format!("failed to {error}")))?;
            // Another step may have been first; one of the two counts.
            let _ = self.token.set(new);
        }
        self.token.get().ok_or_else(|| Failure::new("failed to keep a join token"))
    }
}

impl Context {
    /// This host's entry in the inventory.
    pub fn host(&self) -> Result<&Host> {
        self.cluster.host(&self.host).ok_or_else(|| Failure::new(format!("the inventory has no host {}", self.host)))
    }

    /// Whether the cluster begins, or began, on this host: there its authorities are made, and the key to everything is kept. Who
    /// joins gets the authorities from the others.
    pub fn begins_cluster(&self) -> bool {
        let node = &self.facts.node;
        let is_new = self.inputs.joining.contains(&self.host);
        // With an etcd elsewhere the API server is what a control plane is known by.
        let is_bare = !node.has_manifest("etcd") && !node.uses_etcd_elsewhere();
        !is_new && (node.has_begun_cluster || is_bare)
    }

    /// Whether what etcd has on this host is not the cluster's: it keeps its state elsewhere, or somebody else's member runs here.
    pub fn has_foreign_etcd(&self) -> bool {
        const CLIENTS: u16 = 2379;
        let node = &self.facts.node;
        let runs = self.facts.listening.iter().any(|listener| listener.port == CLIENTS);
        let is_of_etcd = self.cluster.host(&self.host).is_some_and(Host::is_etcd);
        let is_elsewhere = !is_of_etcd && self.cluster.etcd_endpoints().is_some() || node.uses_etcd_elsewhere();
        !node.has_manifest("etcd") && (is_elsewhere || runs)
    }

    /// The API server that the kubelet of a control plane registers with while its own is yet to come, as `https://10.0.0.1:6443`.
    pub fn first_server(&self) -> Option<String> {
        if !self.inputs.joining.contains(&self.host) {
            return None;
        }
        let leader = self.inputs.leader.as_ref().and_then(|name| self.cluster.host(name));
        leader.map(|leader| self.cluster.kubelet_server(leader)).or_else(|| self.inputs.server.clone())
    }

    pub fn cgroup_driver(&self) -> CgroupDriver {
        match self.facts.cgroup {
            Cgroup::V1 => CgroupDriver::Cgroupfs,
            Cgroup::V2 => CgroupDriver::Systemd,
        }
    }

    pub fn kubelet_values(&self) -> KubeletValues {
        const DEFAULT: &str = "/etc/resolv.conf";
        KubeletValues {
            cgroup_driver: self.cgroup_driver(),
            is_cgroup_v1: self.facts.cgroup == Cgroup::V1,
            resolv_conf: (self.facts.resolv_conf != DEFAULT).then(|| self.facts.resolv_conf.clone()),
        }
    }

    /// What a host's packages depend on besides the inventory, as `debian-bookworm-amd64`.
    pub fn platform(&self) -> String {
        let os = &self.facts.os;
        let release = [&os.codename, &os.version_id].into_iter().find(|name| !name.is_empty());
        [Some(&os.id), release, Some(&self.facts.architecture)]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("-")
    }

    /// The packages whose versions kboot decides.
    pub fn own_packages(&self) -> Vec<String> {
        super::install_packages::packages(self).into_iter().map(|package| package.name).collect()
    }

    /// The packages that are locked for this host; None without a lock, or where it does not cover the host's platform.
    pub fn pins(&self) -> Option<&Packages> {
        self.inputs.lock.as_ref()?.platform(&self.platform())
    }

    /// The same, for what installs packages.
    pub fn package_lock(&self) -> Option<PackageLock> {
        let is_complete = self.inputs.lock.as_ref()?.is_strict;
        let pins = self.pins().into_iter().flatten();
        let pin = |(name, package): (&String, &crate::lock::Package)| PackagePin {
            name: name.clone(),
            version: package.version.clone(),
            sha256: package.sha256.clone(),
        };
        Some(PackageLock { pins: pins.map(pin).collect(), is_complete })
    }

    /// An image by its tag and, where it is locked, by its digest.
    pub fn locked_image(&self, image: String) -> String {
        match self.inputs.lock.as_ref().and_then(|lock| lock.images.get(&image)) {
            Some(digest) => format!("{image}@{digest}"),
            None => image,
        }
    }

    /// How long a component may take to be ready.
    pub fn ready_deadline(&self) -> Duration {
        Duration::from_secs(self.cluster.timeouts.ready)
    }

    /// How long packages or images may take.
    pub fn install_deadline(&self) -> Duration {
        Duration::from_secs(self.cluster.timeouts.install)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::samples::sample;

    fn context(change: impl FnOnce(&mut Facts)) -> Context {
        let sample = sample().with_etcd_at("https://10.0.0.21:2379").on("n1", change);
        let facts = sample.facts["n1"].clone();
        Context {
            cluster: sample.cluster,
            host: "n1".into(),
            facts,
            inputs: Inputs::default(),
            secrets: Default::default(),
        }
    }

    fn client(facts: &mut Facts) {
        facts.node.manifests = vec!["kube-apiserver.yaml".into()];
        facts.node.immutable.etcd_servers = Some("https://10.0.0.21:2379".into());
    }

    #[test]
    fn with_an_etcd_elsewhere_the_first_is_known_by_what_only_it_has() {
        assert!(context(|_| ()).begins_cluster());
        assert!(!context(client).begins_cluster());
        assert!(
            context(|facts| {
                client(facts);
                facts.node.has_begun_cluster = true;
            })
            .begins_cluster()
        );
    }

    #[test]
    fn only_a_member_s_own_data_is_the_cluster_s() {
        assert!(context(client).has_foreign_etcd());
        let by_hand = |change: fn(&mut Facts)| {
            let mut context = context(change);
            context.cluster.etcd = None;
            context.has_foreign_etcd()
        };
        assert!(by_hand(client));
        assert!(!by_hand(|_| ()));
        // Reset twice: nothing is left that says whose it is, but that it runs.
        assert!(by_hand(|facts| facts.listening = vec![crate::preflight::samples::listener(2379, Some("etcd"))]));
        assert!(!by_hand(|facts| {
            facts.node.manifests = vec!["etcd.yaml".into()];
            facts.listening = vec![crate::preflight::samples::listener(2379, Some("etcd"))];
        }));
    }
}
