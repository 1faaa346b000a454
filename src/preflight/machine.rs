//! What one host must be and have, whatever the other hosts.

use super::{Check, Finding, Subject};
use crate::engine::hint::ValueWord;
use crate::facts::{Cgroup, Facts, ModuleState, Os};
use crate::inventory::Cni;

// kubeadm's minimum for a control plane: ControlPlaneNumCPU and ControlPlaneMem (in units of 2^20 bytes).
const CORES: usize = 2;
const MEMORY_MB: u64 = 1700;
const MIB: u64 = 1 << 20;
const GB: u64 = 1_000_000_000;
/// Images and etcd's data need this much of /var/lib at the least …
const VAR_LIB: u64 = 2 * GB;
/// … and this much to live, for the kubelet evicts pods when a tenth of the disk is left.
const VAR_LIB_AMPLE: u64 = 10 * GB;
/// The packages and what apt downloads.
const ROOT: u64 = GB;

pub fn check(subject: &Subject) -> Vec<Finding> {
    let Subject { facts, .. } = subject;
    let single = [
        root(facts),
        systemd(facts),
        operating_system(facts),
        architecture(facts),
        cores(subject),
        memory(subject),
        swap(facts),
        cgroup(facts),
    ];
    let mut findings: Vec<_> = single.into_iter().flatten().collect();
    findings.extend(modules(subject));
    findings.extend(executables(subject));
    findings.extend(disk(facts));
    findings
}

fn root(facts: &Facts) -> Option<Finding> {
    let hint = "log in as root, or as a user with passwordless sudo; by hand: `sudo kboot …`";
    (facts.uid != 0).then(|| Finding::error(Check::IsPrivilegedUser, "kboot does not run as root here", hint))
}

fn systemd(facts: &Facts) -> Option<Finding> {
    let hint = "kubelet and containerd run as systemd units: boot the host with systemd as its first process";
    (!facts.is_systemd).then(|| Finding::error(Check::Systemd, "systemd does not run here", hint))
}

fn operating_system(facts: &Facts) -> Option<Finding> {
    const SUPPORTED: &str = "kboot knows Debian from 11 and Ubuntu from 20.04 on";
    let Os { id, version_id, pretty_name, .. } = &facts.os;
    let name = if pretty_name.is_empty() { "an unnamed operating system" } else { pretty_name };
    let oldest = match id.as_str() {
        "debian" => (11, 0),
        "ubuntu" => (20, 4),
        _ => return Some(Finding::error(Check::OperatingSystem, format!("{name} is not supported"), SUPPORTED)),
    };
    if version_id.is_empty() {
        let hint = "repositories may have nothing for it; set `suite` of `packages.containerd` to a release's codename";
        return Some(Finding::warning(Check::OperatingSystem, format!("{name} is not a release"), hint));
    }
    let (major, minor) = version_id.split_once('.').unwrap_or((version_id, "0"));
    if (major.parse().unwrap_or(0), minor.parse().unwrap_or(0)) < oldest {
        return Some(Finding::error(Check::OperatingSystem, format!("{name} is too old"), SUPPORTED));
    }
    let hint = "kboot installs packages with them: `apt-get` and `dpkg` must be in /usr/bin";
    (!facts.has_apt).then(|| Finding::error(Check::OperatingSystem, "apt-get or dpkg is missing", hint))
}

fn architecture(facts: &Facts) -> Option<Finding> {
    let text = format!("the architecture is {}, not amd64", facts.architecture);
    (facts.architecture != "amd64")
        .then(|| Finding::error(Check::Architecture, text, "take a host with an x86-64 system"))
}

fn cores(Subject { host, facts, .. }: &Subject) -> Option<Finding> {
    let text = format!("{} core, where a control plane needs {CORES}", facts.cores);
    let hint = "give the machine another core, or make it a worker";
    (host.is_control_plane() && facts.cores < CORES).then(|| Finding::error(Check::NumCpu, text, hint))
}

