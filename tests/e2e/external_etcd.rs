//! Clusters whose state is in an etcd that is not kboot's. It runs on the third host as a service, and is never kboot's to touch.

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use serde_json::json;
use time::OffsetDateTime;

use crate::chains::{Start, Test};
use crate::command::eventually;
use crate::control_planes::nodes_are;
use crate::events::Run;
use crate::lab::Lab;

pub const TESTS: &[Test] = &[
    Test { name: "external_etcd::what_is_wrong_is_told_and_nothing_is_begun", start: Start::bare(3), run: wrong },
    Test { name: "external_etcd::two_control_planes_keep_their_state_in_it", start: WRONG, run: two },
    Test { name: "external_etcd::a_reset_leaves_it_alone", start: TWO, run: reset },
    Test { name: "external_etcd::by_hand_and_by_kubeadm", start: Start::bare(3), run: by_hand },
];

const WRONG: Start = Start::After("external_etcd::what_is_wrong_is_told_and_nothing_is_begun");
const TWO: Start = Start::After("external_etcd::two_control_planes_keep_their_state_in_it");

const CONTROL_PLANES: [&str; 2] = ["n1", "n2"];
const HOST: &str = "n3";
const URL: &str = "https://10.77.0.13:2379";
const ETCDCTL: &str = "etcdctl --endpoints https://10.77.0.13:2379 --cacert /etc/ext-etcd/ca.crt --cert /etc/ext-etcd/client.crt \
                       --key /etc/ext-etcd/client.key";
const PKI: &str = "/etc/kubernetes/pki";

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    /// A certificate and its key.
    fn signs(&self, name: &str, usage: ExtendedKeyUsagePurpose, expires: OffsetDateTime) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_string()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = OffsetDateTime::now_utc() - Duration::from_secs(7200);
        params.not_after = expires;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.0).expect("a certificate").pem(), key.serialize_pem())
    }

    fn client(&self) -> (String, String) {
        self.signs("kubernetes", ExtendedKeyUsagePurpose::ClientAuth, later())
    }
}

fn later() -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::from_secs(365 * 24 * 3600)
}

/// The controller's file of this name; keys are their owner's alone.
fn file(lab: &Lab, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = lab.folder.join(name);
    std::fs::write(&path, text).expect("the lab's folder is writable");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    path
}

/// The lab's inventory of these control planes, with such an etcd.
fn inventory(lab: &Lab, name: &str, hosts: &[&str], endpoints: &[&str], [ca, cert, key]: [&str; 3]) -> String {
    lab.inventory_with(&format!("external-{name}"), |inventory| {
        let etcd = json!({"external": {"endpoints": endpoints, "caFile": ca, "certFile": cert, "keyFile": key}});
        let fields = inventory.as_mapping_mut().expect("fields");
        fields.insert("etcd".into(), serde_yaml::to_value(etcd).expect("plain data"));
        alone(inventory, hosts);
    })
}

fn alone(inventory: &mut serde_yaml::Value, hosts: &[&str]) {
    let list = inventory["hosts"].as_sequence_mut().expect("it has hosts");
    list.retain(|host| host["name"].as_str().is_some_and(|name| hosts.contains(&name)));
    for host in list {
        host["roles"] = serde_yaml::from_str("[control-plane, worker]").expect("it is YAML");
        host.as_mapping_mut().expect("a host has fields").remove("taints");
    }
}

const FILES: [&str; 3] = ["ext-ca.crt", "ext-client.crt", "ext-client.key"];

fn right(lab: &Lab, hosts: &[&str]) -> String {
    inventory(lab, &hosts.join("-"), hosts, &[URL], FILES)
}

/// etcd and its tool, out of the registry's image.
fn programs(lab: &Lab) -> PathBuf {
    let folder = lab.scratch("etcd-image");
    let copy = format!("dir:{}", folder.display());
    let image = "docker://10.77.0.1:5000/etcd:3.7.0-0";
    lab.exec(&["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", image, &copy]).ok();
    let script = format!("cd {} && for f in *; do tar xf $f 2>/dev/null || true; done; ls -R", folder.display());
    lab.exec(&["sh", "-c", &script]).ok();
    folder
}

