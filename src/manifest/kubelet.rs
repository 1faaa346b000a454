//! The kubelet's files, as kubeadm 1.37 writes them (its packages componentconfigs and phases/kubelet).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::emit::emit;
use super::patch::patched;
use super::template::{RenderError, Template, render};
use super::yaml::{document, merge};
use crate::inventory::{Cluster, Host, PatchTarget};

/// containerd's socket, spelled as kubeadm's default.
pub const RUNTIME_ENDPOINT: &str = "unix:///var/run/containerd/containerd.sock";

/// What a host's kubelet configuration depends on beyond the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubeletValues {
    pub cgroup_driver: CgroupDriver,
    pub is_cgroup_v1: bool,
    /// `/run/systemd/resolve/resolv.conf` where systemd-resolved runs; otherwise the kubelet's default is right.
    pub resolv_conf: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    Systemd,
    Cgroupfs,
}

/// `/var/lib/kubelet/config.yaml`
pub fn kubelet_config(cluster: &Cluster, values: &KubeletValues) -> Result<String, RenderError> {
    let host = json!({"runtimeEndpoint": RUNTIME_ENDPOINT, "resolvConf": values.resolv_conf});
    let document = configuration(cluster, values, host)?;
    // As with kubeadm, the hosts' files alone are patched, and not what they start from.
    Ok(emit(&patched(&cluster.patches, PatchTarget::KubeletConfiguration, document)?))
}

/// The same file where the kubelet belongs to no cluster and only runs etcd's static pod: there is no API server by whose word it could
/// let anybody in, so that it lets in nobody and listens for none.
pub fn standalone_kubelet_config(cluster: &Cluster, values: &KubeletValues) -> Result<String, RenderError> {
    let mut configuration: Value = serde_yaml::from_str(&kubelet_config(cluster, values)?).unwrap_or_default();
    if let Some(fields) = configuration.as_object_mut() {
        for field in ["clusterDNS", "clusterDomain", "rotateCertificates", "serverTLSBootstrap"] {
            fields.remove(field);
        }
        fields.insert("enableServer".into(), json!(false));
        fields.insert("authentication".into(), json!({"anonymous": {"enabled": false}, "webhook": {"enabled": false}}));
        fields.insert("authorization".into(), json!({"mode": "AlwaysAllow"}));
    }
    Ok(emit(&configuration))
}

/// The part of the configuration that all nodes share, for ConfigMap kubelet-config.
pub(super) fn shared_configuration(cluster: &Cluster, values: &KubeletValues) -> Result<String, RenderError> {
    Ok(emit(&configuration(cluster, values, Value::Null)?))
}

/// `/var/lib/kubelet/instance-config.yaml`: what kubeadm, when it joins or upgrades this host, lays over the
/// configuration that it reads from the cluster.
pub fn kubelet_instance_config() -> Result<String, RenderError> {
    render(Template::KubeletInstanceConfig, &json!({"runtimeEndpoint": RUNTIME_ENDPOINT}))
}

