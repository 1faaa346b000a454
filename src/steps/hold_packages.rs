//! An unattended upgrade must not move a node to another version of Kubernetes.

use crate::resource::{Converge, Held};

pub fn step() -> Converge {
    Converge::new("hold-packages", "Hold Kubernetes' packages").with(Held(vec!["kubelet", "kubeadm", "kubectl"]))
}
