//! The documents' fields: kubeadm.k8s.io/v1beta4 and v1, which differ in `mergeMethod` alone. Nulls are taken out before.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A document by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Init,
    Cluster,
    Join,
    Reset,
    Upgrade,
    Kubelet,
    KubeProxy,
    /// kboot's own: for what kubeadm has no fields.
    Inventory,
}

pub const KUBEADM: &str = "kubeadm.k8s.io";
pub const V1BETA4: &str = "kubeadm.k8s.io/v1beta4";
pub const V1: &str = "kubeadm.k8s.io/v1";

impl Kind {
    /// Those of kubeadm's own group.
    pub const OF_KUBEADM: [Self; 5] = [Self::Init, Self::Cluster, Self::Join, Self::Reset, Self::Upgrade];
    /// Those of other groups, with what their `apiVersion` is.
    pub const OTHERS: [(Self, &str); 3] = [
        (Self::Kubelet, "kubelet.config.k8s.io/v1beta1"),
        (Self::KubeProxy, "kubeproxy.config.k8s.io/v1alpha1"),
        (Self::Inventory, "kboot/v1alpha1"),
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "InitConfiguration",
            Self::Cluster => "ClusterConfiguration",
            Self::Join => "JoinConfiguration",
            Self::Reset => "ResetConfiguration",
            Self::Upgrade => "UpgradeConfiguration",
            Self::Kubelet => "KubeletConfiguration",
            Self::KubeProxy => "KubeProxyConfiguration",
            Self::Inventory => "Cluster",
        }
    }
}

macro_rules! fields {
    ($(#[$meta:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct $name { $($(#[$attribute])* pub $field: $type,)* }
    };
}

fields!(InitConfiguration {
    api_version: String,
    kind: String,
    bootstrap_tokens: Vec<BootstrapToken>,
    dry_run: bool,
    node_registration: NodeRegistration,
    #[serde(rename = "localAPIEndpoint")]
    local_api_endpoint: ApiEndpoint,
    certificate_key: Option<String>,
    skip_phases: Vec<String>,
    patches: Patches,
    timeouts: Timeouts,
});

fields!(ClusterConfiguration {
    api_version: String,
    kind: String,
    etcd: Etcd,
    networking: Networking,
    kubernetes_version: Option<String>,
    control_plane_endpoint: Option<String>,
    api_server: ApiServer,
    controller_manager: Component,
    scheduler: Component,
    dns: Dns,
    proxy: Proxy,
    certificates_dir: Option<String>,
    image_repository: Option<String>,
    feature_gates: BTreeMap<String, bool>,
    cluster_name: Option<String>,
    encryption_algorithm: Option<String>,
    certificate_validity_period: Option<String>,
    #[serde(rename = "caCertificateValidityPeriod")]
    ca_certificate_validity_period: Option<String>,
});

fields!(JoinConfiguration {
    api_version: String,
    kind: String,
    dry_run: bool,
    node_registration: NodeRegistration,
    ca_cert_path: Option<String>,
    discovery: Discovery,
    control_plane: Option<JoinControlPlane>,
    skip_phases: Vec<String>,
    patches: Patches,
    timeouts: Timeouts,
});

fields!(NodeRegistration {
    name: Option<String>,
    cri_socket: Option<String>,
    taints: Option<Vec<Taint>>,
    kubelet_extra_args: Vec<Arg>,
    ignore_preflight_errors: Vec<String>,
    image_pull_policy: Option<String>,
    image_pull_serial: Option<bool>,
});

fields!(Taint {
    key: String,
    value: String,
    effect: String,
    time_added: Option<String>,
});

fields!(ApiEndpoint {
    advertise_address: Option<String>,
    bind_port: Option<i64>,
});

fields!(BootstrapToken {
    token: Option<String>,
    description: Option<String>,
    ttl: Option<String>,
    expires: Option<String>,
    usages: Vec<String>,
    groups: Vec<String>,
});

fields!(Patches {
    directory: Option<String>,
});

fields!(Timeouts {
    control_plane_component_health_check: Option<String>,
    kubelet_health_check: Option<String>,
    #[serde(rename = "kubernetesAPICall")]
    kubernetes_api_call: Option<String>,
    #[serde(rename = "etcdAPICall")]
    etcd_api_call: Option<String>,
    tls_bootstrap: Option<String>,
    discovery: Option<String>,
    upgrade_manifests: Option<String>,
});

fields!(Networking {
    service_subnet: Option<String>,
    pod_subnet: Option<String>,
    dns_domain: Option<String>,
});

fields!(Component {
    extra_args: Vec<Arg>,
    extra_volumes: Vec<Value>,
    extra_envs: Vec<EnvVar>,
});

fields!(ApiServer {
    extra_args: Vec<Arg>,
    extra_volumes: Vec<Value>,
    extra_envs: Vec<EnvVar>,
    #[serde(rename = "certSANs")]
    cert_sans: Vec<String>,
});

fields!(Arg {
    name: String,
    value: String,
    merge_method: Option<String>,
});

fields!(EnvVar {
    name: String,
    value: Option<String>,
    value_from: Option<Value>,
});

fields!(Dns {
    image_repository: Option<String>,
    image_tag: Option<String>,
    disabled: bool,
});

fields!(Proxy { disabled: bool });

fields!(Etcd {
    local: Option<LocalEtcd>,
    external: Option<ExternalEtcd>,
});

fields!(LocalEtcd {
    image_repository: Option<String>,
    image_tag: Option<String>,
    data_dir: Option<String>,
    extra_args: Vec<Arg>,
    extra_envs: Vec<EnvVar>,
    #[serde(rename = "serverCertSANs")]
    server_cert_sans: Vec<String>,
    #[serde(rename = "peerCertSANs")]
    peer_cert_sans: Vec<String>,
});

fields!(ExternalEtcd {
    endpoints: Vec<String>,
    http_endpoints: Vec<String>,
    ca_file: String,
    cert_file: String,
    key_file: String,
});

fields!(Discovery {
    bootstrap_token: Option<BootstrapTokenDiscovery>,
    file: Option<FileDiscovery>,
    tls_bootstrap_token: Option<String>,
});

fields!(BootstrapTokenDiscovery {
    token: String,
    api_server_endpoint: Option<String>,
    ca_cert_hashes: Vec<String>,
    #[serde(rename = "unsafeSkipCAVerification")]
    unsafe_skip_ca_verification: bool,
});

fields!(FileDiscovery { kube_config_path: String });

fields!(JoinControlPlane {
    #[serde(rename = "localAPIEndpoint")]
    local_api_endpoint: ApiEndpoint,
    certificate_key: Option<String>,
});
