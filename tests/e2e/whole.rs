//! All that a host is, looked at by a shell that knows nothing of kboot: to show that something left it as it was.

use std::collections::BTreeMap;
use std::process::Command;

use crate::lab::Lab;

/// Prints one line a thing: its kind, its name, a tab, how it is. Digests are BLAKE2: a gigabyte is read often, and SHA-256 takes more
/// than twice as long. UNSEEN stands for what `find` passes over.
const LOOK: &str = r#"
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
disks=$(awk '$2 !~ "^/(proc|sys|dev)(/|$)" && !seen[$2]++ { print $2 }' /proc/mounts)
for disk in $disks; do
  test -d "$disk" || continue
  find "$disk" -xdev UNSEEN -printf 'path %p\t%y %m %U:%G %l\n'
done
find / /tmp /var/lib/containerd /var/lib/etcd /var/lib/kubelet -xdev UNSEEN -path /var/log/journal -prune -o -type f -print0 | xargs -0 -r -n 500 b2sum -l 256 | sed 's/^\([0-9a-f]*\)  \(.*\)/digest \2\t\1/'
dpkg-query -W -f 'package ${Package}\t${Version} ${Status}\n'
systemctl list-units --all --plain --no-legend | awk '{ print "unit " $1 "\t" $2, $3, $4 }'
systemctl list-unit-files --plain --no-legend | awk '{ print "unit-file " $1 "\t" $2 }'
find /proc/sys -type f -perm -400 -printf 'sysctl %P\t\n'
find /proc/sys -type f -perm -400 -print0 | xargs -0 grep -asH '' | awk '{
  at = index($0, ":"); name = substr($0, 11, at - 11); value = substr($0, at + 1); gsub(/\t/, " ", value)
  if (name != last) { if (last != "") print "sysctl " last "\t" text; last = name; text = "" }
  text = text value " "
} END { print "sysctl " last "\t" text }'
sed 's/ .*//; s/^/module /; s/$/\t/' /proc/modules 2>/dev/null
awk '{ print "mount " $2 "\t" $1, $3, $4 }' /proc/mounts
awk 'NR > 1 { print "swap " $1 "\t" $2 }' /proc/swaps
ip -o link | awk '{ sub(/^[0-9]+: /, ""); name = $1; $1 = ""; print "link " name "\t" $0 }'
ip -o address | awk '{ print "address " $2 " " $4 "\t" $3 }'
for family in -4 -6; do
  ip $family route show table all | awk -v f=$family '{ print "route " f " " $0 "\t" }'
  ip $family rule | awk -v f=$family '{ print "routing-rule " f " " $0 "\t" }'
done
ip netns list | awk '{ print "netns " $1 "\t" }'
ss -Hlntux | awk '{ print "socket " $1 " " $5 "\t" }'
sed 's/^/user /; s/$/\t/' /etc/passwd
sed 's/^/group /; s/$/\t/' /etc/group
find /sys/fs/cgroup -type d | sed 's/^/cgroup /; s/$/\t/'
ps -eo comm= | sort -u | awk '{ print "process " $0 "\t" }'
echo done
"#;

/// What moves on a host that nobody touches: how its names begin, and why it says nothing.
const MOVES: [(&str, &str); 23] = [
    ("path /run/agetty.reload", "the login prompt's, which shows the host's name and addresses"),
    ("path /var/log/journal/", "the journal is written by whatever runs"),
    ("digest /var/log/wtmp", "logins are written down there"),
    ("digest /var/log/btmp", "logins are written down there"),
    ("digest /var/log/lastlog", "logins are written down there"),
    ("path /var/backups/", "copies that a timer makes at midnight"),
    ("digest /var/backups/", "copies that a timer makes at midnight"),
    ("digest /var/lib/systemd/random-seed", "systemd's own, written when it likes"),
    ("path /var/lib/systemd/timers/", "when timers ran last"),
    ("path /run/systemd/", "sessions, and the units that run for them"),
    ("digest /run/systemd/", "sessions, and the units that run for them"),
    ("path /run/user/", "the folder of a login session"),
    ("mount /run/user/", "the folder of a login session"),
    ("path /run/log/journal", "the journal"),
    ("path /tmp/systemd-private-", "services' own temporary folders"),
    ("digest /tmp/systemd-private-", "services' own temporary folders"),
    ("unit session-", "a login session"),
    ("unit user", "a login session"),
    ("unit run-user-", "a login session"),
    ("cgroup /sys/fs/cgroup/systemd/user.slice/", "a login session"),
    ("sysctl kernel/random/", "chance"),
    ("sysctl fs/", "the kernel's counters of open files and cached names, and how many of each there may be"),
    ("sysctl kernel/ns_last_pid", "a counter of processes"),
];
/// The same, of single names.
const COUNTERS: [(&str, &str); 3] = [
    ("sysctl kernel/pty/nr", "open terminals"),
    ("sysctl net/netfilter/nf_conntrack_count", "connections that the kernel remembers for a while"),
    ("path /run/utmp", "who is logged in"),
];
/// What a reset leaves, and should.
const KEPT: [(&str, &str); 10] = [
    ("path /var/log/apt/", "a log: it tells what was done, and it was done"),
    ("path /var/log/dpkg.log", "a log"),
    ("path /var/log/alternatives.log", "a log"),
    ("digest /var/log/", "logs grow"),
    ("digest /etc/passwd-", "the user database before the last user that came or went"),
    ("digest /etc/group-", "as above"),
    ("digest /etc/shadow-", "as above"),
    ("digest /etc/gshadow-", "as above"),
    ("digest /var/lib/dpkg/status-old", "dpkg's copy of its database before the last change"),
    ("digest /var/cache/debconf/", "debconf's copies of its database before the last change"),
];
/// The folders of an agent that ran there, and the agent itself where it stays.
pub const AGENTS_FOLDERS: [&str; 2] = ["path /var/lib/kboot", "path /var/lib/kboot/agent"];
pub const AGENT: [&str; 4] =
    [AGENTS_FOLDERS[0], AGENTS_FOLDERS[1], "path /var/lib/kboot/agent/kboot-*", "digest /var/lib/kboot/agent/kboot-*"];
