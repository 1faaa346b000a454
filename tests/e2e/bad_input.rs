//! Inventories that don't fit the hosts, and hosts that can't be used: each is told for what it is, before anything is changed.

use crate::bare::BARE;
use crate::chains::{Start, Test};
use crate::events::Run;
use crate::lab::Lab;
use crate::whole::{AGENT, Whole};

pub const TESTS: &[Test] = &[
    Test {
        name: "bad_input::an_unknown_host_key_is_told_with_the_command_that_trusts_it",
        start: BARE,
        run: unknown_host_key,
    },
    Test { name: "bad_input::a_changed_host_key_is_refused", start: BARE, run: changed_host_key },
    Test { name: "bad_input::an_unreachable_host_stops_no_other", start: BARE, run: unreachable_host },
    Test { name: "bad_input::a_wrong_key_or_user_is_refused", start: BARE, run: wrong_key_or_user },
    Test { name: "bad_input::what_preflight_finds_stops_the_run", start: BARE, run: preflight },
    Test { name: "bad_input::no_space_for_the_agent", start: BARE, run: no_space },
    Test { name: "bad_input::the_distributions_old_containerd_is_refused", start: Start::bare(1), run: old_containerd },
    Test { name: "bad_input::init_needs_root", start: BARE, run: init_needs_root },
];

const HOSTS: [&str; 3] = ["n1", "n2", "n3"];

/// A run that must fail, with these texts about a host, and changes nothing anywhere.
#[track_caller]
fn refused(lab: &Lab, inventory: &str, host: &str, texts: &[&str]) -> Run {
    let run = Run::of(lab, &["up", "-i", inventory]).ends(1);
    assert_eq!(run.changes(), Vec::<String>::new(), "{run}");
    told(&run, host, texts);
    run
}

/// A host's failures hold these texts, in cause or hint.
#[track_caller]
fn told(run: &Run, host: &str, texts: &[&str]) {
    let failures: Vec<String> =
        run.of_kind("failed").filter(|event| event["host"] == host).map(|event| event["failure"].to_string()).collect();
    for text in texts {
        assert!(failures.concat().contains(text), "{host}'s failures don't say {text:?}: {failures:#?}\n{run}");
    }
}

