//! Labs whose hosts reach the real servers, as `make demo` has them where those answer. A lab with servers under these names is the
//! outside here: nothing is asked of any other network.

use std::process::Command;
use std::time::Duration;

use crate::chains::{Start, Test};
use crate::command::{Done, Running};
use crate::lab::Lab;

pub const TESTS: &[Test] = &[Test {
    name: "online::a_lab_reaches_the_servers_by_a_relay",
    start: Start::Bare { hosts: 1, lab: &["--upstream"] },
    run: by_a_relay,
}];

/// In the outer lab's network, with its names and its CA. `ip netns exec` would hide the control groups.
const OUTSIDE: &str = r#"
testbed=$1 outer=$2
[ ! -e /etc/resolv.conf ] || mount --bind "$outer/upstream/etc/resolv.conf" /etc/resolv.conf
mount --bind "$outer/upstream/etc/ca-certificates.crt" /etc/ssl/certs/ca-certificates.crt
"#;

/// The inner lab's hosts trust the outer one's CA, as they would a company's, and its inventory has the outer one's fingerprints.
const CLUSTER: &str = r#"
kboot=$3 inner=$4
trap '"$testbed" down' EXIT
"$testbed" up --online --fresh --hosts 1
"$testbed" shell n1 'mkdir -p /usr/local/share/ca-certificates && cat >/usr/local/share/ca-certificates/lab.crt' <"$outer/upstream/ca.crt"
fingerprint() { cat "$outer/upstream/$1.fingerprint"; }
{
  cat "$inner/inventory.yaml"
  printf 'packages: {kubernetes: {fingerprint: %s}, containerd: {fingerprint: %s}}\n' "$(fingerprint kubernetes)" "$(fingerprint containerd)"
} >"$inner/cluster.yaml"
"$testbed" status
"$testbed" exec "$kboot" up -i "$inner/cluster.yaml"
"$testbed" shell n1 kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes
"#;

fn by_a_relay(lab: &Lab) {
    outside(lab, "\"$testbed\" online").ok();
    lab.testbed(&["faults", "host=ghcr.io name=unknown"]).ok();
    outside(lab, "\"$testbed\" online").ends(1).says(&["ghcr.io"]);
    lab.testbed(&["faults"]).ok();
    outside(lab, CLUSTER).ok().says(&["done: 1 host is as wanted", "Ready"]);
}

fn outside(lab: &Lab, script: &str) -> Done {
    // A name that the next run takes down, too.
    let name = format!("{}9", lab.name);
    let inner = lab.folder.with_file_name(&name);
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/kbt-{}", lab.name)).args(["unshare", "--mount", "bash", "-euo", "pipefail"]);
    command.args(["-c", &format!("{OUTSIDE}{script}"), "outside"]);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/testbed"));
    command.args([&lab.folder, &lab.kboot_path(), &inner]).env("KBOOT_LAB", &name);
    Running::start(command, "").wait(Duration::from_secs(300))
}