/// Runs etcd on the third host, as whoever runs databases would: with TLS, for clients of its own authority.
fn start(lab: &Lab, authority: &Authority) {
    let folder = programs(lab);
    lab.on(HOST, "mkdir -p -m 755 /etc/ext-etcd").ok();
    for name in ["etcd", "etcdctl"] {
        let program = ["usr/local/bin", "usr/bin", "bin", "."].map(|at| folder.join(at).join(name));
        let program = program.iter().find(|path| path.is_file()).unwrap_or_else(|| panic!("no {name} in {folder:?}"));
        lab.put(HOST, program, &format!("/tmp/{name}"), "755");
        lab.on(HOST, &format!("mv /tmp/{name} /usr/local/bin/{name}")).ok();
    }
    let (certificate, key) = authority.signs("10.77.0.13", ExtendedKeyUsagePurpose::ServerAuth, later());
    let (client, client_key) = authority.client();
    for (name, text) in [
        ("ca.crt", authority.0.pem()),
        ("server.crt", certificate),
        ("server.key", key),
        ("client.crt", client.clone()),
        ("client.key", client_key.clone()),
    ] {
        lab.on(HOST, &format!("umask 077; cat >/etc/ext-etcd/{name} <<'END'\n{text}\nEND\n")).ok();
    }
    for (name, text) in FILES.into_iter().zip([authority.0.pem(), client, client_key]) {
        file(lab, name, &text);
    }
    let line = "systemd-run --unit ext-etcd --service-type=notify etcd --name ext --data-dir /var/lib/ext-etcd \
        --listen-client-urls https://0.0.0.0:2379 --advertise-client-urls https://10.77.0.13:2379 \
        --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster ext=http://127.0.0.1:2380 --client-cert-auth --trusted-ca-file /etc/ext-etcd/ca.crt \
        --cert-file /etc/ext-etcd/server.crt --key-file /etc/ext-etcd/server.key";
    lab.on(HOST, line).ok();
    lab.on(HOST, &format!("{ETCDCTL} put /somebody/else here")).ok();
}

/// Keys of Kubernetes', as etcd's own tool counts them.
fn keys(lab: &Lab) -> usize {
    let done = lab.on(HOST, &format!("{ETCDCTL} get --prefix /registry/ --keys-only | grep -c / || true")).ok();
    done.stdout.trim().parse().expect("a number")
}

/// Each is told before anything is changed anywhere.
fn wrong(lab: &Lab) {
    let (authority, other) = (Authority::new("ext-etcd-ca"), Authority::new("another"));
    start(lab, &authority);
    let (stranger, stranger_key) = other.client();
    let past = OffsetDateTime::now_utc() - Duration::from_secs(3600);
    let (expired, expired_key) = authority.signs("kubernetes", ExtendedKeyUsagePurpose::ClientAuth, past);
    for (name, text) in [
        ("ext-other-ca.crt", other.0.pem()),
        ("ext-stranger.crt", stranger),
        ("ext-stranger.key", stranger_key),
        ("ext-expired.crt", expired),
        ("ext-expired.key", expired_key),
    ] {
        file(lab, name, &text);
    }
    let [ca, cert, key] = FILES;
    let told = |name: &str, endpoints: &[&str], files: [&str; 3], code: i32, words: &[&str]| {
        let inventory = inventory(lab, name, &CONTROL_PLANES, endpoints, files);
        if code == 2 {
            lab.kboot(&["up", "-i", &inventory]).ends(2).says(words);
            return;
        }
        let run = Run::of(lab, &["up", "-i", &inventory]).ends(code);
        assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
        let causes = run.causes("").concat();
        assert!(words.iter().all(|word| causes.contains(word)), "{causes}\n{run}");
    };
    told("expired", &[URL], [ca, "ext-expired.crt", "ext-expired.key"], 2, &["certFile", "expired on"]);
    told("mixed", &[URL], [ca, cert, "ext-stranger.key"], 2, &["does not belong to its private key"]);
    let nobody = "https://10.77.0.13:2399";
    told(
        "silent",
        &[URL, nobody],
        FILES,
        1,
        &["etcd at https://10.77.0.13:2399 does not answer: it refuses connections"],
    );
    told("untrusted", &[URL], ["ext-other-ca.crt", cert, key], 1, &["is not trusted", "this authority has not signed"]);
    let strangers = [ca, "ext-stranger.crt", "ext-stranger.key"];
    told("refused", &[URL], strangers, 1, &["refuses this cluster", "client certificate"]);
    lab.on(HOST, &format!("{ETCDCTL} put /registry/pods/default/x y")).ok();
    told("foreign", &[URL], FILES, 1, &["etcd holds the state of a cluster"]);
    lab.on(HOST, &format!("{ETCDCTL} del /registry/pods/default/x")).ok();
    assert_eq!(keys(lab), 0);
}