fn unknown_host_key(lab: &Lab) {
    let known = lab.scratch("known_hosts");
    let inventory = lab.inventory_with("unknown-key", |inventory| {
        inventory["ssh"]["knownHosts"] = known.display().to_string().into();
    });
    for host in HOSTS {
        refused(lab, &inventory, host, &["the host key of 10.77.0.1", "is unknown", "kboot hosts trust -i"]);
    }
    // Nobody is there to compare fingerprints: nothing is trusted.
    lab.kboot(&["hosts", "trust", "-i", &inventory]).ends(2).says(&["--yes"]);
    assert!(std::fs::read_to_string(&known).unwrap_or_default().is_empty());

    let done = lab.kboot(&["hosts", "trust", "-i", &inventory, "--yes"]).ok();
    for host in HOSTS {
        let own = lab.on(host, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").ok().stdout;
        let fingerprint = own.split_whitespace().nth(1).expect("size, fingerprint, comment");
        assert!(done.stdout.contains(fingerprint), "{host} has {fingerprint}\n{done}");
    }
    lab.kboot(&["up", "-i", &inventory, "--dry-run"]).ok();
    lab.kboot(&["hosts", "trust", "-i", &inventory, "--yes"]).ok().says(&["no new host keys"]);
}

fn changed_host_key(lab: &Lab) {
    let known = std::fs::read_to_string(lab.folder.join("known_hosts")).expect("the lab is up");
    // n1 is known by n2's keys.
    let others = known.lines().filter(|line| !line.starts_with("10.77.0.11 "));
    let turned =
        known.lines().filter_map(|line| line.strip_prefix("10.77.0.12 ")).map(|key| format!("10.77.0.11 {key}"));
    let text: Vec<String> = others.map(String::from).chain(turned).collect();
    std::fs::write(lab.scratch("turned_hosts"), text.join("\n") + "\n").expect("it is ours");
    let inventory = lab.inventory_with("changed-key", |inventory| {
        inventory["ssh"]["knownHosts"] = lab.scratch("turned_hosts").display().to_string().into();
        inventory["hosts"].as_sequence_mut().expect("it has hosts").truncate(1);
    });
    refused(lab, &inventory, "n1", &["the host key of 10.77.0.11", "has changed", "ssh-keygen -R"]);
    // Never trusted on the way, whatever one agrees to.
    lab.kboot(&["hosts", "trust", "-i", &inventory, "--yes"])
        .ends(1)
        .says(&["differs from the key that is remembered"]);
}

fn unreachable_host(lab: &Lab) {
    let inventory = lab.inventory_with("unreachable", |inventory| {
        let mut hosts = inventory["hosts"].as_sequence().expect("it has hosts").clone();
        hosts[2]["address"] = "10.77.0.99".into();
        inventory["hosts"] = hosts.into();
        inventory["timeouts"]["connect"] = 5.into();
    });
    let run = Run::of(lab, &["up", "-i", &inventory, "--dry-run"]).ends(1);
    told(&run, "n3", &["10.77.0.99:2222", "hint"]);
    for host in ["n1", "n2"] {
        assert_eq!(run.causes(host), Vec::<String>::new(), "{run}");
        assert!(run.of_kind("planned").any(|event| event["host"] == host), "{host} has no plan\n{run}");
    }
    // Nothing listens there.
    let inventory = lab.inventory_with("refused", |inventory| {
        inventory["hosts"].as_sequence_mut().expect("it has hosts").truncate(1);
        inventory["ssh"]["port"] = 2299.into();
    });
    refused(lab, &inventory, "n1", &["10.77.0.11:2299 refused the connection"]);
}

fn wrong_key_or_user(lab: &Lab) {
    let key = lab.scratch("other_key").display().to_string();
    lab.exec(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &key]).ok();
    let inventory = lab.inventory_with("wrong-key", |inventory| inventory["ssh"]["identityFile"] = key.clone().into());
    refused(lab, &inventory, "n1", &["10.77.0.11:22 refused to let root in with", "SHA256:"]);

    // A user who may log in, and no more.
    lab.on("n2", "useradd -m -s /bin/sh guest && install -d -o guest -m 700 ~guest/.ssh && install -o guest -m 600 ~root/.ssh/authorized_keys ~guest/.ssh/").ok();
    let inventory = lab.inventory_with("no-sudo", |inventory| {
        let hosts = inventory["hosts"].as_sequence_mut().expect("it has hosts");
        hosts[1]["ssh"]["user"] = "guest".into();
    });
    let run = Run::of(lab, &["up", "-i", &inventory, "--dry-run"]).ends(1);
    told(&run, "n2", &["guest can't become root without a password", "NOPASSWD"]);
    lab.on("n2", "userdel -r guest").ok();
}

