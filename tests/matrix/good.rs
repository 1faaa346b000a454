//! Whether a host, and the cluster that it is in, is what a run that nobody disturbed makes of it.

use std::collections::BTreeMap;

use crate::lab::Lab;
use crate::objects::KUBECTL;
use crate::whole::Whole;

/// What is the same after every good run, by name.
pub struct Good {
    host: &'static str,
    things: Things,
    objects: Things,
}

type Things = BTreeMap<String, String>;

impl Good {
    /// Looks once nothing moves any more.
    #[track_caller]
    pub fn of(lab: &Lab, host: &'static str) -> Self {
        let good = Self { host, things: things(lab, host), objects: objects(lab) };
        good.is_watchful(lab);
        good
    }

    /// What misses things calls every case good: what is done to the host and the cluster here must be told, no more and no less.
    #[track_caller]
    fn is_watchful(&self, lab: &Lab) {
        const SPOIL: &str =
            "mv /etc/crictl.yaml /etc/crictl.yml; echo >>/etc/sysctl.d/99-kubernetes.conf; systemctl stop kubelet";
        const MEND: &str = "mv /etc/crictl.yml /etc/crictl.yaml; sed -i '$d' /etc/sysctl.d/99-kubernetes.conf; systemctl start kubelet";
        let label = |label: &str| lab.on("n1", &format!("exec {KUBECTL} label node {} {label}", self.host)).ok();
        label("spoilt=yes");
        lab.on(self.host, SPOIL).ok();
        let mut told = differences(&self.objects, &objects(lab));
        told.extend(differences(&self.things, &things(lab, self.host)));
        lab.on(self.host, MEND).ok();
        label("spoilt-");
        let node = format!("object Node {}: ", self.host);
        let expected = [
            &node,
            "digest /etc/crictl.yaml is missing",
            "digest /etc/sysctl.d/99-kubernetes.conf: ",
            "path /etc/crictl.yaml is missing",
            "unit kubelet.service: ",
            "digest /etc/crictl.yml is too many",
            "path /etc/crictl.yml is too many",
        ];
        let is_told =
            told.len() == expected.len() && told.iter().zip(expected).all(|(told, line)| told.starts_with(line));
        assert!(is_told, "expected {expected:#?}, told {told:#?}");
    }

    /// The host, and the cluster, are now as they were in the run that this was taken from.
    #[track_caller]
    pub fn is_reached(&self, lab: &Lab) {
        let mut different = settled(|| differences(&self.objects, &objects(lab)));
        different.extend(settled(|| differences(&self.things, &things(lab, self.host))));
        let count = different.len();
        different.truncate(25);
        assert!(different.is_empty(), "{} differs in {count} things\n{}", self.host, different.join("\n"));
    }
}

/// What still moves gets a moment: pods that end and connections that close take their time, files don't.
fn settled(look: impl Fn() -> Vec<String>) -> Vec<String> {
    let mut different = look();
    for _ in 0..15 {
        if different.is_empty() || different.iter().any(|line| line.starts_with("path") || line.starts_with("digest")) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
        different = look();
    }
    different
}

fn differences(good: &Things, now: &Things) -> Vec<String> {
    let mut different = Vec::new();
    for (name, state) in good {
        match now.get(name) {
            Some(same) if same == state => {}
            Some(other) => different.push(format!("{name}: {}", first_difference(state, other))),
            None => different.push(format!("{name} is missing")),
        }
    }
    different.extend(now.keys().filter(|name| !good.contains_key(*name)).map(|name| format!("{name} is too many")));
    different
}

#[track_caller]
fn things(lab: &Lab, host: &str) -> Things {
    let whole = Whole::without(lab, host, &MOVING);
    let lasting = whole.things.iter().filter(|(name, _)| is_lasting(name));
    lasting.map(|(name, state)| (subnetless(&peerless(name)), undated(&cardless(state)))).collect()
}

#[track_caller]
fn objects(lab: &Lab) -> Things {
    crate::objects::objects(lab)
        .into_iter()
        .map(|(name, state)| (format!("object {name}"), subnetless(&state)))
        .collect()
}

