//! Expectations are what `kubeadm init phase etcd local` and `… control-plane all` of 1.37.2 write for the same cluster.

use serde_json::Value;

use super::*;
use crate::inventory::{EnvVar, ExtraVolume, Patch, PatchType};
use crate::manifest::{fixture, paths};

fn values() -> NodeValues {
    NodeValues {
        name: "n1".into(),
        address: "10.77.0.11".parse().unwrap(),
        ca_folders: CA_FOLDERS[2..].iter().map(|folder| (*folder).to_owned()).collect(),
        has_ca_key: true,
        etcd_members: Vec::new(),
    }
}

fn parsed(pod: StaticPod, cluster: &Cluster, values: &NodeValues) -> Value {
    serde_yaml::from_str(&static_pod(pod, cluster, values).unwrap()).unwrap()
}

fn flags(manifest: &Value) -> Vec<&str> {
    manifest["spec"]["containers"][0]["command"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect()
}

fn flag<'a>(manifest: &'a Value, name: &str) -> Option<&'a str> {
    flags(manifest).into_iter().find_map(|flag| flag.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
}

fn names<'a>(manifest: &'a Value, pointer: &str) -> Vec<&'a str> {
    let list = manifest.pointer(pointer).unwrap().as_array().unwrap();
    list.iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn manifests_are_as_kept() {
    for pod in StaticPod::ALL {
        insta::assert_snapshot!(pod.name(), static_pod(pod, &fixture::cluster(), &values()).unwrap());
    }
}

/// What kboot sets beyond kubeadm.
const OWN: [&str; 3] = ["kube-api-burst=200", "kube-api-qps=100", "shutdown-watch-termination-grace-period=1s"];

