//! What `kubeadm init` leaves in the cluster, so that kubeadm can join, inspect and upgrade it: its ConfigMaps, roles and
//! bindings, and the marks of control-plane nodes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::emit::emit;
use super::kubelet::{CgroupDriver, KubeletValues, shared_configuration};
use super::paths;
use super::static_pod::StaticPod;
use super::template::{RenderError, Template};
use super::yaml::{document, objects};
use crate::inventory::{CONTROL_PLANE, Cluster, Component, Dns, Host};

/// Keeps cloud load balancers from sending services' traffic to control planes.
const EXCLUDE_FROM_BALANCERS: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// ConfigMap kubeadm-config with the ClusterConfiguration (v1beta4), its role and binding.
///
/// Not in it, because kubeadm has no field for it: etcd's `extraVolumes`.
pub fn kubeadm_config(cluster: &Cluster) -> Result<Vec<Value>, RenderError> {
    objects(Template::KubeadmConfig, &json!({"configuration": cluster_configuration(cluster)?}))
}

/// ConfigMap kubelet-config, its role and binding. `values` are a control plane's: kubelets that kubeadm joins start from
/// them; kboot decides again on each host.
pub fn kubelet_config_map(cluster: &Cluster, values: &KubeletValues) -> Result<Vec<Value>, RenderError> {
    let configuration = shared_configuration(cluster, values)?;
    // A hash invites kubeadm to replace the configuration by its own defaults when it upgrades. Those would not start
    // on cgroup v1, and would lose what the user set.
    let is_default =
        cluster.kubelet.config.is_empty() && values.cgroup_driver == CgroupDriver::Systemd && !values.is_cgroup_v1;
    let hash = is_default.then(|| component_hash(&[&configuration]));
    objects(Template::KubeletConfigMap, &json!({"configuration": configuration, "hash": hash}))
}

/// The roles and bindings that administrators, the API server, and joining and renewing nodes need.
pub fn bootstrap_rbac() -> Result<Vec<Value>, RenderError> {
    objects(Template::BootstrapRbac, &json!({}))
}

/// ConfigMap cluster-info, its role and binding. `kubeconfig` has the endpoint and the CA, and no user.
pub fn cluster_info(kubeconfig: &str) -> Result<Vec<Value>, RenderError> {
    objects(Template::ClusterInfo, &json!({"kubeconfig": kubeconfig}))
}

/// The labels that a host's node must have: the inventory's and, on control planes, kubeadm's. Its taints are
/// [`Cluster::node_taints`].
pub fn node_labels(host: &Host) -> BTreeMap<String, String> {
    let mut labels = host.labels.clone();
    if host.is_control_plane() {
        for label in [CONTROL_PLANE, EXCLUDE_FROM_BALANCERS] {
            labels.entry(label.into()).or_default();
        }
    }
    labels
}

/// kubeadm's checksum of a ConfigMap: SHA-256 over the values of `data` in the order of their keys.
pub(super) fn component_hash(values: &[&str]) -> String {
    let mut hash = Sha256::new();
    values.iter().for_each(|value| hash.update(value));
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digest}")
}

fn cluster_configuration(cluster: &Cluster) -> Result<String, RenderError> {
    let settings = |pod: StaticPod| component(&pod.settings(cluster));
    let mut api_server = settings(StaticPod::ApiServer);
    let names = cluster.api_names();
    if !names.is_empty() {
        api_server["certSANs"] = json!(names);
    }
    let values = json!({
        "cluster": cluster,
        "endpoint": cluster.endpoint(),
        "caValidity": period(cluster.certificates.ca_validity.hours()),
        "validity": period(cluster.certificates.validity.hours()),
        "apiServer": api_server,
        "controllerManager": settings(StaticPod::ControllerManager),
        "scheduler": settings(StaticPod::Scheduler),
        "etcd": etcd(cluster),
        "dns": dns(&cluster.dns),
        "proxy": if cluster.kube_proxy.enabled { json!({}) } else { json!({"disabled": true}) },
    });
    Ok(emit(&document(Template::ClusterConfiguration, &values)?))
}

fn etcd(cluster: &Cluster) -> Value {
    if let Some(endpoints) = cluster.etcd_endpoints() {
        // Where every control plane has them, whatever the files were called that they came from.
        return json!({"external": {
            "endpoints": endpoints,
            "caFile": paths::ETCD_CA,
            "certFile": paths::ETCD_CLIENT_CERTIFICATE,
            "keyFile": paths::ETCD_CLIENT_KEY,
        }});
    }
    let mut local = component(&StaticPod::Etcd.settings(cluster));
    if let Some(local) = local.as_object_mut() {
        local.remove("extraVolumes");
        local.insert("dataDir".into(), json!("/var/lib/etcd"));
    }
    json!({"local": local})
}

