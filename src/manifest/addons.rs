//! kube-proxy and CoreDNS, as kubeadm 1.37 installs them (its packages phases/addons).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::balancer;
use super::emit::emit;
use super::kubeadm::component_hash;
use super::patch::patched;
use super::template::{RenderError, Template};
use super::yaml::{document, merge, objects};
use crate::inventory::{Balance, CONTROL_PLANES, Cluster, PatchTarget};

/// What kube-proxy's configuration depends on beyond the inventory; it is one for all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubeProxyValues {
    /// False if any host is a container, where the kernel's connection table can't be sized: kube-proxy would fail.
    pub can_set_conntrack: bool,
}

/// kube-proxy's service account, roles, ConfigMap and DaemonSet; nothing if it is not to be installed.
pub fn kube_proxy(cluster: &Cluster, values: KubeProxyValues) -> Result<Vec<Value>, RenderError> {
    if !cluster.kube_proxy.enabled {
        return Ok(Vec::new());
    }
    let is_ipv4 = cluster.network.service_subnet.addr().is_ipv4();
    let context = json!({
        "cluster": cluster,
        "bindAddress": if is_ipv4 { "0.0.0.0" } else { "::" },
        "canSetConntrack": values.can_set_conntrack,
    });
    let mut configuration = document(Template::KubeProxyConfiguration, &context)?;
    let own = &cluster.kube_proxy.config;
    merge(&mut configuration, &own.iter().map(|(key, value)| (key.clone(), value.clone())).collect());
    let configuration = emit(&configuration);
    let (host, port) = cluster.node_endpoint();
    let kubeconfig = emit(&kubeconfig(&host, port));
    // As with the kubelet's: kubeadm's own defaults would not do here, so it mustn't think that they were never changed.
    let is_default = values.can_set_conntrack && own.is_empty();
    let digest = component_hash(&[&configuration, &kubeconfig]);
    let hash = is_default.then_some(&digest);
    let context = json!({
        "image": cluster.image("kube-proxy"),
        "configuration": configuration,
        "kubeconfig": kubeconfig,
        "hash": hash,
        "digest": digest,
        // Nodes that join may read this object before they have a certificate.
        "controlPlanesKey": CONTROL_PLANES,
        "controlPlanes": (cluster.balance() == Balance::Local).then(|| balancer::control_planes(cluster)),
    });
    patch_objects(cluster, "DaemonSet", PatchTarget::KubeProxyDaemonSet, objects(Template::KubeProxy, &context)?)
}

/// CoreDNS' service account, role, Corefile, service and deployment; nothing if it is not to be installed.
pub fn coredns(cluster: &Cluster) -> Result<Vec<Value>, RenderError> {
    if !cluster.dns.enabled {
        return Ok(Vec::new());
    }
    let context = json!({
        "cluster": cluster,
        "image": cluster.image("coredns"),
        "clusterDns": cluster.dns_address(),
    });
    patch_objects(cluster, "Deployment", PatchTarget::CoreDnsDeployment, objects(Template::CoreDns, &context)?)
}

/// Applies the inventory's patches to the object of a kind.
fn patch_objects(
    cluster: &Cluster,
    kind: &str,
    target: PatchTarget,
    objects: Vec<Value>,
) -> Result<Vec<Value>, RenderError> {
    let patch = |object: Value| match object["kind"] == kind {
        true => Ok(patched(&cluster.patches, target, object)?),
        false => Ok(object),
    };
    objects.into_iter().map(patch).collect()
}

