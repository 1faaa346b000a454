//! The defaults: an inventory with nothing but hosts, SSH and keys' fingerprints, and servers with upstream's names, layouts, redirects
//! and tokens. They work, they hiccup, and they fail in the ways that people meet.

use std::time::Duration;

use serde_yaml::Value;

use crate::chains::{Start, Test};
use crate::cluster;
use crate::command::Running;
use crate::events::{Run, text};
use crate::lab::Lab;
use crate::whole::{AGENTS_FOLDERS, Whole};

pub const TESTS: &[Test] = &[
    Test {
        name: "upstream::the_defaults_make_a_cluster_that_leaves_no_trace",
        start: upstream(2),
        run: the_defaults_make_a_cluster_that_leaves_no_trace,
    },
    Test {
        name: "upstream::servers_that_hiccup_fail_no_run",
        start: upstream(1),
        run: servers_that_hiccup_fail_no_run,
    },
    Test {
        name: "upstream::what_cannot_be_fetched_has_one_cause_and_one_fix",
        start: upstream(3),
        run: what_cannot_be_fetched_has_one_cause_and_one_fix,
    },
];

const fn upstream(hosts: usize) -> Start {
    Start::Bare { hosts, lab: &["--upstream"] }
}

fn the_defaults_make_a_cluster_that_leaves_no_trace(lab: &Lab) {
    let hosts = ["n1", "n2"];
    let inventory = lab.inventory();
    is_bare(&inventory);
    for host in hosts {
        // As minimal as Debian's own.
        let absent = "! command -v curl && ! command -v gpg && ! dpkg-query -s ca-certificates 2>/dev/null && ! test -e /etc/ssl/certs/ca-certificates.crt";
        lab.on(host, absent).ok();
    }
    let before = hosts.map(|host| Whole::of(lab, host));

    let lock = lab.scratch("upstream.lock").display().to_string();
    lab.kboot(&["lock", "-i", &inventory, "--lock-file", &lock]).ok();
    lab.kboot(&["plan", "-i", &inventory, "--lock-file", &lock]).ok().says(&["kubelet", "containerd.io"]);
    before.iter().for_each(|host| host.still_holds(lab, &AGENTS_FOLDERS));

    let up = ["up", "-i", &inventory, "--lock-file", &lock];
    Run::of(lab, &up).ends(0);
    cluster::nodes_are_ready(lab, &hosts);
    // Nothing else has served it.
    for (host, path) in [
        ("pkgs.k8s.io", "/core:/stable:/v1.37/deb/Release.key 302"),
        ("download.docker.com", "/linux/debian/dists/bookworm/InRelease 200"),
        ("registry.k8s.io", "/v2/pause/manifests/3.10.2 307"),
        ("ghcr.io", "/token 200"),
    ] {
        let log = served(lab);
        assert!(log.iter().any(|line| line.contains(host) && line.contains(path)), "{host} was not asked for {path}");
    }
    Run::of(lab, &up).ends(0).is_unchanged();

    // The look at the nodes was kubectl's, which keeps a cache.
    lab.on("n1", "rm -r /root/.kube").ok();
    let run = Run::of(lab, &["reset", "-i", &inventory, "--yes"]).ends(0);
    assert_eq!(run.of_kind("leftover").map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new(), "{run}");
    before.iter().for_each(|host| host.is_restored(lab));
}

/// Nothing is in the inventory but what it must have.
fn is_bare(inventory: &str) {
    let text = std::fs::read_to_string(inventory).expect("the lab is up");
    let inventory: Value = serde_yaml::from_str(&text).expect("it is YAML");
    let keys = |value: &Value| -> Vec<String> {
        let map = value.as_mapping().unwrap_or_else(|| panic!("no mapping in\n{text}"));
        map.keys().map(|key| key.as_str().unwrap_or_default().to_string()).collect()
    };
    assert_eq!(keys(&inventory), ["apiVersion", "kind", "packages", "ssh", "hosts"]);
    for repository in ["kubernetes", "containerd"] {
        assert_eq!(keys(&inventory["packages"][repository]), ["fingerprint"]);
    }
}

fn servers_that_hiccup_fail_no_run(lab: &Lab) {
    let rules = ["every=5 answer=503", "every=10 cut=half"];
    faults(lab, &rules);
    let since = served(lab).len();
    Run::read(lab.kboot(&["up", "-i", &lab.inventory(), "--output", "json"])).ends(0);
    cluster::nodes_are_ready(lab, &["n1"]);
    let log = served(lab);
    for rule in rules {
        let count = log[since..].iter().filter(|line| line.ends_with(rule)).count();
        assert!(count >= 3, "{rule} happened {count} times only, in {} requests", log.len() - since);
    }
    faults(lab, &[]);
}