/// It runs no member, and asks the one that it was told of.
#[track_caller]
fn is_a_client(lab: &Lab, host: &str) {
    let script = format!(
        "set -e; cd /etc/kubernetes; test ! -e manifests/etcd.yaml; test ! -e pki/etcd/ca.key; test ! -e pki/etcd/server.crt
         test ! -e /var/lib/etcd/member; grep -qx -- '    - --etcd-servers={URL}' manifests/kube-apiserver.yaml
         test \"$(stat -c %a pki/apiserver-etcd-client.key)\" = 600; crictl ps --name '^etcd$' -q | wc -l"
    );
    assert_eq!(lab.on(host, &script).ok().stdout.trim(), "0");
}

fn two(lab: &Lab) {
    let both = right(lab, &CONTROL_PLANES);
    Run::of(lab, &["up", "-i", &both]).ends(0);
    for host in CONTROL_PLANES {
        is_a_client(lab, host);
        nodes_are(lab, host, &CONTROL_PLANES);
    }
    assert!(keys(lab) > 100, "{}", keys(lab));
    Run::of(lab, &["up", "-i", &both]).ends(0).is_unchanged();
    lab.on("n1", "test -e /etc/kubernetes/super-admin.conf").ok();
    lab.on("n2", "test ! -e /etc/kubernetes/super-admin.conf").ok();
    lab.on("n2", "kubeadm certs check-expiration && kubeadm upgrade plan v1.37.2 --allow-release-candidate-upgrades")
        .ok();

    // No edit leads to members on the control planes, nor to another etcd.
    let stacked = lab.inventory_with("external-stacked", |inventory| alone(inventory, &CONTROL_PLANES));
    let run = Run::of(lab, &["up", "-i", &stacked]).ends(1);
    assert!(
        run.causes("n1").concat().contains("the cluster's state is in the etcd at https://10.77.0.13:2379"),
        "{run}"
    );
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");

    // Either does without the other, and a member that is down is told.
    lab.testbed(&["host", "kill", "n1"]).ok();
    nodes_answer(lab, "n2");
    lab.testbed(&["host", "start", "n1"]).ok();
    nodes_answer(lab, "n1");
    nodes_are(lab, "n1", &CONTROL_PLANES);
    let more = inventory(lab, "more", &CONTROL_PLANES, &[URL, "https://10.77.0.13:2399"], FILES);
    let done = lab.kboot(&["up", "-i", &more, "--dry-run"]).ok();
    done.says(&[
        "does not answer: it refuses connections",
        "--etcd-servers=https://10.77.0.13:2379,https://10.77.0.13:2399",
    ]);
}

#[track_caller]
fn nodes_answer(lab: &Lab, host: &str) {
    eventually(Duration::from_secs(60), "the other API server answers", || {
        let done = lab.on(host, "kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=5s get nodes");
        if done.code == Some(0) { Ok(()) } else { Err(done.text()) }
    });
}

fn reset(lab: &Lab) {
    let both = right(lab, &CONTROL_PLANES);
    // Not held against its plan: pods still come back to the host that was started anew.
    lab.kboot(&["reset", "-i", &both, "--host", "n1", "--yes", "--drain-timeout", "0"]).ok();
    nodes_are(lab, "n2", &["n2"]);
    // The first is nobody special: it comes back as the second.
    Run::of(lab, &["up", "-i", &both]).ends(0);
    nodes_are(lab, "n1", &CONTROL_PLANES);
    let before = keys(lab);
    lab.kboot(&["reset", "-i", &both, "--yes", "--drain-timeout", "0"])
        .ok()
        .says(&["is not kboot's", "keeps the cluster's state"]);
    assert!(keys(lab) > before / 2, "{} of {before}", keys(lab));
    lab.on(
        HOST,
        &format!("systemctl is-active ext-etcd && {ETCDCTL} get /somebody/else --print-value-only | grep here"),
    )
    .ok();
    // What is left is nobody's that could be known.
    let run = Run::of(lab, &["up", "-i", &both]).ends(1);
    assert!(run.causes("").concat().contains("etcd holds the state of a cluster"), "{run}");
    lab.on(HOST, &format!("{ETCDCTL} del --prefix /registry/")).ok();
}