#[test]
fn every_flag_that_kubeadm_sets() {
    let expected: [(StaticPod, &[&str]); 4] = [
        (
            StaticPod::Etcd,
            &[
                "advertise-client-urls=https://10.77.0.11:2379",
                "cert-file=/etc/kubernetes/pki/etcd/server.crt",
                "client-cert-auth=true",
                "data-dir=/var/lib/etcd",
                "feature-gates=InitialCorruptCheck=true",
                "initial-advertise-peer-urls=https://10.77.0.11:2380",
                "initial-cluster=n1=https://10.77.0.11:2380",
                "key-file=/etc/kubernetes/pki/etcd/server.key",
                "listen-client-urls=https://127.0.0.1:2379,https://10.77.0.11:2379",
                "listen-metrics-urls=http://127.0.0.1:2381",
                "listen-peer-urls=https://10.77.0.11:2380",
                "name=n1",
                "peer-cert-file=/etc/kubernetes/pki/etcd/peer.crt",
                "peer-client-cert-auth=true",
                "peer-key-file=/etc/kubernetes/pki/etcd/peer.key",
                "peer-trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
                "snapshot-count=10000",
                "trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
                "watch-progress-notify-interval=5s",
            ],
        ),
        (
            StaticPod::ApiServer,
            &[
                "advertise-address=10.77.0.11",
                "allow-privileged=true",
                "authorization-mode=Node,RBAC",
                "client-ca-file=/etc/kubernetes/pki/ca.crt",
                "enable-admission-plugins=NodeRestriction",
                "enable-bootstrap-token-auth=true",
                "etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt",
                "etcd-certfile=/etc/kubernetes/pki/apiserver-etcd-client.crt",
                "etcd-keyfile=/etc/kubernetes/pki/apiserver-etcd-client.key",
                "etcd-servers=https://127.0.0.1:2379",
                "kubelet-client-certificate=/etc/kubernetes/pki/apiserver-kubelet-client.crt",
                "kubelet-client-key=/etc/kubernetes/pki/apiserver-kubelet-client.key",
                "kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
                "proxy-client-cert-file=/etc/kubernetes/pki/front-proxy-client.crt",
                "proxy-client-key-file=/etc/kubernetes/pki/front-proxy-client.key",
                "requestheader-allowed-names=front-proxy-client",
                "requestheader-client-ca-file=/etc/kubernetes/pki/front-proxy-ca.crt",
                "requestheader-extra-headers-prefix=X-Remote-Extra-",
                "requestheader-group-headers=X-Remote-Group",
                "requestheader-username-headers=X-Remote-User",
                "secure-port=6443",
                "service-account-issuer=https://kubernetes.default.svc.cluster.local",
                "service-account-key-file=/etc/kubernetes/pki/sa.pub",
                "service-account-signing-key-file=/etc/kubernetes/pki/sa.key",
                "service-cluster-ip-range=10.96.0.0/12",
                "tls-cert-file=/etc/kubernetes/pki/apiserver.crt",
                "tls-private-key-file=/etc/kubernetes/pki/apiserver.key",
            ],
        ),
        (
            StaticPod::ControllerManager,
            &[
                "allocate-node-cidrs=true",
                "authentication-kubeconfig=/etc/kubernetes/controller-manager.conf",
                "authorization-kubeconfig=/etc/kubernetes/controller-manager.conf",
                "bind-address=127.0.0.1",
                "client-ca-file=/etc/kubernetes/pki/ca.crt",
                "cluster-cidr=10.244.0.0/16",
                "cluster-name=lab",
                "cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt",
                "cluster-signing-key-file=/etc/kubernetes/pki/ca.key",
                "controllers=*,bootstrapsigner,tokencleaner",
                "kubeconfig=/etc/kubernetes/controller-manager.conf",
                "leader-elect=true",
                "requestheader-client-ca-file=/etc/kubernetes/pki/front-proxy-ca.crt",
                "root-ca-file=/etc/kubernetes/pki/ca.crt",
                "service-account-private-key-file=/etc/kubernetes/pki/sa.key",
                "service-cluster-ip-range=10.96.0.0/12",
                "use-service-account-credentials=true",
            ],
        ),
        (
            StaticPod::Scheduler,
            &[
                "authentication-kubeconfig=/etc/kubernetes/scheduler.conf",
                "authorization-kubeconfig=/etc/kubernetes/scheduler.conf",
                "bind-address=127.0.0.1",
                "kubeconfig=/etc/kubernetes/scheduler.conf",
                "leader-elect=true",
            ],
        ),
    ];
    for (pod, expected) in expected {
        let manifest = parsed(pod, &fixture::cluster(), &values());
        let flags = flags(&manifest);
        assert_eq!(flags[0], pod.name());
        let (own, as_kubeadm): (Vec<&str>, Vec<&str>) =
            flags[1..].iter().map(|flag| &flag[2..]).partition(|flag| OWN.contains(flag));
        assert_eq!(as_kubeadm, expected, "{}", pod.name());
        let more = match pod {
            StaticPod::ControllerManager => &OWN[..2],
            StaticPod::ApiServer => &OWN[2..],
            StaticPod::Etcd | StaticPod::Scheduler => &[],
        };
        assert_eq!(own, more, "{}", pod.name());
    }
}

#[test]
fn probes_ports_and_places() {
    let table = [
        (StaticPod::Etcd, "127.0.0.1", 2381, "HTTP", ["/readyz", "/livez", "/readyz"]),
        (StaticPod::ApiServer, "10.77.0.11", 6443, "HTTPS", ["/livez", "/livez", "/readyz"]),
        (StaticPod::ControllerManager, "127.0.0.1", 10257, "HTTPS", ["/healthz", "/healthz", ""]),
        (StaticPod::Scheduler, "127.0.0.1", 10259, "HTTPS", ["/livez", "/livez", "/readyz"]),
    ];
    for (pod, host, port, scheme, paths) in table {
        let manifest = parsed(pod, &fixture::cluster(), &values());
        let container = &manifest["spec"]["containers"][0];
        assert_eq!(container["ports"], json!([{"name": "probe-port", "containerPort": port, "protocol": "TCP"}]));
        for (probe, path) in ["startupProbe", "livenessProbe", "readinessProbe"].iter().zip(paths) {
            if path.is_empty() {
                assert_eq!(container[*probe], Value::Null, "{} has a {probe}", pod.name());
                continue;
            }
            let expected = json!({"host": host, "path": path, "port": "probe-port", "scheme": scheme});
            assert_eq!(container[*probe]["httpGet"], expected, "{} {probe}", pod.name());
        }
        let spec = &manifest["spec"];
        assert_eq!(manifest["metadata"]["labels"], json!({"component": pod.name(), "tier": "control-plane"}));
        assert_eq!(spec["priorityClassName"], "system-node-critical");
        assert_eq!(spec["hostNetwork"], true);
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    }
}