fn memory(Subject { host, facts, .. }: &Subject) -> Option<Finding> {
    let megabytes = facts.memory_bytes / MIB;
    let text = format!("{megabytes} MB of memory, where a control plane needs {MEMORY_MB} MB");
    let hint = "give the machine more memory, or make it a worker";
    (host.is_control_plane() && megabytes < MEMORY_MB).then(|| Finding::error(Check::Mem, text, hint))
}

fn swap(facts: &Facts) -> Option<Finding> {
    let text = format!("swap is on: {}", super::list(&facts.swaps));
    let hint = "kboot switches it off, now and at boot, for the kubelet does not start with it";
    (!facts.swaps.is_empty()).then(|| Finding::warning(Check::Swap, text, hint))
}

fn cgroup(facts: &Facts) -> Option<Finding> {
    let text = "cgroups are version 1, which the kubelet refuses unless told otherwise";
    let hint = "kboot sets `failCgroupV1: false` and the cgroupfs driver; a system with cgroup v2 is the way to go: boot \
                with `systemd.unified_cgroup_hierarchy=1`";
    (facts.cgroup == Cgroup::V1).then(|| Finding::warning(Check::CgroupVersion, text, hint))
}

fn modules(Subject { cluster, facts, .. }: &Subject) -> Vec<Finding> {
    let mut wanted = vec!["overlay", "br_netfilter", "nf_conntrack"];
    if cluster.network.cni == Cni::Flannel {
        wanted.push("vxlan");
    }
    wanted.retain(|name| facts.module(name) == ModuleState::Missing);
    let hint = match facts.is_container() {
        true => "load it on the machine that this container runs on".into(),
        false => format!(
            "install the kernel's modules: `apt-get install linux-modules-extra-{0}` on Ubuntu, \
                          `linux-image-{0}` on Debian; after a kernel upgrade, reboot",
            ValueWord::of(&facts.kernel)
        ),
    };
    let finding =
        |name| Finding::error(Check::KernelModule(name), format!("the kernel has no module {name}"), hint.clone());
    wanted.into_iter().map(finding).collect()
}

/// kubeadm's list, and what kboot itself runs where it has to.
fn executables(Subject { facts, .. }: &Subject) -> Vec<Finding> {
    let is_loading = facts.modules.values().any(|&state| state == ModuleState::Loadable);
    let has_swap = !facts.swaps.is_empty();
    let wanted = [
        ("cp", "coreutils", true),
        ("losetup", "mount", true),
        ("modprobe", "kmod", is_loading),
        ("mount", "mount", true),
        ("swapoff", "mount", has_swap),
    ];
    wanted
        .into_iter()
        .filter(|&(name, _, is_wanted)| is_wanted && !facts.has_executable(name))
        .map(|(name, package, _)| {
            let text = format!("the program {name} is missing");
            Finding::error(Check::FileExisting(name), text, format!("install it: `apt-get install {package}`"))
        })
        .collect()
}

/// A node that is there already is not turned away when its disk fills up: kboot hardly needs any of it any more.
fn disk(facts: &Facts) -> Vec<Finding> {
    let Some(free) = facts.free_bytes else { return Vec::new() };
    let finding = |path: &str, free: u64| {
        let text = format!("{:.1} GB are free on {path}", free as f64 / GB as f64);
        let hint = format!(
            "images and data need more: see what takes it with `du -xh {path} | sort -h | tail`, or enlarge the disk"
        );
        Finding::error(Check::DiskSpace, text, hint)
    };
    let severe = if facts.node.is_member() { super::Severity::Warning } else { super::Severity::Error };
    let mut findings = Vec::new();
    match free.var_lib {
        ..VAR_LIB => findings.push(finding("/var/lib", free.var_lib).with(severe)),
        VAR_LIB..VAR_LIB_AMPLE => findings.push(finding("/var/lib", free.var_lib).with(super::Severity::Warning)),
        _ => {}
    }
    // As a rule both are on one file system, and one finding is enough.
    if free.root < ROOT && free.root != free.var_lib {
        findings.push(finding("/", free.root).with(severe));
    }
    findings
}

#[cfg(test)]
mod tests;
