//! Every file and object that kboot renders: static pods, kubelet and container runtime configuration, package sources,
//! kubeadm's ConfigMaps and roles, the add-ons and the pod networks.
//!
//! The text is in `templates/`, where a person can read the bootstrap; this module fills it in. Names, flags and fields
//! are kubeadm 1.37's and the add-ons' upstreams', so that kubeadm can join, inspect and upgrade the cluster.
//!
//! Pure functions of the inventory and of plain values: nothing here reads a host, a clock or the cluster, and the same
//! input gives the same bytes. It may use [`crate::inventory`]; it must not know steps, changes or the API client.

mod addons;
mod emit;
mod host;
mod kubeadm;
mod kubelet;
mod network;
mod patch;
pub mod paths;
mod static_pod;
mod template;
mod yaml;

pub use addons::{KubeProxyValues, coredns, kube_proxy};
pub use host::{
    MIRROR_MARK, MODULES, SYSCTLS, apt_pin, apt_source, containerd_config, crictl_config, mirror_hosts, modules_load,
    parse_sysctl_conf, sysctl_conf, sysctls,
};
pub use kubeadm::{bootstrap_rbac, cluster_info, kubeadm_config, kubelet_config_map, node_labels};
pub use kubelet::{
    CgroupDriver, KubeletValues, RUNTIME_ENDPOINT, kubelet_config, kubelet_flags, kubelet_instance_config,
};
pub use network::{flannel, pod_network, weave};
pub use patch::PatchError;
pub use static_pod::{CA_FOLDERS, EtcdMember, NodeValues, StaticPod, static_pod};
pub use template::{RenderError, Template, render};
pub use yaml::images;

#[cfg(test)]
mod fixture;
