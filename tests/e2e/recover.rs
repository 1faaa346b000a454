//! etcd's majority is lost for good: one control plane is dead, another lives and its data are destroyed. The third one goes on, and grows
//! again.

use std::time::Duration;

use serde_json::Value;

use crate::chains::{Start, Test};
use crate::cluster::condition;
use crate::command::{Running, eventually};
use crate::control_planes::{HOSTS, THREE, inventory, nodes_are};
use crate::etcdctl::all_vote;
use crate::events::{Run, text};
use crate::hard::stripped;
use crate::lab::Lab;

pub const TESTS: &[Test] = &[
    Test { name: "recover::a_majority_that_is_there_is_left_alone", start: THREE, run: majority },
    Test { name: "recover::a_lost_majority_is_told_with_the_way_out", start: MAJORITY, run: lost },
    Test { name: "recover::a_survivor_goes_on_with_all_that_was_acknowledged", start: LOST, run: recovered },
    Test { name: "recover::who_comes_back_with_former_data_is_refused_and_joins_anew", start: RECOVERED, run: grown },
];

const MAJORITY: Start = Start::After("recover::a_majority_that_is_there_is_left_alone");
const LOST: Start = Start::After("recover::a_lost_majority_is_told_with_the_way_out");
const RECOVERED: Start = Start::After("recover::a_survivor_goes_on_with_all_that_was_acknowledged");

/// Writes numbered objects by its own API server until one fails after it is told to stop, a line for each that was acknowledged.
const WRITER: &str = r#"
rm -rf /root/writer; mkdir -m 700 /root/writer; cd /root/writer
field() { sed -n "s/.*$1: //p" /etc/kubernetes/admin.conf | base64 -d; }
field certificate-authority-data >ca; field client-certificate-data >crt; (umask 077; field client-key-data >key)
i=0
while [ ! -e stop ]; do
  i=$((i + 1))
  code=$(curl -s -o /dev/null -w '%{http_code}' --connect-timeout 1 --max-time 3 --cacert ca --cert crt --key key \
    -H 'Content-Type: application/json' -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"w-'$i'","labels":{"w":"w"}}}' \
    https://10.77.0.13:6443/api/v1/namespaces/default/configmaps)
  [ "$code" = 201 ] && echo "$i" >>acknowledged
  sleep 0.02
done
"#;

fn from_n3<'a>(inventory: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["recover", "-i", inventory, "--from", "n3"], more].concat()
}

fn majority(lab: &Lab) {
    let inventory = inventory(lab, &HOSTS);
    let run = Run::of(lab, &from_n3(&inventory, &["--yes"])).ends(1);
    let cause = run.causes("n3").concat();
    assert!(cause.contains("3 of 3 members answer, and it takes 2") && cause.contains("nothing to recover"), "{run}");
    lab.testbed(&["host", "kill", "n1"]).ok();
    eventually(Duration::from_secs(20), "n1 is missed", || {
        let run = Run::of(lab, &from_n3(&inventory, &["--yes"])).ends(1);
        assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
        let cause = run.causes("n3").concat();
        if cause.contains("2 of 3 members answer, and it takes 2") { Ok(()) } else { Err(cause) }
    });
}

