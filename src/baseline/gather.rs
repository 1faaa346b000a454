//! The look at a host. Nearly all of it is files: processes cost more than everything else together.

use camino::Utf8Path;

use super::path_state::{Detail, PathState};
use super::{Baseline, Kind, VERSION, filter};
use crate::engine::{FileKind, Probe, Result, now_millis};
use crate::proc;

/// A file larger than this is known by its size alone.
const LARGE: u64 = 1 << 20;
/// More things than this below one folder are no configuration any more.
const MOST: usize = 20_000;

/// Folders that programs keep their own things in: how many levels are looked at.
const FOLDERS: [(&str, usize); 18] = [
    ("/opt", 2),
    // A node's parts write here: what was there before is known by these.
    ("/opt/cni/bin", 1),
    ("/var/lib/cni", 2),
    ("/var/lib/etcd", 2),
    ("/var/lib/kubelet", 1),
    ("/root", 1),
    ("/run", 1),
    ("/usr/lib/modules", 1),
    ("/usr/libexec", 1),
    ("/usr/local/bin", 1),
    ("/usr/local/sbin", 1),
    ("/var/cache/apt", 1),
    ("/var/cache/apt/archives", 1),
    ("/var/cache/ldconfig", 1),
    ("/var/lib", 1),
    ("/var/lib/apt/lists", 1),
    ("/var/log", 1),
    ("/srv", 1),
];

/// Folders of kernel parameters that Kubernetes, its proxy or a pod network may turn; all others are nobody's business here.
const SYSCTLS: [&str; 7] = [
    "kernel/keys",
    "net/bridge",
    "net/ipv4",
    "net/ipv4/vs",
    "net/netfilter",
    "net/ipv6/conf/all",
    "net/ipv6/conf/default",
];
/// Single ones of folders that otherwise count, compact or trace.
const SINGLE_SYSCTLS: [&str; 7] = [
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/max_map_count",
    "vm/overcommit_memory",
    "vm/overcommit_ratio",
    "vm/panic_on_oom",
    "vm/swappiness",
];
/// What counts rather than sets.
const COUNTERS: [&str; 1] = ["nf_conntrack_count"];

/// Units that nodes start, or that their units pull in.
const UNITS: [&str; 3] = ["containerd.service", "kubelet.service", "network-online.target"];

pub async fn gather(probe: &dyn Probe) -> Result<Baseline> {
    let mut found = Baseline { version: VERSION, taken: now_millis(), ..Baseline::default() };
    files(probe, &mut found).await?;
    entries(probe, &mut found).await?;
    packages(probe, &mut found).await?;
    sysctls(probe, &mut found).await?;
    for name in first_words(&text(probe, "/proc/modules").await) {
        found.insert(Kind::Module, name, "loaded");
    }
    for (point, what) in mounts(&text(probe, "/proc/self/mountinfo").await) {
        found.insert(Kind::Mount, point, what);
    }
    for name in proc::links(&text(probe, "/proc/net/dev").await) {
        found.insert(Kind::Link, name, "there");
    }
    for route in routes(&text(probe, "/proc/net/route").await) {
        found.insert(Kind::Route, route, "there");
    }
    rules(probe, &mut found).await?;
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        for port in ports(table, &text(probe, &format!("/proc/net/{table}")).await) {
            found.insert(Kind::Socket, port, "open");
        }
    }
    for (kind, path) in [(Kind::User, "/etc/passwd"), (Kind::Group, "/etc/group")] {
        for line in text(probe, path).await.lines() {
            let (name, rest) = line.split_once(':').unwrap_or((line, ""));
            // Not the password, were there one.
            found.insert(kind, name, rest.split_once(':').map_or("", |(_, rest)| rest));
        }
    }
    cgroups(probe, &mut found).await?;
    units(probe, &mut found).await?;
    Ok(found)
}