/// Where two long lines part.
fn first_difference(one: &str, other: &str) -> String {
    let at = one.bytes().zip(other.bytes()).position(|(a, b)| a != b).unwrap_or(one.len().min(other.len()));
    let part = |text: &str| {
        String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(40)..text.len().min(at + 80)]).into_owned()
    };
    format!("{} became {}", part(one), part(other))
}

/// How the paths begin of containers' and pods' own files, and of systemd's notes of what has run: they aren't looked at.
const MOVING: [&str; 17] = [
    "/var/lib/containerd",
    "/var/lib/etcd/",
    "/var/lib/kubelet/pods",
    "/var/lib/kubelet/pki/kubelet-client-2",
    "/var/lib/kubelet/checkpoints",
    "/var/lib/kubelet/plugins",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet/actuated_pods_state",
    "/var/lib/kubelet/allocated_pods_state",
    "/var/lib/kubelet/cpu_manager_state",
    "/var/lib/kubelet/memory_manager_state",
    "/var/lib/cni",
    "/var/lib/kboot",
    "/var/log",
    "/var/cache",
    // Copies that a timer makes at midnight.
    "/var/backups",
    "/var/lib/systemd",
];

/// Not what has another name or content on each host that is right.
fn is_lasting(name: &str) -> bool {
    // There, but with other content: keys, certificates, what names them, and what tells the time.
    const SYSCTLS: [&str; 3] =
        ["net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];
    const SECRET: [&str; 6] = [".key", ".crt", ".pem", ".pub", ".conf", "-old"];
    let Some((kind, rest)) = name.split_once(' ') else { return true };
    if rest.contains("fe80::") || rest.contains("veth") || rest.contains("cni-") || has_number(rest) {
        return false;
    }
    match kind {
        // Made anew at each boot, and by what runs.
        "path" | "digest" if rest.starts_with("/run") => false,
        "digest" => {
            let is_secret = rest.starts_with("/etc/kubernetes") || rest.starts_with("/var/lib/kubelet/pki");
            !is_secret || !SECRET.iter().any(|end| rest.ends_with(end))
        }
        // Of pods.
        "mount" => !rest.starts_with("/var/lib/kubelet/pods") && !rest.starts_with("/run/containerd"),
        "unit" => {
            let is_made = [".scope", ".slice", ".device"].iter().any(|kind| rest.ends_with(kind));
            !is_made && !rest.contains("containerd-") && !rest.contains("kubelet-pods")
        }
        "sysctl" => SYSCTLS.contains(&rest),
        _ => ["path", "package", "unit-file", "link", "address", "route", "swap"].contains(&kind),
    }
}

/// `eth0@if7: ` without its other end's number, which is another one after each boot.
fn peerless(name: &str) -> String {
    name.split_once("@if").map_or(name, |(name, _)| name).to_string()
}

/// A network card's address is made up.
fn cardless(state: &str) -> String {
    let is_card = |word: &&str| word.len() == 17 && word.split(':').filter(|part| part.len() == 2).count() == 6;
    state.split(' ').filter(|word| !is_card(word)).collect::<Vec<_>>().join(" ")
}

/// A node gets whichever of the cluster's subnets is next.
fn subnetless(text: &str) -> String {
    const PODS: &str = "10.244.";
    let mut parts = text.split(PODS);
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        plain.push_str("10.244.*");
        plain.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    plain
}

/// Where the link to the kubelet's certificate leads, without the time at which that was issued.
fn undated(state: &str) -> String {
    const CERTIFICATE: &str = "kubelet-client-2";
    state.split_once(CERTIFICATE).map_or_else(|| state.to_string(), |(before, _)| format!("{before}{CERTIFICATE}…"))
}

/// A made-up name: twelve hexadecimal digits in a row, or a UUID's first two groups.
fn has_number(name: &str) -> bool {
    name.split(|c: char| !c.is_ascii_hexdigit()).any(|run| run.len() >= 12)
        || name.split(|c: char| !c.is_ascii_hexdigit() && c != '-').any(|run| {
            let groups: Vec<usize> = run.split('-').map(str::len).collect();
            groups.windows(3).any(|w| w == [8, 4, 4])
        })
}
