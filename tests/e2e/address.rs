//! Hosts get other addresses while their cluster runs: nodes, etcd members and all that names them follow, also where the former address is
//! gone already; and what was acknowledged meanwhile is there.

use std::time::Duration;

use serde_json::Value;

use crate::chains::{Start, Test};
use crate::cluster;
use crate::command::{Done, eventually};
use crate::endpoint::{self, CONTROL_PLANES, WORKER, Writer};
use crate::etcdctl;
use crate::events::Run;
use crate::lab::Lab;
use crate::up::CLUSTER;

pub const ON_CLUSTER: &[Test] =
    &[Test { name: "address::a_single_control_plane_and_a_worker_move_and_back", start: CLUSTER, run: single }];

pub const AMONG_THREE: Test = Test {
    name: "address::a_control_plane_of_three_and_a_worker_move_under_load",
    start: Start::After("endpoint::and_back_again"),
    run: among_three,
};

const MOVE: [&str; 2] = ["endpoint", "move"];

/// The other address of a host: `10.77.0.22` of n2.
fn other(host: &str) -> String {
    format!("10.77.0.2{}", &host[1..])
}

fn first(host: &str) -> String {
    format!("10.77.0.1{}", &host[1..])
}

/// The hosts get their other addresses as well, and the controller knows their keys by these.
#[track_caller]
fn give(lab: &Lab, hosts: &[&str]) {
    let path = lab.folder.join("known_hosts");
    let mut known = std::fs::read_to_string(&path).expect("the lab is up");
    for host in hosts {
        let start = format!("{} ", first(host));
        let keys: Vec<String> = known.lines().filter_map(|line| line.strip_prefix(&start)).map(String::from).collect();
        keys.iter().for_each(|key| known += &format!("{} {key}\n", other(host)));
        // An interface that loses its first address keeps the others.
        let script =
            format!("sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1; ip addr add {}/24 dev eth0", other(host));
        lab.on(host, &script).ok();
    }
    std::fs::write(&path, known).expect("the lab's folder is writable");
}

/// Runs a script on the host that has this address.
#[track_caller]
fn at(lab: &Lab, address: &str, script: &str) -> Done {
    let config = lab.folder.join("ssh_config").display().to_string();
    lab.exec(&["timeout", "60", "ssh", "-F", &config, &format!("root@{address}"), script])
}

/// The host that has both addresses loses one of them.
#[track_caller]
fn take(lab: &Lab, address: &str, by: &str) {
    at(lab, by, &format!("ip addr del {address}/24 dev eth0; ip route replace default via 10.77.0.1")).ok();
}

/// The inventory in which these hosts have their other addresses.
fn moved(lab: &Lab, inventory: &str, name: &str, hosts: &[&str]) -> String {
    let text = std::fs::read_to_string(inventory).expect("it was written");
    let mut moved: serde_yaml::Value = serde_yaml::from_str(&text).expect("it is YAML");
    for host in moved["hosts"].as_sequence_mut().expect("it has hosts") {
        let name = host["name"].as_str().expect("it has a name").to_string();
        if hosts.contains(&name.as_str()) {
            host["address"] = other(&name).into();
        }
    }
    lab.inventory_with(name, |inventory| *inventory = moved)
}

/// The nodes are Ready, have these addresses, and flannel sends their packets there.
#[track_caller]
fn are_at(lab: &Lab, by: &str, nodes: &[(&str, String)]) {
    eventually(Duration::from_secs(60), "all nodes are where their hosts are", || {
        let done =
            at(lab, by, "kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=5s get nodes -o json");
        let list: Value = serde_json::from_str(&done.stdout).map_err(|_| done.to_string())?;
        for (name, address) in nodes {
            let items = list["items"].as_array().ok_or("no list")?;
            let node = items.iter().find(|node| node["metadata"]["name"] == *name).ok_or("no such node")?;
            let known = node["status"]["addresses"].as_array().ok_or("no addresses")?;
            let is_there =
                known.iter().any(|known| known["type"] == "InternalIP" && known["address"] == address.as_str());
            let sent = &node["metadata"]["annotations"]["flannel.alpha.coreos.com/public-ip"];
            if !is_there || sent != address.as_str() || cluster::condition(node, "Ready") != "True" {
                return Err(format!("{name} is at {known:?}, packets go to {sent}"));
            }
        }
        Ok(())
    });
}

/// The cluster's DNS servers, which are pods on several nodes, answer on this host.
#[track_caller]
fn pods_answer(lab: &Lab, by: &str) {
    let script = "command -v curl >/dev/null || apt-get install -qq -y --no-install-recommends curl >/dev/null; \
                  for ip in $(kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system get pods -l k8s-app=kube-dns \
                  -o jsonpath='{.items[*].status.podIP}'); do curl -sS --max-time 5 -o /dev/null http://$ip:8181/ready || exit 1; done";
    eventually(Duration::from_secs(30), "pods on all nodes answer", || {
        let done = at(lab, by, script);
        if done.code == Some(0) { Ok(()) } else { Err(done.to_string()) }
    });
}

