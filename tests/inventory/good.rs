//! Inventories that load, and what comes of them.

use camino::{Utf8Path, Utf8PathBuf};
use kboot::inventory::{Cluster, Cni, OneOrMany, load, parse, print, schema};
use kboot::openpgp;

const KEYS: &str = "tests/inventory/keys";

fn minimal(more: &str) -> Result<Cluster, String> {
    let text = format!(
        "apiVersion: kboot/v1alpha1\nkind: Cluster\n{more}\n\
         hosts:\n  - {{name: n1, address: 10.77.0.11, roles: [control-plane]}}\n"
    );
    parse(&text, "inventory.yaml".into()).map_err(|mistakes| mistakes.to_string())
}

/// Everything that the documentation promises to work as it stands, in a folder of its own.
#[test]
fn the_documented_inventory_loads() {
    let folder = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(folder.path()).unwrap();
    fs_err::copy(format!("{KEYS}/expiring.asc"), folder.join("repo.asc")).unwrap();
    super::files::private_key(&folder.join("key"), 0o600);
    let file = folder.join("inventory.yaml");
    fs_err::write(
        &file,
        r#"apiVersion: kboot/v1alpha1
kind: Cluster
name: lab
kubernetes: {version: v1.37.2}
network: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12, dnsDomain: cluster.local, cni: flannel}
packages:
  kubernetes: {url: http://10.77.0.1:8080/kubernetes, suite: /, keyFile: ./repo.asc}                                   # default: pkgs.k8s.io, the minor's repository
  containerd: {url: http://10.77.0.1:8080/docker, suite: bookworm, components: [stable], keyFile: ./repo.asc}          # default: Docker's repository for the distribution
images:
  mirrors: {registry.k8s.io: http://10.77.0.1:5000, ghcr.io: http://10.77.0.1:5000}
ssh: {user: root, identityFile: ./key, knownHosts: ./known_hosts}
hosts:
  - {name: n1, address: 10.77.0.11, roles: [control-plane]}
  - {name: n2, address: 10.77.0.12, roles: [worker], labels: {disk: ssd}}
  - {name: n3, address: 10.77.0.13, roles: [worker], ssh: {user: admin, port: 2222}, taints: ["dedicated=db:NoSchedule"]}
"#,
    )
    .unwrap();
    let cluster = load(&file).unwrap().cluster;
    let key = openpgp::keys(&fs_err::read(folder.join("repo.asc")).unwrap()).unwrap()[0];
    let kubernetes = &cluster.packages.kubernetes;
    assert_eq!(kubernetes.key_file.as_deref(), Some(folder.join("repo.asc").as_str()));
    assert_eq!(kubernetes.fingerprint, OneOrMany::one(key.fingerprint.to_string()));
    assert_eq!((kubernetes.key_url.as_deref(), kubernetes.components.len()), (None, 0));
    let target = cluster.ssh_target(cluster.host("n3").unwrap());
    assert_eq!((target.user.as_str(), target.port), ("admin", 2222));
    assert_eq!(target.identity_file, Some(folder.join("key")));
    assert_eq!(target.known_hosts, folder.join("known_hosts"));
    assert_eq!(cluster.node_taints(cluster.host("n3").unwrap())[0].value, "db");
    // What is printed needs neither the folder nor the defaults, and is the same cluster.
    assert_eq!(parse(&print(&cluster), &file).unwrap(), cluster);
}

#[test]
fn defaults_are_upstreams() {
    let cluster = minimal("").unwrap();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(".");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("defaults", print(&cluster)));
}

#[test]
fn the_example_loads() {
    let loaded = load("inventory.example.yaml".into()).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let minimal = minimal("").unwrap();
    // The example spells the defaults out; whoever copies it gets what whoever leaves them out gets.
    assert_eq!(loaded.cluster.packages, minimal.packages);
    assert_eq!(loaded.cluster.network, minimal.network);
    assert_eq!(loaded.cluster.certificates, minimal.certificates);
    assert_eq!(loaded.cluster.timeouts, minimal.timeouts);
    assert_eq!(loaded.cluster.kubernetes, minimal.kubernetes);
}

#[test]
fn the_schema_in_the_repository_is_current() {
    let file = "docs/inventory.schema.json";
    if std::env::var_os("KBOOT_BLESS").is_some() {
        fs_err::write(file, schema()).unwrap();
    }
    let kept = fs_err::read_to_string(file).unwrap_or_default();
    assert!(kept == schema(), "{file} is out of date: run the tests with KBOOT_BLESS=1 to write it anew");
}

#[test]
fn a_repository_of_ones_own_inherits_no_key() {
    let cluster = minimal(
        "packages: {kubernetes: {url: http://10.77.0.1/k8s, suite: /, keyFile: ./k.asc}, containerd: {keyFile: ./d.asc}}",
    )
    .unwrap();
    let (own, default) = (&cluster.packages.kubernetes, &cluster.packages.containerd);
    assert!(own.key_url.is_none() && own.fingerprint.is_empty());
    // The default repository's key stays pinned, also when the key comes from a file.
    assert_eq!(default.fingerprint, OneOrMany::one(kboot::inventory::DOCKER_KEY));
    assert_eq!((default.key_url.as_deref(), default.key_file.as_deref()), (None, Some("./d.asc")));
    assert_eq!(default.components, ["stable"]);
}

#[test]
fn a_fingerprint_is_one_or_a_list() {
    let pins = ["21FCF7AEE824DA73E6D66E3A5E4A9B08C31E2C20", "9EC232CB08C55571B233689F0C0A009681DF7306"];
    let cluster = minimal(&format!("packages: {{kubernetes: {{fingerprint: [{}, {}]}}}}", pins[0], pins[1])).unwrap();
    let kubernetes = &cluster.packages.kubernetes;
    assert!(kubernetes.fingerprint.iter().eq(pins));
    assert!(kubernetes.key_url.as_deref().unwrap().starts_with("https://pkgs.k8s.io/"), "the rest is the default's");
    let printed = print(&cluster);
    assert_eq!(parse(&printed, "again".into()).unwrap(), cluster);
    assert!(printed.contains("fingerprint: DE15") || printed.contains("fingerprint: 9DC8"), "one is printed alone");
}

#[test]
fn the_distribution_s_containerd_stands_alone() {
    let cluster = minimal("packages: {containerd: {distribution: true}}").unwrap();
    let containerd = &cluster.packages.containerd;
    assert!(containerd.distribution && containerd.url.is_empty() && containerd.fingerprint.is_empty());
    assert!(cluster.packages.kubernetes.url.starts_with("https://pkgs.k8s.io/"));
    assert_eq!(parse(&print(&cluster), "again".into()).unwrap(), cluster);
}

#[test]
fn sections_whose_lines_are_all_commented_out_are_absent() {
    let cluster = minimal("network:\n  # cni: weave\nimages:\n  mirrors:\n").unwrap();
    assert_eq!(cluster.network.cni, Cni::Flannel);
    assert!(cluster.images.mirrors.is_empty());
}

#[test]
fn json_and_odd_encodings_are_yaml_too() {
    let cluster = minimal("").unwrap();
    let json = serde_json::to_string(&cluster).unwrap();
    assert_eq!(parse(&json, "a.json".into()).unwrap(), cluster);
    let text = print(&cluster);
    assert_eq!(parse(&format!("\u{feff}{text}"), "bom".into()).unwrap(), cluster);
    assert_eq!(parse(&text.replace('\n', "\r\n"), "crlf".into()).unwrap(), cluster);
    assert_eq!(parse(&format!("%YAML 1.2\n---\n{text}...\n"), "framed".into()).unwrap(), cluster);
}

#[test]
fn an_agent_reads_what_the_controller_sends() {
    let cluster = minimal("packages: {containerd: {distribution: true}}\nkubelet: {config: {maxPods: 200}}").unwrap();
    let sent = serde_json::to_vec(&cluster).unwrap();
    assert_eq!(serde_json::from_slice::<Cluster>(&sent).unwrap(), cluster);
}

#[test]
fn aliases_repeat_a_value() {
    let text = "apiVersion: kboot/v1alpha1\nkind: Cluster\nhosts:\n\
                - {name: n1, address: 10.77.0.11, roles: [control-plane], ssh: &admin {user: admin, port: 2222}}\n\
                - {name: n2, address: 10.77.0.12, roles: [worker], ssh: *admin}\n";
    let cluster = parse(text, "a.yaml".into()).unwrap();
    assert_eq!(cluster.hosts[0].ssh, cluster.hosts[1].ssh);
}

#[test]
fn an_expired_key_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(folder.path()).unwrap();
    let file = folder.join("inventory.yaml");
    let keys = Utf8PathBuf::try_from(std::env::current_dir().unwrap()).unwrap().join(KEYS);
    fs_err::write(
        &file,
        format!(
            "apiVersion: kboot/v1alpha1\nkind: Cluster\npackages:\n  kubernetes: {{url: http://10.77.0.1/k8s, suite: /, keyFile: {keys}/expired.asc}}\n\
             hosts: [{{name: n1, address: 10.77.0.11, roles: [control-plane]}}]\n"
        ),
    )
    .unwrap();
    let loaded = load(&file).unwrap();
    let warning = loaded.warnings.iter().next().expect("one warning");
    assert!(warning.to_string().starts_with("packages.kubernetes.keyFile: the key "), "{warning}");
    assert_eq!(loaded.warnings.position(warning).0, 4);
}
