//! `kboot up` on bare hosts, and again.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::chains::{Start, Test};
use crate::cluster;
use crate::events::{Run, text};
use crate::lab::Lab;

pub const TESTS: &[Test] = &[
    Test { name: "up::bare_hosts_become_a_cluster", start: Start::bare(3), run: bare_hosts_become_a_cluster },
    Test { name: "up::pods_work_as_on_any_cluster", start: CLUSTER, run: cluster::is_good },
    Test { name: "up::a_second_run_changes_nothing", start: CLUSTER, run: a_second_run_changes_nothing },
    Test { name: "up::no_secret_is_told", start: CLUSTER, run: no_secret_is_told },
    Test {
        name: "up::the_kubeconfig_is_fetched_and_merged",
        start: CLUSTER,
        run: the_kubeconfig_is_fetched_and_merged,
    },
];

pub const CLUSTER: Start = Start::Shared("up::bare_hosts_become_a_cluster");

fn bare_hosts_become_a_cluster(lab: &Lab) {
    let hosts = ["n1", "n2", "n3"];
    let run = Run::of(lab, &["up", "-i", &lab.inventory()]).ends(0);
    for host in run.summary()["hosts"].as_array().expect("it lists the hosts") {
        assert_eq!(host["outcome"], "changed", "{run}");
    }
    cluster::nodes_are_ready(lab, &hosts);
    // The exact version, held, from the repository that the inventory names.
    for host in hosts {
        let done = lab
            .on(
                host,
                "apt-mark showhold; dpkg-query -W -f '${Package} ${Version}\\n' kubelet kubeadm kubectl containerd.io",
            )
            .ok();
        assert!(done.stdout.starts_with("kubeadm\nkubectl\nkubelet\n"), "not held\n{done}");
        for package in ["kubelet", "kubeadm", "kubectl"] {
            assert!(done.stdout.contains(&format!("{package} 1.37.2-1.1\n")), "{done}");
        }
        assert!(done.stdout.contains("containerd.io 2."), "{done}");
    }
    // What an installer had put there for swap is out of the way.
    lab.on("n2", "grep -vE '^#' /etc/fstab | grep -w swap && exit 1; exit 0").ok();
}

fn a_second_run_changes_nothing(lab: &Lab) {
    let inventory = lab.inventory();
    let up = ["up", "-i", &inventory];
    Run::of(lab, &up).ends(0).is_unchanged();
    let done = lab.kboot(&up).ok();
    let said = done.text().to_lowercase();
    assert!(said.contains("nothing") || said.contains("no change") || said.contains("unchanged"), "{done}");
    lab.kboot(&["up", "-i", &inventory, "--dry-run"]).ok();
    // Another lab's work may slow one of them down.
    let quickest = (0..3).map(|_| lab.kboot(&up).ok().took).min().expect("there are three");
    assert!(quickest < Duration::from_secs(10), "a run that does nothing takes long: {quickest:?}\n{done}");
}

