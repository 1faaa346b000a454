//! Clusters as kubeadm and kboot leave them, and the inventories that come of it.

use serde_json::{Value, json};
use time::macros::datetime;

use super::*;
use crate::inventory::{Cni, ExtraVolume, Host, Role};
use crate::manifest::{self, CgroupDriver, KubeProxyValues, KubeletValues, NodeValues, StaticPod, paths};
use crate::preflight::samples::sample;

const V2: KubeletValues =
    KubeletValues { cgroup_driver: CgroupDriver::Systemd, is_cgroup_v1: false, resolv_conf: None };

/// One control plane and a worker, with settings of every kind, without what kboot adds.
fn cluster() -> Cluster {
    let host = |name: &str, address: &str, role| Host::new(name, address.parse().unwrap(), vec![role]);
    let mut cluster = Cluster::single(host("n1", "10.77.0.11", Role::ControlPlane));
    let mut worker = host("n2", "10.77.0.12", Role::Worker);
    worker.labels.insert("disk".into(), "ssd".into());
    worker.taints = Some(vec!["dedicated=db:NoSchedule".into()]);
    cluster.hosts.push(worker);
    cluster.name = "old".into();
    cluster.endpoint = Some("10.77.0.11:6443".into());
    cluster.control_plane.own_flags = false;
    let api_server = &mut cluster.control_plane.api_server;
    api_server.extra_args.insert("v".into(), "4".into());
    api_server.extra_volumes.push(ExtraVolume {
        name: "audit".into(),
        host_path: "/var/log/audit".into(),
        mount_path: "/audit".into(),
        read_only: true,
        path_type: Some("DirectoryOrCreate".into()),
    });
    cluster.kubelet.config.insert("maxPods".into(), json!(200));
    cluster.kube_proxy.config.insert("metricsBindAddress".into(), json!("0.0.0.0:10249"));
    cluster
}

/// The hosts of a cluster, as they are named and found.
fn found(cluster: &Cluster) -> Vec<Named> {
    let one = |host: &Host| {
        let mut facts = sample().facts["n1"].clone();
        facts.hostname.clone_from(&host.name);
        facts.node.has_kubelet_conf = true;
        facts.node.ca = vec!["the cluster's".into()];
        facts.packages = [("kubelet", "1.37.2-1.1"), ("containerd.io", "2.1.0-1")]
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .into();
        let address = host.address.to_string();
        Named {
            target: format!("root@{address}"),
            address,
            user: "root".into(),
            port: 22,
            facts,
            survey: survey(cluster, host),
        }
    };
    cluster.hosts.iter().map(one).collect()
}

fn survey(cluster: &Cluster, host: &Host) -> Survey {
    const KEY: &str = "/etc/apt/keyrings/k.gpg";
    let mut survey = Survey { has_ca_key: host.is_control_plane(), ..Survey::default() };
    let mut put = |path: &str, text: String| drop(survey.files.insert(path.into(), text));
    put(paths::KUBELET_CONFIG, format!("{}syncFrequency: 0s\n", manifest::kubelet_config(cluster, &V2).unwrap()));
    put(paths::KUBELET_FLAGS, "KUBELET_KUBEADM_ARGS=\"--node-ip=10.0.0.1\"\n".into());
    put(paths::CONTAINERD_CONFIG, "version = 3\n".into());
    put(&paths::mirror_hosts("ghcr.io"), manifest::mirror_hosts("ghcr.io", "http://10.0.0.1:5000").unwrap());
    put("/etc/apt/sources.list.d/k.list", format!("deb [signed-by={KEY}] http://10.0.0.1/k/v1.37/deb /\n"));
    if host.is_control_plane() {
        let values = NodeValues {
            name: host.name.clone(),
            address: host.address,
            ca_folders: Vec::new(),
            has_ca_key: true,
            etcd_members: Vec::new(),
        };
        for pod in StaticPod::ALL {
            put(&paths::static_pod(pod), manifest::static_pod(pod, cluster, &values).unwrap());
        }
        survey.objects = Some(objects(cluster));
    }
    survey.keys.insert(KEY.into(), b"a key".to_vec());
    survey.policy = "kubelet:\n *** 1.37.2-1.1 500\n        500 http://10.0.0.1/k/v1.37/deb  Packages\ncontainerd.io:\n *** 2.1.0-1 500\n        \
                     500 https://download.docker.com/linux/debian bookworm/stable amd64 Packages\n"
        .into();
    survey
}