/// The service account's token and CA, which every pod has, and the endpoint rather than the service's address, which
/// works only once kube-proxy does.
fn kubeconfig(host: &str, port: u16) -> Value {
    const SECRETS: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let cluster = json!({
        "certificate-authority": format!("{SECRETS}/ca.crt"),
        "server": format!("https://{}:{port}", if host.contains(':') { format!("[{host}]") } else { host.into() }),
    });
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "default", "cluster": cluster}],
        "contexts": [{"name": "default", "context": {"cluster": "default", "namespace": "default", "user": "default"}}],
        "current-context": "default",
        "users": [{"name": "default", "user": {"tokenFile": format!("{SECRETS}/token")}}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Patch, PatchType};
    use crate::manifest::{fixture, images};

    const HOSTS: KubeProxyValues = KubeProxyValues { can_set_conntrack: true };

    fn find<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
        objects.iter().find(|object| object["kind"] == kind).unwrap()
    }

    fn configuration(objects: &[Value]) -> Value {
        serde_yaml::from_str(find(objects, "ConfigMap")["data"]["config.conf"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn kube_proxy_s_configuration_is_kubeadm_s() {
        let objects = kube_proxy(&fixture::cluster(), HOSTS).unwrap();
        // What `kubeadm init` 1.37.2 uploads for the same cluster, without its zeros.
        assert_eq!(
            configuration(&objects),
            json!({
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "bindAddress": "0.0.0.0",
                "clientConnection": {"kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf"},
                "clusterCIDR": "10.244.0.0/16",
                "kind": "KubeProxyConfiguration",
                "mode": "iptables",
            })
        );
        let map = find(&objects, "ConfigMap");
        let kubeconfig: Value = serde_yaml::from_str(map["data"]["kubeconfig.conf"].as_str().unwrap()).unwrap();
        assert_eq!(kubeconfig["clusters"][0]["cluster"]["server"], "https://10.77.0.11:6443");
        let hash = map["metadata"]["annotations"]["kubeadm.kubernetes.io/component-config.hash"].as_str().unwrap();
        let data = |key: &str| map["data"][key].as_str().unwrap();
        assert_eq!(hash, component_hash(&[data("config.conf"), data("kubeconfig.conf")]));
        assert_eq!(images(&objects), ["registry.k8s.io/kube-proxy:v1.37.2".to_owned()].into());
    }

    #[test]
    fn in_containers_conntrack_is_left_alone_and_nothing_is_signed() {
        let objects = kube_proxy(&fixture::cluster(), KubeProxyValues { can_set_conntrack: false }).unwrap();
        assert_eq!(configuration(&objects)["conntrack"], json!({"maxPerCore": 0}));
        assert_eq!(find(&objects, "ConfigMap")["metadata"]["annotations"], Value::Null);
    }

    #[test]
    fn the_user_s_configuration_is_laid_over_and_never_signed() {
        let mut cluster = fixture::cluster();
        cluster.kube_proxy.config =
            [("mode".into(), json!("nftables")), ("clientConnection".into(), json!({"qps": 20}))].into();
        let objects = kube_proxy(&cluster, HOSTS).unwrap();
        let told = configuration(&objects);
        assert_eq!(told["mode"], "nftables");
        assert_eq!(told["clientConnection"], json!({"kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf", "qps": 20}));
        assert_eq!(find(&objects, "ConfigMap")["metadata"]["annotations"], Value::Null);
    }

    #[test]
    fn an_addon_that_is_off_has_no_objects() {
        let mut cluster = fixture::cluster();
        (cluster.kube_proxy.enabled, cluster.dns.enabled) = (false, false);
        assert_eq!(kube_proxy(&cluster, HOSTS).unwrap(), Vec::<Value>::new());
        assert_eq!(coredns(&cluster).unwrap(), Vec::<Value>::new());
    }

    #[test]
    fn patches_are_for_the_workloads() {
        let mut cluster = fixture::cluster();
        let patch =
            |target| Patch { target, kind: PatchType::Strategic, patch: json!({"metadata": {"labels": {"p": "1"}}}) };
        cluster.patches = vec![patch(PatchTarget::CoreDnsDeployment), patch(PatchTarget::KubeProxyDaemonSet)];
        for (objects, kind) in
            [(coredns(&cluster).unwrap(), "Deployment"), (kube_proxy(&cluster, HOSTS).unwrap(), "DaemonSet")]
        {
            for object in objects {
                assert_eq!(object["metadata"]["labels"]["p"] == "1", object["kind"] == kind, "{object}");
            }
        }
    }

    #[test]
    fn coredns_serves_the_cluster_s_domain_at_its_dns_address() {
        let mut cluster = fixture::cluster();
        cluster.network.dns_domain = "k8s.example.com".into();
        cluster.network.service_subnet = "172.20.0.0/16".parse().unwrap();
        let objects = coredns(&cluster).unwrap();
        assert_eq!(find(&objects, "Service")["spec"]["clusterIP"], "172.20.0.10");
        let corefile = find(&objects, "ConfigMap")["data"]["Corefile"].as_str().unwrap();
        assert!(corefile.contains("\n    kubernetes k8s.example.com in-addr.arpa ip6.arpa {\n"), "{corefile}");
        assert!(!corefile.contains("cluster.local"), "{corefile}");
        assert_eq!(images(&objects), ["registry.k8s.io/coredns/coredns:v1.14.6".to_owned()].into());
    }

    #[test]
    fn objects_are_as_kept() {
        let cluster = fixture::cluster();
        insta::assert_snapshot!("kube_proxy", fixture::yaml(&kube_proxy(&cluster, HOSTS).unwrap()));
        insta::assert_snapshot!("coredns", fixture::yaml(&coredns(&cluster).unwrap()));
    }
}
