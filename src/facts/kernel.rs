//! Parsers of what the kernel tells in /proc about itself and about processes. Pure.

use super::{Cgroup, ModuleState};

/// CAP_SYS_RESOURCE's bit, from linux/capability.h.
const SYS_RESOURCE: u32 = 24;

/// The value of a `Name:\tvalue` line, as in /proc/PID/status and /proc/meminfo.
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The effective user in /proc/PID/status.
pub fn effective_uid(status: &str) -> Option<u32> {
    field(status, "Uid")?.split_whitespace().nth(1)?.parse().ok()
}

/// How many processors /proc/PID/status allows: `0-3,8` makes 5.
pub fn allowed_cpus(status: &str) -> Option<usize> {
    let ranges = field(status, "Cpus_allowed_list")?.split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.trim().parse::<usize>().ok()?.checked_sub(first.trim().parse().ok()?)? + 1)
    });
    ranges.sum()
}

pub fn has_sys_resource(status: &str) -> bool {
    let effective = field(status, "CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    effective >> SYS_RESOURCE & 1 == 1
}

/// Whether /proc/self/uid_map is anything but the initial user namespace's.
pub fn is_user_namespace(uid_map: &str) -> bool {
    let numbers: Vec<_> = uid_map.split_whitespace().collect();
    !numbers.is_empty() && numbers != ["0", "0", "4294967295"]
}

/// MemTotal of /proc/meminfo, in bytes.
pub fn memory_bytes(meminfo: &str) -> Option<u64> {
    let kibibytes: u64 = field(meminfo, "MemTotal")?.strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The file names in /proc/swaps.
pub fn swaps(text: &str) -> Vec<String> {
    text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(String::from).collect()
}

/// The cgroup version by /proc/self/mounts: only a cgroup2 at the top is v2.
pub fn cgroup(mounts: &str) -> Cgroup {
    let at_top = |line: &&str| line.split(' ').nth(1) == Some("/sys/fs/cgroup");
    // The last mount covers those before it.
    match mounts.lines().rfind(at_top).and_then(|line| line.split(' ').nth(2)) {
        Some("cgroup2") => Cgroup::V2,
        _ => Cgroup::V1,
    }
}

/// What is known of a kernel's modules, each as its file's text.
#[derive(Debug, Default)]
pub struct Modules {
    /// /proc/modules
    pub loaded: String,
    /// modules.builtin of the running kernel
    pub builtin: String,
    /// modules.dep of the running kernel
    pub dep: String,
}

impl Modules {
    /// A module's state. A kernel without files of its modules, as a container may see it, shows what it has by other
    /// traces: `has_trace` says whether there are any.
    pub fn state(&self, name: &str, has_trace: bool) -> ModuleState {
        if self.loaded.lines().any(|line| line.split(' ').next() == Some(name)) {
            ModuleState::Loaded
        } else if has_trace || self.builtin.lines().any(|line| is_module(line, name)) {
            ModuleState::BuiltIn
        } else if self.dep.lines().filter_map(|line| line.split_once(':')).any(|(path, _)| is_module(path, name)) {
            ModuleState::Loadable
        } else {
            ModuleState::Missing
        }
    }
}

/// Whether the kernel knows a file system, by /proc/filesystems.
pub fn has_filesystem(filesystems: &str, name: &str) -> bool {
    filesystems.lines().any(|line| line.split('\t').next_back() == Some(name))
}

/// Whether `kernel/net/bridge/br_netfilter.ko.xz` is the module `br_netfilter`. Names may be written with `-` for `_`.
fn is_module(path: &str, name: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split_once(".ko").is_some_and(|(stem, _)| stem.replace('-', "_") == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tkboot\nUid:\t1000\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapInh:\t0000000000000000\n\
                          CapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\n\
                          Cpus_allowed:\t10f\nCpus_allowed_list:\t0-3,8\n";

    #[test]
    fn user_and_processors_of_a_process() {
        assert_eq!(effective_uid(STATUS), Some(0));
        assert_eq!(allowed_cpus(STATUS), Some(5));
        assert_eq!(allowed_cpus("Cpus_allowed_list:\t0\n"), Some(1));
        assert_eq!(allowed_cpus("Cpus_allowed_list:\t3-1\n"), None);
        assert_eq!(allowed_cpus(""), None);
    }

    #[test]
    fn sys_resource_is_bit_24() {
        assert!(has_sys_resource(STATUS));
        // A container whose bounding set lacks just this one.
        assert!(!has_sys_resource("CapEff:\t000001fffeffffff\n"));
        assert!(!has_sys_resource("CapEff:\t0000000000000000\n"));
        assert!(!has_sys_resource(""));
    }

    #[test]
    fn only_the_full_identity_map_is_the_initial_user_namespace() {
        assert!(!is_user_namespace("         0          0 4294967295\n"));
        assert!(is_user_namespace("         0     100000      65536\n"));
        assert!(is_user_namespace("         0          0      65536\n"));
        // A kernel without user namespaces has no such file.
        assert!(!is_user_namespace(""));
    }

    #[test]
    fn memory_and_swaps() {
        assert_eq!(memory_bytes("MemTotal:       24684096 kB\nMemFree:  1 kB\n"), Some(24_684_096 * 1024));
        assert_eq!(memory_bytes("MemFree:  1 kB\n"), None);
        assert_eq!(memory_bytes("MemTotal: 18446744073709551615 kB\n"), None);
        let header = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert_eq!(swaps(header), Vec::<String>::new());
        let text = format!(
            "{header}/dev/sda5                               partition\t998396\t\t0\t\t-2\n/swapfile file\t1\t0\t-3\n"
        );
        assert_eq!(swaps(&text), ["/dev/sda5", "/swapfile"]);
    }

    #[test]
    fn cgroup_versions() {
        let v2 = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime 0 0\n";
        assert_eq!(cgroup(v2), Cgroup::V2);
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs ro,nosuid 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n";
        assert_eq!(cgroup(hybrid), Cgroup::V1);
        assert_eq!(cgroup(&format!("{hybrid}{v2}")), Cgroup::V2);
        assert_eq!(cgroup(""), Cgroup::V1);
    }

    #[test]
    fn module_states() {
        let modules = Modules {
            loaded: "br_netfilter 32768 0 - Live 0x0000000000000000\nbridge 311296 1 br_netfilter, Live 0x0\n".into(),
            builtin: "kernel/fs/ext4/ext4.ko\nkernel/net/netfilter/nf_conntrack.ko\n".into(),
            dep: "kernel/fs/overlayfs/overlay.ko.xz:\nkernel/drivers/net/vxlan/vxlan.ko: kernel/net/udp-tunnel.ko\n"
                .into(),
        };
        assert_eq!(modules.state("br_netfilter", false), ModuleState::Loaded);
        assert_eq!(modules.state("nf_conntrack", false), ModuleState::BuiltIn);
        assert_eq!(modules.state("overlay", false), ModuleState::Loadable);
        assert_eq!(modules.state("overlay", true), ModuleState::BuiltIn);
        assert_eq!(modules.state("udp_tunnel", false), ModuleState::Missing);
        assert_eq!(modules.state("ip_vs", false), ModuleState::Missing);
        assert!(is_module("kernel/net/ipv4/udp-tunnel.ko.zst", "udp_tunnel"));
    }

    #[test]
    fn filesystems() {
        let text = "nodev\tsysfs\n\text4\nnodev\toverlay\n";
        assert!(has_filesystem(text, "overlay") && has_filesystem(text, "ext4"));
        assert!(!has_filesystem(text, "over") && !has_filesystem(text, "nodev"));
    }
}