/// Everything at once, each with its name, by which it can be ignored.
fn preflight(lab: &Lab) {
    let id = lab.on("n1", "cat /etc/machine-id").ok().stdout;
    lab.on("n2", &format!("cat /etc/machine-id >/root/machine-id && echo {} >/etc/machine-id", id.trim())).ok();
    lab.on("n1", "systemd-run --unit=squatter systemd-socket-activate -l 6443 /bin/cat && sleep 0.5").ok();
    lab.on("n2", "mkdir -p /etc/kubernetes && printf 'apiVersion: v1\\nkind: Config\\nclusters: [{name: x, cluster: {server: \"https://192.0.2.7:6443\"}}]\\ncontexts: [{name: x, context: {cluster: x, user: x}}]\\ncurrent-context: x\\nusers: [{name: x, user: {token: t}}]\\n' >/etc/kubernetes/kubelet.conf").ok();

    let before = HOSTS.map(|host| Whole::of(lab, host));
    let run = refused(lab, &lab.inventory(), "n1", &["6443", "systemd-socket-"]);
    told(&run, "n2", &["192.0.2.7", "kboot reset"]);
    let steps: Vec<String> =
        run.of_kind("failed").map(|event| format!("{} {}", event["host"], event["step"])).collect();
    assert!(steps.iter().any(|step| step.contains("UniqueMachineID")), "{steps:?}");
    assert!(steps.iter().any(|step| step.contains("Port-6443")), "{steps:?}");
    assert!(steps.iter().any(|step| step.contains("ExistingCluster")), "{steps:?}");
    before.iter().for_each(|host| host.still_holds(lab, &AGENT));

    // What is ignored is a warning, and the rest still counts.
    let inventory = lab.inventory();
    let ignore = ["up", "-i", &inventory, "--dry-run", "--ignore-preflight", "UniqueMachineID,ExistingCluster"];
    let run = Run::of(lab, &ignore).ends(1);
    assert_eq!(run.causes("n2"), Vec::<String>::new(), "{run}");
    told(&run, "n1", &["6443"]);
    assert!(run.of_kind("warning").any(|event| event["step"] == "UniqueMachineID"), "{run}");
    lab.kboot(&["up", "-i", &inventory, "--dry-run", "--ignore-preflight", "NoSuchCheck"])
        .ends(2)
        .says(&["NoSuchCheck"]);

    lab.on("n1", "systemctl stop squatter").ok();
    lab.on("n2", "cat /root/machine-id >/etc/machine-id && rm -r /root/machine-id /etc/kubernetes").ok();
}

fn no_space(lab: &Lab) {
    lab.on("n2", "rm -rf /var/lib/kboot && mkdir -p /var/lib/kboot && mount -t tmpfs -o size=2m none /var/lib/kboot")
        .ok();
    let run = Run::of(lab, &["up", "-i", &lab.inventory(), "--dry-run"]).ends(1);
    told(&run, "n2", &["no space in /var/lib/kboot/agent", "df -h"]);
    assert_eq!(run.causes("n1"), Vec::<String>::new(), "{run}");
    lab.on("n2", "test -z \"$(find /var/lib/kboot -type f)\" && umount /var/lib/kboot").ok();
}

fn old_containerd(lab: &Lab) {
    let inventory = lab.inventory_with("distribution", |inventory| {
        inventory["packages"].as_mapping_mut().expect("a mapping").remove("containerd");
        inventory["packages"]["containerd"]["distribution"] = true.into();
        inventory["hosts"].as_sequence_mut().expect("it has hosts").truncate(1);
    });
    // It can only be known once the lists of packages have been read.
    let run = Run::of(lab, &["up", "-i", &inventory]).ends(1);
    told(&run, "n1", &["the distribution's containerd is 1.6", "2.0 or newer is needed", "cgroup driver"]);
    lab.on("n1", "! dpkg-query -W -f '${db:Status-Abbrev}\\n' containerd kubelet 2>/dev/null | grep ^ii").ok();
    // Where it is there already, preflight says so.
    lab.on("n1", "DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends containerd").ok();
    refused(lab, &inventory, "n1", &["containerd 1.6", "older than 2.0", "distribution"]);
}

fn init_needs_root(lab: &Lab) {
    lab.put("n3", &lab.kboot_path(), "/tmp/kboot", "755");
    for command in
        ["init", "join 10.77.0.11:6443 --token aaaaaa.bbbbbbbbbbbbbbbb --insecure-skip-ca-verification", "reset --yes"]
    {
        let done = lab.on("n3", &format!("exec sudo -u admin /tmp/kboot {command} </dev/null"));
        assert!(done.code.is_some_and(|code| code == 1 || code == 2), "{done}");
        let said = done.text();
        assert!(said.contains("root"), "it doesn't say that it needs root\n{done}");
    }
    lab.on("n3", "rm /tmp/kboot").ok();
}
