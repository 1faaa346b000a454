//! What a host is, down to every file: to show that something left it as it was.

use std::collections::BTreeMap;

use crate::lab::Lab;

/// Prints one line a thing: its kind, its name, a tab, how it is.
///
/// Left out, since they change on a host that nobody touches: what is no disk (/proc, /sys, /dev, /run), and
/// - /var/log/journal, wtmp, btmp, lastlog: each login is written down there;
/// - /var/lib/systemd/timers, random-seed and the like: systemd's own notes of when it did what;
/// - units, mounts and folders that belong to a login session.
///
/// Left out, since it is what runs the look itself: the agent's file under /var/lib/kboot/agent.
const LOOK: &str = r#"
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
disk="/ /tmp /var/lib/containerd /var/lib/kubelet /var/lib/etcd"
skip="-path /var/log/journal -o -path /var/log/wtmp -o -path /var/log/btmp -o -path /var/log/lastlog
      -o -path /var/lib/systemd/timers -o -path /var/lib/systemd/random-seed -o -path /var/lib/systemd/timesync
      -o -path /var/lib/kboot/agent/kboot-* -o -path /tmp/systemd-private-*"
set -f
find $disk -xdev \( $skip \) -prune -o -printf 'path %p\t%y %m %U:%G %l\n'
find $disk -xdev \( $skip \) -prune -o -type f -print0 | xargs -0 -r -n 500 sha256sum | sed 's/^\([0-9a-f]*\)  \(.*\)/digest \2\t\1/'
set +f
dpkg-query -W -f 'package ${Package}\t${Version} ${Status}\n'
session='^(unit|unit-file) (user@|user-|session-|run-user-|user\.slice|ssh@)'
systemctl list-units --all --plain --no-legend --type=service,socket,mount,swap,timer,target,path |
  awk '{ print "unit " $1 "\t" $2, $3, $4 }' | grep -vE "$session"
systemctl list-unit-files --plain --no-legend | awk '{ print "unit-file " $1 "\t" $2 }' | grep -vE "$session"
ip -o link | awk '{ sub(/^[0-9]+: /, ""); name = $1; $1 = ""; print "link " name "\t" $0 }'
ip -o address | awk '{ print "address " $2 " " $4 "\t" $3 }'
ip route show table all | awk '{ print "route " $0 "\t" }'
awk '$2 !~ /^\/run\/user/ { print "mount " $2 "\t" $1, $3, $4 }' /proc/mounts
awk 'NR > 1 { print "swap " $1 "\t" $2 }' /proc/swaps
for key in net.ipv4.ip_forward net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables; do
  printf 'sysctl %s\t%s\n' "$key" "$(sysctl -n "$key" 2>/dev/null)"
done
echo done
"#;

/// A host at one moment.
pub struct Footprint {
    host: String,
    /// By kind and name, how it is.
    pub things: BTreeMap<String, String>,
}

impl Footprint {
    #[track_caller]
    pub fn of(lab: &Lab, host: &str) -> Self {
        let done = lab.on(host, LOOK).ok();
        assert!(done.stdout.ends_with("done\n"), "the look at {host} was cut short\n{}", done.stderr);
        let lines = done.stdout.lines().filter_map(|line| line.split_once('\t'));
        let things: BTreeMap<String, String> = lines.map(|(name, state)| (name.into(), state.into())).collect();
        for kind in ["path /etc/hostname", "digest /etc/hostname", "package dpkg", "unit ssh.service", "link eth0"] {
            assert!(things.keys().any(|name| name.starts_with(kind)), "the look at {host} misses {kind}");
        }
        Self { host: host.into(), things }
    }

    /// The host is now as it was then. `allowed` are names that may be new.
    #[track_caller]
    pub fn still_holds(&self, lab: &Lab, allowed: &[&str]) {
        let now = Self::of(lab, &self.host);
        let mut different = Vec::new();
        for (name, state) in &self.things {
            match now.things.get(name) {
                Some(same) if same == state => {}
                Some(other) => different.push(format!("{name}: {state} became {other}")),
                None => different.push(format!("{name} is gone")),
            }
        }
        let is_new = |name: &&String| !self.things.contains_key(*name) && !allowed.contains(&name.as_str());
        different.extend(now.things.keys().filter(is_new).map(|name| format!("{name} is new")));
        let count = different.len();
        different.truncate(40);
        assert!(different.is_empty(), "{} has changed in {count} things\n{}", self.host, different.join("\n"));
    }
}
