//! The API through a control plane's end: what is in front of three of them goes on, for workers' own balancers and for a virtual
//! address. A writer makes numbered objects all the while; what was acknowledged is there, and the longest time without is told.

use std::time::Duration;

use serde_json::Value;

use crate::address;
use crate::chains::{Start, Test};
use crate::cluster::condition;
use crate::command::{Running, eventually};
use crate::events::{Run, text};
use crate::lab::Lab;

pub const TESTS: &[Test] = &[
    Test { name: "endpoint::one_control_plane_grows_to_three_under_load", start: Start::bare(4), run: grows },
    Test { name: "endpoint::a_local_balancer_outlives_n1_killed", start: LOCAL, run: |lab| local_killed(lab, "n1") },
    Test { name: "endpoint::a_local_balancer_outlives_n2_killed", start: LOCAL, run: |lab| local_killed(lab, "n2") },
    Test { name: "endpoint::a_local_balancer_outlives_n3_killed", start: LOCAL, run: |lab| local_killed(lab, "n3") },
    Test { name: "endpoint::a_local_balancer_outlives_n1_cut_off", start: LOCAL, run: |lab| local_cut(lab, "n1") },
    Test { name: "endpoint::a_local_balancer_outlives_n2_cut_off", start: LOCAL, run: |lab| local_cut(lab, "n2") },
    Test { name: "endpoint::a_local_balancer_outlives_n3_cut_off", start: LOCAL, run: |lab| local_cut(lab, "n3") },
    Test { name: "endpoint::a_local_balancer_is_mended_and_never_taken_from_others", start: LOCAL, run: local_mended },
    Test { name: "endpoint::a_worker_that_joins_by_hand_balances_as_well", start: LOCAL, run: local_join },
    Test { name: "endpoint::a_cluster_moves_to_a_virtual_address_under_load", start: LOCAL, run: moves },
    Test { name: "endpoint::a_virtual_address_outlives_its_holder", start: MOVED, run: vip_holder_killed },
    Test { name: "endpoint::a_virtual_address_outlives_another_control_plane", start: MOVED, run: vip_other_killed },
    Test { name: "endpoint::a_virtual_address_outlives_its_holder_cut_off", start: MOVED, run: vip_holder_cut },
    Test { name: "endpoint::a_reset_takes_all_of_it_away", start: MOVED, run: reset },
    Test { name: "endpoint::a_virtual_address_is_the_endpoint", start: Start::bare(4), run: vip },
    Test { name: "endpoint::and_back_again", start: VIP, run: moves_back },
    address::AMONG_THREE,
];

const LOCAL: Start = Start::After("endpoint::one_control_plane_grows_to_three_under_load");
const MOVED: Start = Start::After("endpoint::a_cluster_moves_to_a_virtual_address_under_load");
const VIP: Start = Start::After("endpoint::a_virtual_address_is_the_endpoint");

pub const CONTROL_PLANES: [&str; 3] = ["n1", "n2", "n3"];
/// Where the writer is: a worker that nobody harms.
pub const WORKER: &str = "n4";
const ADDRESS: &str = "10.77.0.100";
const LOCAL_SERVER: &str = "https://127.0.0.1:6443";
const VIP_SERVER: &str = "https://10.77.0.100:8443";
/// The longest time without an acknowledged write.
const LONGEST_GAP: Duration = Duration::from_secs(10);

/// Writes as an administrator until it is told to stop; a line for each write that was acknowledged: its number, and when. It tries each
/// number once: whether one came through without an answer is nobody's to know.
const WRITER: &str = r#"
cd /root/writer
field() { sed -n "s/.*$1: //p" admin.conf | base64 -d; }
field certificate-authority-data >ca; field client-certificate-data >crt; (umask 077; field client-key-data >key)
i=0
while [ ! -e stop ]; do
  i=$((i + 1))
  code=$(curl -s -o answer -w '%{http_code}' --connect-timeout 1 --max-time 2 --cacert ca --cert crt --key key \
    -H 'Content-Type: application/json' -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"w-'$i'","labels":{"w":"w"}}}' \
    SERVER/api/v1/namespaces/default/configmaps)
  case $code in
    201) echo "$i $(date +%s%3N)" >>acknowledged ;;
    *) echo "$i $(date +%s%3N) $code $(cut -c 1-200 <answer | tr -d '\n')" >>failed; rm -f answer ;;
  esac
  sleep 0.05