#[test]
fn probes_follow_the_flags_that_move_them() {
    let mut cluster = fixture::cluster();
    let components = &mut cluster.control_plane;
    components.scheduler.extra_args.insert("bind-address".into(), "0.0.0.0".into());
    components.controller_manager.extra_args.insert("bind-address".into(), "10.77.0.11".into());
    let target = |cluster: &Cluster, pod| ProbeTarget::new(pod, cluster, values().address);
    assert_eq!(target(&cluster, StaticPod::Scheduler).host, "");
    assert_eq!(target(&cluster, StaticPod::ControllerManager).host, "10.77.0.11");
    for (urls, host, port, scheme) in [
        ("http://0.0.0.0:9000,http://127.0.0.1:1", "", 9000, "HTTP"),
        ("https://10.77.0.11", "10.77.0.11", 2381, "HTTPS"),
        ("http://[::1]:2382", "::1", 2382, "HTTP"),
        ("http://:2383", "127.0.0.1", 2383, "HTTP"),
    ] {
        cluster.control_plane.etcd.extra_args.insert("listen-metrics-urls".into(), urls.into());
        assert_eq!(target(&cluster, StaticPod::Etcd), ProbeTarget { host: host.into(), port, scheme }, "{urls}");
    }
}

#[test]
fn the_user_s_flags_replace_those_of_the_same_name_only() {
    let mut cluster = fixture::cluster();
    let args = &mut cluster.control_plane.api_server.extra_args;
    args.insert("authorization-mode".into(), "Node,RBAC,Webhook".into());
    args.insert("authorization".into(), "x: y # z".into());
    let manifest = parsed(StaticPod::ApiServer, &cluster, &values());
    assert_eq!(flag(&manifest, "authorization-mode"), Some("Node,RBAC,Webhook"));
    assert_eq!(flag(&manifest, "authorization"), Some("x: y # z"));
    assert_eq!(flags(&manifest).len(), 1 + 27 + 1 + 1);
    // kubeadm sorts its own flags, and the user's come after them.
    let all = flags(&manifest);
    let (own, users) = all[1..].split_at(26);
    assert!(own.is_sorted_by_key(|flag| flag.split('=').next()), "{own:?}");
    assert_eq!(
        users,
        [
            "--authorization=x: y # z",
            "--authorization-mode=Node,RBAC,Webhook",
            "--shutdown-watch-termination-grace-period=1s",
        ]
    );
}

#[test]
fn flags_that_follow_from_others() {
    let mut cluster = fixture::cluster();
    cluster.control_plane.api_server.extra_args.insert("authorization-config".into(), "/a.yaml".into());
    cluster.control_plane.etcd.extra_args.insert("advertise-client-urls".into(), "https://10.1.1.1:2379".into());
    let manifest = parsed(StaticPod::ApiServer, &cluster, &values());
    assert_eq!(flag(&manifest, "authorization-mode"), None);
    assert_eq!(flag(&manifest, "etcd-servers"), Some("https://10.1.1.1:2379"));
}

#[test]
fn an_external_ca_signs_nothing_here() {
    let values = NodeValues { has_ca_key: false, ..values() };
    let manifest = parsed(StaticPod::ControllerManager, &fixture::cluster(), &values);
    assert_eq!(flag(&manifest, "cluster-signing-cert-file"), Some(""));
    assert_eq!(flag(&manifest, "cluster-signing-key-file"), Some(""));
}

