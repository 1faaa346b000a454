//! kube-proxy's settings and CoreDNS' image.

use super::Findings;
use crate::inventory::advice::{Advice, Field};
use crate::inventory::format::Flaw;
use crate::inventory::mistake::{Mistake, quote};
use crate::inventory::path::Path;
use crate::inventory::types::Cluster;
use crate::inventory::words;

/// Fields of KubeProxyConfiguration that kboot sets, and what to set instead.
fn owned(field: &str) -> Option<Advice> {
    Some(match field {
        "apiVersion" => "it is always `kubeproxy.config.k8s.io/v1alpha1`".into(),
        "kind" => "it is always `KubeProxyConfiguration`".into(),
        "clusterCIDR" => Advice::from("set ").field(Field::PodSubnet),
        "hostnameOverride" => "each kube-proxy gets the name of its own node".into(),
        _ => return None,
    })
}

/// The fields of kubeproxy.config.k8s.io/v1alpha1 in Kubernetes 1.37.
pub const FIELDS: [&str; 24] = [
    "bindAddress",
    "bindAddressHardFail",
    "clientConnection",
    "clusterCIDR",
    "configSyncPeriod",
    "conntrack",
    "detectLocal",
    "detectLocalMode",
    "enableProfiling",
    "featureGates",
    "healthzBindAddress",
    "hostnameOverride",
    "iptables",
    "ipvs",
    "logging",
    "metricsBindAddress",
    "mode",
    "nftables",
    "nodePortAddresses",
    "oomScoreAdj",
    "portRange",
    "showHiddenMetricsForVersion",
    "windowsRunAsService",
    "winkernel",
];

pub fn check(cluster: &Cluster, findings: &mut Findings) {
    let config = Path::of("kubeProxy.config");
    for (key, value) in &cluster.kube_proxy.config {
        let path = config.key(key);
        if let Some(why) = owned(key) {
            findings.add(Mistake::new(path, "is kboot's to set").hint(why).about_key());
        } else if !FIELDS.contains(&key.as_str())
            && let Some(field) = words::nearest(key, &FIELDS)
        {
            let message = "is no field of KubeProxyConfiguration";
            findings.add(Mistake::new(path, message).hint(format!("did you mean {}?", quote(field))).about_key());
        } else if key == "clientConnection" && value.get("kubeconfig").is_some() {
            let hint = "it is a file of the pod's own";
            findings.add(Mistake::new(path.key("kubeconfig"), "is kboot's to set").hint(hint).about_key());
        }
    }
    if let Some(repository) = &cluster.dns.image_repository {
        findings.take(&Path::of("dns.imageRepository"), super::settings::repository(repository));
    }
    if let Some(tag) = &cluster.dns.image_tag {
        findings.take(&Path::of("dns.imageTag"), image_tag(tag));
    }
}

fn image_tag(tag: &str) -> Result<(), Flaw> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_tag =
        tag.starts_with(is_word) && tag.len() <= 128 && tag.chars().all(|c| is_word(c) || c == '.' || c == '-');
    if is_tag {
        Ok(())
    } else {
        Err(Flaw::new(format!("{} is not an image's tag", quote(tag))).hint("for example `v1.14.6`"))
    }
}
