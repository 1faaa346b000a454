//! The settings that were fixed when the cluster was created, read from the files that its components start with. Parsers are pure.

use camino::Utf8Path;
use serde_yaml::Value;

use super::{ImmutableSettings, host};
use crate::engine::{Probe, Result};

const API_SERVER: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const CONTROLLER_MANAGER: &str = "/etc/kubernetes/manifests/kube-controller-manager.yaml";
const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";
const KUBELET_CONFIG: &str = "/var/lib/kubelet/config.yaml";
const KUBELET_FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
const KUBELET_CERTIFICATE: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
const NETWORKS: &str = "/etc/cni/net.d";

/// Reads them all as root; who is not root sees none of them.
pub async fn read(probe: &dyn Probe) -> ImmutableSettings {
    let api_server = container(&text(probe, API_SERVER).await);
    let controller_manager = container(&text(probe, CONTROLLER_MANAGER).await);
    let flags = text(probe, KUBELET_FLAGS).await;
    let names = probe.list(Utf8Path::new(NETWORKS)).await.ok().flatten().unwrap_or_default();
    ImmutableSettings {
        node_name: node_name(&text(probe, KUBELET_CERTIFICATE).await),
        address: word_after(&flags, "--node-ip=").or_else(|| flag(&api_server, "advertise-address")),
        pod_subnet: flag(&controller_manager, "cluster-cidr"),
        service_subnet: flag(&api_server, "service-cluster-ip-range"),
        dns_domain: field(&text(probe, KUBELET_CONFIG).await, "clusterDomain"),
        version: tag(&api_server),
        endpoint: host::kubeconfig_server(&text(probe, ADMIN_CONF).await).map(|url| authority(&url).to_string()),
        etcd_servers: flag(&api_server, "etcd-servers"),
        networks: names.into_iter().filter(|name| name.ends_with(".conf") || name.ends_with(".conflist")).collect(),
    }
}

/// Empty where there is no such file.
async fn text(probe: &dyn Probe, path: &str) -> String {
    let bytes: Result<_> = probe.read(Utf8Path::new(path)).await;
    String::from_utf8_lossy(&bytes.ok().flatten().unwrap_or_default()).into_owned()
}

/// The container of a static pod; null where there is none.
fn container(manifest: &str) -> Value {
    let pod: Value = serde_yaml::from_str(manifest).unwrap_or_default();
    pod.get("spec").and_then(|spec| spec.get("containers")?.get(0)).cloned().unwrap_or_default()
}

/// The value of a flag of a container; the last one counts, as for the program itself.
fn flag(container: &Value, name: &str) -> Option<String> {
    let start = format!("--{name}=");
    container
        .get("command")?
        .as_sequence()?
        .iter()
        .rev()
        .find_map(|word| word.as_str()?.strip_prefix(&start).map(String::from))
}

fn tag(container: &Value) -> Option<String> {
    let image = container.get("image")?.as_str()?.split('@').next()?;
    image.rsplit_once(':').map(|(_, tag)| tag.to_string()).filter(|tag| tag.starts_with('v'))
}

fn field(yaml: &str, name: &str) -> Option<String> {
    serde_yaml::from_str::<Value>(yaml).ok()?.get(name)?.as_str().map(String::from)
}

fn word_after(text: &str, start: &str) -> Option<String> {
    let rest = text.split_once(start)?.1;
    let word = rest.split(|c: char| c.is_whitespace() || c == '"').next()?;
    Some(word.to_string()).filter(|word| !word.is_empty())
}

/// `10.0.0.1:6443` of `https://10.0.0.1:6443/x`
fn authority(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default()
}

/// `n1` of the subject `O=system:nodes, CN=system:node:n1`
fn node_name(pem: &str) -> Option<String> {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    let der = CertificateDer::pem_slice_iter(pem.as_bytes()).find_map(std::result::Result::ok)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_string();
    name.strip_prefix("system:node:").map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    const API: &str = "
spec:
  containers:
  - image: registry.example.com:5000/k8s/kube-apiserver:v1.37.2
    command: [kube-apiserver, --advertise-address=10.0.0.1, --service-cluster-ip-range=10.96.0.0/12, \
      --service-cluster-ip-range=10.97.0.0/16, --etcd-servers=https://127.0.0.1:2379]
";

    #[tokio::test]
    async fn a_control_plane_tells_all_of_it() {
        let host = FakeHost::default()
            .file(API_SERVER, API)
            .file(CONTROLLER_MANAGER, "spec: {containers: [{command: [x, --cluster-cidr=10.244.0.0/16]}]}")
            .file(ADMIN_CONF, "clusters: [{cluster: {server: 'https://api.example.com:443'}}]")
            .file(KUBELET_CONFIG, "clusterDomain: cluster.local\n")
            .file("/etc/cni/net.d/10-flannel.conflist", "{}")
            .file("/etc/cni/net.d/README", "");
        let immutable = read(&host).await;
        let expected = ImmutableSettings {
            node_name: None,
            address: Some("10.0.0.1".into()),
            pod_subnet: Some("10.244.0.0/16".into()),
            service_subnet: Some("10.97.0.0/16".into()),
            dns_domain: Some("cluster.local".into()),
            version: Some("v1.37.2".into()),
            endpoint: Some("api.example.com:443".into()),
            etcd_servers: Some("https://127.0.0.1:2379".into()),
            networks: vec!["10-flannel.conflist".into()],
        };
        assert_eq!(immutable, expected);
    }

    #[tokio::test]
    async fn a_worker_tells_its_address_and_a_bare_host_nothing() {
        let flags = "KUBELET_KUBEADM_ARGS=\"--node-ip=10.0.0.2 --register-with-taints=a:NoSchedule\"\n";
        let immutable = read(&FakeHost::default().file(KUBELET_FLAGS, flags)).await;
        assert_eq!(immutable, ImmutableSettings { address: Some("10.0.0.2".into()), ..ImmutableSettings::default() });
        assert_eq!(read(&FakeHost::default().file(API_SERVER, "{")).await, ImmutableSettings::default());
    }

    #[test]
    fn what_is_no_certificate_has_no_name() {
        assert_eq!(node_name(""), None);
        assert_eq!(node_name("-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n"), None);
        assert_eq!(tag(&container("spec: {containers: [{image: 'localhost:5000/x'}]}")), None);
    }
}
