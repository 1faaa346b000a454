use super::host_of;
use crate::facts::{Facts, Interface};
use crate::inventory::Role;
use crate::preflight::samples::{Sample, sample};

fn server(url: &'static str) -> impl Fn(&mut Facts) {
    move |facts| facts.node.server = Some(url.into())
}

fn one(sample: &Sample) -> String {
    let mut found = sample.found();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_control_plane_where_a_worker_should_be() {
    let sample = sample().on("n2", |facts| {
        facts.node.manifests = vec!["etcd.yaml".into()];
        facts.node.has_etcd_data = true;
        facts.node.ca = vec!["aa".into()];
    });
    assert_eq!(
        one(&sample),
        "n2 ExistingCluster error: the host runs a control plane (/etc/kubernetes/manifests/etcd.yaml and \
         /var/lib/etcd/member), but the inventory has it as a worker"
    );
}

#[test]
fn static_pods_of_a_persons_own_and_an_admins_copy_make_no_control_plane() {
    let sample = sample().converged().on("n2", |facts| {
        facts.node.manifests = vec!["haproxy.yaml".into()];
        facts.node.has_admin_conf = true;
    });
    assert_eq!(sample.found(), [""; 0]);
}

#[test]
fn servers_of_this_cluster_and_of_others() {
    for own in ["https://10.77.0.11:6443", "https://127.0.0.1:6443", "https://[::1]:7443", "https://localhost:6443"] {
        assert_eq!(sample().converged().on("n2", server(own)).found(), [""; 0], "{own}");
    }
    for ca in [vec![], vec!["bb".to_string()]] {
        let elsewhere = sample().converged().on("n2", server("https://10.0.0.1:6443"));
        let foreign = elsewhere.on("n2", |facts| facts.node.ca = ca);
        let text = "the host is a node of another cluster, whose API server is https://10.0.0.1:6443";
        assert_eq!(one(&foreign), format!("n2 ExistingCluster error: {text}"));
    }

    // The authority says whose it is, and a move was cut off.
    let named = || sample().converged().on("n2", server("https://k8s.example.com:443"));
    assert_eq!(named().wanting(|cluster| cluster.endpoint = Some("k8s.example.com:6443".into())).found(), [""; 0]);
    let text = "the node asks the API server at https://k8s.example.com:443, and the inventory has none there";
    assert_eq!(one(&named()), format!("n2 ClusterEndpoint error: {text}"));
}

#[test]
fn a_node_without_its_control_plane() {
    let sample = sample().converged().on("n1", |facts| {
        facts.node = Default::default();
        facts.listening.clear();
        facts.interfaces.truncate(2);
    });
    assert_eq!(
        sample.found(),
        ["n2", "n3"].map(|name| {
            format!("{name} ExistingCluster error: the host is a node of a cluster, but n1 has no control plane")
        })
    );
}

#[test]
fn certificate_authorities() {
    let with = |ca: &[&str]| {
        let ca: Vec<_> = ca.iter().map(|digest| digest.to_string()).collect();
        sample().converged().on("n2", |facts| facts.node.ca = ca)
    };
    // A bundle, as in the midst of a rotation.
    assert_eq!(with(&["bb", "aa"]).found(), [""; 0]);
    assert_eq!(with(&[]).found(), [""; 0]);
    assert!(
        one(&with(&["bb"]))
            .starts_with("n2 ExistingCluster error: the host trusts another certificate authority than n1's")
    );
}

#[test]
fn data_of_an_earlier_etcd() {
    let sample = sample().on("n1", |facts| facts.node.has_etcd_data = true);
    assert_eq!(one(&sample), "n1 ExistingCluster error: /var/lib/etcd holds an earlier cluster's data");
}

#[test]
fn a_network_that_was_left() {
    let sample = sample().on("n3", |facts| {
        let address = "10.244.2.1/24".parse().unwrap();
        facts.interfaces.push(Interface { name: "cni0".into(), addresses: vec![address], is_up: true });
    });
    assert_eq!(one(&sample), "n3 ExistingCluster warning: the host still has an earlier cluster's network: cni0");
}

#[test]
fn hosts_in_urls() {
    for (url, expected) in [
        ("https://10.0.0.1:6443", "10.0.0.1"),
        ("https://k8s.example.com", "k8s.example.com"),
        ("https://[fd00::1]:6443/x", "fd00::1"),
        ("", ""),
    ] {
        assert_eq!(host_of(url), expected);
    }
}

#[test]
fn hosts_of_etcd_s_are_no_nodes_and_nodes_are_none_of_them() {
    assert_eq!(sample().with_etcd_host().found(), [""; 0]);
    assert_eq!(sample().converged_with_etcd_host().found(), [""; 0]);
    let node = sample().with_etcd_host().converged().on("n1", |facts| {
        facts.node.has_etcd_data = false;
        facts.node.manifests.retain(|name| name != "etcd.yaml");
        facts.listening.retain(|listener| ![2379, 2380].contains(&listener.port));
    });
    assert_eq!(
        one(&node),
        "n3 ExistingCluster error: the host is a node of a cluster, but the inventory has it for etcd alone"
    );
    for (role, text) in [(Role::ControlPlane, "a control plane"), (Role::Worker, "a worker")] {
        let found = sample().on("n3", |facts| {
            facts.node.manifests = vec!["etcd.yaml".into()];
            facts.node.has_etcd_data = true;
        });
        let found = found.wanting(|cluster| cluster.hosts[2].roles = vec![role]);
        let expected =
            format!("n3 ExistingCluster error: the host runs etcd and is no node, but the inventory has it as {text}");
        assert_eq!(one(&found), expected);
    }
    let left = sample().with_etcd_host().on("n3", |facts| facts.node.has_etcd_data = true);
    assert_eq!(one(&left), "n3 ExistingCluster error: /var/lib/etcd holds an earlier cluster's data");
}
