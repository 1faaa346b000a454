//! What Kubernetes needs of a host or of a cluster: one step a file, named by its verb. Little but observe and diff.
//!
//! A step is made from a [`Context`], which travels to the agent, and from [`Services`], which live there. Playbooks name steps;
//! [`names`] lists them.

mod ask_own_api_server;
mod context;
mod etcd_member;
mod evidence;
mod kubeconfig_server;

mod apply_addons;
mod apply_cluster_objects;
mod apply_dns;
mod check_etcd_is_lost;
mod check_etcd_space;
mod compare_with_baseline;
mod configure_balancer;
mod configure_containerd;
mod configure_crictl;
mod configure_kubelet;
mod configure_repositories;
mod delete_join_token;
mod delete_nodes;
mod disable_swap;
mod drain_nodes;
mod forget_control_planes;
mod forget_former_nodes;
mod forget_lost_nodes;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
mod held_back;
mod hold_packages;
mod install_packages;
mod install_prerequisites;
mod issue_certificates;
mod issue_join_token;
mod join_etcd;
mod label_nodes;
mod later;
mod load_kernel_modules;
mod look_at_etcd;
mod lost_majority;
mod mark_control_plane;
mod mounts;
mod move_etcd_member;
mod move_pod_network;
mod node_address;
mod of_node;
mod parting;
mod protected;
mod pull_images;
mod readiness;
mod recover_etcd;
mod remove_bootstrap_kubeconfig;
mod remove_cluster_state;
mod remove_control_groups;
mod remove_etcd_members;
mod remove_node_files;
mod remove_own_traces;
mod remove_pod_network;
mod remove_pods;
mod rendered;
mod resolve;
mod restart_controllers;
mod restore_settings;
mod rotate_kubelet_certificate;
mod secrets;
mod set_etcd_aside;
mod set_sysctls;
mod share_authorities;
mod share_etcd;
mod start_kubelet;
mod static_pod_state;
mod stop_kubelet;
pub mod task;
mod undo_changes;
mod unmount_pod_volumes;
mod upload_certificates;
mod wait_for_addons;
mod wait_for_api_server;
mod wait_for_certificate;
mod wait_for_kubelet;
mod wait_for_nodes;
mod wait_for_own_node;
mod wait_for_static_pods;
mod write_authorities;
mod write_bootstrap_kubeconfig;
mod write_etcd_credentials;
mod write_kubeconfigs;
mod write_static_pods;

use crate::engine::{AnyStep, Failure, Result};

pub use context::{Context, Inputs, JoinToken, Outbox, RecoveryStart, Services, Undo, UndoScope};
pub use look_at_etcd::look_at_etcd;
pub use pull_images::{CONTROL_PLANE_IMAGE_STEPS, control_plane_images};
pub use resolve::resolve;
#[cfg(test)]
pub use secrets::tests as secret_samples;
pub use secrets::{
    Authorities, EtcdFiles, EtcdKey, Giver, Handout, Join, Outputs, Receiver, Secret, Secrets, gives, hand_overs,
    needs, unasked,
};
pub use share_authorities::{EXTERNAL_ETCD, shared};
pub use undo_changes::{is_member_made, is_node_made};
pub use wait_for_certificate::KUBELET_CONF;

/// What a step may be made of.
pub struct Make<'a> {
    pub context: &'a Context,
    pub services: &'a Services,
    pub outputs: &'a Outbox,
}