/// A file's text; nothing where it can't be read: what is missing then is missing in every look.
async fn text(probe: &dyn Probe, path: &str) -> String {
    let bytes = probe.read(Utf8Path::new(path)).await.ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn files(probe: &dyn Probe, found: &mut Baseline) -> Result<()> {
    // The last comes first: what matters most is known of a folder with more than the limit, too.
    let mut folders = ["/etc", "/etc/cni", "/etc/kubernetes"].map(String::from).to_vec();
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for name in probe.list(Utf8Path::new(&folder)).await?.unwrap_or_default() {
            let path = format!("{folder}/{name}");
            let Some(metadata) = probe.stat(Utf8Path::new(&path)).await? else { continue };
            count += 1;
            if count > MOST {
                return Ok(());
            }
            let detail = match metadata.kind {
                FileKind::Directory => {
                    folders.push(path.clone());
                    Detail::None
                }
                FileKind::File if metadata.size <= LARGE => {
                    Detail::digest(&probe.read(Utf8Path::new(&path)).await?.unwrap_or_default())
                }
                FileKind::File => Detail::Size(metadata.size),
                FileKind::Symlink => target(probe, &path).await?,
                FileKind::Other => Detail::None,
            };
            found.insert(Kind::File, path, PathState::of(&metadata, detail).to_string());
        }
    }
    Ok(())
}

async fn entries(probe: &dyn Probe, found: &mut Baseline) -> Result<()> {
    for (folder, levels) in FOLDERS {
        let mut level = vec![folder.to_string()];
        for _ in 0..levels {
            let mut next = Vec::new();
            for folder in level {
                for name in probe.list(Utf8Path::new(&folder)).await?.unwrap_or_default() {
                    let path = format!("{folder}/{name}");
                    let Some(metadata) = probe.stat(Utf8Path::new(&path)).await? else { continue };
                    let detail = match metadata.kind {
                        FileKind::Directory => {
                            next.push(path.clone());
                            // Whether something lies in it tells a mount point that waits from a program's own state.
                            let names = probe.list(Utf8Path::new(&path)).await.ok().flatten();
                            if names.is_some_and(|names| names.is_empty()) { Detail::Empty } else { Detail::None }
                        }
                        FileKind::Symlink => target(probe, &path).await?,
                        FileKind::File | FileKind::Other => Detail::None,
                    };
                    found.insert(Kind::Entry, path, PathState::of(&metadata, detail).to_string());
                }
            }
            level = next;
        }
    }
    let modules = Utf8Path::new("/usr/lib/modules");
    if let Some(metadata) = probe.stat(modules).await? {
        let state = PathState::of(&metadata, Detail::None);
        found.insert(Kind::Entry, modules.as_str(), state.to_string());
    }
    Ok(())
}

async fn target(probe: &dyn Probe, link: &str) -> Result<Detail> {
    Ok(Detail::Target(probe.link(Utf8Path::new(link)).await?.unwrap_or_default().into_string()))
}

async fn packages(probe: &dyn Probe, found: &mut Baseline) -> Result<()> {
    for paragraph in text(probe, "/var/lib/dpkg/status").await.split("\n\n") {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if let (Some(name), Some(status)) = (field("Package"), field("Status")) {
            let version = field("Version").unwrap_or_default();
            found.insert(Kind::Package, name, format!("{version} {status}"));
        }
    }
    Ok(())
}

async fn sysctls(probe: &dyn Probe, found: &mut Baseline) -> Result<()> {
    let mut folders: Vec<String> = SYSCTLS.map(String::from).into();
    for name in probe.list(Utf8Path::new("/proc/sys/net/ipv4/conf")).await?.unwrap_or_default() {
        folders.push(format!("net/ipv4/conf/{name}"));
    }
    let mut names: Vec<String> = SINGLE_SYSCTLS.map(String::from).into();
    for folder in folders {
        let below = probe.list(Utf8Path::new(&format!("/proc/sys/{folder}"))).await?.unwrap_or_default();
        names.extend(
            below.into_iter().filter(|n| !COUNTERS.contains(&n.as_str())).map(|name| format!("{folder}/{name}")),
        );
    }
    for name in names {
        let path = format!("/proc/sys/{name}");
        // A folder, or one that can only be written.
        let Ok(Some(bytes)) = probe.read(Utf8Path::new(&path)).await else { continue };
        let value = String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ");
        found.insert(Kind::Sysctl, name, value);
    }
    Ok(())
}

fn first_words(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.split_whitespace().next())
}

/// Where something is mounted, and what, as `ext4 /dev/sda1`. Logins mount and unmount their own folders.
fn mounts(mountinfo: &str) -> Vec<(String, String)> {
    let read = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?.to_string();
        let mut words = right.split(' ');
        Some((point, format!("{} {}", words.next()?, words.next()?)))
    };
    mountinfo.lines().filter_map(read).filter(|(point, _)| !point.starts_with("/run/user/")).collect()
}

