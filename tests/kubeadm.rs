//! Files of kubeadm's as people write them: the good ones become clusters, the bad ones are told in full.

use camino::{Utf8Path, Utf8PathBuf};
use kboot::bootstrap::Pins;
use kboot::inventory::{Cluster, Mistakes};
use kboot::kubeadm::{Discovery, Here, Init, Join, init, join};
use serde_json::{Value, json};
use time::macros::datetime;

const BAD: &str = "tests/kubeadm/bad";
const GOOD: &str = "tests/kubeadm/good";

fn here() -> Here {
    Here { name: "host".into(), address: "10.0.0.99".parse().ok(), now: datetime!(2026-11-22 12:00 UTC) }
}

fn read(folder: &str, name: &str) -> String {
    std::fs::read_to_string(Utf8Path::new(folder).join(name)).unwrap()
}

fn good_init(name: &str) -> Init {
    init(&read(GOOD, name), name.into(), &here()).unwrap()
}

fn good_join(name: &str) -> Join {
    join(&read(GOOD, name), name.into(), &here()).unwrap()
}

fn value(cluster: &Cluster, pointer: &str) -> Value {
    serde_json::to_value(cluster).unwrap().pointer(pointer).cloned().unwrap_or(Value::Null)
}

#[test]
fn bad_files_are_told_in_full() {
    let mut files: Vec<Utf8PathBuf> = Utf8Path::new(BAD)
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension() == Some("yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 25, "only {} files: is the folder whole?", files.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("kubeadm/bad");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for file in &files {
            let name = file.file_name().unwrap();
            let text = read(BAD, name);
            let told: Result<String, Mistakes> = match name.starts_with("join-") {
                true => join(&text, name.into(), &here()).map(|join| format!("{join:#?}")),
                false => init(&text, name.into(), &here()).map(|init| format!("{init:#?}")),
            };
            match told {
                Ok(taken) => panic!("{file} was taken:\n{taken}"),
                Err(mistakes) => insta::assert_snapshot!(file.file_stem().unwrap(), mistakes),
            }
        }
    });
    // A snapshot whose file is gone would never be compared again.
    for entry in Utf8Path::new(BAD).read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        if path.extension() == Some("snap") {
            assert!(files.contains(&path.with_extension("yaml")), "{path} belongs to no file");
        }
    }
}

#[test]
fn an_external_etcd_is_taken_over() {
    let cluster = good_init("init-external-etcd.yaml").cluster;
    let external = json!({
        "endpoints": ["https://10.0.0.21:2379", "https://10.0.0.22:2379"],
        "caFile": "/etc/kubernetes/pki/etcd/ca.crt",
        "certFile": "/etc/kubernetes/pki/apiserver-etcd-client.crt",
        "keyFile": "/etc/kubernetes/pki/apiserver-etcd-client.key",
    });
    assert_eq!(value(&cluster, "/etcd/external"), external);
}

#[test]
fn no_message_repeats_a_secret() {
    for name in ["init-tokens.yaml", "init-syntax.yaml", "init-unsupported.yaml"] {
        let told = init(&read(BAD, name), name.into(), &here()).unwrap_err().to_string();
        for secret in ["zyxwvu987654321", "fedcba9876543210", "e6a2eb8581237ab7"] {
            assert!(!told.contains(secret), "{told}");
        }
    }
}