/// What looks and who lets it in: processes of the look itself.
const LOOKERS: [&str; 11] =
    ["ps", "sort", "awk", "sh", "sshd", "(sd-pam)", "systemd", "sudo", "mawk", "bash", "sftp-server"];

fn moves(name: &str) -> bool {
    MOVES.iter().any(|(prefix, _)| name.starts_with(prefix))
        || COUNTERS.iter().any(|(known, _)| name == *known)
        || name.contains("/user.slice")
        || name.strip_prefix("process ").is_some_and(|process| LOOKERS.contains(&process))
}

/// A host at one moment.
pub struct Whole {
    host: String,
    /// By kind and name, how it is.
    pub things: BTreeMap<String, String>,
}

impl Whole {
    #[track_caller]
    pub fn of(lab: &Lab, host: &str) -> Self {
        Self::without(lab, host, &[])
    }

    /// Without the files whose paths begin like that, which takes less time.
    #[track_caller]
    pub fn without(lab: &Lab, host: &str, paths: &[&str]) -> Self {
        let unseen: String = paths.iter().map(|path| format!("-path '{path}*' -prune -o ")).collect();
        let done = lab.on(host, &LOOK.replace("UNSEEN", &unseen)).ok();
        assert!(done.stdout.ends_with("done\n"), "the look at {host} was cut short\n{}", done.stderr);
        let lines = done.stdout.lines().filter_map(|line| line.split_once('\t'));
        let mut things: BTreeMap<String, String> = lines.map(|(name, state)| (name.into(), state.into())).collect();
        for line in packet_filter(lab, host).lines() {
            things.insert(format!("nftables {line}"), String::new());
        }
        for kind in [
            "path /etc/hostname",
            "digest /etc/hostname",
            "package dpkg",
            "unit ssh.service",
            "link eth0",
            "sysctl net/ipv4/ip_forward",
            "socket tcp",
            "cgroup /sys/fs/cgroup",
            "user root",
            "path /run/",
        ] {
            assert!(things.keys().any(|name| name.starts_with(kind)), "the look at {host} misses {kind}");
        }
        things.retain(|name, _| !moves(name));
        Self { host: host.into(), things }
    }

    /// What is different after a reset, a line a thing.
    #[track_caller]
    pub fn leftovers(&self, lab: &Lab) -> Vec<String> {
        self.differences(lab, |name| !KEPT.iter().any(|(prefix, _)| name.starts_with(prefix)))
    }

    /// A reset has left the host as it was.
    #[track_caller]
    pub fn is_restored(&self, lab: &Lab) {
        self.has_none(&self.leftovers(lab));
    }

    /// Nobody has touched the host. `allowed` are names that may be new, some by their beginning and a `*`.
    #[track_caller]
    pub fn still_holds(&self, lab: &Lab, allowed: &[&str]) {
        let is_allowed = |name: &str| {
            !self.things.contains_key(name)
                && allowed
                    .iter()
                    .any(|known| known.strip_suffix('*').map_or(name == *known, |start| name.starts_with(start)))
        };
        self.has_none(&self.differences(lab, |name| !is_allowed(name)));
    }

    #[track_caller]
    fn differences(&self, lab: &Lab, counts: impl Fn(&str) -> bool) -> Vec<String> {
        let now = Self::of(lab, &self.host);
        let mut different = Vec::new();
        for (name, state) in self.things.iter().filter(|(name, _)| counts(name)) {
            match now.things.get(name) {
                Some(same) if same == state => {}
                Some(other) => different.push(format!("{name}: {state} became {other}")),
                None => different.push(format!("{name} is gone")),
            }
        }
        let is_new = |name: &&String| !self.things.contains_key(*name) && counts(name);
        different.extend(now.things.keys().filter(is_new).map(|name| format!("{name} is new")));
        different
    }

    #[track_caller]
    fn has_none(&self, different: &[String]) {
        let (count, shown) = (different.len(), different.iter().take(60).cloned().collect::<Vec<_>>().join("\n"));
        assert!(different.is_empty(), "{} is not as it was, in {count} things\n{shown}", self.host);
    }
}

/// The host's packet filter, by the `nft` of the machine that the lab is on: the host has none, and should not get one for this.
#[track_caller]
fn packet_filter(lab: &Lab, host: &str) -> String {
    let namespace = lab.on(host, "readlink /proc/1/ns/net").ok().stdout.trim().to_string();
    let is_inside = |process: &std::path::Path| {
        std::fs::read_link(process.join("ns/net")).is_ok_and(|link| link.to_string_lossy() == namespace)
    };
    let mut said = String::new();
    // A process may end right when it was found.
    for _ in 0..5 {
        let processes = std::fs::read_dir("/proc").expect("there is /proc").flatten().map(|entry| entry.path());
        let Some(process) = processes.into_iter().find(|process| is_inside(process)) else { continue };
        let net = format!("--net={}/ns/net", process.display());
        let done = Command::new("nsenter").args([&net, "nft", "--stateless", "list", "ruleset"]).output();
        let done = done.expect("there is nsenter");
        if done.status.success() {
            return String::from_utf8_lossy(&done.stdout).into_owned();
        }
        said = String::from_utf8_lossy(&done.stderr).into_owned();
    }
    panic!("the packet filter of {host} in {namespace} can't be looked at: {said}")
}