/// `/var/lib/kubelet/kubeadm-flags.env`: what is left to flags.
///
/// - `--hostname-override` where the node's name isn't the hostname, as kubeadm does.
/// - `--node-ip`, which kubeadm leaves to its users: the inventory says by which address the hosts reach each other, and
///   on a host with several the kubelet would take the default route's.
/// - `--register-with-taints` on workers, so that nothing is scheduled there before the taints are known. A control
///   plane's are set through the API, as by kubeadm: its node isn't ready before the pod network is there.
/// - No kubeconfig on etcd hosts, in place of those that the package's drop-in names: so the kubelet knows that it belongs to no
///   cluster.
/// - The inventory's `kubelet.extraArgs`.
/// - No `--node-labels` of kboot's own: the API server refuses some labels from kubelets, and a flag isn't read again once the node is
///   registered. Labels are set through the API.
///
/// `registered` is the file of a node that has registered: the taints that it did so with are of no use any more, and stay as they are,
/// or a change of them would restart the kubelet for nothing.
pub fn kubelet_flags(
    cluster: &Cluster,
    host: &Host,
    hostname: &str,
    registered: Option<&str>,
) -> Result<String, RenderError> {
    let mut flags = Vec::new();
    // The kubelet lower-cases the hostname, too, before it takes it as the node's name.
    if !hostname.eq_ignore_ascii_case(&host.name) {
        flags.push(format!("--hostname-override={}", host.name));
    }
    if host.is_etcd() {
        flags.extend(["--bootstrap-kubeconfig=", "--kubeconfig="].map(String::from));
    }
    flags.push(format!("--node-ip={}", host.address));
    let taints = cluster.node_taints(host);
    if let Some(text) = registered {
        let words = text.split(|c: char| c.is_whitespace() || c == '"');
        flags.extend(words.filter(|word| word.starts_with("--register-with-taints=")).map(String::from));
    } else if host.is_worker() && !taints.is_empty() {
        let taints: Vec<_> = taints
            .iter()
            .map(|taint| match taint.value.as_str() {
                "" => format!("{}:{}", taint.key, taint.effect),
                value => format!("{}={value}:{}", taint.key, taint.effect),
            })
            .collect();
        flags.push(format!("--register-with-taints={}", taints.join(",")));
    }
    // As with kubeadm, the user's replace those of the same name and come last.
    let own = &cluster.kubelet.extra_args;
    flags.retain(|flag| own.keys().all(|name| !flag.starts_with(&format!("--{name}="))));
    flags.extend(own.iter().map(|(name, value)| format!("--{name}={value}")));
    render(Template::KubeletFlags, &json!({"flags": flags}))
}

