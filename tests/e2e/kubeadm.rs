//! kubeadm's own files and patches: what kboot makes of them, and what the real kubeadm says of that.

use serde_json::{Value, json};

use crate::chains::{Start, Test};
use crate::cluster::{self, kubectl};
use crate::events::Run;
use crate::lab::Lab;

pub const TESTS: &[Test] = &[
    Test { name: "kubeadm::a_file_of_kubeadm_s_makes_the_cluster_that_it_describes", start: Start::bare(2), run: init },
    Test { name: "kubeadm::kubeadm_would_write_the_same_pods_from_the_file", start: INIT, run: the_same_pods },
    Test { name: "kubeadm::a_worker_joins_by_a_file", start: INIT, run: join },
];

const INIT: Start = Start::After("kubeadm::a_file_of_kubeadm_s_makes_the_cluster_that_it_describes");
const KBOOT: &str = "/usr/local/bin/kboot";
const TOKEN: &str = "kubead.mfile0123456789a";

const FILE: &str = r#"apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
metricsBindAddress: 0.0.0.0:10249
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: by-file
kubernetesVersion: 1.37.2
controlPlaneEndpoint: api.by-file.test:6443
networking:
  podSubnet: 10.64.0.0/16
  serviceSubnet: 10.112.0.0/16
  dnsDomain: by-file.test
encryptionAlgorithm: ECDSA-P256
certificateValidityPeriod: 4320h0m0s
apiServer:
  certSANs: [API.by-file.test, 192.0.2.10]
  extraArgs:
  - {name: audit-log-path, value: /audit/audit.log}
  - {name: audit-log-maxage, value: "7"}
  extraEnvs:
  - {name: BY_FILE, value: "yes"}
  extraVolumes:
  - {name: audit, hostPath: /var/log/by-file, mountPath: /audit, pathType: DirectoryOrCreate}
controllerManager:
  extraArgs:
  - {name: terminated-pod-gc-threshold, value: "100"}
etcd:
  local:
    extraArgs:
    - {name: quota-backend-bytes, value: "4294967296"}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
maxPods: 57
evictionHard: {memory.available: 100Mi, nodefs.available: 1Gi, nodefs.inodesFree: 1%, imagefs.available: 1Gi, imagefs.inodesFree: 1%}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens:
- token: kubead.mfile0123456789a
  description: by the file
  ttl: 2h0m0s
localAPIEndpoint:
  advertiseAddress: 10.77.0.11
nodeRegistration:
  name: n1
  kubeletExtraArgs:
  - {name: node-labels, value: by=file}
  taints: []
  ignorePreflightErrors: [SystemVerification, NumCPU]
patches:
  directory: /root/patches
skipPhases: [upload-certs]
"#;

