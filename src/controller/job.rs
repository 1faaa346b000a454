//! What a command asks of the controller.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8Path;

use super::intent::{EndpointMove, Intent};
use crate::engine::{Drift, Failure, Mode, RunInfo};
use crate::facts::Facts;
use crate::inventory::{Cluster, Etcd, Host};
use crate::lock::InUse;
use crate::playbook::{self, Playbook};
use crate::preflight::Ignore;
use crate::steps::{Inputs, Secrets};

/// How the hosts of a run are reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This machine, in this process.
    Here,
    Ssh,
}

/// Completes a run's inputs from the hosts' facts.
pub type FillIn<'a> = dyn Fn(&BTreeMap<String, Facts>, &mut Inputs) -> Result<(), Failure> + Sync + 'a;

/// A playbook to run on a cluster's hosts.
pub struct Job<'a> {
    /// The command. Another run that finds a host locked reports it.
    pub command: &'static str,
    pub intent: Intent<'a>,
    pub playbook: Playbook,
    pub cluster: &'a Cluster,
    /// Run only on these hosts of the cluster; on all if empty.
    pub only: &'a [String],
    pub reach: Reach,
    /// The inventory's file, for hints.
    pub inventory: Option<&'a Utf8Path>,
    pub mode: Mode,
    /// What to do about changes made on hosts since the last run.
    pub drift: Drift,
    /// How long to wait for a host that another run has locked.
    pub wait_lock: Duration,
    /// The preflight checks whose errors count as warnings. None runs no preflight checks.
    pub ignore: Option<Ignore>,
    /// The secrets that the command brings.
    pub secrets: Secrets,
    /// Completes the inputs when the facts are known.
    pub inputs: &'a FillIn<'a>,
    /// The lock that the run uses, if there is one.
    pub lock: Option<&'a InUse>,
}

impl<'a> Job<'a> {
    /// A job with the command's own playbook, on all hosts, without preflight checks.
    pub fn new(command: &'static str, cluster: &'a Cluster, reach: Reach, mode: Mode) -> Self {
        Self {
            command,
            intent: Intent::Converge,
            playbook: playbook::builtin(command),
            cluster,
            only: &[],
            reach,
            inventory: None,
            mode,
            drift: Drift::Repair,
            wait_lock: Duration::ZERO,
            ignore: None,
            secrets: Secrets::default(),
            inputs: &|_: &BTreeMap<String, Facts>, _: &mut Inputs| Ok(()),
            lock: None,
        }
    }

    /// The hosts that take part.
    pub(super) fn hosts(&self) -> Vec<String> {
        let names = self.cluster.hosts.iter().map(|host| host.name.clone());
        names.filter(|name| self.only.is_empty() || self.only.contains(name)).collect()
    }

    /// Whether a host is a control plane that a recovery gives up: any except the survivor.
    fn is_given_up(&self, host: &str) -> bool {
        let is_control_plane = self.cluster.host(host).is_some_and(Host::is_control_plane);
        is_control_plane && self.intent.survivor().is_some_and(|survivor| survivor != host)
    }

    /// Whether the run continues if it can't reach a host.
    pub(super) fn can_do_without(&self, host: &str) -> bool {
        self.intent.is_helper(host) || self.is_given_up(host)
    }

    /// The inputs that are known before a host has answered.
    pub(super) fn known_inputs(&self) -> Inputs {
        Inputs {
            leaving: self.intent.leaving().to_vec(),
            is_dry_run: self.mode == Mode::Plan,
            undo: self.intent.undo(),
            moves_endpoint: self.intent.is_endpoint_move(EndpointMove::AddNew),
            has_moved: self.intent.is_endpoint_move(EndpointMove::RemoveOld),
            lock: self.lock.map(|in_use| in_use.lock.pins(in_use.is_strict)),
            ..Inputs::default()
        }
    }

    /// The run as journals and locks name it.
    pub(super) fn run_info(&self) -> RunInfo {
        RunInfo {
            undoes: self.intent.undo().map(|undo| undo.scope.name().to_string()),
            plan: self.intent.saved_plan().map(|saved| saved.id().to_string()),
            ..RunInfo::new(format!("kboot {}", self.command), owner(self.command), &wish(self))
        }
    }
}

/// The cluster with absolute paths, so that it has the same meaning in every folder.
pub fn absolute(cluster: &Cluster) -> std::io::Result<Cluster> {
    let mut cluster = cluster.clone();
    let Cluster { packages, ssh, hosts, etcd, .. } = &mut cluster;
    let own = hosts.iter_mut().map(|host| &mut host.ssh.identity_file);
    let files = [&mut packages.kubernetes.key_file, &mut packages.containerd.key_file, &mut ssh.identity_file];
    let etcd = etcd.iter_mut().flat_map(|Etcd { external }| external.files_mut());
    for path in files.into_iter().chain(own).flatten().chain([&mut ssh.known_hosts]).chain(etcd) {
        // A path in the home directory does not depend on the current folder.
        if !path.starts_with("~/") {
            *path = camino::absolute_utf8(Utf8Path::new(path))?.into_string();
        }
    }
    Ok(cluster)
}

/// Everything that determines the wanted state of a run. If it is the same as in the last run, a difference comes from the host.
fn wish(job: &Job<'_>) -> Vec<u8> {
    // The folder of the controller's files does not matter.
    let cluster = absolute(job.cluster).unwrap_or_else(|_| job.cluster.clone());
    let wish = (env!("CARGO_PKG_VERSION"), job.playbook.essence(), cluster);
    serde_json::to_vec(&wish).expect("a playbook and an inventory are plain data")
}

/// A description of this run, for other runs that find the host locked.
fn owner(command: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let user = std::env::var("USER").unwrap_or_else(|_| "someone".into());
    let since = time::OffsetDateTime::now_utc();
    format!(
        "`kboot {command}` by {user} on {}, process {}, since {:02}:{:02} UTC",
        host.trim(),
        std::process::id(),
        since.hour(),
        since.minute()
    )
}
