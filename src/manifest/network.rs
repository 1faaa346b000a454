//! The pod networks: flannel and Weave Net, as their projects' own manifests have them.

use serde_json::{Value, json};

use super::template::{RenderError, Template};
use super::yaml::objects;
use crate::inventory::{Cluster, Cni};

/// Flannel's release, and the CNI plugin's that its manifest names.
const FLANNEL: &str = "ghcr.io/flannel-io/flannel:v0.28.10";
const FLANNEL_PLUGIN: &str = "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3";

/// Weave Net's last release by its makers.
const WEAVE: &str = "docker.io/weaveworks/weave-kube:2.8.1";
const WEAVE_NPC: &str = "docker.io/weaveworks/weave-npc:2.8.1";

/// The objects of the network that the inventory names; none for `cni: none`.
pub fn pod_network(cluster: &Cluster) -> Result<Vec<Value>, RenderError> {
    match cluster.network.cni {
        Cni::Flannel => flannel(cluster),
        Cni::Weave => weave(cluster),
        Cni::None => Ok(Vec::new()),
    }
}

/// Flannel with VXLAN. Each node's subnet comes from the controller manager.
pub fn flannel(cluster: &Cluster) -> Result<Vec<Value>, RenderError> {
    let (host, port) = cluster.node_endpoint();
    let values = json!({
        "cluster": cluster,
        "image": FLANNEL,
        "pluginImage": FLANNEL_PLUGIN,
        "endpointHost": host,
        "endpointPort": port,
    });
    objects(Template::Flannel, &values)
}

/// Weave Net, which hands out addresses of the whole pod subnet itself.
pub fn weave(cluster: &Cluster) -> Result<Vec<Value>, RenderError> {
    objects(Template::Weave, &json!({"cluster": cluster, "image": WEAVE, "npcImage": WEAVE_NPC}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{fixture, images};

    fn cluster() -> Cluster {
        let mut cluster = fixture::cluster();
        cluster.network.pod_subnet = "10.32.0.0/12".parse().unwrap();
        cluster
    }

    #[test]
    fn flannel_s_configuration_is_json_with_the_pod_subnet() {
        let objects = flannel(&cluster()).unwrap();
        assert_eq!(objects[0]["kind"], "Namespace", "what is in a namespace comes after it");
        assert_eq!(objects[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "privileged");
        let data = &objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap()["data"];
        let parsed = |key: &str| serde_json::from_str::<Value>(data[key].as_str().unwrap()).unwrap();
        assert_eq!(
            parsed("net-conf.json"),
            json!({"Network": "10.32.0.0/12", "EnableNFTables": false, "Backend": {"Type": "vxlan"}})
        );
        let plugins = parsed("cni-conf.json")["plugins"].clone();
        assert_eq!((&plugins[0]["type"], &plugins[1]["type"]), (&json!("flannel"), &json!("portmap")));
        assert_eq!(images(&objects), [FLANNEL.to_owned(), FLANNEL_PLUGIN.to_owned()].into());
    }

    #[test]
    fn weave_allocates_from_the_pod_subnet() {
        let objects = weave(&cluster()).unwrap();
        let containers = objects.last().unwrap().pointer("/spec/template/spec/containers").unwrap();
        assert_eq!(containers[0]["env"][0], json!({"name": "IPALLOC_RANGE", "value": "10.32.0.0/12"}));
        assert_eq!(images(&objects), [WEAVE.to_owned(), WEAVE_NPC.to_owned()].into());
        assert!(Template::Weave.source().starts_with("# Weave Net") && Template::Weave.source().contains("archived"));
    }

    #[test]
    fn the_inventory_chooses() {
        for (cni, count) in [(Cni::Flannel, 6), (Cni::Weave, 6), (Cni::None, 0)] {
            let mut cluster = cluster();
            cluster.network.cni = cni;
            assert_eq!(pod_network(&cluster).unwrap().len(), count, "{cni:?}");
        }
    }

    #[test]
    fn objects_are_as_kept() {
        insta::assert_snapshot!("flannel", fixture::yaml(&flannel(&cluster()).unwrap()));
        insta::assert_snapshot!("weave", fixture::yaml(&weave(&cluster()).unwrap()));
    }

    #[test]
    fn all_objects_say_what_they_are() {
        use crate::manifest::*;
        let cluster = cluster();
        let values = KubeletValues { cgroup_driver: CgroupDriver::Systemd, is_cgroup_v1: false, resolv_conf: None };
        let all = [
            kubeadm_config(&cluster),
            kubelet_config_map(&cluster, &values),
            bootstrap_rbac(),
            cluster_info("kind: Config\n"),
            kube_proxy(&cluster, KubeProxyValues { can_set_conntrack: true }),
            coredns(&cluster),
            flannel(&cluster),
            weave(&cluster),
        ]
        .map(Result::unwrap)
        .concat();
        // Namespaced kinds without a namespace would land in `default`.
        let cluster_wide = ["Namespace", "ClusterRole", "ClusterRoleBinding"];
        let mut seen = std::collections::BTreeSet::new();
        for object in &all {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
            assert!(!version.is_empty() && !kind.is_empty() && !name.is_empty(), "{object}");
            let namespace = text("/metadata/namespace");
            assert_eq!(namespace.is_empty(), cluster_wide.contains(&kind), "{kind} {name}");
            assert!(seen.insert((kind, namespace, name)), "{kind} {name} twice");
        }
    }
}
