//! Every file and object that kboot renders: static pods, kubelet and container runtime configuration, package sources,
//! kubeadm's ConfigMaps and roles, the add-ons and the pod networks.
//!
//! The text is in `templates/`, where a person can read the bootstrap; this module fills it in. Names, flags and fields
//! are kubeadm 1.37's and the add-ons' upstreams', so that kubeadm can join, inspect and upgrade the cluster.
//!
//! Pure functions of the inventory and of plain values: nothing here reads a host, a clock or the cluster, and the same
//! input gives the same bytes. It may use [`crate::inventory`]; it must not know steps, changes or the API client.

mod addons;
mod balancer;
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
pub use balancer::{BALANCER_MARK, haproxy_config, keepalived_config, kube_vip};
pub use host::{
    MIRROR_MARK, MODULES, SYSCTLS, apt_pin, apt_source, containerd_config, crictl_config, mirror_hosts, modules_load,
    parse_sysctl_conf, sysctl_conf, sysctls,
};
pub use kubeadm::{bootstrap_rbac, cluster_info, kubeadm_config, kubelet_config_map, node_labels};
pub use kubelet::{
    CgroupDriver, KubeletValues, RUNTIME_ENDPOINT, kubelet_config, kubelet_flags, kubelet_instance_config,
    standalone_kubelet_config,
};
pub use network::{flannel, pod_network, weave};
pub use patch::PatchError;
#[cfg(any(test, fuzzing))]
pub(crate) use patch::patched;
pub use static_pod::{
    CA_FOLDERS, EtcdMember, NodeValues, StaticPod, etcd_client_url, etcd_peer_url, flag, joined_members,
    mounted_ca_folders, static_pod,
};
pub use template::{RenderError, Template, render};
pub use yaml::images;

/// Renders all that can be patched, on a host that has what hosts mostly have: whether the patches fit, before any host is reached.
pub fn try_render(cluster: &crate::inventory::Cluster) -> Result<(), RenderError> {
    let host = cluster.control_planes().chain(&cluster.hosts).next();
    let node = NodeValues {
        name: host.map(|host| host.name.clone()).unwrap_or_default(),
        address: host.map_or(std::net::Ipv4Addr::LOCALHOST.into(), |host| host.address),
        ca_folders: Vec::new(),
        has_ca_key: true,
        etcd_members: Vec::new(),
    };
    for pod in StaticPod::of(cluster) {
        static_pod(pod, cluster, &node)?;
    }
    kubelet_config(
        cluster,
        &KubeletValues { cgroup_driver: CgroupDriver::Systemd, is_cgroup_v1: false, resolv_conf: None },
    )?;
    kube_proxy(cluster, KubeProxyValues { can_set_conntrack: true })?;
    coredns(cluster).map(drop)
}

#[cfg(test)]
mod fixture;