/// A way in which the servers fail, and what is told of it: parts of the cause and of the hint.
struct Fault {
    rules: &'static [&'static str],
    cause: &'static [&'static str],
    hint: &'static str,
}

/// What is tried for long before it is given up happens to n2 and n3; meanwhile n1 meets one final fault after the other, and gets a
/// little further each time.
fn what_cannot_be_fetched_has_one_cause_and_one_fix(lab: &Lab) {
    let slow = Slow::start(
        lab,
        [
            (
                "n2",
                Fault {
                    rules: &["from=10.77.0.12 path=containerd.io_ cut=100000"],
                    cause: &["download.docker.com", "breaks off before the download is complete"],
                    hint: "a proxy or firewall",
                },
            ),
            (
                "n3",
                Fault {
                    rules: &["from=10.77.0.13 host=prod-cdn.packages.k8s.io name=silent"],
                    cause: &["prod-cdn.packages.k8s.io, to which pkgs.k8s.io redirects, does not answer"],
                    hint: "let this host reach prod-cdn.packages.k8s.io",
                },
            ),
        ],
    );
    // Before anything is installed, the CAs are those of the machine that runs kboot.
    slow.with(lab, &["certificate=untrusted"]);
    let lock = lab.scratch("faulty.lock").display().to_string();
    lab.kboot(&["lock", "-i", &only(lab, "n1"), "--lock-file", &lock])
        .ends(1)
        .says(&["the machine which runs kboot does not trust", "update-ca-certificates"]);

    KEYS.iter().for_each(|fault| drop(slow.meets("install-prerequisites,configure-repositories", lab, fault)));
    // A pause that is asked for is made. A key that expires soon is good, and that is told.
    slow.with(lab, &["path=Release.key times=1 answer=503 retry-after=3", "path=Release.key variant=soon"]);
    let run = phase(lab, "n1", "configure-repositories").ends(0);
    assert!(run.done.took >= Duration::from_secs(3), "it did not wait\n{run}");
    let run = phase(lab, "n1", "configure-repositories").ends(0);
    let is_warned = run.of_kind("warning").any(|event| text(&event["text"]).contains("expires on"));
    assert!(is_warned, "a key that expires within 60 days is not told\n{run}");

    PACKAGES.iter().for_each(|fault| drop(slow.meets("install-packages", lab, fault)));
    slow.with(lab, &[]);
    phase(lab, "n1", "prepare").ends(0);

    for (fault, others) in IMAGES {
        let cause = slow.meets("pull-first-images", lab, fault).causes("n1").concat();
        assert!(!others.iter().any(|other| cause.contains(other)), "images that did not fail are named: {cause}");
    }
    slow.with(lab, &[]);
    phase(lab, "n1", "pull-first-images").ends(0);
    slow.end(lab);
}

const KEYS: &[Fault] = &[
    Fault {
        rules: &["host=prod-cdn.packages.k8s.io certificate=untrusted"],
        cause: &[
            "prod-cdn.packages.k8s.io, to which pkgs.k8s.io redirects,",
            "signed by a CA that this host does not trust",
        ],
        hint: "update-ca-certificates",
    },
    Fault {
        rules: &["host=pkgs.k8s.io certificate=expired"],
        cause: &["the certificate of pkgs.k8s.io expired on"],
        hint: "renew",
    },
    Fault {
        rules: &["certificate=not-yet", "clock=365"],
        cause: &["this host's clock is wrong", "pkgs.k8s.io says"],
        hint: "timedatectl",
    },
    Fault {
        rules: &["host=prod-cdn.packages.k8s.io page=login"],
        cause: &["prod-cdn.packages.k8s.io", "answers with a web page"],
        hint: "wants a login",
    },
    Fault { rules: &["path=Release.key variant=expired"], cause: &["Release.key", "expired on"], hint: "fingerprint" },
    Fault {
        rules: &["host=pkgs.k8s.io answer=429 retry-after=600"],
        cause: &["pkgs.k8s.io limits the rate of requests", "600 s"],
        hint: "later",
    },
    Fault {
        rules: &["host=prod-cdn.packages.k8s.io answer=404"],
        cause: &["prod-cdn.packages.k8s.io, to which pkgs.k8s.io redirects, does not have it (404"],
        hint: "keyUrl",
    },
];