done
"#;

pub struct Writer<'a> {
    lab: &'a Lab,
    server: &'static str,
    running: Running,
}

impl<'a> Writer<'a> {
    /// Starts it; it has written something.
    #[track_caller]
    pub fn start(lab: &'a Lab, server: &'static str) -> Self {
        lab.install_curl(WORKER);
        let kubeconfig = lab.on("n1", "cat /etc/kubernetes/admin.conf").ok().stdout;
        let bring = format!(
            "rm -rf /root/writer; mkdir -m 700 /root/writer; cat >/root/writer/admin.conf <<'END'\n{kubeconfig}\nEND\n"
        );
        lab.on(WORKER, &bring).ok();
        let writer = Self { lab, server, running: lab.start_on(WORKER, &WRITER.replace("SERVER", server)) };
        writer.writes(Duration::from_secs(20));
        writer
    }

    fn count(&self) -> usize {
        let said = self.lab.on(WORKER, "cat /root/writer/acknowledged 2>/dev/null | wc -l").ok().stdout;
        said.trim().parse().expect("a number")
    }

    /// It writes, for a while from now on.
    #[track_caller]
    pub fn writes(&self, limit: Duration) {
        let before = self.count();
        eventually(limit, "writes are acknowledged", || match self.count() {
            now if now >= before + 20 => Ok(()),
            now => Err(format!("{now} so far; {}", self.lab.on(WORKER, "tail -n 3 /root/writer/failed").text())),
        });
    }

    /// Stops it. What was acknowledged is there, and the longest gap was bearable; it is told as `what`.
    #[track_caller]
    pub fn end(self, what: &str) {
        let Self { lab, server, running } = self;
        lab.on(WORKER, "touch /root/writer/stop").ok();
        running.wait(Duration::from_secs(60));
        let acknowledged = lab.on(WORKER, "cat /root/writer/acknowledged").ok().stdout;
        let writes: Vec<(u64, u64)> = acknowledged
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(number, at)| (number.parse().expect("a number"), at.parse().expect("milliseconds")))
            .collect();
        let script = format!(
            "cd /root/writer; curl -sS --max-time 20 --cacert ca --cert crt --key key \
             '{server}/api/v1/namespaces/default/configmaps?labelSelector=w=w'"
        );
        let list: Value = serde_json::from_str(&lab.on(WORKER, &script).ok().stdout).expect("a list");
        let items = list["items"].as_array().expect("a list has items");
        let there: Vec<String> = items.iter().map(|item| text(&item["metadata"]["name"])).collect();
        let lost: Vec<&u64> =
            writes.iter().map(|(number, _)| number).filter(|number| !there.contains(&format!("w-{number}"))).collect();
        let gap = writes.windows(2).map(|pair| pair[1].1 - pair[0].1).max().expect("more than one write");
        let failed = lab.on(WORKER, "cat /root/writer/failed 2>/dev/null | wc -l").ok().stdout;
        lab.note(format!(
            "{what}: {} acknowledged writes, {} lost, {} failed, longest gap {:.1} s",
            writes.len(),
            lost.len(),
            failed.trim(),
            gap as f64 / 1000.0
        ));
        let delete = format!(
            "cd /root/writer; curl -sS -o /dev/null --max-time 30 -X DELETE --cacert ca --cert crt --key key \
             '{server}/api/v1/namespaces/default/configmaps?labelSelector=w=w'"
        );
        lab.on(WORKER, &delete).ok();
        assert!(lost.is_empty(), "acknowledged, and not there: {lost:?}");
        let failures = lab.on(WORKER, "tail -n 20 /root/writer/failed").text();
        assert!(Duration::from_millis(gap) < LONGEST_GAP, "{gap} ms without an acknowledged write\n{failures}");
    }
}