/// n1 is dead already. n2's data are destroyed under a writer, and n3's etcd starts anew without either.
fn lost(lab: &Lab) {
    let writer = Writer::start(lab);
    let destroy = "systemctl stop kubelet; crictl ps -q --name '^etcd$' | xargs crictl stop -t 0
        log=$(ls /var/lib/etcd/member/wal/*.wal | head -n 1)
        tr '\\0' '\\377' </dev/zero | dd of=$log bs=1 seek=4096 count=512 conv=notrunc
        systemctl start kubelet";
    lab.on("n2", destroy).ok();
    writer.end();
    lab.on("n3", "crictl ps -q --name '^etcd$' | xargs crictl stop -t 1").ok();
    let inventory = inventory(lab, &HOSTS);
    let run = Run::read(lab.kboot(&["up", "-i", &inventory, "--output", "json"])).ends(1);
    let failed = run.of_kind("failed").find(|event| text(&event["failure"]["cause"]).contains("lost its majority"));
    let failure = &failed.unwrap_or_else(|| panic!("the loss is not told\n{run}"))["failure"];
    assert!(text(&failure["cause"]).contains("1 of 3 members answers, and it takes 2"), "{run}");
    let hint = text(&failure["hint"]);
    assert!(hint.contains(&format!("kboot recover -i {inventory} --from n3")), "{hint}");
}

/// Where the run is killed, one after the other.
const FAULTS: [&str; 6] = [
    "after-act write-file:/var/lib/kboot/recovery.json",
    "after-act run:sh -c crictl ps -q --name '^kube-apiserver$'*",
    "after-act run:sh -c rm -rf /var/lib/kboot/etcd-before-recovery-*",
    "after-act run:crictl --timeout 60s run *",
    "after-act run:sh -c crictl ps -q --name '^etcd-recovery$'*",
    "after-act set-unit:kubelet.service:start",
];

fn recovered(lab: &Lab) {
    let inventory = inventory(lab, &HOSTS);
    lab.kboot(&from_n3(&inventory, &[])).ends(2).says(&["nobody is here to confirm it", "--yes"]);
    lab.kboot(&["recover", "-i", &inventory, "--from", "n4", "--yes"]).ends(2).says(&["n4", "n1, n2, n3"]);
    let run = Run::of(lab, &["recover", "-i", &inventory, "--from", "n2", "--yes"]).ends(1);
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
    let plan = Run::of(lab, &from_n3(&inventory, &["--dry-run"])).ends(0);
    let warnings: Vec<String> = plan.of_kind("warning").map(|event| text(&event["text"])).collect();
    let warnings = warnings.join("\n");
    assert!(warnings.contains("without n1, n2") && warnings.contains("n1 can't be reached"), "{warnings}\n{plan}");

    let manifest = || lab.on("n3", "sha256sum </etc/kubernetes/manifests/etcd.yaml").ok().stdout;
    let before = manifest();
    lab.on("n3", &format!("cat >/run/kboot.fault <<'END'\n{}\nEND\n", FAULTS.join("\n"))).ok();
    let kboot = stripped(lab);
    let argv = [&[kboot.as_str()], &from_n3(&inventory, &["--yes", "--output", "json"])[..]].concat();
    let mut runs = 0;
    let last = loop {
        let run = Run::read_cut(lab.finish(lab.start(&argv)));
        runs += 1;
        assert_eq!(manifest(), before, "the manifest is never touched\n{run}");
        if run.done.code == Some(0) {
            break run;
        }
        assert!(runs < 12, "no end to it\n{run}");
    };
    let heard = lab.on("n3", "cat /run/kboot.fault && rm /run/kboot.fault").ok().stdout;
    let missed: Vec<&str> = heard.lines().filter(|line| !line.starts_with("reached ")).collect();
    assert!(missed.is_empty(), "after {runs} runs these never came: {missed:?}\n{last}");

    all_vote(lab, "n3", &["n3"]);
    Writer::nothing_is_lost(lab);
    // One copy, of the data as they were.
    lab.on("n3", "test $(ls -d /var/lib/kboot/etcd-before-recovery-* | wc -l) = 1").ok();
    lab.on(
        "n3",
        "test -e /var/lib/kboot/etcd-before-recovery-*/snap/db && ! crictl pods -q --name etcd-recovery | grep .",
    )
    .ok();
    lab.on("n2", "! test -e /var/lib/etcd/member && ls -d /var/lib/etcd/before-recovery-*").ok();
    // Who can be reached stays a node.
    let nodes = lab.on("n3", "kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes -o name").ok().stdout;
    assert_eq!(nodes, "node/n2\nnode/n3\n");
    let run = Run::of(lab, &from_n3(&inventory, &["--yes"])).ends(1);
    assert!(run.causes("n3").concat().contains("1 of 1 members answers"), "{run}");
}