const PACKAGES: &[Fault] = &[
    Fault {
        rules: &["host=download.docker.com path=/InRelease page=login"],
        cause: &["download.docker.com", "web page"],
        hint: "wants a login",
    },
    Fault {
        rules: &["host=prod-cdn.packages.k8s.io certificate=untrusted"],
        cause: &["prod-cdn.packages.k8s.io", "signed by a CA that this host does not trust"],
        hint: "update-ca-certificates",
    },
    Fault {
        rules: &["host=prod-cdn.packages.k8s.io path=/kubelet_ answer=404"],
        cause: &["prod-cdn.packages.k8s.io", "404"],
        hint: "packages",
    },
];

/// With the images that the failure must not name.
const IMAGES: &[(&Fault, &[&str])] = &[
    (
        &Fault {
            rules: &["host=europe-west1-docker.pkg.dev certificate=untrusted"],
            cause: &["europe-west1-docker.pkg.dev", "signed by a CA that this host does not trust"],
            hint: "update-ca-certificates",
        },
        &[],
    ),
    (
        &Fault {
            rules: &["path=/etcd/ answer=404"],
            cause: &["pull the image registry.k8s.io/etcd:", "404"],
            hint: "images.repository",
        },
        &["pause", "kube-apiserver"],
    ),
];

/// The inventory of one control plane.
fn only(lab: &Lab, host: &str) -> String {
    lab.inventory_with(host, |inventory| {
        let hosts = inventory["hosts"].as_sequence_mut().expect("it has hosts");
        hosts.retain(|entry| entry["name"] == host);
        hosts[0]["roles"] = vec![Value::from("control-plane")].into();
    })
}

#[track_caller]
fn faults(lab: &Lab, rules: &[&str]) {
    lab.testbed(&[&["faults"], rules].concat()).ok();
}

/// The servers' log: a line for each request, with the fault that happened to it at its end.
fn served(lab: &Lab) -> Vec<String> {
    let log = std::fs::read_to_string(lab.folder.join("log/upstream.log")).expect("the lab has such servers");
    log.lines().map(String::from).collect()
}

fn start_phase(lab: &Lab, host: &str, phases: &str) -> Running {
    lab.start_kboot(&["phase", "up", phases, "-i", &only(lab, host), "--output", "json"])
}

#[track_caller]
fn phase(lab: &Lab, host: &str, phases: &str) -> Run {
    Run::read(lab.finish(start_phase(lab, host, phases)))
}

impl Fault {
    /// As the one failure of the run, with the one thing that mends it.
    #[track_caller]
    fn is_told(&self, run: &Run) {
        let failed: Vec<_> = run.of_kind("failed").collect();
        assert_eq!(failed.len(), 1, "{:?} is not one failure\n{run}", self.rules);
        let (cause, hint) = (text(&failed[0]["failure"]["cause"]), text(&failed[0]["failure"]["hint"]));
        for part in self.cause {
            assert!(cause.contains(part), "with {:?} the cause does not say {part:?}: {cause}\n{run}", self.rules);
        }
        assert!(hint.contains(self.hint), "with {:?} the hint does not say {:?}: {hint}\n{run}", self.rules, self.hint);
    }
}

/// Faults that are tried again for long, each on a host of its own.
struct Slow {
    runs: Vec<(Fault, Running)>,
}

impl Slow {
    #[track_caller]
    fn start<const N: usize>(lab: &Lab, hosts: [(&'static str, Fault); N]) -> Self {
        faults(lab, &hosts.iter().flat_map(|(_, fault)| fault.rules).copied().collect::<Vec<_>>());
        let start = |(host, fault)| (fault, start_phase(lab, host, "prepare"));
        Self { runs: hosts.into_iter().map(start).collect() }
    }

    /// These rules for n1, beside the others'.
    #[track_caller]
    fn with(&self, lab: &Lab, rules: &[&str]) {
        let own: Vec<String> = rules.iter().map(|rule| format!("from=10.77.0.11 {rule}")).collect();
        let others = self.runs.iter().flat_map(|(fault, _)| fault.rules).copied();
        faults(lab, &others.chain(own.iter().map(String::as_str)).collect::<Vec<_>>());
    }

    /// n1 meets a fault in these phases, and it is told.
    #[track_caller]
    fn meets(&self, phases: &str, lab: &Lab, fault: &Fault) -> Run {
        self.with(lab, fault.rules);
        let run = phase(lab, "n1", phases).ends(1);
        fault.is_told(&run);
        run
    }

    #[track_caller]
    fn end(self, lab: &Lab) {
        for (fault, run) in self.runs {
            fault.is_told(&Run::read(lab.finish(run)).ends(1));
        }
    }
}
