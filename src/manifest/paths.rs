//! Where the rendered files go: kubeadm's and the packages' paths.

use super::StaticPod;

pub const MANIFESTS: &str = "/etc/kubernetes/manifests";
pub const KUBELET_CONFIG: &str = "/var/lib/kubelet/config.yaml";
pub const KUBELET_INSTANCE_CONFIG: &str = "/var/lib/kubelet/instance-config.yaml";
pub const KUBELET_FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
/// Where the kubelet's package puts its drop-in.
pub const KUBELET_DROPIN: &str = "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf";
pub const CONTAINERD_CONFIG: &str = "/etc/containerd/config.toml";
pub const CERTS_D: &str = "/etc/containerd/certs.d";
/// The cluster's certificate authority.
pub const AUTHORITY: &str = "/etc/kubernetes/pki/ca.crt";
/// By what the API servers know etcd, and as whom they ask it.
pub const ETCD_CA: &str = "/etc/kubernetes/pki/etcd/ca.crt";
pub const ETCD_CLIENT_CERTIFICATE: &str = "/etc/kubernetes/pki/apiserver-etcd-client.crt";
pub const ETCD_CLIENT_KEY: &str = "/etc/kubernetes/pki/apiserver-etcd-client.key";
pub const HAPROXY_CONFIG: &str = "/etc/haproxy/haproxy.cfg";
pub const KEEPALIVED_CONFIG: &str = "/etc/keepalived/keepalived.conf";
pub const CRICTL_CONFIG: &str = "/etc/crictl.yaml";
pub const MODULES_LOAD: &str = "/etc/modules-load.d/kubernetes.conf";
/// Late in the order, so that the distribution's own files don't undo it.
pub const SYSCTL: &str = "/etc/sysctl.d/99-kubernetes.conf";
pub const KEYRINGS: &str = "/etc/apt/keyrings";
pub const KUBERNETES_SOURCE: &str = "/etc/apt/sources.list.d/kubernetes.sources";
pub const KUBERNETES_PREFERENCES: &str = "/etc/apt/preferences.d/kubernetes";
pub const CONTAINERD_SOURCE: &str = "/etc/apt/sources.list.d/containerd.sources";
pub const CONTAINERD_PREFERENCES: &str = "/etc/apt/preferences.d/containerd";

pub fn static_pod(pod: StaticPod) -> String {
    format!("{MANIFESTS}/{}.yaml", pod.name())
}

pub fn kube_vip() -> String {
    format!("{MANIFESTS}/kube-vip.yaml")
}

/// The mirror settings of one registry, as `registry.k8s.io`.
pub fn mirror_hosts(registry: &str) -> String {
    format!("{CERTS_D}/{registry}/hosts.toml")
}
