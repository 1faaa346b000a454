//! The cluster as its users see it: nodes, pods, names, ports.

use std::time::Duration;

use serde_json::Value;

use crate::command::{Done, eventually};
use crate::events::text;
use crate::lab::Lab;

/// A server on each worker, and a service with a port on every node.
const SERVERS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30008}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-n2, labels: {app: web}}
spec:
  nodeSelector: {disk: ssd}
  terminationGracePeriodSeconds: 0
  containers:
    - {name: web, image: "registry.k8s.io/testbed/agnhost:1", args: [netexec, --http-port=8080]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-n3, labels: {app: web}}
spec:
  nodeSelector: {kubernetes.io/hostname: n3}
  tolerations: [{key: dedicated, operator: Equal, value: db, effect: NoSchedule}]
  terminationGracePeriodSeconds: 0
  containers:
    - {name: web, image: "registry.k8s.io/testbed/agnhost:1", args: [netexec, --http-port=8080]}
"#;

pub const SERVER_PODS: [&str; 2] = ["web-n2", "web-n3"];

/// kubectl on the control plane, as its administrator.
#[track_caller]
pub fn kubectl(lab: &Lab, arguments: &str) -> Done {
    lab.on("n1", &format!("exec kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=20s {arguments}"))
}

#[track_caller]
pub fn objects(lab: &Lab, arguments: &str) -> Vec<Value> {
    let done = kubectl(lab, &format!("get {arguments} -o json")).ok();
    let list: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}\n{done}"));
    list["items"].as_array().unwrap_or_else(|| panic!("no list\n{done}")).clone()
}

#[track_caller]
pub fn object(lab: &Lab, arguments: &str) -> Value {
    let done = kubectl(lab, &format!("get {arguments} -o json")).ok();
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}\n{done}"))
}

/// Puts objects into the cluster.
#[track_caller]
pub fn apply(lab: &Lab, objects: &str) {
    let script = format!(
        "kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f - <<'END_OF_OBJECTS'\n{objects}\nEND_OF_OBJECTS\n"
    );
    lab.on("n1", &script).ok();
}

/// These nodes and no others, all Ready: right now, for kboot has waited for that.
#[track_caller]
pub fn nodes_are_ready(lab: &Lab, names: &[&str]) {
    let nodes = objects(lab, "nodes");
    let found: Vec<String> = nodes.iter().map(|node| text(&node["metadata"]["name"])).collect();
    assert_eq!(found, names, "the cluster has other nodes");
    for node in &nodes {
        assert_eq!(condition(node, "Ready"), "True", "{}: {}", node["metadata"]["name"], node["status"]["conditions"]);
    }
}

/// The same a moment later: kubeadm's users know that `join` waits for the node, and not for its network.
#[track_caller]
pub fn node_becomes_ready(lab: &Lab, name: &str) {
    eventually(Duration::from_secs(60), &format!("{name} is Ready"), || {
        let node = object(lab, &format!("node {name}"));
        if condition(&node, "Ready") == "True" { Ok(()) } else { Err(node["status"]["conditions"].to_string()) }
    });
}

pub fn condition(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == kind).map_or("none".into(), |found| text(&found["status"]))
}

/// Every pod of the system runs and is ready, the pod network's included.
#[track_caller]
pub fn system_pods_run(lab: &Lab) {
    eventually(Duration::from_secs(60), "every pod of the system runs", || {
        let mut pods = objects(lab, "pods -n kube-system");
        pods.extend(objects(lab, "pods -n kube-flannel"));
        let names: Vec<String> = pods.iter().map(|pod| text(&pod["metadata"]["name"])).collect();
        for part in [
            "etcd-",
            "kube-apiserver-",
            "kube-controller-manager-",
            "kube-scheduler-",
            "kube-proxy-",
            "coredns-",
            "kube-flannel-",
        ] {
            if !names.iter().any(|name| name.starts_with(part)) {
                return Err(format!("there is no pod {part}: {names:?}"));
            }
        }
        let bad: Vec<String> = pods
            .iter()
            .filter(|pod| pod["status"]["phase"] != "Running" || condition(pod, "Ready") != "True")
            .map(|pod| format!("{}: {}", pod["metadata"]["name"], pod["status"]))
            .collect();
        if bad.is_empty() { Ok(()) } else { Err(bad.join("\n")) }
    });
}