/// The control plane's address is the cluster's endpoint. It moves while it has both, and back when the other one is gone already.
fn single(lab: &Lab) {
    let hosts = ["n1", "n2"];
    let before = lab.inventory();
    let after = moved(lab, &before, "address-single", &hosts);
    // Neither has the address yet; SSH goes on by the former one.
    let nowhere = lab.inventory_with("address-nowhere", |inventory| {
        let worker = &mut inventory["hosts"][1];
        worker["address"] = other("n2").into();
        worker["ssh"] = serde_yaml::from_str(&format!("{{address: {}}}", first("n2"))).expect("it is YAML");
    });
    lab.kboot(&["endpoint", "move", "-i", &nowhere]).ends(1).says(&["10.77.0.22 is not an address of this host"]);

    give(lab, &hosts);
    let refused = Run::of(lab, &["up", "-i", &after]).ends(1);
    assert!(refused.changes().is_empty() && refused.done.text().contains("kboot endpoint move"), "{refused}");
    let plan = lab.kboot(&["endpoint", "move", "-i", &after, "--dry-run", "-o", "plain"]).ok();
    plan.says(&[
        "have the etcd member n1 known by https://10.77.0.21:2380",
        "+    - --advertise-address=10.77.0.21",
        "+KUBELET_KUBEADM_ARGS=\"--node-ip=10.77.0.22\"",
        "update ConfigMap kube-public/cluster-info",
    ]);
    Run::of(lab, &[MOVE[0], MOVE[1], "-i", &after]).ends(0);
    for host in hosts {
        take(lab, &first(host), &other(host));
    }
    let by = other("n1");
    are_at(lab, &by, &[("n1", other("n1")), ("n2", other("n2")), ("n3", first("n3"))]);
    pods_answer(lab, &by);
    let named = "grep -rl 10.77.0.11 /etc/kubernetes/*.conf /etc/kubernetes/manifests; for it in kube-public/cluster-info kube-system/kube-proxy \
                 kube-system/kubeadm-config; do kubectl --kubeconfig /etc/kubernetes/admin.conf -n ${it%/*} get configmap ${it#*/} -o yaml; \
                 done | grep 10.77.0.11; openssl x509 -noout -ext subjectAltName -in /etc/kubernetes/pki/apiserver.crt | grep 10.77.0.11; true";
    assert_eq!(at(lab, &by, named).ok().stdout, "", "the former address is named still");
    Run::of(lab, &["up", "-i", &after]).ends(0).is_unchanged();

    // Renumbered at once: nobody finds anybody.
    for host in hosts {
        at(lab, &other(host), &format!("ip addr add {}/24 dev eth0", first(host))).ok();
        take(lab, &other(host), &first(host));
    }
    Run::of(lab, &[MOVE[0], MOVE[1], "-i", &before]).ends(0);
    are_at(lab, &first("n1"), &["n1", "n2", "n3"].map(|host| (host, first(host))));
    pods_answer(lab, &first("n1"));
    Run::of(lab, &["up", "-i", &before]).ends(0).is_unchanged();
}

/// Who asks another control plane notices nothing, though the move is killed where etcd's members know of it and the member does not.
fn among_three(lab: &Lab) {
    let hosts = ["n2", WORKER];
    let before = endpoint::inventory(lab, "endpoint-three", &CONTROL_PLANES, &[]);
    let after = moved(lab, &before, "address-three", &hosts);
    let server = || lab.on("n1", "crictl ps -q --name '^kube-apiserver$'").ok().stdout;
    give(lab, &hosts);
    let untouched = server();
    let writer = Writer::start(lab, "https://10.77.0.13:6443");
    let mut moving = lab.start_kboot(&["endpoint", "move", "-i", &after, "-o", "json"]);
    moving.until(Duration::from_secs(120), "etcd's members know of it", |said| {
        said.lines().any(|line| line.contains("change-finished") && line.contains("set-member"))
    });
    moving.signal(rustix::process::Signal::KILL);
    moving.wait(Duration::from_secs(30));
    Run::of(lab, &[MOVE[0], MOVE[1], "-i", &after]).ends(0);
    take(lab, &first("n2"), &other("n2"));
    writer.writes(Duration::from_secs(20));
    writer.end("a control plane and the worker move, and another control plane is asked");

    let nodes = [("n1", first("n1")), ("n2", other("n2")), ("n3", first("n3")), (WORKER, other(WORKER))];
    are_at(lab, &first("n1"), &nodes);
    pods_answer(lab, &other("n2"));
    let mut urls: Vec<String> = etcdctl::members(lab, "n1").into_iter().map(|member| member.peer_url).collect();
    urls.sort();
    assert_eq!(urls, ["https://10.77.0.11:2380", "https://10.77.0.13:2380", "https://10.77.0.22:2380"]);
    at(lab, &other("n2"), "grep server: /etc/kubernetes/{admin,kubelet,scheduler}.conf | grep -v 10.77.0.22").ends(1);
    lab.on(WORKER, "grep 'server n' /etc/haproxy/haproxy.cfg").ok().says(&["server n2 10.77.0.22:6443"]);
    assert_eq!(server(), untouched, "the API server of a control plane that stays was started anew");
    Run::of(lab, &["up", "-i", &after]).ends(0).is_unchanged();
    at(lab, &other("n2"), &format!("ip addr add {}/24 dev eth0", first("n2"))).ok();
    endpoint::all_are_ready(lab, "n3");
}