/// The lab's inventory of these control planes and the worker, with more fields.
pub fn inventory(lab: &Lab, name: &str, control_planes: &[&str], more: &[(&str, &str)]) -> String {
    lab.inventory_with(name, |inventory| {
        for (field, value) in more {
            let value = serde_yaml::from_str(value).expect("it is YAML");
            inventory.as_mapping_mut().expect("fields").insert((*field).into(), value);
        }
        let hosts = inventory["hosts"].as_sequence_mut().expect("it has hosts");
        hosts.retain(|host| host["name"].as_str().is_some_and(|name| control_planes.contains(&name) || name == WORKER));
        for host in hosts {
            let role = if host["name"] == WORKER { "worker" } else { "control-plane" };
            let host = host.as_mapping_mut().expect("fields");
            host.insert("roles".into(), vec![role.to_string()].into());
            host.remove("taints");
        }
    })
}

#[track_caller]
fn kubectl(lab: &Lab, host: &str, arguments: &str) -> String {
    let line = format!("kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s {arguments}");
    lab.on(host, &line).ok().stdout
}

/// Every API server says that it is ready, and so is its etcd member; and all four nodes are Ready, as this control plane sees it. A
/// node that was gone for seconds only never was anything else.
#[track_caller]
pub fn all_are_ready(lab: &Lab, host: &str) {
    let servers = CONTROL_PLANES.map(|host| format!("https://10.77.0.1{}:6443/readyz", &host[1..])).join(" ");
    lab.install_curl(WORKER);
    let script = format!("for url in {servers}; do curl -sk --max-time 5 -o /dev/null -w '%{{http_code}} ' $url; done");
    eventually(Duration::from_secs(90), "all API servers are ready", || {
        let said = lab.on(WORKER, &script).stdout;
        if said.trim() == "200 200 200" { Ok(()) } else { Err(said) }
    });
    eventually(Duration::from_secs(90), "all nodes are Ready", || {
        let line = "kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=5s get nodes -o json";
        let done = lab.on(host, line);
        let list: Value = serde_json::from_str(&done.stdout).map_err(|_| done.to_string())?;
        let nodes = list["items"].as_array().ok_or("no list")?;
        let ready = nodes.iter().filter(|node| condition(node, "Ready") == "True").count();
        if ready == 4 { Ok(()) } else { Err(format!("{ready} are")) }
    });
}

/// A host is gone at once while the writer writes, and comes back.
#[track_caller]
fn killed(lab: &Lab, server: &'static str, host: &str, what: &str) {
    gone(lab, server, host, what);
    back(lab, host);
}

#[track_caller]
fn gone(lab: &Lab, server: &'static str, host: &str, what: &str) {
    let writer = Writer::start(lab, server);
    lab.testbed(&["host", "kill", host]).ok();
    writer.writes(Duration::from_secs(30));
    writer.end(what);
}

#[track_caller]
fn back(lab: &Lab, host: &str) {
    lab.testbed(&["host", "start", host]).ok();
    all_are_ready(lab, CONTROL_PLANES.into_iter().find(|other| *other != host).expect("there are three"));
}

/// The same with its cable pulled: it goes on, and nobody hears of it.
#[track_caller]
fn cut(lab: &Lab, server: &'static str, host: &str, what: &str) {
    let writer = Writer::start(lab, server);
    let link = format!("v-{host}");
    lab.exec(&["ip", "link", "set", &link, "down"]).ok();
    writer.writes(Duration::from_secs(30));
    lab.exec(&["ip", "link", "set", &link, "up"]).ok();
    // Its coming back costs nothing either.
    writer.writes(Duration::from_secs(30));
    writer.end(what);
    all_are_ready(lab, CONTROL_PLANES.into_iter().find(|other| *other != host).expect("there are three"));
}