#[test]
fn every_field_that_kboot_has_is_carried_over() {
    let Init { cluster, tokens, options, warnings, .. } = good_init("init-full.yaml");
    for (pointer, expected) in [
        ("/name", json!("lab")),
        ("/endpoint", json!("api.example.com:443")),
        ("/kubernetes/version", json!("v1.36.3")),
        ("/network/podSubnet", json!("10.50.0.0/16")),
        ("/network/serviceSubnet", json!("172.20.0.0/16")),
        ("/network/dnsDomain", json!("k8s.example.com")),
        ("/network/cni", json!("none")),
        ("/certificates/extraSANs", json!(["elb.example.com", "192.0.2.10"])),
        ("/certificates/encryptionAlgorithm", json!("RSA-2048")),
        ("/certificates/validity", json!("180d")),
        ("/certificates/caValidity", json!("5y")),
        ("/images/repository", json!("registry.example.com/k8s")),
        ("/dns/imageTag", json!("v1.14.1")),
        ("/dns/imageRepository", json!("registry.example.com/dns")),
        ("/dns/enabled", json!(true)),
        ("/kubeProxy/enabled", json!(true)),
        ("/kubeProxy/config", json!({"mode": "nftables", "conntrack": {"maxPerCore": 0}})),
        ("/controlPlane/apiServer/extraArgs", json!({"audit-log-maxage": "30", "v": "2"})),
        ("/controlPlane/apiServer/extraEnvs", json!([{"name": "HTTPS_PROXY", "value": "http://proxy.example.com"}])),
        (
            "/controlPlane/apiServer/extraVolumes",
            json!([{"name": "audit", "hostPath": "/var/log/audit", "mountPath": "/audit", "readOnly": true, "pathType": "DirectoryOrCreate"}]),
        ),
        ("/controlPlane/controllerManager/extraArgs", json!({"node-cidr-mask-size": "24"})),
        ("/controlPlane/scheduler/extraArgs", json!({"v": "3"})),
        ("/controlPlane/etcd/extraArgs", json!({"quota-backend-bytes": "8589934592"})),
        ("/kubelet/config", json!({"maxPods": 200, "evictionHard": {"memory.available": "200Mi"}})),
        ("/kubelet/extraArgs", json!({"node-labels": "disk=ssd"})),
        ("/hosts/0/name", json!("n1")),
        ("/hosts/0/address", json!("10.0.0.11")),
        ("/hosts/0/roles", json!(["control-plane"])),
        ("/hosts/0/taints", json!(["dedicated=control:NoSchedule", "x:NoExecute"])),
        ("/timeouts/ready", json!(360)),
        ("/timeouts/install", json!(900)),
        ("/images/mirrors", json!({"registry.example.com": "http://10.0.0.1:5000"})),
    ] {
        assert_eq!(value(&cluster, pointer), expected, "{pointer}");
    }
    assert_eq!(cluster.hosts.len(), 1);
    let told: Vec<_> = tokens.iter().map(|(token, grant)| (token.id(), grant.clone())).collect();
    assert_eq!(told[0].0, "abcdef");
    assert_eq!(told[0].1.expires, Some(datetime!(2026-11-22 14:00 UTC)));
    assert_eq!(told[0].1.usages, ["signing"]);
    assert_eq!(told[0].1.description.as_deref(), Some("for rack 7"));
    assert_eq!((told[1].0, told[1].1.expires), ("ghijkl", None));
    assert_eq!(told[1].1.groups, ["system:bootstrappers:kubeadm:default-node-token"]);
    assert_eq!(tokens.len(), 2);
    assert_eq!(options.ignore_preflight, ["NumCPU", "SystemVerification"]);
    assert_eq!(options.patches.as_deref(), Some("/etc/kubernetes/patches"));
    assert_eq!(options.cgroup_driver.as_deref(), Some("systemd"));
    assert!(!options.is_dry_run && !options.skips_preflight && options.skips_join_command);
    let warnings: Vec<String> = warnings.iter().map(|warning| warnings.line(warning)).collect();
    assert_eq!(warnings, ["init-full.yaml:33:3: InitConfiguration.timeouts.etcdAPICall: has no effect"]);
}

#[test]
fn what_the_file_leaves_open_is_the_machine_s_or_kboot_s_own() {
    let Init { cluster, tokens, options, warnings, .. } = good_init("init-least.yaml");
    assert_eq!((cluster.hosts[0].name.as_str(), cluster.hosts[0].address.to_string().as_str()), ("host", "10.0.0.99"));
    assert_eq!(value(&cluster, "/kubernetes/version"), "v1.37.2");
    assert_eq!(value(&cluster, "/certificates/encryptionAlgorithm"), "ECDSA-P256");
    assert_eq!(cluster.hosts[0].taints, None);
    assert_eq!((tokens.len(), warnings.len()), (0, 0));
    assert_eq!(options, kboot::kubeadm::Options::default());
}

#[test]
fn a_machine_without_an_address_needs_one_in_the_file() {
    let here = Here { address: None, ..here() };
    let told = init(&read(GOOD, "init-least.yaml"), "init-least.yaml".into(), &here).unwrap_err().to_string();
    assert!(told.contains("InitConfiguration.localAPIEndpoint.advertiseAddress: is not there"), "{told}");
    assert!(told.ends_with("1 mistake in init-least.yaml"), "{told}");
    assert!(init(&read(GOOD, "init-full.yaml"), "init-full.yaml".into(), &here).is_ok());
}

