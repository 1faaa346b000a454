//! KubeletConfiguration and KubeProxyConfiguration: laid over kboot's own, as `kubelet.config` and `kubeProxy.config` of the inventory.
//!
//! Fields that are kboot's to set are taken where they say what kboot does anyway: most files of kubeadm's have some.

use serde_json::{Value, json};

use super::draft::Draft;
use super::types::{ClusterConfiguration, Kind};
use crate::inventory::Path;
use crate::inventory::reading::quote;

/// Fields of KubeletConfiguration that are kboot's, with all values that say no more than what it does.
fn given(config: &ClusterConfiguration) -> Vec<(&'static str, Vec<Value>)> {
    let domain = config.networking.dns_domain.clone().unwrap_or_else(|| "cluster.local".into());
    let mut all = vec![
        ("staticPodPath", vec![json!("/etc/kubernetes/manifests")]),
        ("clusterDomain", vec![json!(domain)]),
        ("healthzBindAddress", vec![json!("127.0.0.1")]),
        ("healthzPort", vec![json!(10248)]),
        ("port", vec![json!(10250)]),
        ("rotateCertificates", vec![json!(true)]),
        ("failCgroupV1", vec![json!(false)]),
        ("authorization", vec![json!({"mode": "Webhook"})]),
        (
            "containerRuntimeEndpoint",
            vec![json!("unix:///run/containerd/containerd.sock"), json!("unix:///var/run/containerd/containerd.sock")],
        ),
    ];
    if let Some(address) = dns_address(config) {
        all.push(("clusterDNS", vec![json!([address])]));
    }
    all
}

/// The tenth address of the service subnet.
fn dns_address(config: &ClusterConfiguration) -> Option<String> {
    let subnet = config.networking.service_subnet.as_deref().unwrap_or("10.96.0.0/12");
    match subnet.parse().ok()? {
        ipnet::IpNet::V4(subnet) => {
            Some(std::net::Ipv4Addr::from(u32::from(subnet.network()).checked_add(10)?).to_string())
        }
        ipnet::IpNet::V6(_) => None,
    }
}

/// Whether `value` has no field that `most` has not, or has otherwise. Fields that kubeadm writes as nothing count as absent.
fn is_within(value: &Value, most: &Value) -> bool {
    match (value, most) {
        (Value::Object(fields), Value::Object(most)) => fields.iter().all(|(name, value)| match most.get(name) {
            Some(most) => is_within(value, most),
            None => is_nothing(value),
        }),
        (value, most) => value == most,
    }
}

/// What Go's encoder writes of a field that nobody set.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().all(is_nothing),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty() || text == "0s",
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Null => true,
        Value::Bool(_) => false,
    }
}

/// Gives back the cgroup driver that the file names.
pub fn kubelet(draft: &mut Draft<'_>, config: &ClusterConfiguration) -> Option<String> {
    const AUTHENTICATION: &str = "authentication";
    let document = draft.documents.get(Kind::Kubelet)?.value.clone();
    let given = given(config);
    let authentication = json!({
        "anonymous": {"enabled": false},
        "webhook": {"enabled": true, "cacheTTL": "0s"},
        "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"},
    });
    let mut driver = None;
    for (name, value) in document.as_object().into_iter().flatten() {
        match name.as_str() {
            "apiVersion" | "kind" => continue,
            "cgroupDriver" => match value.as_str() {
                Some(word @ ("systemd" | "cgroupfs")) => {
                    driver = Some(word.to_owned());
                    continue;
                }
                _ => {
                    let told = value.as_str().map_or_else(|| value.to_string(), String::from);
                    let message = format!("{} is neither `systemd` nor `cgroupfs`", quote(&told));
                    let hint = "leave it out: kboot takes it from the host";
                    draft.refuse(Kind::Kubelet, &Path::of(name), &message, hint);
                    continue;
                }
            },
            // What Go writes of a field that nobody set. A port of 0 is one that somebody did.
            _ if is_nothing(value) && !value.is_number() && given.iter().any(|(known, _)| known == name) => continue,
            AUTHENTICATION if is_within(value, &authentication) => continue,
            _ if given
                .iter()
                .any(|(known, values)| known == name && values.iter().any(|most| is_within(value, most))) =>
            {
                continue;
            }
            _ => {}
        }
        let path = Path::of("kubelet.config").key(name);
        draft.put(path, value.clone(), Kind::Kubelet, Path::root().key(name), None);
    }
    driver
}

pub fn kube_proxy(draft: &mut Draft<'_>, config: &ClusterConfiguration) {
    let Some(document) = draft.documents.get(Kind::KubeProxy) else { return };
    let document = document.value.clone();
    for (name, value) in document.as_object().into_iter().flatten() {
        let subnet = config.networking.pod_subnet.as_deref().unwrap_or("10.244.0.0/16");
        match name.as_str() {
            "apiVersion" | "kind" => continue,
            "clusterCIDR" if value == subnet || is_nothing(value) => continue,
            "hostnameOverride" if is_nothing(value) => continue,
            _ => {}
        }
        let mut value = value.clone();
        if name == "clientConnection"
            && let Some(fields) = value.as_object_mut()
            && fields
                .get("kubeconfig")
                .is_some_and(|path| path == "/var/lib/kube-proxy/kubeconfig.conf" || is_nothing(path))
        {
            fields.remove("kubeconfig");
        }
        let path = Path::of("kubeProxy.config").key(name);
        draft.put(path, value, Kind::KubeProxy, Path::root().key(name), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_no_more_than_kboot_does() {
        let most = json!({"a": {"b": true}, "c": "x"});
        for (value, expected) in [
            (json!({}), true),
            (json!({"a": {"b": true}}), true),
            (json!({"a": {"b": true, "z": "0s"}, "q": {"r": []}}), true),
            (json!({"a": {"b": false}}), false),
            (json!({"d": 1}), false),
            (json!({"c": "y"}), false),
            (json!(1), false),
        ] {
            assert_eq!(is_within(&value, &most), expected, "{value}");
        }
    }
}