/// A worker of a single control plane's cluster moves to its own balancer, with everything on it, and never loses the API.
fn grows(lab: &Lab) {
    let one = inventory(lab, "endpoint-one", &["n1"], &[]);
    Run::of(lab, &["up", "-i", &one]).ends(0);
    let servers = "grep -h server: /etc/kubernetes/kubelet.conf";
    lab.on(WORKER, servers).ok().says(&["https://10.77.0.11:6443"]);
    let writer = Writer::start(lab, "https://10.77.0.11:6443");
    let three = inventory(lab, "endpoint-three", &CONTROL_PLANES, &[]);
    Run::of(lab, &["up", "-i", &three]).ends(0);
    writer.writes(Duration::from_secs(20));
    writer.end("one control plane grows to three, asked by its address");
    lab.on(WORKER, servers).ok().says(&[LOCAL_SERVER]);
    // A control plane's own server answers there already.
    for host in CONTROL_PLANES {
        let address = format!("https://10.77.0.1{}:6443", &host[1..]);
        lab.on(host, servers).ok().says(&[&address]);
        lab.on(host, "! test -e /etc/haproxy").ok();
    }
    let proxy = kubectl(lab, "n1", "-n kube-system get configmap kube-proxy -o yaml");
    assert!(proxy.contains(LOCAL_SERVER), "{proxy}");
    all_are_ready(lab, "n2");
    Run::of(lab, &["up", "-i", &three]).ends(0).is_unchanged();
}

fn local_killed(lab: &Lab, host: &str) {
    killed(lab, LOCAL_SERVER, host, &format!("local balancer, {host} killed"));
}

fn local_cut(lab: &Lab, host: &str) {
    cut(lab, LOCAL_SERVER, host, &format!("local balancer, {host}'s network cut"));
}

/// What somebody does to the balancer is mended by the next run, without a restart; what is somebody's own is refused.
fn local_mended(lab: &Lab) {
    let three = inventory(lab, "endpoint-three", &CONTROL_PLANES, &[]);
    let pid = || lab.on(WORKER, "systemctl show -P MainPID haproxy").ok().stdout;
    let before = pid();
    lab.on(WORKER, "sed -i '/server n2 /d' /etc/haproxy/haproxy.cfg; systemctl reload haproxy").ok();
    let run = Run::of(lab, &["up", "-i", &three]).ends(0);
    let made: Vec<String> = run.of_kind("change-finished").map(|event| text(&event["change"]["change"])).collect();
    assert_eq!(made, ["write-file", "set-unit"], "{run}");
    assert_eq!(pid(), before, "haproxy was restarted\n{run}");
    lab.on(
        WORKER,
        "cp /etc/haproxy/haproxy.cfg /root/; printf 'frontend web\\n  bind *:80\\n' >/etc/haproxy/haproxy.cfg",
    )
    .ok();
    lab.kboot(&["up", "-i", &three]).ends(1).says(&["Balancer", "/etc/haproxy/haproxy.cfg is somebody's own"]);
    lab.on(WORKER, "grep -q web /etc/haproxy/haproxy.cfg && cp /root/haproxy.cfg /etc/haproxy/").ok();
    Run::of(lab, &["up", "-i", &three]).ends(0).is_unchanged();
}

/// By whichever control plane; and to the inventory it is then as if `up` had made it.
fn local_join(lab: &Lab) {
    let three = inventory(lab, "endpoint-three", &CONTROL_PLANES, &[]);
    lab.kboot(&["reset", "-i", &three, "--host", WORKER, "--yes", "--drain-timeout", "0"]).ok();
    for host in ["n1", WORKER] {
        lab.put(host, &lab.kboot_path(), "/usr/local/bin/kboot", "755");
    }
    lab.put(WORKER, lab.inventory().as_ref(), "/root/cluster.yaml", "644");
    lab.put(WORKER, &lab.folder.join("repo.asc"), "/root/repo.asc", "644");
    let printed = lab.on("n1", "kboot token create --print-join-command").ok();
    let line = printed.stdout.lines().find_map(|line| line.trim().strip_prefix("kboot ")).expect("a line to join with");
    let line = line.replace("10.77.0.11:6443", "10.77.0.12:6443");
    lab.kboot_on(WORKER, &format!("{line} --config /root/cluster.yaml")).ok();
    lab.on(WORKER, "grep server: /etc/kubernetes/kubelet.conf; grep 'server n' /etc/haproxy/haproxy.cfg").ok().says(&[
        LOCAL_SERVER,
        "server n1 10.77.0.11:6443",
        "server n3 10.77.0.13:6443",
    ]);
    all_are_ready(lab, "n1");
    Run::of(lab, &["up", "-i", &three]).ends(0).is_unchanged();
}