fn objects(cluster: &Cluster) -> Vec<Value> {
    let values = KubeProxyValues { can_set_conntrack: true };
    let lists = [
        manifest::kubeadm_config(cluster),
        manifest::kubelet_config_map(cluster, &V2),
        manifest::kube_proxy(cluster, values),
        manifest::coredns(cluster),
        manifest::pod_network(cluster),
    ];
    let mut objects: Vec<Value> = lists.map(Result::unwrap).concat();
    for host in &cluster.hosts {
        let labels: Vec<(String, String)> = manifest::node_labels(host).into_iter().collect();
        let mut node = json!({
            "kind": "Node",
            "metadata": {"name": host.name, "labels": {"kubernetes.io/os": "linux"}},
            "spec": {"taints": cluster.node_taints(host)},
            "status": {"addresses": [{"type": "Hostname", "address": host.name}, {"type": "InternalIP", "address": host.address}]},
        });
        labels.iter().for_each(|(key, value)| node["metadata"]["labels"][key] = json!(value));
        objects.push(node);
    }
    objects
}

fn adopted(named: &[Named]) -> Adopted {
    adopt(named, &Reached::default(), datetime!(2026-11-23 12:00 UTC)).unwrap_or_else(|failure| panic!("{failure:?}"))
}

fn read(adopted: &Adopted) -> Cluster {
    inventory::parse(&adopted.inventory, "x".into()).unwrap()
}

/// An object of the cluster, to be spoilt.
fn object<'a>(named: &'a mut [Named], kind: &str, name: &str) -> &'a mut Value {
    let objects = named[0].survey.objects.as_mut().unwrap();
    objects.iter_mut().find(|object| object["kind"] == kind && object["metadata"]["name"] == name).unwrap()
}

#[test]
fn a_cluster_comes_back_as_it_was() {
    let mut expected = cluster();
    let told = adopted(&found(&expected));
    expected.containerd.keep_config = true;
    expected.images.mirrors.insert("ghcr.io".into(), "http://10.0.0.1:5000".into());
    expected.packages.kubernetes = crate::inventory::Repository {
        url: "http://10.0.0.1/k/{minor}/deb/".into(),
        suite: "/".into(),
        key_file: Some("kubernetes.gpg".into()),
        ..Default::default()
    };
    assert_eq!(read(&told), expected, "{}", told.inventory);
    assert_eq!(told.keys, [("kubernetes.gpg".to_owned(), b"a key".to_vec())].into());
    insta::assert_snapshot!(told.inventory);
}

#[test]
fn a_cluster_with_kboot_s_own_flags_needs_none_of_them_named() {
    let mut cluster = cluster();
    cluster.control_plane.own_flags = true;
    let read = read(&adopted(&found(&cluster)));
    assert_eq!(read.control_plane, cluster.control_plane);
}

#[test]
fn what_pods_have_beyond_settings_becomes_a_patch() {
    let mut named = found(&cluster());
    let file = named[0].survey.files.get_mut(&paths::static_pod(StaticPod::Scheduler)).unwrap();
    *file = file
        .replace("cpu: 100m", "cpu: 222m")
        .replace("- kube-scheduler\n", "- kube-scheduler\n    - --profiling=false\n");
    let told = adopted(&named);
    let read = read(&told);
    assert_eq!(read.control_plane.scheduler.extra_args["profiling"], "false");
    let [patch] = &read.patches[..] else { panic!("{}", told.inventory) };
    assert_eq!(patch.patch[0]["path"], "/spec/containers/0/resources/requests/cpu");
    assert!(!told.notes.iter().any(|note| note.contains("starts again")), "{:?}", told.notes);
}