type Maker = fn(&Make<'_>) -> Result<Box<dyn AnyStep>>;

/// Every step, by the name that playbooks use.
const STEPS: &[(&str, Maker)] = &[
    ("apply-addons", |make| boxed(apply_addons::step(make)?)),
    ("apply-cluster-objects", |make| boxed(apply_cluster_objects::step(make)?)),
    ("apply-dns", |make| boxed(apply_dns::step(make)?)),
    ("check-etcd-is-lost", |make| boxed(check_etcd_is_lost::step(make)?)),
    ("check-etcd-majority", |make| boxed(remove_etcd_members::step(make, remove_etcd_members::Task::Check)?)),
    ("check-etcd-space", |make| boxed(check_etcd_space::step(make)?)),
    ("compare-with-baseline", |make| boxed(compare_with_baseline::step(make.context))),
    ("configure-balancer", |make| boxed(configure_balancer::step(make.context)?)),
    ("configure-containerd", |make| boxed(configure_containerd::step(make.context)?)),
    ("configure-crictl", |_| boxed(configure_crictl::step()?)),
    ("ask-own-api-server", |make| boxed(ask_own_api_server::step(make.context)?)),
    ("configure-kubelet", |make| boxed(configure_kubelet::step(make.context)?)),
    ("configure-repositories", |make| boxed(configure_repositories::step(make.context)?)),
    ("delete-join-token", |make| Ok(delete_join_token::step(make))),
    ("delete-nodes", |make| boxed(delete_nodes::step(make))),
    ("disable-swap", |_| boxed(disable_swap::step())),
    ("drain-nodes", |make| boxed(drain_nodes::step(make))),
    ("forget-control-planes", |make| boxed(forget_control_planes::step(make)?)),
    ("forget-etcd-members", |make| boxed(forget_control_planes::of_etcd(make)?)),
    ("forget-former-nodes", |make| boxed(forget_former_nodes::step(make))),
    ("forget-lost-nodes", |make| boxed(forget_lost_nodes::step(make))),
    ("hold-packages", |_| boxed(hold_packages::step())),
    ("install-packages", |make| boxed(install_packages::step(make.context))),
    ("install-prerequisites", |make| boxed(install_prerequisites::step(make.context))),
    ("issue-certificates", |make| boxed(issue_certificates::step(make.context)?)),
    ("issue-join-token", |make| boxed(issue_join_token::step(make)?)),
    ("join-etcd", |make| boxed(join_etcd::step(make)?)),
    ("label-nodes", |make| boxed(label_nodes::step(make))),
    ("leave-etcd", |make| boxed(remove_etcd_members::step(make, remove_etcd_members::Task::Leave)?)),
    ("load-kernel-modules", |_| boxed(load_kernel_modules::step()?)),
    ("mark-control-plane", |make| boxed(mark_control_plane::step(make)?)),
    ("move-etcd-member", |make| boxed(move_etcd_member::step(make.context)?)),
    ("move-pod-network", |make| boxed(move_pod_network::step(make))),
    ("pull-etcd-images", |make| boxed(pull_images::of_etcd(make.context))),
    ("pull-first-images", |make| boxed(pull_images::first(make.context))),
    ("pull-node-images", |make| boxed(pull_images::node(make.context)?)),
    ("pull-other-images", |make| boxed(pull_images::other(make.context)?)),
    ("recover-etcd", |make| boxed(recover_etcd::step(make)?)),
    ("remove-bootstrap-kubeconfig", |_| boxed(remove_bootstrap_kubeconfig::step())),
    ("remove-cluster-state", |make| of_node(make, boxed(remove_cluster_state::step(make.context)))),
    ("remove-control-groups", |make| of_node(make, boxed(remove_control_groups::RemoveControlGroups))),
    ("remove-etcd-members", |make| boxed(remove_etcd_members::step(make, remove_etcd_members::Task::Remove)?)),
    ("remove-node-files", |make| of_node(make, later(make, remove_node_files::step(make.context)))),
    ("remove-own-traces", |make| later(make, remove_own_traces::step(make.context))),
    ("remove-pod-network", |make| of_node(make, boxed(remove_pod_network::step()))),
    ("remove-pods", |make| of_node(make, boxed(remove_pods::RemovePods))),
    ("restart-controllers", |_| boxed(restart_controllers::RestartControllers)),
    ("restore-settings", |make| later(make, restore_settings::RestoreSettings)),
    ("rotate-kubelet-certificate", |_| boxed(rotate_kubelet_certificate::RotateKubeletCertificate)),
    ("set-etcd-aside", |make| boxed(set_etcd_aside::step(make))),
    ("set-sysctls", |make| boxed(set_sysctls::step(make.context)?)),
    ("share-etcd", |make| boxed(share_etcd::step(make))),
    ("share-authorities", |make| boxed(share_authorities::step(make))),
    ("start-kubelet", |_| boxed(start_kubelet::step())),
    ("stop-kubelet", |make| of_node(make, boxed(stop_kubelet::step()))),
    ("undo-changes", |make| boxed(undo_changes::step(make))),
    ("unmount-pod-volumes", |make| of_node(make, later(make, unmount_pod_volumes::UnmountPodVolumes))),
    ("upload-certificates", |make| boxed(upload_certificates::step(make))),
    ("wait-for-addons", |make| boxed(wait_for_addons::step(make))),
    ("wait-for-api-server", |make| boxed(wait_for_api_server::step(make))),
    ("wait-for-certificate", |make| boxed(wait_for_certificate::step(make.context))),
    ("wait-for-kubelet", |make| boxed(wait_for_kubelet::step(make.context))),
    ("wait-for-nodes", |make| boxed(wait_for_nodes::step(make))),
    ("wait-for-own-node", |make| boxed(wait_for_own_node::step(make))),
    ("wait-for-static-pods", |make| boxed(wait_for_static_pods::step(make))),
    ("write-authorities", |make| boxed(write_authorities::step(make.context))),
    ("write-etcd-authority", |make| boxed(write_authorities::of_etcd(make.context))),
    ("write-bootstrap-kubeconfig", |make| boxed(write_bootstrap_kubeconfig::step(make.context))),
    ("write-etcd-credentials", |make| boxed(write_etcd_credentials::step(make.context))),
    ("write-kubeconfigs", |make| boxed(write_kubeconfigs::step(make.context)?)),
    ("write-static-pods", |make| boxed(write_static_pods::step(make.context)?)),
];

/// The steps' names.
pub fn names() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|(name, _)| *name)
}

fn boxed(step: impl AnyStep + 'static) -> Result<Box<dyn AnyStep>> {
    Ok(Box::new(step))
}

fn later(make: &Make<'_>, step: impl AnyStep + 'static) -> Result<Box<dyn AnyStep>> {
    Ok(later::later(make.context, step))
}

/// A step that takes a node apart, and nothing where there never was one.
fn of_node(make: &Make<'_>, step: Result<Box<dyn AnyStep>>) -> Result<Box<dyn AnyStep>> {
    step.map(|step| of_node::of_node(make.context.facts.node.has_traces(), step))
}

/// Makes the step of this name.
pub fn build(name: &str, make: &Make<'_>) -> Result<Box<dyn AnyStep>> {
    let maker = STEPS.iter().find(|(known, _)| *known == name).map(|(_, maker)| maker);
    maker.ok_or_else(|| Failure::new(format!("there is no step {name}")))?(make)
}

/// What could not be rendered, as a failure: a template of kboot's or a value of the inventory is at fault.
fn unrendered(error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("failed to {error}"))
}
