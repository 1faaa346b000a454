use crate::facts::Interface;
use crate::preflight::samples::{Sample, listener, route, sample};

fn one(sample: &Sample) -> String {
    let mut found = sample.found();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn ports_that_are_taken() {
    let taken = |host: &str, port, process| sample().on(host, |facts| facts.listening = vec![listener(port, process)]);
    for port in [6443, 10250, 10257, 10259, 2379, 2380] {
        let found = one(&taken("n1", port, Some("nginx")));
        assert_eq!(found, format!("n1 Port-{port} error: port {port} is taken by nginx"));
    }
    assert_eq!(one(&taken("n2", 10250, None)), "n2 Port-10250 error: port 10250 is taken by an unknown process");
    assert_eq!(taken("n2", 6443, Some("nginx")).found(), [""; 0]);
    // An etcd that is not the control plane's, and a kubelet that no package brought.
    assert_eq!(one(&taken("n1", 2379, Some("etcd"))), "n1 Port-2379 error: port 2379 is taken by etcd");
    assert_eq!(one(&taken("n2", 10250, Some("kubelet"))), "n2 Port-10250 error: port 10250 is taken by kubelet");
    assert!(taken("n1", 6443, Some("k3s-server")).findings()[0].hint.starts_with("another Kubernetes distribution"));
}

#[test]
fn ports_that_are_held_by_what_they_are_for() {
    let kubelet = sample().package("n2", "kubelet", "1.37.2-1.1");
    assert_eq!(kubelet.on("n2", |facts| facts.listening = vec![listener(10250, Some("kubelet"))]).found(), [""; 0]);
    // Names can't be told everywhere.
    let nameless = sample().converged().everywhere(|facts| {
        facts.listening.iter_mut().for_each(|listener| listener.process = None);
    });
    assert_eq!(nameless.found(), [""; 0]);
    let foreign = sample().converged().on("n1", |facts| facts.listening = vec![listener(6443, Some("haproxy"))]);
    assert_eq!(one(&foreign), "n1 Port-6443 error: port 6443 is taken by haproxy");
}

#[test]
fn an_address_of_another_host() {
    let moved = |address: &str| {
        let address = address.parse().unwrap();
        sample().on("n2", |facts| facts.interfaces[1].addresses = vec![address])
    };
    assert_eq!(
        one(&moved("10.0.2.15/24")),
        "n2 HostAddress error: 10.77.0.12 is not an address of this host, which has 10.0.2.15"
    );
    assert_eq!(
        one(&moved("fe80::1/64")),
        "n2 HostAddress error: 10.77.0.12 is not an address of this host, which has none"
    );
    let unplaced = moved("fe80::1/64").on("n2", |facts| facts.unplaced_addresses = vec!["10.77.0.12".parse().unwrap()]);
    assert_eq!(unplaced.found(), [""; 0]);
}

#[test]
fn subnets_of_the_inventory() {
    let sample = sample().wanting(|cluster| cluster.network.pod_subnet = "10.96.0.0/16".parse().unwrap());
    assert_eq!(
        one(&sample),
        "* SubnetOverlap error: the pod subnet 10.96.0.0/16 and the service subnet 10.96.0.0/12 overlap"
    );
}

fn interface(name: &str, address: &str) -> Interface {
    Interface { name: name.into(), addresses: vec![address.parse().unwrap()], is_up: true }
}

#[test]
fn networks_of_hosts() {
    let with = |name: &str, address: &str| sample().on("n2", |facts| facts.interfaces.push(interface(name, address)));
    assert_eq!(
        one(&with("eth1", "10.244.3.4/24")),
        "n2 SubnetOverlap error: podSubnet 10.244.0.0/16 overlaps with eth1's network 10.244.3.0/24"
    );
    assert_eq!(
        one(&with("docker0", "10.100.0.1/16")),
        "n2 SubnetOverlap error: serviceSubnet 10.96.0.0/12 overlaps with docker0's network 10.100.0.0/16"
    );
    let both = with("eth1", "10.1.2.3/8").found();
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(with("docker0", "172.17.0.1/16").found(), [""; 0]);
    assert_eq!(with("eth1", "fd00::1/64").found(), [""; 0]);

    let unplaced = sample().on("n2", |facts| facts.unplaced_addresses = vec!["10.96.0.9".parse().unwrap()]);
    assert_eq!(
        one(&unplaced),
        "n2 SubnetOverlap error: serviceSubnet 10.96.0.0/12 overlaps with the address 10.96.0.9"
    );
}

#[test]
fn routes_of_hosts() {
    let with = |destination: &str| sample().on("n2", |facts| facts.routes.push(route(destination, "wg0")));
    assert_eq!(
        one(&with("10.244.8.0/24")),
        "n2 SubnetOverlap error: podSubnet 10.244.0.0/16 overlaps with the route to 10.244.8.0/24 by wg0"
    );
    assert_eq!(
        one(&with("10.244.0.0/16")),
        "n2 SubnetOverlap error: podSubnet 10.244.0.0/16 overlaps with the route to 10.244.0.0/16 by wg0"
    );
    assert_eq!(
        one(&with("10.240.0.0/12")),
        "n2 SubnetOverlap warning: podSubnet 10.244.0.0/16 is part of the route to 10.240.0.0/12 by wg0"
    );
    assert_eq!(with("192.168.0.0/16").found(), [""; 0]);
}

#[test]
fn on_a_node_what_lies_within_is_the_clusters_own() {
    let node = || sample().converged();
    // As host-gw and BGP route to other nodes' pods.
    assert_eq!(node().on("n2", |facts| facts.routes.push(route("10.244.2.0/24", "eth0"))).found(), [""; 0]);
    assert_eq!(node().on("n2", |facts| facts.interfaces.push(interface("lxc1", "10.244.1.7/32"))).found(), [""; 0]);
    assert_eq!(node().on("n2", |facts| facts.interfaces.push(interface("eth1", "10.1.2.3/8"))).found().len(), 2);
}

#[test]
fn an_etcd_elsewhere_needs_no_ports_here() {
    let beside = sample().on("n1", |facts| facts.listening = vec![listener(2379, Some("etcd"))]);
    assert_eq!(beside.with_etcd_at("https://10.77.0.11:2379").found(), [""; 0]);
}

#[test]
fn a_host_of_etcd_s_needs_etcd_s_ports_alone_and_a_control_plane_then_none_of_them() {
    let with = |host: &str, port| {
        sample().with_etcd_host().on(host, |facts| facts.listening = vec![listener(port, Some("nginx"))])
    };
    for port in [2379, 2380] {
        assert_eq!(one(&with("n3", port)), format!("n3 Port-{port} error: port {port} is taken by nginx"));
        assert_eq!(with("n1", port).found(), [""; 0]);
    }
    assert_eq!(with("n3", 6443).found(), [""; 0]);
    assert_eq!(with("n3", 10250).found(), [""; 0]);
}