/// Looks for the cluster's real keys and tokens in everything that kboot has said so far, and in the journals.
fn no_secret_is_told(lab: &Lab) {
    assert_eq!(tokens(lab), Vec::<String>::new(), "the run's own token is still there");
    // Of each private key the first line of its body, and of each kubeconfig the beginning of its key's base64.
    let script = "for f in $(find /etc/kubernetes/pki -name '*.key'); do sed -n 2p $f; done\n\
         grep -h client-key-data /etc/kubernetes/*.conf | awk '{ print substr($2, 60, 60) }'";
    let keys = lab.on("n1", script).ok().stdout;
    let mut secrets: Vec<String> = keys.lines().map(String::from).collect();
    assert!(secrets.len() >= 12, "a control plane has more keys than {}", secrets.len());
    secrets.push("PRIVATE KEY".into());
    // `-----BEGIN ` as base64 begins so.
    secrets.push("LS0tLS1CRUdJTi".into());
    let mut spoken: Vec<(String, String)> =
        lab.spoken().into_iter().map(|done| (done.what.clone(), done.text())).collect();
    for host in ["n1", "n2", "n3"] {
        let journal = lab.on(host, "cat /var/lib/kboot/journal.jsonl && journalctl -q --no-pager -u ssh -o cat").ok();
        assert!(journal.stdout.contains("kubelet"), "the journal of {host} tells nothing");
        spoken.push((format!("{host}'s journal"), journal.stdout));
    }
    const NAME: &str = "bootstrap-token-";
    let named = spoken.iter().flat_map(|(_, words)| words.split(NAME).skip(1)).filter_map(|rest| rest.get(..6));
    let ids = named.filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let heads: BTreeSet<String> = ids.map(|id| format!("{id}.")).collect();
    assert!(!heads.is_empty(), "no token was made");
    for (who, words) in &spoken {
        // What follows the id of a token that was made and deleted is its secret.
        for rest in heads.iter().flat_map(|head| words.split(head.as_str()).skip(1).map(str::as_bytes)) {
            let is_secret = rest.len() >= 16 && rest[..16].iter().all(u8::is_ascii_alphanumeric);
            assert!(!is_secret, "{who} tells a token");
        }
        // Certificates are no secrets, and a kubeconfig that was asked for is one as a whole.
        let words = words.replace("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS", "");
        for secret in &secrets {
            assert!(!words.contains(secret), "{who} tells a secret: {secret}");
        }
    }
}

/// The cluster's bootstrap tokens.
pub fn tokens(lab: &Lab) -> Vec<String> {
    let secrets = cluster::objects(lab, "secrets -n kube-system --field-selector type=bootstrap.kubernetes.io/token");
    let decoded = |value: &serde_json::Value| {
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text(value)).expect("base64");
        String::from_utf8(bytes).expect("text")
    };
    secrets
        .iter()
        .map(|secret| format!("{}.{}", decoded(&secret["data"]["token-id"]), decoded(&secret["data"]["token-secret"])))
        .collect()
}

fn the_kubeconfig_is_fetched_and_merged(lab: &Lab) {
    let (inventory, other) = (lab.inventory(), lab.scratch("merged.conf").display().to_string());
    let fetched = lab.kboot_secretly(&["kubeconfig", "-i", &inventory]).ok();
    assert_eq!(fetched.stdout, lab.on("n1", "cat /etc/kubernetes/admin.conf").ok().stdout);

    let existing = "apiVersion: v1\nkind: Config\ncurrent-context: old\n\
        clusters: [{name: old, cluster: {server: 'https://192.0.2.1:6443'}}]\n\
        users: [{name: old, user: {token: t}}]\n\
        contexts: [{name: old, context: {cluster: old, user: old}}]\n";
    std::fs::write(lab.scratch("merged.conf"), existing).expect("it is ours");
    lab.kboot(&["kubeconfig", "-i", &inventory, "--merge", &other]).ok();
    let merged = std::fs::read_to_string(lab.scratch("merged.conf")).expect("it is there");
    lab.put("n1", &lab.scratch("merged.conf"), "/root/merged.conf", "600");
    let kubectl = "kubectl --kubeconfig /root/merged.conf";
    let done = lab.on(
        "n1",
        &format!(
            "{kubectl} config get-contexts -o name; {kubectl} config current-context; {kubectl} get nodes -o name"
        ),
    );
    assert_eq!(done.ok().stdout, "lab\nold\nlab\nnode/n1\nnode/n2\nnode/n3\n", "{}", merged.lines().count());
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(lab.scratch("merged.conf")).expect("it is there").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "others can read it");
    // Once more changes nothing.
    lab.kboot(&["kubeconfig", "-i", &inventory, "--merge", &other]).ok();
    assert_eq!(std::fs::read_to_string(lab.scratch("merged.conf")).expect("it is there"), merged);
}