#[test]
fn a_joining_member_names_them_all() {
    let member = |name: &str, peer_url: &str| EtcdMember { name: name.into(), peer_url: peer_url.into() };
    let members = vec![member("n0", "https://10.77.0.10:2380"), member("n1", "https://10.77.0.11:2380")];
    let values = NodeValues { etcd_members: members, ..values() };
    let manifest = parsed(StaticPod::Etcd, &fixture::cluster(), &values);
    assert_eq!(flag(&manifest, "initial-cluster"), Some("n0=https://10.77.0.10:2380,n1=https://10.77.0.11:2380"));
    assert_eq!(flag(&manifest, "initial-cluster-state"), Some("existing"));
}

#[test]
fn volumes_are_added_by_name_and_replace_those_of_the_same_name() {
    let mut cluster = fixture::cluster();
    let volume = |name: &str, path_type: Option<&str>| ExtraVolume {
        name: name.into(),
        host_path: "/srv/x".into(),
        mount_path: "/x".into(),
        read_only: path_type.is_some(),
        path_type: path_type.map(str::to_owned),
    };
    cluster.control_plane.api_server.extra_volumes =
        vec![volume("audit", Some("DirectoryOrCreate")), volume("k8s-certs", None)];
    let manifest = parsed(StaticPod::ApiServer, &cluster, &values());
    let expected = [
        "audit",
        "ca-certs",
        "etc-ca-certificates",
        "k8s-certs",
        "usr-local-share-ca-certificates",
        "usr-share-ca-certificates",
    ];
    assert_eq!(names(&manifest, "/spec/volumes"), expected);
    assert_eq!(names(&manifest, "/spec/containers/0/volumeMounts"), expected);
    let spec = &manifest["spec"];
    assert_eq!(spec["volumes"][0]["hostPath"], json!({"path": "/srv/x", "type": "DirectoryOrCreate"}));
    assert_eq!(spec["volumes"][3]["hostPath"], json!({"path": "/srv/x"}));
    let mounts = &spec["containers"][0]["volumeMounts"];
    assert_eq!(mounts[0], json!({"name": "audit", "mountPath": "/x", "readOnly": true}));
    assert_eq!(mounts[3], json!({"name": "k8s-certs", "mountPath": "/x"}));
    // The scheduler and etcd read no CA bundle.
    assert_eq!(names(&parsed(StaticPod::Scheduler, &cluster, &values()), "/spec/volumes"), ["kubeconfig"]);
    assert_eq!(names(&parsed(StaticPod::Etcd, &cluster, &values()), "/spec/volumes"), ["etcd-certs", "etcd-data"]);
}

#[test]
fn names_that_look_like_other_yaml_stay_strings() {
    let mut cluster = fixture::cluster();
    cluster.name = "1e3".into();
    let values = NodeValues { name: "0x1".into(), ..values() };
    assert_eq!(flag(&parsed(StaticPod::ControllerManager, &cluster, &values), "cluster-name"), Some("1e3"));
    assert_eq!(flag(&parsed(StaticPod::Etcd, &cluster, &values), "name"), Some("0x1"));
}

#[test]
fn ipv6_addresses_are_bracketed_where_urls_need_it() {
    let values = NodeValues { address: "fd00::11".parse().unwrap(), ..values() };
    let etcd = parsed(StaticPod::Etcd, &fixture::cluster(), &values);
    assert_eq!(flag(&etcd, "listen-client-urls"), Some("https://[::1]:2379,https://[fd00::11]:2379"));
    let server = parsed(StaticPod::ApiServer, &fixture::cluster(), &values);
    assert_eq!(flag(&server, "advertise-address"), Some("fd00::11"));
    assert_eq!(flag(&server, "etcd-servers"), Some("https://[::1]:2379"));
    assert_eq!(server["spec"]["containers"][0]["livenessProbe"]["httpGet"]["host"], "fd00::11");
}