fn vip_inventory(lab: &Lab) -> String {
    inventory(lab, "endpoint-vip", &CONTROL_PLANES, &[("vip", &format!("{{address: {ADDRESS}}}"))])
}

/// A killed move is repeated; whoever asks a control plane by its address goes on.
fn moves(lab: &Lab) {
    let (three, vip) = (inventory(lab, "endpoint-three", &CONTROL_PLANES, &[]), vip_inventory(lab));
    Run::of(lab, &["up", "-i", &three]).ends(0).is_unchanged();
    let run = Run::of(lab, &["up", "-i", &vip]).ends(1);
    assert!(run.changes().is_empty() && run.done.text().contains("kboot endpoint move"), "{run}");
    let planned = Run::read(lab.kboot(&["endpoint", "move", "-i", &vip, "--dry-run", "-o", "json"])).ends(0);
    assert!(planned.changes().is_empty(), "{planned}");

    let writer = Writer::start(lab, "https://10.77.0.12:6443");
    let mut moving = lab.start_kboot(&["endpoint", "move", "-i", &vip, "-o", "json"]);
    moving.until(Duration::from_secs(120), "the first one has its certificate", |said| {
        said.lines().any(|line| line.contains("change-finished") && line.contains("apiserver.crt"))
    });
    moving.signal(rustix::process::Signal::KILL);
    moving.wait(Duration::from_secs(30));
    lab.kboot(&["endpoint", "move", "-i", &vip]).ok();
    writer.writes(Duration::from_secs(20));
    writer.end("a cluster moves to a virtual address, and a control plane is asked by its own");

    for (host, file, server) in [
        ("n1", "/etc/kubernetes/admin.conf", VIP_SERVER),
        ("n3", "/etc/kubernetes/admin.conf", VIP_SERVER),
        ("n2", "/etc/kubernetes/kubelet.conf", "https://10.77.0.12:6443"),
        (WORKER, "/etc/kubernetes/kubelet.conf", VIP_SERVER),
    ] {
        lab.on(host, &format!("grep server: {file}")).ok().says(&[server]);
    }
    for map in ["-n kube-public get configmap cluster-info", "-n kube-system get configmap kube-proxy"] {
        let map = kubectl(lab, "n1", &format!("{map} -o yaml"));
        assert!(map.contains(VIP_SERVER) && !map.contains(LOCAL_SERVER), "{map}");
    }
    names(lab, ADDRESS, LOCAL_SERVER);
    holder(lab);
    all_are_ready(lab, "n2");
    Run::of(lab, &["up", "-i", &vip]).ends(0).is_unchanged();
}

/// The API servers' certificates are for the one and not for the other.
#[track_caller]
fn names(lab: &Lab, there: &str, gone: &str) {
    let gone = gone.trim_start_matches("https://").split(':').next().expect("it has a host");
    for host in CONTROL_PLANES {
        let line = "openssl x509 -noout -ext subjectAltName -in /etc/kubernetes/pki/apiserver.crt";
        let said = lab.on(host, line).ok().stdout;
        assert!(said.contains(&format!("IP Address:{there}")) && !said.contains(gone), "{host}: {said}");
    }
}

