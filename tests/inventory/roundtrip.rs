//! For any cluster that passes the checks, what is printed reads as the same cluster again.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use kboot::inventory::*;
use proptest::prelude::*;
use serde_json::Value;

fn word() -> impl Strategy<Value = String> {
    // Words that YAML might take for something else, too.
    prop_oneof![
        "[a-z]([a-z0-9-]{0,12}[a-z0-9])?",
        prop::sample::select(vec!["true", "null", "no", "on", "1", "0x1f", "1e3", "0o17", "12-3", "n", "y"])
            .prop_map(str::to_owned),
    ]
}

/// Any single line, also one full of YAML's own signs.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~äß€😀]{0,20}",
        prop::sample::select(vec![
            "~", "- a", "a: b", "#x", " ", "\"", "'", "1.0", ".inf", "=", "<<", "&a", "*a", "!x", "%", "@", "\t"
        ])
        .prop_map(str::to_owned)
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        line().prop_map(Value::from),
        "(?s).{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn component() -> impl Strategy<Value = Component> {
    let volume = (word(), "/[a-z]{1,8}", any::<bool>(), prop::option::of(Just("File".to_owned())));
    (prop::collection::btree_map("[a-z]{1,8}", line(), 0..4), prop::option::of(volume)).prop_map(
        |(extra_args, volume)| {
            let extra_volumes = volume.map(|(name, path, read_only, path_type)| ExtraVolume {
                name,
                host_path: path.clone(),
                mount_path: path,
                read_only,
                path_type,
            });
            Component { extra_args, extra_volumes: extra_volumes.into_iter().collect(), extra_envs: Vec::new() }
        },
    )
}

fn repository() -> impl Strategy<Value = Option<Repository>> {
    let own = (any::<bool>(), any::<bool>(), 1..3_usize).prop_map(|(flat, file, pins)| Repository {
        url: "http://10.77.0.1:8080/{minor}".into(),
        suite: if flat { "./" } else { "{codename}" }.into(),
        components: if flat { vec![] } else { vec!["main".into(), "1".into()] },
        key_file: file.then(|| "./key with spaces.asc".into()),
        key_url: (!file).then(|| "https://example.com/{distribution}/key".into()),
        fingerprint: (0..pins).filter(|_| !file).map(|pin| format!("{pin:040}")).collect(),
        distribution: false,
    });
    prop::option::of(own)
}

fn host(index: usize) -> impl Strategy<Value = Host> {
    let ssh = (
        prop::option::of(word()),
        prop::option::of(1_u16..),
        prop::option::of(line().prop_filter("a path", |l| !l.is_empty())),
    );
    let labels = prop::collection::btree_map("[a-z]{1,8}(/[a-z]{1,4})?", "([a-z0-9]{1,8})?", 0..3);
    let taints = prop::option::of(prop::collection::btree_set("[a-z]{1,4}(=[a-z0-9]{0,4})?", 0..3));
    let sysctls = prop::collection::btree_map("[a-z]{1,4}[.][a-z]{1,4}", "[0-9]{1,4}", 0..3);
    (ssh, labels, taints, sysctls, any::<bool>()).prop_map(move |(ssh, labels, taints, sysctls, both)| Host {
        name: format!("n{index}"),
        address: IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1 + index as u8)),
        roles: match (index, both) {
            (0, false) => vec![Role::ControlPlane],
            (0, true) => vec![Role::ControlPlane, Role::Worker],
            _ => vec![Role::Worker],
        },
        labels,
        taints: taints.map(distinct),
        sysctls,
        vars: BTreeMap::from([("rack".into(), index.into())]),
        ssh: HostSsh { address: None, user: ssh.0, port: ssh.1, identity_file: ssh.2, host_key: None },
    })
}

/// Taints must differ in key or effect; here the effect is always the same.
fn distinct(taints: impl IntoIterator<Item = String>) -> Vec<String> {
    let by_key: BTreeMap<String, String> =
        taints.into_iter().map(|taint| (taint.split('=').next().unwrap_or_default().to_owned(), taint)).collect();
    by_key.into_values().map(|taint| format!("{taint}:NoExecute")).collect()
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let hosts = (1_usize..6).prop_flat_map(|count| (0..count).map(host).collect::<Vec<_>>());
    let cni = prop::sample::select(vec![Cni::Flannel, Cni::Weave, Cni::None]);
    let algorithm = prop::sample::select(vec![EncryptionAlgorithm::EcdsaP256, EncryptionAlgorithm::Rsa3072]);
    let times = (1_u32..10_000, 10_000_u32..500_000, 1_u64..1_000_000);
    let config = prop::collection::btree_map("[a-z]{1,8}X", json(), 0..4);
    let parts = (component(), component(), component(), component());
    let mirrors =
        prop::collection::btree_map("[a-z]{1,8}[.]io(:5000)?", Just("http://10.77.0.1:5000".to_owned()), 0..3);
    let packages = (repository(), repository(), any::<bool>());
    (word(), hosts, cni, algorithm, times, config, parts, mirrors, packages).prop_map(
        |(name, hosts, cni, algorithm, (leaf, ca, ready), config, parts, mirrors, (kubernetes, containerd, own))| {
            let mut cluster = Cluster::single(hosts[0].clone());
            cluster.name = name;
            cluster.endpoint = own.then(|| "api.example.com:443".into());
            cluster.sysctls = hosts[0].sysctls.clone();
            cluster.hosts = hosts;
            cluster.network.cni = cni;
            cluster.certificates.encryption_algorithm = algorithm;
            cluster.certificates.validity = Period { hours: leaf };
            cluster.certificates.ca_validity = Period { hours: ca };
            cluster.timeouts.ready = ready;
            cluster.kubelet.config = config;
            let (api_server, controller_manager, scheduler, etcd) = parts;
            cluster.control_plane = ControlPlane { own_flags: true, api_server, controller_manager, scheduler, etcd };
            cluster.images.mirrors = mirrors;
            let given = |repository: Option<Repository>, default: &mut Repository| {
                if let Some(repository) = repository {
                    *default = repository;
                }
            };
            given(kubernetes, &mut cluster.packages.kubernetes);
            given(containerd, &mut cluster.packages.containerd);
            if own {
                cluster.packages.containerd = Repository { distribution: true, ..Repository::default() };
            }
            cluster
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_the_same(cluster in cluster()) {
        let text = print(&cluster);
        match parse(&text, "printed.yaml".into()) {
            Ok(again) => prop_assert_eq!(again, cluster),
            Err(mistakes) => prop_assert!(false, "{}\n{}", mistakes, text),
        }
    }

    /// Whatever the text, there is a verdict: no panic, and a mistake that can be shown.
    #[test]
    fn no_text_makes_it_panic(text in "(?s)[a-z:\\-\\[\\]{}&*!|>'\"%@#, \n\t0-9é]{0,200}") {
        if let Err(mistakes) = parse(&text, "random.yaml".into()) {
            prop_assert!(!mistakes.is_empty() && !mistakes.to_string().is_empty());
        }
    }

    /// A good file with a hole in it, which is what a file being edited looks like.
    #[test]
    fn no_hole_makes_it_panic(start in 0_usize..4000, length in 1_usize..40) {
        let text = include_str!("../../inventory.example.yaml");
        let (start, end) = (start.min(text.len()), (start + length).min(text.len()));
        prop_assume!(text.is_char_boundary(start) && text.is_char_boundary(end));
        let _ = parse(&format!("{}{}", &text[..start], &text[end..]), "hole.yaml".into()).map_err(|m| m.to_string());
    }
}