/// kubeadm's configuration, with files under other names on the first; the second by kboot and then by the real kubeadm.
fn by_hand(lab: &Lab) {
    start(lab, &Authority::new("ext-etcd-ca"));
    let text = std::fs::read_to_string(lab.inventory()).expect("the lab is up");
    let mut own: serde_yaml::Mapping = serde_yaml::from_str(&text).expect("it is YAML");
    for field in ["hosts", "name", "kubernetes", "ssh"] {
        own.remove(field);
    }
    own.insert("network".into(), serde_yaml::from_str("{cni: flannel}").expect("it is YAML"));
    let own = serde_yaml::to_string(&own).expect("plain data");
    let config = format!(
        "{own}---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: 1.37.2
etcd: {{external: {{endpoints: [{URL}], caFile: /root/e/ca.crt, certFile: /root/e/client.crt, keyFile: /root/e/client.key}}}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: 10.77.0.11}}
nodeRegistration: {{name: n1}}
"
    );
    let path = file(lab, "e2e-external-kubeadm.yaml", &config);
    let hosts = right(lab, &CONTROL_PLANES);
    for host in CONTROL_PLANES {
        lab.put(host, &lab.kboot_path(), "/usr/local/bin/kboot", "755");
        lab.put(host, &lab.folder.join("repo.asc"), "/root/repo.asc", "644");
        lab.put(host, hosts.as_ref(), "/root/cluster.yaml", "600");
    }
    lab.on("n1", "mkdir -p -m 700 /root/e").ok();
    lab.put("n1", &path, "/root/kubeadm.yaml", "600");
    lab.kboot_on("n1", "init --config /root/kubeadm.yaml").ends(2).says(&["/root/e/ca.crt: there is no such file"]);
    for (name, to) in FILES.into_iter().zip(["ca.crt", "client.crt", "client.key"]) {
        lab.put("n1", &lab.folder.join(name), &format!("/root/e/{to}"), "600");
    }
    let done = lab.kboot_on("n1", "init --config /root/kubeadm.yaml --upload-certs").ok();
    let line = done.stdout.lines().find(|line| line.contains("--control-plane --certificate-key "));
    let line = line.and_then(|line| line.trim().strip_prefix("kboot ")).unwrap_or_else(|| panic!("no line\n{done}"));
    is_a_client(lab, "n1");
    assert_eq!(
        lab.on("n1", &format!("cat {PKI}/etcd/ca.crt")).ok().stdout,
        lab.on("n1", "cat /root/e/ca.crt").ok().stdout
    );
    Run::on(lab, "n1", "/usr/local/bin/kboot init --config /root/kubeadm.yaml").ends(0).is_unchanged();

    let join = format!("{line} --config /root/cluster.yaml");
    lab.kboot_on("n2", &join).ok();
    is_a_client(lab, "n2");
    nodes_are(lab, "n2", &CONTROL_PLANES);
    Run::on(lab, "n2", &format!("/usr/local/bin/kboot {join}")).ends(0).is_unchanged();
    lab.kboot_on("n2", "reset --yes").ok();
    lab.on("n1", "kubectl --kubeconfig /etc/kubernetes/admin.conf delete node n2").ok();

    let testbed = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed"));
    lab.put("n2", &testbed.join("cluster/prepare.sh"), "/tmp/prepare.sh", "644");
    lab.put("n2", &lab.folder.join("repo.asc"), "/tmp/repo.asc", "644");
    lab.on("n2", "bash /tmp/prepare.sh 10.77.0.1 1.37.2-1.1 </tmp/repo.asc").ok();
    let kubeadm = "--apiserver-advertise-address 10.77.0.12 --ignore-preflight-errors=all";
    lab.on("n2", &format!("kubeadm {line} {kubeadm}")).ok();
    is_a_client(lab, "n2");
    nodes_are(lab, "n1", &CONTROL_PLANES);
}