/// What kept the address goes, once nobody asks by it.
fn moves_back(lab: &Lab) {
    let three = inventory(lab, "endpoint-three", &CONTROL_PLANES, &[]);
    lab.kboot(&["endpoint", "move", "-i", &three]).ok();
    for host in CONTROL_PLANES {
        let said =
            lab.on(host, "systemctl is-active keepalived haproxy; ip -br addr show eth0; ls /etc/keepalived").text();
        assert!(!said.lines().any(|line| line == "active") && !said.contains(ADDRESS), "{host}: {said}");
        assert!(!said.lines().any(|line| line == "keepalived.conf"), "{host}: {said}");
    }
    lab.on(WORKER, "grep server: /etc/kubernetes/kubelet.conf").ok().says(&[LOCAL_SERVER]);
    names(lab, "127.0.0.1", ADDRESS);
    all_are_ready(lab, "n3");
    Run::of(lab, &["up", "-i", &three]).ends(0).is_unchanged();
}

fn vip(lab: &Lab) {
    let inventory = vip_inventory(lab);
    Run::of(lab, &["up", "-i", &inventory]).ends(0);
    lab.on(WORKER, "grep server: /etc/kubernetes/kubelet.conf; ! test -e /etc/haproxy").ok().says(&[VIP_SERVER]);
    let info = kubectl(lab, "n3", "-n kube-public get configmap cluster-info -o yaml");
    assert!(info.contains(VIP_SERVER), "{info}");
    holder(lab);
    all_are_ready(lab, "n1");
    Run::of(lab, &["up", "-i", &inventory]).ends(0).is_unchanged();
}

/// The control plane that has the address; just one has.
#[track_caller]
fn holder(lab: &Lab) -> &'static str {
    let has = |host: &&str| lab.on(host, "ip -br addr show eth0").text().contains(ADDRESS);
    let mut found = Vec::new();
    eventually(Duration::from_secs(20), "one control plane has the address", || {
        found = CONTROL_PLANES.into_iter().filter(has).collect();
        if found.len() == 1 { Ok(()) } else { Err(format!("{found:?} have it")) }
    });
    found[0]
}

fn vip_holder_killed(lab: &Lab) {
    let first = holder(lab);
    gone(lab, VIP_SERVER, first, &format!("virtual address, its holder {first} killed"));
    let second = holder(lab);
    let let_go = lets_go(lab, second);
    back(lab, first);
    // On a busy machine an API server may not answer for a while, and its host rightly hands the address on.
    let is_kept = first != holder(lab) || lets_go(lab, second) > let_go;
    assert!(is_kept, "who comes back takes the address from who has it\n{}", lab.on(second, KEEPALIVED).text());
}

const KEEPALIVED: &str = "journalctl --unit keepalived --output cat";

/// How often this host has found that it does not lead to an API server.
#[track_caller]
fn lets_go(lab: &Lab, host: &str) -> usize {
    lab.on(host, KEEPALIVED).ok().says(&["Entering MASTER STATE"]).stdout.matches("Entering FAULT STATE").count()
}

fn vip_other_killed(lab: &Lab) {
    let holder = holder(lab);
    let other = CONTROL_PLANES.into_iter().find(|host| *host != holder).expect("there are three");
    killed(lab, VIP_SERVER, other, &format!("virtual address, {other} killed that has it not"));
}

fn vip_holder_cut(lab: &Lab) {
    let first = holder(lab);
    cut(lab, VIP_SERVER, first, &format!("virtual address, its holder {first}'s network cut"));
    holder(lab);
}

fn reset(lab: &Lab) {
    let inventory = vip_inventory(lab);
    let done = lab.kboot(&["reset", "-i", &inventory, "--yes"]).ok();
    for host in CONTROL_PLANES {
        let left = "ls -d /etc/haproxy /etc/keepalived /var/lib/haproxy /run/haproxy* 2>/dev/null; ip -br addr show eth0; \
                    dpkg -l haproxy keepalived 2>/dev/null | grep '^ii'; true";
        let said = lab.on(host, left).ok().stdout;
        assert!(said.lines().count() == 1 && !said.contains(ADDRESS), "{host}: {said}\n{done}");
    }
}