/// As `10.244.0.0/255.255.255.0 cni0`, with ` via 10.0.0.1` where there is a gateway.
fn routes(table: &str) -> Vec<String> {
    let address = |hexadecimal: &str| {
        let number = u32::from_str_radix(hexadecimal, 16).ok()?;
        Some(std::net::Ipv4Addr::from(number.swap_bytes()))
    };
    let read = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (link, to, gateway) = (words.first()?, address(words.get(1)?)?, address(words.get(2)?)?);
        let mask = address(words.get(7)?)?;
        let via = if gateway.is_unspecified() { String::new() } else { format!(" via {gateway}") };
        Some(format!("{to}/{mask} {link}{via}"))
    };
    table.lines().skip(1).filter_map(read).collect()
}

async fn rules(probe: &dyn Probe, found: &mut Baseline) -> Result<()> {
    let tables = probe.query(&["nft", "list", "tables"]).await?;
    for table in tables.stdout.lines() {
        found.insert(Kind::Rule, format!("nftables {table}"), "there");
    }
    for program in filter::PROGRAMS {
        let output = probe.query(&[&format!("{program}-save")]).await?;
        if output.is_success() {
            filter::names(program, &output.stdout).for_each(|name| found.insert(Kind::Rule, name, "there"));
        }
    }
    Ok(())
}

/// What is listened on, as `tcp 22`, without the ports that the kernel gives to whoever asks for any.
fn ports(table: &str, text: &str) -> Vec<String> {
    const UNCONNECTED: &str = "07";
    const EPHEMERAL: u16 = 32768;
    let wanted = if table.starts_with("tcp") { proc::LISTEN } else { UNCONNECTED };
    proc::ports(text, wanted).filter(|port| *port < EPHEMERAL).map(|port| format!("{table} {port}")).collect()
}

async fn units(probe: &dyn Probe, found: &mut Baseline) -> Result<()> {
    const FIELDS: &str = "--property=Id,ActiveState";
    let [a, b, c] = UNITS;
    let shown = probe.query(&["systemctl", "show", FIELDS, a, b, c]).await?;
    for unit in shown.stdout.split("\n\n") {
        let field = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        if let (Some(name), Some(state)) = (field("Id"), field("ActiveState")) {
            found.insert(Kind::Unit, name, state);
        }
    }
    Ok(())
}

/// The kubelet's groups of pods, in every hierarchy.
async fn cgroups(probe: &dyn Probe, found: &mut Baseline) -> Result<()> {
    for path in pod_cgroups(probe).await? {
        found.insert(Kind::Cgroup, path, "there");
    }
    Ok(())
}