#[test]
fn environment_and_patches() {
    let mut cluster = fixture::cluster();
    cluster.control_plane.scheduler.extra_envs = vec![EnvVar { name: "A".into(), value: "b".into() }];
    let patch = |target, kind, patch| Patch { target, kind, patch };
    cluster.patches = vec![
        patch(
            PatchTarget::KubeScheduler,
            PatchType::Strategic,
            json!({"spec": {"containers": [{"name": "kube-scheduler", "image": "other"}]}}),
        ),
        patch(PatchTarget::Etcd, PatchType::Merge, json!({"spec": {"nodeName": "n9"}})),
    ];
    let pod = parsed(StaticPod::Scheduler, &cluster, &values());
    assert_eq!(pod["spec"]["containers"][0]["env"], json!([{"name": "A", "value": "b"}]));
    assert_eq!(pod["spec"]["containers"][0]["image"], "other");
    assert_eq!(pod["spec"]["nodeName"], Value::Null);
    assert_eq!(parsed(StaticPod::Etcd, &cluster, &values())["spec"]["nodeName"], "n9");

    cluster.patches = vec![patch(PatchTarget::Etcd, PatchType::Json, json!([{"op": "remove", "path": "/spec/x"}]))];
    let error = static_pod(StaticPod::Etcd, &cluster, &values()).unwrap_err();
    assert_eq!(error.to_string(), "apply patch 1 of etcd (type json): operation 1 (remove): there is no /spec/x");
}

#[test]
fn an_etcd_elsewhere_is_asked_with_the_same_files() {
    let mut cluster = fixture::cluster();
    let external = serde_json::json!({
        "endpoints": ["https://10.0.0.21:2379", "https://10.0.0.22:2379"],
        "caFile": "/home/a/ca.crt", "certFile": "/home/a/client.crt", "keyFile": "/home/a/client.key",
    });
    cluster.etcd = serde_json::from_value(serde_json::json!({"external": external})).unwrap();
    assert_eq!(
        StaticPod::of(&cluster).collect::<Vec<_>>(),
        [StaticPod::ApiServer, StaticPod::ControllerManager, StaticPod::Scheduler]
    );
    let manifest = parsed(StaticPod::ApiServer, &cluster, &values());
    assert_eq!(flag(&manifest, "etcd-servers"), Some("https://10.0.0.21:2379,https://10.0.0.22:2379"));
    assert_eq!(flag(&manifest, "etcd-cafile"), Some(paths::ETCD_CA));
    assert_eq!(flag(&manifest, "etcd-certfile"), Some(paths::ETCD_CLIENT_CERTIFICATE));
    assert_eq!(flag(&manifest, "etcd-keyfile"), Some(paths::ETCD_CLIENT_KEY));
    let objects = crate::manifest::kubeadm_config(&cluster).unwrap();
    let text = objects[0]["data"]["ClusterConfiguration"].as_str().unwrap();
    let configuration: Value = serde_yaml::from_str(text).unwrap();
    assert_eq!(
        configuration["etcd"],
        serde_json::json!({"external": {
            "endpoints": ["https://10.0.0.21:2379", "https://10.0.0.22:2379"],
            "caFile": "/etc/kubernetes/pki/etcd/ca.crt",
            "certFile": "/etc/kubernetes/pki/apiserver-etcd-client.crt",
            "keyFile": "/etc/kubernetes/pki/apiserver-etcd-client.key",
        }})
    );
}

#[test]
fn api_servers_ask_the_hosts_of_etcd_s() {
    let mut cluster = fixture::cluster();
    for (name, address) in [("e1", "10.77.0.21"), ("e2", "10.77.0.22")] {
        let host = crate::inventory::Host::new(name, address.parse().unwrap(), vec![crate::inventory::Role::Etcd]);
        cluster.hosts.push(host);
    }
    let text = static_pod(StaticPod::ApiServer, &cluster, &values()).unwrap();
    assert!(text.contains("--etcd-servers=https://10.77.0.21:2379,https://10.77.0.22:2379\n"), "{text}");
    let is_on = |pod: StaticPod, host: &str| pod.is_on(&cluster, cluster.host(host).unwrap());
    assert_eq!([is_on(StaticPod::Etcd, "n1"), is_on(StaticPod::Scheduler, "n1")], [false, true]);
    assert_eq!([is_on(StaticPod::Etcd, "e2"), is_on(StaticPod::Scheduler, "e2")], [true, false]);
}