/// Each with its name in the folder.
const PATCHES: [(&str, &str); 6] = [
    (
        "kube-apiserver0.yaml",
        "spec: {containers: [{name: kube-apiserver, resources: {requests: {cpu: 111m}}, env: [{name: PATCHED, value: a}]}]}",
    ),
    ("kube-apiserver1+json.yaml", "- {op: add, path: /metadata/annotations/patched, value: first}"),
    ("kube-apiserver2+merge.yaml", "metadata: {annotations: {patched: second}}"),
    ("etcd+merge.json", r#"{"metadata": {"labels": {"patched": "etcd"}}}"#),
    ("kubeletconfiguration+strategic.yaml", "podPidsLimit: 4099"),
    ("corednsdeployment.yaml", "spec: {replicas: 1}"),
];

/// What kubeadm has no fields for, from the lab's inventory.
pub fn own_document(lab: &Lab) -> String {
    let text = std::fs::read_to_string(lab.inventory()).expect("the lab is up");
    let mut inventory: serde_yaml::Mapping = serde_yaml::from_str(&text).expect("it is YAML");
    for field in ["hosts", "name", "kubernetes", "kubelet", "ssh"] {
        inventory.remove(field);
    }
    inventory.insert("network".into(), serde_yaml::from_str("{cni: flannel}").expect("it is YAML"));
    serde_yaml::to_string(&inventory).expect("it is plain data")
}

fn write(lab: &Lab, host: &str, path: &str, text: &str) {
    lab.on(host, &format!("umask 077; mkdir -p /root/patches; cat >{path} <<'END'\n{text}\nEND\n")).ok();
}

fn bring(lab: &Lab, host: &str) {
    lab.put(host, &lab.kboot_path(), KBOOT, "755");
    lab.put(host, &lab.folder.join("repo.asc"), "/root/repo.asc", "644");
    // The endpoint is a name that somebody must know.
    lab.on(host, "grep -q by-file /etc/hosts || echo '10.77.0.11 api.by-file.test' >>/etc/hosts").ok();
}

fn configuration(lab: &Lab, map: &str, key: &str) -> Value {
    let map = cluster::object(lab, &format!("-n kube-system configmap {map}"));
    let text = map["data"][key].as_str().unwrap_or_else(|| panic!("no {key} in {map}"));
    serde_yaml::from_str(text).expect("it is YAML")
}

fn manifest(lab: &Lab, path: &str) -> Value {
    serde_yaml::from_str(&lab.on("n1", &format!("cat {path}")).ok().stdout).expect("it is YAML")
}

fn init(lab: &Lab) {
    bring(lab, "n1");
    write(lab, "n1", "/root/plain.yaml", FILE);
    write(lab, "n1", "/root/kubeadm.yaml", &format!("{FILE}---\n{}", own_document(lab)));
    for (name, text) in PATCHES {
        write(lab, "n1", &format!("/root/patches/{name}"), text);
    }
    // A mistake in it is told, and nothing is touched.
    write(lab, "n1", "/root/bad.yaml", &FILE.replace("podSubnet", "podSubnets"));
    lab.kboot_on("n1", "init --config /root/bad.yaml").ends(2).says(&["bad.yaml:11:3", "podSubnets", "did you mean"]);

    let run = Run::on(lab, "n1", &format!("{KBOOT} init --config /root/kubeadm.yaml")).ends(0);
    assert!(!run.changes().is_empty(), "{run}");
    Run::on(lab, "n1", &format!("{KBOOT} init --config /root/kubeadm.yaml")).ends(0).is_unchanged();

    // The real kubeadm takes the file for good, and the cluster says what it says.
    lab.on("n1", "kubeadm config validate --config /root/plain.yaml").ok();
    let config = configuration(lab, "kubeadm-config", "ClusterConfiguration");
    let file: Vec<Value> = serde_yaml::Deserializer::from_str(FILE)
        .map(|document| serde::Deserialize::deserialize(document).expect("it is YAML"))
        .collect();
    for field in
        ["clusterName", "controlPlaneEndpoint", "networking", "encryptionAlgorithm", "certificateValidityPeriod"]
    {
        assert_eq!(config[field], file[1][field], "{field}");
    }
    assert_eq!(config["kubernetesVersion"], "v1.37.2");
    assert_eq!(config["apiServer"]["certSANs"], json!(["api.by-file.test", "192.0.2.10"]));
    assert_eq!(config["apiServer"]["extraEnvs"], file[1]["apiServer"]["extraEnvs"]);
    for (component, name) in [("apiServer", "audit-log-maxage"), ("controllerManager", "terminated-pod-gc-threshold")] {
        let arguments = config[component]["extraArgs"].as_array().unwrap_or_else(|| panic!("{config}"));
        assert!(arguments.iter().any(|argument| argument["name"] == name), "{name}: {config}");
    }
    assert_eq!(configuration(lab, "kubelet-config", "kubelet")["maxPods"], 57);
    assert_eq!(configuration(lab, "kube-proxy", "config.conf")["metricsBindAddress"], "0.0.0.0:10249");

    let certificates = lab.on("n1", "kubeadm certs check-expiration").ok();
    assert!(!certificates.text().contains("MISSING") && !certificates.text().contains("invalid"), "{certificates}");
    let line = certificates.stdout.lines().find(|line| line.starts_with("apiserver ")).expect("it has a certificate");
    assert!(line.contains("179d"), "{line}");
    lab.on("n1", "kubeadm token list").ok().says(&[TOKEN, "by the file"]);

    let node = cluster::object(lab, "node n1");
    assert_eq!(node["status"]["capacity"]["pods"], "57");
    assert_eq!(node["metadata"]["labels"]["by"], "file");
    assert_eq!(node["spec"]["taints"], Value::Null);
    let kubelet = manifest(lab, "/var/lib/kubelet/config.yaml");
    assert_eq!((&kubelet["podPidsLimit"], &kubelet["clusterDomain"]), (&json!(4099), &json!("by-file.test")));
    let dns = cluster::object(lab, "-n kube-system deployment coredns");
    assert_eq!(dns["spec"]["replicas"], 1);
    let pod = cluster::object(lab, "-n kube-system pod kube-apiserver-n1");
    assert_eq!(pod["metadata"]["annotations"]["patched"], "second");
    assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"], "111m");
    cluster::nodes_are_ready(lab, &["n1"]);
    cluster::system_pods_run(lab);
}

/// Flags that kboot adds of itself.
const OWN_FLAGS: [&str; 3] = ["--kube-api-qps=", "--kube-api-burst=", "--shutdown-watch-termination-grace-period="];

/// kubeadm's dry run writes its manifests, patches and all, into a folder of its own.
fn the_same_pods(lab: &Lab) {
    lab.on(
        "n1",
        "rm -rf /etc/kubernetes/tmp
         kubeadm init phase control-plane all --dry-run --config /root/plain.yaml
         kubeadm init phase etcd local --dry-run --config /root/plain.yaml",
    )
    .ok();
    for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let ours = manifest(lab, &format!("/etc/kubernetes/manifests/{name}.yaml"));
        let theirs = manifest(lab, &format!("/etc/kubernetes/tmp/*/{name}.yaml"));
        // Where a flag stands has no effect.
        let flags = |pod: &Value| {
            let command = pod["spec"]["containers"][0]["command"].as_array().expect("it has a command");
            let flags = command.iter().map(|flag| flag.as_str().expect("it is text").to_owned());
            let mut flags: Vec<String> =
                flags.filter(|flag| !OWN_FLAGS.iter().any(|own| flag.starts_with(own))).collect();
            flags.sort();
            flags
        };
        assert_eq!(flags(&ours), flags(&theirs), "{name}");
        assert_eq!(ours["metadata"], theirs["metadata"], "{name}");
        for field in ["env", "image", "resources", "volumeMounts", "livenessProbe", "startupProbe"] {
            assert_eq!(ours["spec"]["containers"][0][field], theirs["spec"]["containers"][0][field], "{name}: {field}");
        }
        assert_eq!(ours["spec"]["volumes"], theirs["spec"]["volumes"], "{name}");
    }
    lab.on("n1", "rm -rf /etc/kubernetes/tmp").ok();
}

