//! The one look at a host that facts come from.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;

use super::*;
use super::{host, immutable, kernel, network, packages};
use crate::engine::{Failure, Hint, Probe, Result};

/// Where root's programs are, whatever PATH the agent was started with.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

const EXECUTABLES: [&str; 32] = [
    "apt-get",
    "conntrack",
    "containerd",
    "cp",
    "crictl",
    "crio",
    "curl",
    "dockerd",
    "dpkg",
    "etcd",
    "ethtool",
    "gpgv",
    "ip",
    "iptables",
    "kubeadm",
    "kubectl",
    "kubelet",
    "losetup",
    "modprobe",
    "mount",
    "nft",
    "nsenter",
    "runc",
    "sha256sum",
    "socat",
    "ss",
    "swapoff",
    "sysctl",
    "systemctl",
    "tar",
    "tc",
    "umount",
];

/// systemd keeps such a link for each unit that runs.
const INVOCATION: &str = "/run/systemd/units/invocation:";
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
/// Where kboot's haproxy listens on control planes, unless the inventory says otherwise.
const BALANCED: u16 = 8443;
/// linux/if.h
const IFF_UP: u32 = 0x1;

/// Looks at a host. Fails only where what every Linux host has can't be read; all else is a fact of its absence.
pub async fn gather(probe: &dyn Probe) -> Result<Facts> {
    let look = Look { probe };
    // The programs run while files are read; the clock is asked first, for it is compared with the asker's.
    let (time_unix_ms, free_bytes, virtualization, rest) =
        tokio::join!(look.time(), look.free_bytes(), look.virtualization(), look.files());
    Ok(Facts { time_unix_ms: time_unix_ms?, free_bytes: free_bytes?, virtualization: virtualization?, ..rest? })
}

struct Look<'a> {
    probe: &'a dyn Probe,
}