#[test]
fn what_only_one_host_has_is_told() {
    let mut named = found(&cluster());
    let file = named[1].survey.files.get_mut(paths::KUBELET_CONFIG).unwrap();
    *file = file.replace("maxPods: 200", "maxPods: 50");
    named[1].survey.files.insert(paths::KUBELET_FLAGS.into(), "KUBELET_KUBEADM_ARGS=\"--v=5\"".into());
    let told = adopted(&named);
    let notes = told.notes.join("\n");
    assert!(notes.contains("the kubelet of n2 alone has `maxPods` 50"), "{notes}");
    assert!(notes.contains("the kubelet of n2 alone has --v=5"), "{notes}");
    assert!(read(&told).patches.is_empty() && read(&told).kubelet.extra_args.is_empty());
    // The comments say it, too.
    assert!(told.inventory.contains("#   - the kubelet of n2 alone has --v=5"), "{}", told.inventory);
    // What both have is the cluster's.
    let file = named[0].survey.files.get_mut(paths::KUBELET_CONFIG).unwrap();
    *file = file.replace("maxPods: 200", "maxPods: 50");
    assert_eq!(read(&adopted(&named)).patches[0].patch, json!([{"op": "add", "path": "/maxPods", "value": 50}]));
}

#[test]
fn what_kboot_has_not_is_left_alone_and_told() {
    let mut named = found(&cluster());
    object(&mut named, "DaemonSet", "kube-flannel-ds")["spec"]["template"]["spec"]["containers"][0]["image"] =
        json!("flannel:v0.1");
    object(&mut named, "ConfigMap", "coredns")["data"]["Corefile"] = json!(".:53 { whoami }\n");
    let told = adopted(&named);
    let read = read(&told);
    assert!(read.network.cni == Cni::None && !read.dns.enabled);
    let notes = told.notes.join("\n");
    assert!(notes.contains("flannel:v0.1") && notes.contains("Corefile of its own"), "{notes}");

    let mut named = found(&cluster());
    object(&mut named, "Deployment", "coredns")["spec"]["replicas"] = json!(5);
    named[0].survey.objects.as_mut().unwrap().retain(|object| object["kind"] != "DaemonSet");
    let told = adopted(&named);
    let read = self::read(&told);
    assert_eq!(read.patches[0].patch, json!({"spec": {"replicas": 5}}));
    assert!(!read.kube_proxy.enabled && read.network.cni == Cni::None);
}

/// The cluster's configuration with something more in it.
fn configured(more: &str) -> Vec<Named> {
    let mut named = found(&cluster());
    let text = &mut object(&mut named, "ConfigMap", "kubeadm-config")["data"]["ClusterConfiguration"];
    *text = json!(format!("{}{more}", text.as_str().unwrap()));
    named
}

#[test]
fn a_field_that_an_inventory_lacks_is_told_and_a_grave_one_refused() {
    let told = adopted(&configured("featureGates: {WaitForAllControlPlaneComponents: true}\n"));
    assert!(told.notes.iter().any(|note| note.contains("WaitForAllControlPlaneComponents")), "{:?}", told.notes);

    let named = configured("");
    for (of, by, expected) in [
        ("/var/lib/etcd", "/data/etcd", "etcd.local.dataDir"),
        ("/etc/kubernetes/pki", "/etc/pki", "certificatesDir"),
        ("v1.37.2", "v1.30.1", "kubernetesVersion"),
        ("10.244.0.0/16", "10.244.0.0/16,fd00::/56", "networking.podSubnet"),
    ] {
        let mut named = named.clone();
        let text = &mut object(&mut named, "ConfigMap", "kubeadm-config")["data"]["ClusterConfiguration"];
        *text = json!(text.as_str().unwrap().replace(of, by));
        let failure = adopt(&named, &Reached::default(), datetime!(2026-11-23 12:00 UTC)).unwrap_err();
        assert!(failure.evidence.join("\n").contains(expected), "{failure:?}");
    }
}