fn join(lab: &Lab) {
    bring(lab, "n2");
    write(lab, "n2", "/root/patches/kubeletconfiguration.yaml", "podPidsLimit: 4098");
    let hash = lab
        .on(
            "n1",
            "openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1",
        )
        .ok();
    let file = |hash: &str| {
        format!(
            "apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
nodeRegistration:
  name: n2
  kubeletExtraArgs:
  - {{name: node-ip, value: 10.77.0.12}}
  taints:
  - {{key: by, value: file, effect: PreferNoSchedule}}
discovery:
  bootstrapToken:
    apiServerEndpoint: api.by-file.test:6443
    token: {TOKEN}
    caCertHashes: [\"sha256:{hash}\"]
patches:
  directory: /root/patches
---
{}",
            own_document(lab)
        )
    };
    write(lab, "n2", "/root/wrong.yaml", &file(&"0".repeat(64)));
    lab.kboot_on("n2", "join --config /root/wrong.yaml").ends(1).says(&["verify the cluster's CA"]);
    // By a kubeconfig that is trusted, as the cluster publishes it.
    let info = "jsonpath={.data.kubeconfig}";
    let discovery = kubectl(lab, &format!("-n kube-public get configmap cluster-info -o '{info}'")).ok();
    write(lab, "n2", "/root/discovery.conf", &discovery.stdout);
    let by_file = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery:\n  \
         file: {{kubeConfigPath: /root/discovery.conf}}\n  tlsBootstrapToken: {TOKEN}\n---\n{}",
        own_document(lab)
    );
    write(lab, "n2", "/root/by-file.yaml", &by_file);
    lab.kboot_on("n2", "join --config /root/by-file.yaml --dry-run --verbose").ok().says(&["maxPods: 57", "kubelet"]);

    write(lab, "n2", "/root/join.yaml", &file(hash.stdout.trim()));
    lab.kboot_on("n2", &format!("join --config /root/join.yaml --token {TOKEN}"))
        .ends(2)
        .says(&["--token", "discovery"]);
    Run::on(lab, "n2", &format!("{KBOOT} join --config /root/join.yaml")).ends(0);
    cluster::node_becomes_ready(lab, "n2");
    Run::on(lab, "n2", &format!("{KBOOT} join --config /root/join.yaml")).ends(0).is_unchanged();
    lab.on("n2", "grep -q 'podPidsLimit: 4098' /var/lib/kubelet/config.yaml && grep -q 'maxPods: 57' /var/lib/kubelet/config.yaml").ok();
    let node = cluster::object(lab, "node n2");
    assert_eq!(node["spec"]["taints"][0]["key"], "by", "{node}");
    kubectl(lab, "get nodes").ok();
}