impl Look<'_> {
    async fn files(&self) -> Result<Facts> {
        let status = self.needed("/proc/self/status").await?;
        let uid = kernel::effective_uid(&status).ok_or_else(|| unreadable("/proc/self/status"))?;
        let kernel = self.needed("/proc/sys/kernel/osrelease").await?.trim().to_owned();
        let dpkg = packages::status(&self.text("/var/lib/dpkg/status").await?);
        let executables = self.executables().await?;
        let network = self.network().await?;
        Ok(Facts {
            hostname: self.needed("/proc/sys/kernel/hostname").await?.trim().to_owned(),
            machine_id: self.word("/etc/machine-id").await?.filter(|id| id != "uninitialized"),
            // Its file is root's alone.
            product_uuid: self.word("/sys/class/dmi/id/product_uuid").await.ok().flatten(),
            os: self.os().await?,
            architecture: match dpkg.architecture {
                Some(architecture) => architecture,
                None => self.machine().await?,
            },
            modules: self.modules(&kernel).await?,
            kernel,
            is_systemd: self.exists("/run/systemd/system").await?,
            uid,
            cores: kernel::allowed_cpus(&status).ok_or_else(|| unreadable("/proc/self/status"))?,
            memory_bytes: kernel::memory_bytes(&self.needed("/proc/meminfo").await?)
                .ok_or_else(|| unreadable("/proc/meminfo"))?,
            swaps: kernel::swaps(&self.text("/proc/swaps").await?),
            fstab_swaps: host::fstab_swaps(&self.text("/etc/fstab").await?),
            cgroup: kernel::cgroup(&self.needed("/proc/self/mounts").await?),
            has_sys_resource: self.has_sys_resource(&status).await?,
            interfaces: network.interfaces,
            unplaced_addresses: network.unplaced_addresses,
            routes: network.routes,
            default_route: network.default_route,
            listening: self.listening(executables.contains("ss")).await?,
            has_apt: executables.contains("apt-get") && executables.contains("dpkg"),
            executables,
            packages: dpkg.packages,
            runtimes: self.runtimes().await?,
            balancers: self.balancers().await?,
            node: self.node(uid).await?,
            resolv_conf: self.resolv_conf().await?,
            time_unix_ms: 0,
            free_bytes: None,
            virtualization: None,
        })
    }

    async fn time(&self) -> Result<u64> {
        let output = self.probe.query(&["date", "+%s%3N"]).await?;
        output.text().parse().map_err(|_| {
            Failure::new("failed to read the host's clock: `date +%s%3N` does not print milliseconds")
                .evidence([output.stdout, output.stderr].into_iter().filter(|text| !text.is_empty()))
        })
    }

    async fn free_bytes(&self) -> Result<Option<FreeBytes>> {
        let output = self.probe.query(&["df", "-B1", "--output=avail", "/", "/var/lib"]).await?;
        Ok(host::free_bytes(&output.stdout))
    }

    async fn virtualization(&self) -> Result<Option<String>> {
        if let Some(container) = self.word("/run/systemd/container").await? {
            return Ok(Some(container));
        }
        // It exits with 1 on bare metal, where it prints "none".
        let output = self.probe.query(&["systemd-detect-virt"]).await?;
        Ok(Some(output.text().to_owned()).filter(|name| !name.is_empty() && name != "none"))
    }

    async fn machine(&self) -> Result<String> {
        let output = self.probe.query(&["uname", "-m"]).await?;
        Ok(match output.text() {
            "x86_64" => "amd64".into(),
            "aarch64" => "arm64".into(),
            other => other.into(),
        })
    }

    async fn os(&self) -> Result<Os> {
        let text = match self.text("/etc/os-release").await? {
            none if none.is_empty() => self.text("/usr/lib/os-release").await?,
            text => text,
        };
        Ok(host::os_release(&text))
    }

    /// Services get what the first process has. Where kboot itself has less, someone has taken it from all that it starts:
    /// to assume too much makes every container fail, too little hardly matters.
    async fn has_sys_resource(&self, own: &str) -> Result<bool> {
        let first = self.text("/proc/1/status").await?;
        let uid_map = self.text("/proc/self/uid_map").await?;
        let everyone = [own, &first].into_iter().all(kernel::has_sys_resource);
        Ok(everyone && !kernel::is_user_namespace(&uid_map))
    }

    async fn modules(&self, release: &str) -> Result<BTreeMap<String, ModuleState>> {
        let folder = format!("/lib/modules/{release}");
        let mut modules = kernel::Modules {
            loaded: self.text("/proc/modules").await?,
            builtin: self.text(&format!("{folder}/modules.builtin")).await?,
            dep: String::new(),
        };
        let filesystems = self.text("/proc/filesystems").await?;
        let mut states = BTreeMap::new();
        for name in MODULES {
            let has_trace = kernel::has_filesystem(&filesystems, name)
                || match name {
                    "br_netfilter" => self.exists("/proc/sys/net/bridge").await?,
                    _ => self.exists(&format!("/sys/module/{name}")).await?,
                };
            let mut state = modules.state(name, has_trace);
            // It is by far the largest of these files, and hardly ever needed.
            if state == ModuleState::Missing && modules.dep.is_empty() {
                modules.dep = self.text(&format!("{folder}/modules.dep")).await?;
                state = modules.state(name, has_trace);
            }
            states.insert(name.into(), state);
        }
        Ok(states)
    }

    async fn network(&self) -> Result<network::Network> {
        let files = network::Files {
            dev: self.needed("/proc/net/dev").await?,
            route: self.text("/proc/net/route").await?,
            fib_trie: self.text("/proc/net/fib_trie").await?,
            if_inet6: self.text("/proc/net/if_inet6").await?,
            ipv6_route: self.text("/proc/net/ipv6_route").await?,
        };
        let mut network = files.network();
        for interface in &mut network.interfaces {
            let flags = self.word(&format!("/sys/class/net/{}/flags", interface.name)).await?;
            let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok());
            interface.is_up = flags.map_or(interface.is_up, |flags| flags & IFF_UP != 0);
        }
        Ok(network)
    }

    async fn listening(&self, has_ss: bool) -> Result<Vec<Listener>> {
        let mut ports = network::listening(&self.text("/proc/net/tcp").await?);
        ports.extend(network::listening(&self.text("/proc/net/tcp6").await?));
        // Only links in /proc tell who listens, and a probe does not follow links.
        let is_bare = !ports.iter().any(|port| PORTS.contains(port) || *port == BALANCED);
        let owners = match is_bare || !has_ss {
            true => String::new(),
            false => self.probe.query(&["ss", "-Hltnp"]).await?.stdout,
        };
        Ok(network::listeners(&ports, &owners))
    }

    async fn executables(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for folder in PATH {
            let names = self.probe.list(Utf8Path::new(folder)).await?.unwrap_or_default();
            found.extend(names.into_iter().filter(|name| EXECUTABLES.contains(&name.as_str())));
        }
        Ok(found)
    }

    async fn runtimes(&self) -> Result<BTreeSet<Runtime>> {
        let mut running = BTreeSet::new();
        for (unit, runtime) in [
            ("containerd", Runtime::Containerd),
            ("docker", Runtime::Docker),
            ("crio", Runtime::CriO),
            ("cri-docker", Runtime::CriDockerd),
        ] {
            if self.is_active(unit).await? {
                running.insert(runtime);
            }
        }
        Ok(running)
    }

    async fn balancers(&self) -> Result<BTreeMap<String, ConfigOrigin>> {
        let mut found = BTreeMap::new();
        for (path, _) in CONFIGS {
            if self.exists(path).await? {
                // Who may not read it sees nobody's.
                let text = self.text(path).await.unwrap_or_default();
                found.insert(path.into(), ConfigOrigin::of(path, &text));
            }
        }
        Ok(found)
    }

    async fn resolv_conf(&self) -> Result<String> {
        // The file outlives the service.
        let is_resolved = self.exists(RESOLVED).await? && self.is_active("systemd-resolved").await?;
        Ok(if is_resolved { RESOLVED } else { "/etc/resolv.conf" }.into())
    }

    /// What joins gets its authorities from the others, before it has an etcd.
    async fn has_begun_cluster(&self) -> Result<bool> {
        Ok(match self.probe.read(Utf8Path::new("/etc/kubernetes/manifests/etcd.yaml")).await? {
            Some(manifest) => !String::from_utf8_lossy(&manifest).contains("--initial-cluster-state=existing"),
            None => self.exists("/etc/kubernetes/super-admin.conf").await?,
        })
    }

    async fn has_lost_authorities(&self, manifests: &[String]) -> Result<bool> {
        const OF: [(&str, &[&str]); 2] = [
            ("kube-apiserver.yaml", &["ca.crt", "front-proxy-ca.crt", "sa.key", "sa.pub"]),
            ("etcd.yaml", &["etcd/ca.crt"]),
        ];
        let runs = OF.iter().filter(|(manifest, _)| manifests.iter().any(|name| name == manifest));
        for name in runs.flat_map(|(_, names)| *names) {
            if !self.exists(&format!("/etc/kubernetes/pki/{name}")).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn has_history(&self) -> Result<bool> {
        // A journal without a word is one of a run that changed nothing.
        let journal = self.probe.stat(Utf8Path::new("/var/lib/kboot/journal.jsonl")).await?;
        Ok(journal.is_some_and(|journal| journal.size > 0)
            || self.exists("/var/lib/kboot/baseline.json").await?
            // A reset that had to leave a volume is repeated once the volume is free, and its journal is gone by then.
            || self.exists("/var/lib/kubelet/pods").await?)
    }

    async fn given_up(&self) -> Result<Vec<String>> {
        let recovery = super::recovery::Recovery::read(self.probe).await?.unwrap_or_default();
        Ok(recovery.given_up.into_iter().map(|given_up| given_up.member).collect())
    }

    async fn node(&self, uid: u32) -> Result<NodeState> {
        // Some of it is root's alone; without root nothing can be done anyway, and that is found elsewhere.
        let manifests =
            for_root(uid, self.probe.list(Utf8Path::new("/etc/kubernetes/manifests")).await)?.unwrap_or_default();
        let kubelet_conf = for_root(uid, self.probe.read(Utf8Path::new(KUBELET_CONF)).await)?;
        let ca = for_root(uid, self.probe.read(Utf8Path::new("/etc/kubernetes/pki/ca.crt")).await)?;
        let etcd = for_root(uid, self.probe.list(Utf8Path::new("/var/lib/etcd/member")).await)?;
        Ok(NodeState {
            has_admin_conf: self.exists("/etc/kubernetes/admin.conf").await?,
            has_kubelet_conf: self.exists(KUBELET_CONF).await?,
            has_bootstrap_conf: self.exists("/etc/kubernetes/bootstrap-kubelet.conf").await?,
            has_etcd_data: etcd.is_some(),
            etcd_member: if uid == 0 { super::recovery::member(self.probe).await } else { None },
            given_up: if uid == 0 { self.given_up().await? } else { Vec::new() },
            has_begun_cluster: uid == 0 && self.has_begun_cluster().await?,
            // Asked by who gathers, for it is no file.
            serves: false,
            has_lost_authorities: uid == 0 && self.has_lost_authorities(&manifests).await?,
            has_history: uid == 0 && self.has_history().await?,
            manifests,
            ca: host::certificate_digests(&ca.unwrap_or_default()),
            immutable: if uid == 0 { immutable::read(self.probe).await } else { ImmutableSettings::default() },
            server: kubelet_conf.and_then(|text| host::kubeconfig_server(&String::from_utf8_lossy(&text))),
        })
    }

    async fn is_active(&self, unit: &str) -> Result<bool> {
        self.exists(&format!("{INVOCATION}{unit}.service")).await
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        let found = self.probe.stat(Utf8Path::new(path)).await;
        Ok(found.map_err(|error| error.context(format_args!("look at {path}")))?.is_some())
    }

    /// A file's text, stray bytes replaced; empty where there is no such file.
    async fn text(&self, path: &str) -> Result<String> {
        let bytes = self.probe.read(Utf8Path::new(path)).await;
        let bytes = bytes.map_err(|error| error.context(format_args!("read {path}")))?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn needed(&self, path: &str) -> Result<String> {
        match self.text(path).await? {
            none if none.is_empty() => Err(unreadable(path)),
            text => Ok(text),
        }
    }

    /// A file that is one word; None where it is empty or not there.
    async fn word(&self, path: &str) -> Result<Option<String>> {
        Ok(Some(self.text(path).await?.trim().to_owned()).filter(|word| !word.is_empty()))
    }
}

/// What only root may see, and what others go without.
fn for_root<T>(uid: u32, found: Result<Option<T>>) -> Result<Option<T>> {
    if uid == 0 { found } else { Ok(found.unwrap_or_default()) }
}

fn unreadable(path: &str) -> Failure {
    Failure::new(format!("failed to read {path}: it is missing or not as Linux has it")).hint(Hint::MountProc)
}

#[cfg(test)]
mod tests;