#[test]
fn hosts_that_are_not_of_one_cluster_are_refused() {
    let refused = |named: &[Named]| adopt(named, &Reached::default(), datetime!(2026-11-23 12:00 UTC)).unwrap_err();
    let named = found(&cluster());
    assert!(refused(&named[1..]).cause.contains("none of the hosts is a control plane"));
    for (spoil, expected) in [
        ((|named| named.facts.node.ca = vec!["another".into()]) as fn(&mut Named), "of another cluster"),
        (|named| named.facts.hostname = "n9".into(), "the cluster has no node n9"),
        (|named| named.facts.hostname = "n1".into(), "node n1, which root@10.77.0.11 is, too"),
        (|named| named.facts.node.has_kubelet_conf = false, "no node of a cluster"),
    ] {
        let mut named = named.clone();
        spoil(&mut named[1]);
        let failure = refused(&named);
        assert!(
            failure.evidence[0].starts_with("root@10.77.0.12: ") && failure.evidence[0].contains(expected),
            "{failure:?}"
        );
    }
    // Of another driver than containerd's.
    let mut named = named.clone();
    let file = named[1].survey.files.get_mut(paths::KUBELET_CONFIG).unwrap();
    *file = file.replace("cgroupDriver: systemd", "cgroupDriver: cgroupfs");
    assert!(refused(&named).cause.contains("cgroupDriver"));
}

#[test]
fn a_worker_s_repositories_and_mirrors_are_nobody_else_s() {
    let mut named = found(&cluster());
    named.reverse();
    let expected = read(&adopted(&named));
    let survey = &mut named[0].survey;
    assert!(survey.objects.is_none(), "the worker stands first");
    survey.policy = survey.policy.replace("http://10.0.0.1/k", "http://evil.example/k");
    let list = survey.files.get_mut("/etc/apt/sources.list.d/k.list").unwrap();
    *list = list.replace("http://10.0.0.1/k", "http://evil.example/k");
    survey.keys.values_mut().for_each(|key| *key = b"their key".to_vec());
    for registry in ["ghcr.io", "docker.io"] {
        let text = manifest::mirror_hosts(registry, "http://evil.example").unwrap();
        survey.files.insert(paths::mirror_hosts(registry), text);
    }
    named[0].facts.packages.remove("containerd.io");
    named[0].facts.packages.insert("containerd".into(), "1.6".into());
    let told = adopted(&named);
    let read = read(&told);
    assert_eq!((&read.packages, &read.images), (&expected.packages, &expected.images));
    assert_eq!(told.keys.values().collect::<Vec<_>>(), [b"a key"]);
    let notes = told.notes.join("\n");
    assert!(notes.contains("root@10.77.0.12 has kubelet from http://evil.example/k/v1.37/deb/"), "{notes}");
    assert!(notes.contains("root@10.77.0.12: the registry ghcr.io is reached otherwise"), "{notes}");
    // The right address with another key.
    let mut named = found(&cluster());
    named[1].survey.keys.values_mut().for_each(|key| *key = b"their key".to_vec());
    let told = adopted(&named);
    assert_eq!(told.keys.values().collect::<Vec<_>>(), [b"a key"]);
    assert!(told.notes.iter().any(|note| note.contains("by another key than")), "{:?}", told.notes);
}

#[test]
fn a_worker_that_speaks_for_the_cluster_is_found_out() {
    let mut named = found(&cluster());
    named.reverse();
    let mut objects = named[1].survey.objects.clone().unwrap();
    // What moves by itself is no contradiction.
    objects.iter_mut().for_each(|object| object["metadata"]["resourceVersion"] = json!("7"));
    named[0].survey.objects = Some(objects);
    adopted(&named);
    let text = &mut object(&mut named, "ConfigMap", "kubeadm-config")["data"]["ClusterConfiguration"];
    *text = json!(text.as_str().unwrap().replace("registry.k8s.io", "evil.example"));
    let failure = adopt(&named, &Reached::default(), datetime!(2026-11-23 12:00 UTC)).unwrap_err();
    assert_eq!(failure.cause, "root@10.77.0.12 and root@10.77.0.11 say different things of the cluster");
}

#[test]
fn a_node_that_was_not_named_is_there_with_a_word() {
    let told = adopted(&found(&cluster())[..1]);
    assert!(
        told.inventory.contains("  # not looked at\n  - name: n2\n    address: 10.77.0.12\n"),
        "{}",
        told.inventory
    );
    assert!(told.notes.iter().any(|note| note.starts_with("n2 was not looked at")), "{:?}", told.notes);
}
