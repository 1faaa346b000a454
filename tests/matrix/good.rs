//! Whether a host, and the cluster that it is in, is what a run that nobody disturbed makes of it.

use std::collections::BTreeMap;

use crate::lab::Lab;
use crate::objects::objects;
use crate::whole::Whole;

/// What is the same after every good run: things of the host and objects of the cluster, by name.
pub struct Good {
    host: &'static str,
    things: BTreeMap<String, String>,
}

impl Good {
    /// Looks once nothing moves any more.
    #[track_caller]
    pub fn of(lab: &Lab, host: &'static str) -> Self {
        let whole = Whole::of(lab, host);
        let things = whole.things.iter().filter(|(name, _)| is_lasting(name));
        let mut things: BTreeMap<String, String> =
            things.map(|(name, state)| (subnetless(&peerless(name)), undated(&cardless(state)))).collect();
        things.extend(objects(lab).into_iter().map(|(name, state)| (format!("object {name}"), subnetless(&state))));
        Self { host, things }
    }

    /// The host is now as it was in the run that this was taken from. What still moves gets a moment.
    #[track_caller]
    pub fn is_reached(&self, lab: &Lab) {
        let mut different = self.differences(lab);
        for _ in 0..15 {
            // Pods that end and connections that close take their time; files don't.
            if different.is_empty()
                || different.iter().any(|line| line.starts_with("path") || line.starts_with("digest"))
            {
                break;
            }
            std::thread::sleep(std::time::Duration::from_secs(1));
            different = self.differences(lab);
        }
        let count = different.len();
        different.truncate(25);
        assert!(different.is_empty(), "{} differs in {count} things\n{}", self.host, different.join("\n"));
    }

    fn differences(&self, lab: &Lab) -> Vec<String> {
        let now = Self::of(lab, self.host);
        let mut different = Vec::new();
        for (name, state) in &self.things {
            match now.things.get(name) {
                Some(same) if same == state => {}
                Some(other) => different.push(format!("{name}: {}", first_difference(state, other))),
                None => different.push(format!("{name} is missing")),
            }
        }
        different.extend(
            now.things.keys().filter(|name| !self.things.contains_key(*name)).map(|name| format!("{name} is too many")),
        );
        different
    }
}

/// Where two long lines part.
fn first_difference(one: &str, other: &str) -> String {
    let at = one.bytes().zip(other.bytes()).position(|(a, b)| a != b).unwrap_or(one.len().min(other.len()));
    let part = |text: &str| {
        String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(40)..text.len().min(at + 80)]).into_owned()
    };
    format!("{} became {}", part(one), part(other))
}

/// Not what has another name or content on each host that is right.
fn is_lasting(name: &str) -> bool {
    // Containers' and pods' own, and systemd's notes of what has run.
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
        "path" => !MOVING.iter().any(|path| rest.starts_with(path)),
        "digest" => {
            let is_secret = rest.starts_with("/etc/kubernetes") || rest.starts_with("/var/lib/kubelet/pki");
            let is_moving = MOVING.iter().any(|path| rest.starts_with(path));
            let is_chance = is_secret && SECRET.iter().any(|end| rest.ends_with(end));
            !is_moving && !is_chance
        }
        // Of pods.
        "mount" => !rest.starts_with("/var/lib/kubelet/pods") && !rest.starts_with("/run/containerd"),
        "unit" => {
            let is_made = [".scope", ".slice", ".device"].iter().any(|kind| rest.ends_with(kind));
            !is_made && !rest.contains("containerd-") && !rest.contains("kubelet-pods")
        }
        "sysctl" => SYSCTLS.contains(&rest),
        _ => ["package", "unit-file", "link", "address", "route", "swap"].contains(&kind),
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
