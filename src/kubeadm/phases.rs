//! The phases of kubeadm 1.37, and which of kboot's steps do the same.

use crate::inventory::Path;
use crate::inventory::reading::{nearest, quote};

use super::draft::Draft;
use super::types::Kind;

/// kubeadm's commands that have phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Init,
    Join,
    Reset,
}

/// What kboot has for a phase of kubeadm's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counterpart {
    /// These steps.
    Steps(&'static [&'static str]),
    /// No step of its own: how the same is had.
    Otherwise(&'static str),
}

use Counterpart::{Otherwise, Steps};

type Table = &'static [(&'static [&'static str], Counterpart)];

const CHECKS: Counterpart = Otherwise("`--ignore-preflight all` goes on whatever the checks find");
const CERTIFICATES: Counterpart = Otherwise("one step makes all certificates that are missing: `issue-certificates`");
const KUBECONFIGS: Counterpart = Otherwise("one step writes all kubeconfigs that are missing: `write-kubeconfigs`");
const STATIC_PODS: Counterpart = Otherwise("one step writes all static pods, etcd's with them: `write-static-pods`");
const OBJECTS: Counterpart = Otherwise("one step keeps kubeadm's ConfigMaps and roles: `apply-cluster-objects`");
const WAITS: Counterpart = Steps(&["wait-for-kubelet", "wait-for-api-server", "wait-for-static-pods"]);

const INIT: Table = &[
    (&["preflight"], CHECKS),
    (&["certs", "certs/all"], Steps(&["write-etcd-credentials", "issue-certificates"])),
    (
        &[
            "certs/ca",
            "certs/apiserver",
            "certs/apiserver-kubelet-client",
            "certs/front-proxy-ca",
            "certs/front-proxy-client",
            "certs/etcd-ca",
            "certs/etcd-server",
            "certs/etcd-peer",
            "certs/etcd-healthcheck-client",
            "certs/apiserver-etcd-client",
            "certs/sa",
        ],
        CERTIFICATES,
    ),
    (&["kubeconfig", "kubeconfig/all"], Steps(&["write-kubeconfigs"])),
    (
        &[
            "kubeconfig/admin",
            "kubeconfig/super-admin",
            "kubeconfig/kubelet",
            "kubeconfig/controller-manager",
            "kubeconfig/scheduler",
        ],
        KUBECONFIGS,
    ),
    (
        &[
            "etcd",
            "etcd/local",
            "control-plane",
            "control-plane/all",
            "control-plane/apiserver",
            "control-plane/controller-manager",
            "control-plane/scheduler",
        ],
        STATIC_PODS,
    ),
    (&["kubelet-start"], Steps(&["configure-kubelet", "start-kubelet"])),
    (&["wait-control-plane"], WAITS),
    (&["upload-config", "upload-config/all"], Steps(&["apply-cluster-objects"])),
    (&["upload-config/kubeadm", "upload-config/kubelet"], OBJECTS),
    (&["upload-certs"], Steps(&["upload-certificates"])),
    (&["mark-control-plane"], Steps(&["mark-control-plane"])),
    (&["bootstrap-token"], Steps(&["issue-join-token"])),
    (
        &["kubelet-finalize", "kubelet-finalize/all", "kubelet-finalize/enable-client-cert-rotation"],
        Steps(&["rotate-kubelet-certificate"]),
    ),
    (&["addon", "addon/all"], Steps(&["apply-addons", "apply-dns"])),
    (&["addon/coredns"], Steps(&["apply-dns"])),
    (&["addon/kube-proxy"], Otherwise("the configuration leaves it out: `kubeProxy: {enabled: false}`")),
    (&["show-join-command"], Otherwise("`kboot token create --print-join-command` prints it")),
];

const JOIN: Table = &[
    (&["preflight"], CHECKS),
    (
        &["control-plane-prepare", "control-plane-prepare/all"],
        Steps(&[
            "write-authorities",
            "write-etcd-credentials",
            "issue-certificates",
            "write-kubeconfigs",
            "write-static-pods",
        ]),
    ),
    (&["control-plane-prepare/download-certs"], Steps(&["write-authorities", "write-etcd-credentials"])),
    (&["control-plane-prepare/certs"], Steps(&["issue-certificates"])),
    (&["control-plane-prepare/kubeconfig"], Steps(&["write-kubeconfigs"])),
    (&["control-plane-prepare/control-plane"], Steps(&["write-static-pods"])),
    (&["check-etcd"], Otherwise("`join-etcd` looks at etcd first")),
    (&["kubelet-start"], Steps(&["write-bootstrap-kubeconfig", "configure-kubelet", "start-kubelet"])),
    (&["etcd-join"], Steps(&["join-etcd"])),
    (&["kubelet-wait-bootstrap"], Steps(&["wait-for-certificate"])),
    (
        &["control-plane-join", "control-plane-join/all", "control-plane-join/mark-control-plane"],
        Steps(&["mark-control-plane"]),
    ),
    (&["wait-control-plane"], WAITS),
];

const RESET: Table = &[
    (&["preflight"], Otherwise("a reset has no checks before it")),
    (&["remove-etcd-member"], Steps(&["leave-etcd"])),
    (
        &["cleanup-node"],
        Steps(&["stop-kubelet", "remove-pods", "unmount-pod-volumes", "remove-cluster-state", "remove-node-files"]),
    ),
];

const fn table(command: Command) -> Table {
    match command {
        Command::Init => INIT,
        Command::Join => JOIN,
        Command::Reset => RESET,
    }
}

/// What kboot has for a phase; None if kubeadm's command has no such phase.
pub fn counterpart(command: Command, phase: &str) -> Option<Counterpart> {
    table(command).iter().find(|(names, _)| names.contains(&phase)).map(|(_, counterpart)| *counterpart)
}

/// The phases of kubeadm's in which a step has its part, by their first names.
pub fn phases_of(command: Command, step: &str) -> Vec<&'static str> {
    let has = |counterpart: &Counterpart| matches!(counterpart, Steps(steps) if steps.contains(&step));
    table(command).iter().filter(|(_, counterpart)| has(counterpart)).map(|(names, _)| names[0]).collect()
}

/// The steps that a file's `skipPhases` leaves out. What can't be left out by itself, and what is no phase, is a mistake of the file.
pub(super) fn skipped(draft: &mut Draft<'_>, kind: Kind, command: Command, index: usize, phase: &str) -> Vec<String> {
    let path = Path::of("skipPhases").index(index);
    match counterpart(command, &phase.to_lowercase()) {
        Some(Steps(steps)) => return steps.iter().map(|step| (*step).to_string()).collect(),
        Some(Otherwise(how)) => draft.refuse(kind, &path, &format!("{} can't be left out alone", quote(phase)), how),
        None => {
            let names: Vec<&str> = table(command).iter().flat_map(|(names, _)| names.iter().copied()).collect();
            let word = if command == Command::Join { "join" } else { "init" };
            let hint = match nearest(&phase.to_lowercase(), &names) {
                Some(word) => format!("did you mean {}?", quote(word)),
                None => format!("`kubeadm {word} --help` lists them"),
            };
            draft.refuse(kind, &path, &format!("{} is no phase of `kubeadm {word}`", quote(phase)), &hint);
        }
    }
    Vec::new()
}