/// `/sys/fs/cgroup/kubepods` and the like, on version 1 one a controller.
pub async fn pod_cgroups(probe: &dyn Probe) -> Result<Vec<String>> {
    const ROOT: &str = "/sys/fs/cgroup";
    const NAMES: [&str; 2] = ["kubepods", "kubepods.slice"];
    let top = probe.list(Utf8Path::new(ROOT)).await?.unwrap_or_default();
    let is_version_2 = top.iter().any(|name| name == "cgroup.controllers");
    let mut folders = vec![ROOT.to_string()];
    if !is_version_2 {
        folders.extend(top.iter().map(|name| format!("{ROOT}/{name}")));
    }
    let mut found = Vec::new();
    for folder in folders {
        // Several names may lead to one hierarchy.
        if probe.stat(Utf8Path::new(&folder)).await?.is_none_or(|metadata| metadata.kind != FileKind::Directory) {
            continue;
        }
        for name in NAMES {
            let path = format!("{folder}/{name}");
            if probe.stat(Utf8Path::new(&path)).await?.is_some() {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    const SHOWN: &str = "Id=kubelet.service\nActiveState=inactive\n\nId=network-online.target\nActiveState=active\n";

    fn host() -> FakeHost {
        let units = "systemctl show --property=Id,ActiveState containerd.service kubelet.service network-online.target";
        let host = FakeHost::default().answer("nft list tables", 127, "").answer(units, 0, SHOWN);
        filter::PROGRAMS.iter().fold(host, |host, program| host.answer(&format!("{program}-save"), 127, ""))
    }

    #[tokio::test]
    async fn a_host_is_known_by_its_things() {
        let status = "Package: socat\nStatus: install ok installed\nVersion: 1.7\n\nPackage: dpkg\nStatus: hold ok installed\nVersion: 1\n";
        let tcp = "  sl  local_address rem_address   st\n   0: 00000000:0016 00000000:0000 0A\n   1: 0B0A4D0A:1F90 0B0A4D0A:0016 01\n";
        let host = host()
            .file("/etc/fstab", "x")
            .file("/etc/ssh/sshd_config", "y")
            .file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
            .file("/opt/a/b/c", "")
            .file("/var/lib/dpkg/status", status)
            .file("/proc/sys/kernel/panic", "10\n")
            .file("/proc/sys/net/ipv4/conf/all/forwarding", "1\n")
            .file("/proc/sys/net/netfilter/nf_conntrack_count", "7\n")
            .file("/proc/modules", "overlay 1 0 - Live 0x0\n")
            .file("/proc/net/tcp", tcp)
            .file("/sys/fs/cgroup/cgroup.controllers", "")
            .file("/sys/fs/cgroup/kubepods/x", "");
        let found = gather(&host).await.unwrap();
        let digest = &crate::engine::sha256(b"x")[..32];
        assert_eq!(found.state(Kind::File, "/etc/fstab"), Some(format!("file 0644 0:0 {digest}").as_str()));
        assert!(found.state(Kind::File, "/etc/ssh/sshd_config").is_some());
        assert_eq!(found.state(Kind::Entry, "/opt/a/b"), Some("directory 0644 0:0"));
        assert_eq!(found.state(Kind::Entry, "/opt/a/b/c"), None);
        assert_eq!(found.state(Kind::Package, "dpkg"), Some("1 hold ok installed"));
        assert_eq!(found.state(Kind::Sysctl, "kernel/panic"), Some("10"));
        assert_eq!(found.state(Kind::Sysctl, "net/ipv4/conf/all/forwarding"), Some("1"));
        assert_eq!(found.state(Kind::Sysctl, "net/netfilter/nf_conntrack_count"), None);
        assert_eq!(found.state(Kind::Module, "overlay"), Some("loaded"));
        assert_eq!(found.things[&Kind::Socket].keys().collect::<Vec<_>>(), ["tcp 22"]);
        assert_eq!(found.state(Kind::User, "root"), Some("0:0:root:/root:/bin/sh"));
        assert_eq!(found.state(Kind::Unit, "network-online.target"), Some("active"));
        assert_eq!(found.state(Kind::Cgroup, "/sys/fs/cgroup/kubepods"), Some("there"));
    }

    #[tokio::test]
    async fn rules_are_kept_without_their_counters() {
        let saved =
            "*nat\n:PREROUTING ACCEPT [5:300]\n:KUBE-SERVICES - [0:0]\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n";
        let mut host = FakeHost::default().answer("iptables-nft-save", 0, saved);
        let units = "systemctl show --property=Id,ActiveState containerd.service kubelet.service network-online.target";
        host = host.answer("nft list tables", 0, "table ip nat\n").answer(units, 0, SHOWN);
        for program in filter::PROGRAMS.iter().filter(|program| **program != "iptables-nft") {
            host = host.answer(&format!("{program}-save"), 127, "");
        }
        let found = gather(&host).await.unwrap();
        let names: Vec<&String> = found.things[&Kind::Rule].keys().collect();
        assert_eq!(
            names,
            [
                "iptables-nft nat -A PREROUTING -j KUBE-SERVICES",
                "iptables-nft nat :KUBE-SERVICES -",
                "nftables table ip nat"
            ]
        );
    }

    #[test]
    fn routes_and_mounts_are_read() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
            eth0\t00000000\t01004D0A\t0003\t0\t0\t0\t00000000\t0\t0\t0\ncni0\t0001F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(routes(table), ["0.0.0.0/0.0.0.0 eth0 via 10.77.0.1", "10.244.1.0/255.255.255.0 cni0"]);
        let mountinfo = "36 35 98:0 / /var/lib/etcd rw,relatime shared:1 - ext4 /dev/sda rw\n37 36 0:45 / /run/user/0 rw - tmpfs tmpfs rw\n";
        assert_eq!(mounts(mountinfo), [("/var/lib/etcd".to_string(), "ext4 /dev/sda".to_string())]);
    }
}