#[test]
fn a_number_that_is_too_large_is_no_default() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nlocalAPIEndpoint: {bindPort: 18446744073709551615}\n";
    let told = init(text, "large.yaml".into(), &here()).unwrap_err().to_string();
    assert!(told.contains("InitConfiguration: invalid value"), "{told}");
}

#[test]
fn what_kubeadm_prints_as_its_defaults_is_taken() {
    // `kubeadm config print init-defaults --component-configs KubeletConfiguration,KubeProxyConfiguration` of 1.37.2.
    let Init { cluster, tokens, warnings, .. } = good_init("init-defaults.yaml");
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!((cluster.kubernetes.version.as_str(), cluster.hosts[0].name.as_str()), ("v1.37.0", "node"));
    assert_eq!(value(&cluster, "/kubelet/config/clusterDNS"), Value::Null);
    assert_eq!(tokens[0].0.id(), "abcdef");
}

#[test]
fn the_example_is_for_both_commands() {
    let text = std::fs::read_to_string("kubeadm.example.yaml").unwrap();
    let Init { cluster, warnings, .. } = init(&text, "kubeadm.example.yaml".into(), &here()).unwrap();
    assert_eq!((cluster.name.as_str(), warnings.len()), ("lab", 0), "{warnings}");
    let Join { cluster, .. } = join(&text, "kubeadm.example.yaml".into(), &here()).unwrap();
    assert_eq!(cluster.hosts[0].name, "n2");
}

#[test]
fn phases_that_are_left_out_are_addons_that_are_off() {
    let Init { cluster, options, .. } = good_init("init-skips.yaml");
    assert!(!cluster.kube_proxy.enabled && !cluster.dns.enabled);
    assert!(options.skips_preflight && options.is_dry_run);
    assert_eq!(cluster.hosts[0].taints, Some(Vec::new()));
}

#[test]
fn a_file_to_join_with() {
    let Join { cluster, discovery, token, certificate_key, options, warnings } = good_join("join-token.yaml");
    assert_eq!(certificate_key, None);
    let Discovery::Token { endpoint, token: found, pins } = discovery else { panic!("{discovery:?}") };
    assert_eq!((endpoint.as_str(), found.id()), ("10.0.0.11:6443", "abcdef"));
    assert!(matches!(pins, Pins::Required(hashes) if hashes.len() == 1));
    assert_eq!(token.unwrap().id(), "ghijkl");
    assert_eq!(cluster.hosts[0].address.to_string(), "10.0.0.12");
    assert!(!cluster.hosts[0].is_control_plane());
    assert_eq!(cluster.hosts[0].taints.as_deref(), Some(&["gpu:NoSchedule".to_owned()][..]));
    assert_eq!(value(&cluster, "/timeouts/connect"), 60);
    assert_eq!(options.patches.as_deref(), Some("/patches"));
    assert_eq!(warnings.len(), 1, "{warnings}");

    let Join { discovery, token, .. } = good_join("join-file.yaml");
    assert!(matches!(&discovery, Discovery::File { path } if path == "/etc/discovery.conf"), "{discovery:?}");
    assert_eq!(token.unwrap().id(), "abcdef");
}

#[test]
fn a_file_for_one_more_control_plane() {
    let Join { cluster, certificate_key, warnings, .. } = good_join("join-control-plane.yaml");
    let host = &cluster.hosts[0];
    assert!(host.is_control_plane() && warnings.is_empty(), "{warnings}");
    assert_eq!((host.address.to_string().as_str(), host.taints.as_deref()), ("10.0.0.12", Some(&[][..])));
    let key = "e6a2eb8581237ab72a4f494f30285ec12a9694d750b9785706a83bfcbbbd2204";
    assert_eq!(certificate_key.map(|key| key.expose()).as_deref(), Some(key));
    // Without a key and an address they are the machine's own.
    let text = read(GOOD, "join-control-plane.yaml");
    let text = format!("{}controlPlane: {{}}\n", text.split("controlPlane:").next().unwrap());
    let Join { cluster, certificate_key, .. } = join(&text, "join.yaml".into(), &here()).unwrap();
    assert!(cluster.hosts[0].is_control_plane() && certificate_key.is_none());
    assert_eq!(cluster.hosts[0].address.to_string(), "10.0.0.99");
}

#[test]
fn a_key_for_the_authorities() {
    let key = "00112233445566778899aabbccddeeff";
    let text = format!("apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\ncertificateKey: {key}\n");
    let found = init(&text, "init.yaml".into(), &here()).unwrap().certificate_key;
    assert_eq!(found.map(|key| key.expose()).as_deref(), Some(key));
}