/// Servers on both workers reach each other by address, by name, and are reached from outside.
#[track_caller]
pub fn pods_reach_each_other(lab: &Lab) {
    apply(lab, SERVERS);
    kubectl(lab, "wait --for=condition=Ready --timeout=180s pod/web-n2 pod/web-n3").ok();
    let ip = |pod: &str| text(&object(lab, &format!("pod {pod}"))["status"]["podIP"]);
    for (from, to) in [("web-n2", "web-n3"), ("web-n3", "web-n2")] {
        let address = ip(to);
        assert_eq!(fetch_in(lab, from, &format!("http://{address}:8080/hostname")), to);
    }
    // Names and service addresses are set up beside the pods' becoming ready.
    eventually(Duration::from_secs(20), "a service is reached by its names", || {
        for name in ["web", "web.default.svc.cluster.local"] {
            let answers = SERVER_PODS.map(|pod| fetch_in(lab, pod, &format!("http://{name}/hostname")));
            if !answers.iter().all(|answer| SERVER_PODS.contains(&answer.as_str())) {
                return Err(format!("{name} answers {answers:?}"));
            }
        }
        Ok(())
    });
    for address in ["10.77.0.11", "10.77.0.12", "10.77.0.13"] {
        eventually(Duration::from_secs(20), &format!("port 30008 answers on {address}"), || {
            let answer = http(lab, address, 30008, "/hostname");
            if SERVER_PODS.iter().any(|pod| answer.ends_with(pod)) { Ok(()) } else { Err(answer) }
        });
    }
}

/// What a pod gets from a URL: `kubectl exec` at work.
pub fn fetch_in(lab: &Lab, pod: &str, url: &str) -> String {
    kubectl(lab, &format!("exec {pod} -- curl -sSm 5 {url}")).text().trim().into()
}

/// What the controller gets from a port, as any machine beside the cluster would.
pub fn http(lab: &Lab, address: &str, port: u16, path: &str) -> String {
    let script = format!(
        r#"exec 3<>/dev/tcp/{address}/{port} && printf 'GET {path} HTTP/1.0\r\nHost: test\r\n\r\n' >&3 && cat <&3"#
    );
    lab.exec(&["timeout", "5", "bash", "-c", &script]).text()
}

/// Reads the logs of a pod and runs a command in it.
#[track_caller]
pub fn logs_and_exec_work(lab: &Lab) {
    for pod in SERVER_PODS {
        // It tells its ports when it starts.
        kubectl(lab, &format!("logs {pod}")).ok().says(&["8080"]);
        let done = kubectl(lab, &format!("exec {pod} -- hostname")).ok();
        assert_eq!(done.stdout.trim(), pod, "{done}");
    }
}

/// The cluster of the lab's own inventory, in all that a user would look at.
#[track_caller]
pub fn is_good(lab: &Lab) {
    nodes_are_ready(lab, &["n1", "n2", "n3"]);
    system_pods_run(lab);
    let nodes = objects(lab, "nodes");
    assert_eq!(nodes[1]["metadata"]["labels"]["disk"], "ssd", "{}", nodes[1]["metadata"]);
    let taints = nodes.iter().map(|node| node["spec"]["taints"].clone()).collect::<Vec<_>>();
    assert_eq!(taints[0][0]["key"], "node-role.kubernetes.io/control-plane", "{taints:?}");
    assert_eq!(taints[1], Value::Null, "{taints:?}");
    assert_eq!(
        taints[2],
        serde_json::json!([{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]),
        "{taints:?}"
    );
    pods_reach_each_other(lab);
    logs_and_exec_work(lab);
}