fn grown(lab: &Lab) {
    lab.testbed(&["host", "start", "n1"]).ok();
    let inventory = inventory(lab, &HOSTS);
    let run = Run::read(lab.kboot(&["up", "-i", &inventory, "--output", "json"])).ends(1);
    let cause = run.causes("n1").concat();
    assert!(cause.contains("/var/lib/etcd holds the data of a member that the cluster does not know"), "{run}");
    assert_eq!(run.causes("n2"), Vec::<String>::new(), "{run}");
    all_vote(lab, "n3", &["n2", "n3"]);
    lab.kboot(&["reset", "-i", &inventory, "--host", "n1", "--yes", "--keep-packages", "--drain-timeout", "0"]).ok();
    Run::of(lab, &["up", "-i", &inventory]).ends(0);
    all_vote(lab, "n1", &HOSTS);
    nodes_are(lab, "n2", &HOSTS);
    Writer::nothing_is_lost(lab);
    pods_run(lab);
    Run::of(lab, &["up", "-i", &inventory]).ends(0).is_unchanged();
    let undo = lab.kboot(&["history", "-i", &inventory, "--output", "json"]).ok();
    let recovery = undo.stdout.lines().find(|line| line.contains("kboot recover")).expect("it is in the journal");
    let recovery: Value = serde_json::from_str(recovery).expect("a line is an object");
    let id = text(&recovery["run"]["info"]["id"]);
    lab.kboot(&["undo", "-i", &inventory, "--run", &id, "--yes"]).ends(2).says(&["can't be taken back"]);
}

/// All of the system's pods are ready, on all three.
fn pods_run(lab: &Lab) {
    eventually(Duration::from_secs(60), "the system's pods run", || {
        let done = lab.on("n3", "kubectl --kubeconfig /etc/kubernetes/admin.conf get pods -A -o json");
        let list: Value = serde_json::from_str(&done.stdout).map_err(|_| done.to_string())?;
        let pods = list["items"].as_array().ok_or("no list")?;
        let is_bad = |pod: &&Value| condition(pod, "Ready") != "True";
        let bad: Vec<String> = pods
            .iter()
            .filter(is_bad)
            .map(|pod| format!("{} {}", pod["metadata"]["name"], pod["status"]["phase"]))
            .collect();
        if bad.is_empty() { Ok(()) } else { Err(bad.join("\n")) }
    });
}

struct Writer<'a> {
    lab: &'a Lab,
    running: Running,
}

impl<'a> Writer<'a> {
    /// It has written something.
    fn start(lab: &'a Lab) -> Self {
        lab.install_curl("n3");
        let running = lab.start_on("n3", WRITER);
        eventually(Duration::from_secs(20), "writes are acknowledged", || {
            let said = lab.on("n3", "cat /root/writer/acknowledged | wc -l").stdout;
            if said.trim().parse::<u32>().is_ok_and(|count| count > 30) { Ok(()) } else { Err(said) }
        });
        Self { lab, running }
    }

    fn end(self) {
        self.lab.on("n3", "touch /root/writer/stop").ok();
        self.running.wait(Duration::from_secs(60));
    }

    fn nothing_is_lost(lab: &Lab) {
        let kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf get configmaps -l w=w -o name";
        let there = lab.on("n3", kubectl).ok().stdout;
        let acknowledged = lab.on("n3", "cat /root/writer/acknowledged").ok().stdout;
        let is_there = |number: &&str| there.lines().any(|name| name == format!("configmap/w-{number}"));
        let lost: Vec<&str> = acknowledged.lines().filter(|number| !is_there(number)).collect();
        assert!(acknowledged.lines().count() > 30 && lost.is_empty(), "acknowledged, and not there: {lost:?}");
    }
}