fn configuration(cluster: &Cluster, values: &KubeletValues, host: Value) -> Result<Value, RenderError> {
    let context = json!({
        "cluster": cluster,
        "clusterDns": cluster.dns_address(),
        "cgroupDriver": values.cgroup_driver,
        "isCgroupV1": values.is_cgroup_v1,
        "host": host,
    });
    let mut configuration = document(Template::KubeletConfig, &context)?;
    merge(
        &mut configuration,
        &cluster.kubelet.config.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
    );
    Ok(configuration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Patch, PatchType};
    use crate::manifest::fixture;

    const V2: KubeletValues =
        KubeletValues { cgroup_driver: CgroupDriver::Systemd, is_cgroup_v1: false, resolv_conf: None };

    fn parsed(text: &str) -> Value {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn configuration_is_kubeadm_s() {
        let text = kubelet_config(&fixture::cluster(), &V2).unwrap();
        // What `kubeadm init phase kubelet-start` 1.37.2 writes, without its zeros.
        assert_eq!(
            parsed(&text),
            json!({
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "authentication": {
                    "anonymous": {"enabled": false},
                    "webhook": {"enabled": true},
                    "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"},
                },
                "authorization": {"mode": "Webhook"},
                "cgroupDriver": "systemd",
                "clusterDNS": ["10.96.0.10"],
                "clusterDomain": "cluster.local",
                "containerRuntimeEndpoint": RUNTIME_ENDPOINT,
                "healthzBindAddress": "127.0.0.1",
                "healthzPort": 10248,
                "rotateCertificates": true,
                "staticPodPath": "/etc/kubernetes/manifests",
            })
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn facts_decide_cgroup_settings_and_resolver() {
        let values = KubeletValues {
            cgroup_driver: CgroupDriver::Cgroupfs,
            is_cgroup_v1: true,
            resolv_conf: Some("/run/systemd/resolve/resolv.conf".into()),
        };
        let config = parsed(&kubelet_config(&fixture::cluster(), &values).unwrap());
        assert_eq!(config["cgroupDriver"], "cgroupfs");
        assert_eq!(config["failCgroupV1"], false);
        assert_eq!(config["resolvConf"], "/run/systemd/resolve/resolv.conf");
        assert_eq!(parsed(&kubelet_config(&fixture::cluster(), &V2).unwrap())["failCgroupV1"], Value::Null);
        let shared = parsed(&shared_configuration(&fixture::cluster(), &values).unwrap());
        assert_eq!(shared["failCgroupV1"], false);
        assert_eq!((&shared["resolvConf"], &shared["containerRuntimeEndpoint"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn one_that_runs_etcd_alone_belongs_to_no_cluster_and_lets_nobody_in() {
        let mut cluster = fixture::cluster();
        cluster.kubelet.config.insert("maxPods".into(), json!(200));
        cluster.kubelet.config.insert("authentication".into(), json!({"x509": {"clientCAFile": "/a"}}));
        let text = standalone_kubelet_config(&cluster, &V2).unwrap();
        assert_eq!(
            parsed(&text),
            json!({
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": false}},
                "authorization": {"mode": "AlwaysAllow"},
                "cgroupDriver": "systemd",
                "containerRuntimeEndpoint": RUNTIME_ENDPOINT,
                "enableServer": false,
                "healthzBindAddress": "127.0.0.1",
                "healthzPort": 10248,
                "maxPods": 200,
                "staticPodPath": "/etc/kubernetes/manifests",
            })
        );
        let host = crate::inventory::Host::new("e1", "10.77.0.21".parse().unwrap(), vec![crate::inventory::Role::Etcd]);
        let flags = kubelet_flags(&cluster, &host, "e1", None).unwrap();
        assert_eq!(flags, "KUBELET_KUBEADM_ARGS=\"--bootstrap-kubeconfig= --kubeconfig= --node-ip=10.77.0.21\"\n");
    }

    #[test]
    fn the_user_s_fields_are_laid_over() {
        let mut cluster = fixture::cluster();
        cluster.kubelet.config.insert("maxPods".into(), json!(200));
        cluster.kubelet.config.insert("authentication".into(), json!({"webhook": {"cacheTTL": "1m"}}));
        let config = parsed(&kubelet_config(&cluster, &V2).unwrap());
        assert_eq!(config["maxPods"], 200);
        assert_eq!(config["authentication"]["webhook"], json!({"enabled": true, "cacheTTL": "1m"}));
        assert_eq!(config["authentication"]["anonymous"]["enabled"], false);
    }

    #[test]
    fn flags_by_host() {
        let cluster = fixture::cluster();
        let flags =
            |name: &str, hostname: &str| kubelet_flags(&cluster, cluster.host(name).unwrap(), hostname, None).unwrap();
        assert_eq!(flags("n1", "n1"), "KUBELET_KUBEADM_ARGS=\"--node-ip=10.77.0.11\"\n");
        assert_eq!(flags("n2", "N2"), "KUBELET_KUBEADM_ARGS=\"--node-ip=10.77.0.12\"\n");
        assert_eq!(
            flags("n3", "other"),
            "KUBELET_KUBEADM_ARGS=\"--hostname-override=n3 --node-ip=10.77.0.13 \
             --register-with-taints=dedicated=db:NoSchedule,gpu:NoExecute\"\n"
        );
    }

    #[test]
    fn the_user_s_flags_replace_kboot_s_own() {
        let mut cluster = fixture::cluster();
        cluster.kubelet.extra_args =
            [("node-ip", "10.77.1.1"), ("v", "4")].map(|(name, value)| (name.into(), value.into())).into();
        let flags = |registered| kubelet_flags(&cluster, cluster.host("n3").unwrap(), "n3", registered).unwrap();
        let taints = "--register-with-taints=dedicated=db:NoSchedule,gpu:NoExecute";
        let expected = format!("KUBELET_KUBEADM_ARGS=\"{taints} --node-ip=10.77.1.1 --v=4\"\n");
        assert_eq!(flags(None), expected);
        assert_eq!(flags(Some(&expected)), expected);
    }

    #[test]
    fn a_host_s_configuration_is_patched_and_the_cluster_s_is_not() {
        let mut cluster = fixture::cluster();
        cluster.patches = vec![Patch {
            target: PatchTarget::KubeletConfiguration,
            kind: PatchType::Json,
            patch: json!([{"op": "add", "path": "/maxPods", "value": 57}]),
        }];
        assert_eq!(parsed(&kubelet_config(&cluster, &V2).unwrap())["maxPods"], 57);
        assert_eq!(parsed(&shared_configuration(&cluster, &V2).unwrap())["maxPods"], Value::Null);
    }

    #[test]
    fn instance_configuration() {
        assert_eq!(
            kubelet_instance_config().unwrap(),
            "containerRuntimeEndpoint: \"unix:///var/run/containerd/containerd.sock\"\n"
        );
    }
}