/// A span as Go writes it.
fn period(hours: u32) -> String {
    format!("{hours}h0m0s")
}

fn dns(dns: &Dns) -> Value {
    let mut value = json!({});
    if !dns.enabled {
        value["disabled"] = json!(true);
    }
    for (field, text) in [("imageRepository", &dns.image_repository), ("imageTag", &dns.image_tag)] {
        if let Some(text) = text {
            value[field] = json!(text);
        }
    }
    value
}

fn component(component: &Component) -> Value {
    let mut value = json!({});
    if !component.extra_args.is_empty() {
        value["extraArgs"] =
            component.extra_args.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    }
    if !component.extra_volumes.is_empty() {
        value["extraVolumes"] = json!(component.extra_volumes);
    }
    if !component.extra_envs.is_empty() {
        value["extraEnvs"] = json!(component.extra_envs);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{EnvVar, ExtraVolume};
    use crate::manifest::fixture;

    const V2: KubeletValues =
        KubeletValues { cgroup_driver: CgroupDriver::Systemd, is_cgroup_v1: false, resolv_conf: None };

    fn configuration(cluster: &Cluster) -> Value {
        let objects = kubeadm_config(cluster).unwrap();
        serde_yaml::from_str(objects[0]["data"]["ClusterConfiguration"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn cluster_configuration_is_kubeadm_s() {
        // What `kubeadm init` 1.37.2 uploads for the same cluster.
        assert_eq!(
            configuration(&fixture::cluster()),
            json!({
                // What kboot sets beyond kubeadm, which then keeps it.
                "apiServer": {"extraArgs": [{"name": "shutdown-watch-termination-grace-period", "value": "1s"}]},
                "apiVersion": "kubeadm.k8s.io/v1beta4",
                "caCertificateValidityPeriod": "87600h0m0s",
                "certificateValidityPeriod": "8760h0m0s",
                "certificatesDir": "/etc/kubernetes/pki",
                "clusterName": "lab",
                "controlPlaneEndpoint": "10.77.0.11:6443",
                "controllerManager": {"extraArgs": [
                    {"name": "kube-api-burst", "value": "200"},
                    {"name": "kube-api-qps", "value": "100"},
                ]},
                "dns": {},
                "encryptionAlgorithm": "ECDSA-P256",
                "etcd": {"local": {"dataDir": "/var/lib/etcd"}},
                "imageRepository": "registry.k8s.io",
                "kind": "ClusterConfiguration",
                "kubernetesVersion": "v1.37.2",
                "networking": {
                    "dnsDomain": "cluster.local",
                    "podSubnet": "10.244.0.0/16",
                    "serviceSubnet": "10.96.0.0/12",
                },
                "proxy": {},
                "scheduler": {},
            })
        );
    }

    #[test]
    fn the_user_s_settings_are_in_kubeadm_s_form() {
        let mut cluster = fixture::cluster();
        cluster.certificates.extra_sans = vec!["api.example.com".into()];
        let components = &mut cluster.control_plane;
        components.api_server.extra_args.insert("v".into(), "4".into());
        components.etcd.extra_args.insert("quota-backend-bytes".into(), "8589934592".into());
        components.scheduler.extra_volumes.push(ExtraVolume {
            name: "profiles".into(),
            host_path: "/a".into(),
            mount_path: "/b".into(),
            read_only: true,
            path_type: Some("File".into()),
        });
        components.etcd.extra_volumes = components.scheduler.extra_volumes.clone();
        let configuration = configuration(&cluster);
        assert_eq!(
            configuration["apiServer"],
            json!({
                "certSANs": ["api.example.com"],
                "extraArgs": [
                    {"name": "shutdown-watch-termination-grace-period", "value": "1s"},
                    {"name": "v", "value": "4"},
                ],
            })
        );
        assert_eq!(
            configuration["etcd"]["local"],
            json!({"dataDir": "/var/lib/etcd", "extraArgs": [{"name": "quota-backend-bytes", "value": "8589934592"}]})
        );
        assert_eq!(
            configuration["scheduler"]["extraVolumes"],
            json!([{"name": "profiles", "hostPath": "/a", "mountPath": "/b", "readOnly": true, "pathType": "File"}])
        );
    }

    #[test]
    fn addons_and_environments_are_in_kubeadm_s_form() {
        let mut cluster = fixture::cluster();
        cluster.kube_proxy.enabled = false;
        cluster.dns.image_tag = Some("v1.14.1".into());
        cluster.control_plane.scheduler.extra_envs = vec![EnvVar { name: "A".into(), value: "b".into() }];
        let told = configuration(&cluster);
        assert_eq!((&told["proxy"], &told["dns"]), (&json!({"disabled": true}), &json!({"imageTag": "v1.14.1"})));
        assert_eq!(told["scheduler"]["extraEnvs"], json!([{"name": "A", "value": "b"}]));
        cluster.dns.enabled = false;
        assert_eq!(configuration(&cluster)["dns"]["disabled"], true);
    }

    #[test]
    fn kubelet_config_is_signed_only_if_kubeadm_may_replace_it() {
        let signed = kubelet_config_map(&fixture::cluster(), &V2).unwrap();
        let hash = &signed[0]["metadata"]["annotations"]["kubeadm.kubernetes.io/component-config.hash"];
        let data = signed[0]["data"]["kubelet"].as_str().unwrap();
        assert_eq!(hash.as_str().unwrap(), component_hash(&[data]));
        assert!(!data.contains("containerRuntimeEndpoint"), "{data}");

        let v1 = KubeletValues { cgroup_driver: CgroupDriver::Cgroupfs, is_cgroup_v1: true, resolv_conf: None };
        let unsigned = kubelet_config_map(&fixture::cluster(), &v1).unwrap();
        assert_eq!(unsigned[0]["metadata"]["annotations"], Value::Null);
        assert!(unsigned[0]["data"]["kubelet"].as_str().unwrap().contains("failCgroupV1: false"));

        let mut cluster = fixture::cluster();
        cluster.kubelet.config.insert("maxPods".into(), json!(50));
        let unsigned = kubelet_config_map(&cluster, &V2).unwrap();
        assert_eq!(unsigned[0]["metadata"]["annotations"], Value::Null);
    }

    #[test]
    fn component_hash_is_kubeadm_s() {
        // SHA-256 of "ab", whichever way it is split.
        let hash = "sha256:fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603";
        assert_eq!(component_hash(&["a", "b"]), hash);
        assert_eq!(component_hash(&["ab"]), hash);
    }

    #[test]
    fn bindings_bind_kubeadm_s_groups() {
        let objects = bootstrap_rbac().unwrap();
        let joining = "system:bootstrappers:kubeadm:default-node-token";
        let approve = "system:certificates.k8s.io:certificatesigningrequests";
        let expected = [
            ("kubeadm:cluster-admins", "cluster-admin".to_owned(), "kubeadm:cluster-admins"),
            ("kubeadm:apiserver-kubelet-client", "system:kubelet-api-admin".into(), "kube-apiserver-kubelet-client"),
            ("kubeadm:get-nodes", "kubeadm:get-nodes".into(), joining),
            ("kubeadm:kubelet-bootstrap", "system:node-bootstrapper".into(), joining),
            ("kubeadm:node-autoapprove-bootstrap", format!("{approve}:nodeclient"), joining),
            ("kubeadm:node-autoapprove-certificate-rotation", format!("{approve}:selfnodeclient"), "system:nodes"),
        ];
        let bindings: Vec<_> = objects
            .iter()
            .filter(|object| object["kind"] == "ClusterRoleBinding")
            .map(|object| {
                let text = |pointer| object.pointer(pointer).unwrap().as_str().unwrap();
                (text("/metadata/name"), text("/roleRef/name").to_owned(), text("/subjects/0/name"))
            })
            .collect();
        assert_eq!(bindings, expected);
    }

    #[test]
    fn objects_are_as_kept() {
        let cluster = fixture::cluster();
        insta::assert_snapshot!("kubeadm_config", fixture::yaml(&kubeadm_config(&cluster).unwrap()));
        insta::assert_snapshot!("kubelet_config_map", fixture::yaml(&kubelet_config_map(&cluster, &V2).unwrap()));
        insta::assert_snapshot!("bootstrap_rbac", fixture::yaml(&bootstrap_rbac().unwrap()));
        insta::assert_snapshot!("cluster_info", fixture::yaml(&cluster_info("kind: Config\n").unwrap()));
    }

    #[test]
    fn labels_by_role() {
        let cluster = fixture::cluster();
        let labels = |name| node_labels(cluster.host(name).unwrap());
        assert_eq!(
            labels("n1"),
            [(CONTROL_PLANE.into(), String::new()), (EXCLUDE_FROM_BALANCERS.into(), String::new())].into()
        );
        assert_eq!(labels("n2"), [("disk".into(), "ssd".into())].into());
        assert_eq!(labels("n3"), BTreeMap::new());
    }
}
