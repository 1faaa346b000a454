use super::*;
use crate::engine::fake::FakeHost;

const STATUS: &str = "Name:\tkboot\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-1\n";
const DATE: &str = "date +%s%3N";
const DF: &str = "df -B1 --output=avail / /var/lib";

/// What every host has.
fn host() -> FakeHost {
    FakeHost::default()
        .file("/proc/self/status", STATUS)
        .file("/proc/1/status", STATUS)
        .file("/proc/self/uid_map", "         0          0 4294967295\n")
        .file("/proc/self/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
        .file("/proc/sys/kernel/osrelease", "6.1.0-18-amd64\n")
        .file("/proc/sys/kernel/hostname", "n1\n")
        .file("/proc/meminfo", "MemTotal:        2048000 kB\n")
        .file("/proc/net/dev", "x\ny\n    lo: 0\n  eth0: 0\n")
        .answer(DATE, 0, "1795369052980\n")
        .answer(DF, 0, "  Avail\n5000000000\n4000000000\n")
}

fn machine() -> FakeHost {
    host().answer("systemd-detect-virt", 0, "kvm\n")
}

/// One as the testbed has them: no modules' files, a kernel shared with others, v1 cgroups, no CAP_SYS_RESOURCE.
fn container() -> FakeHost {
    let status = "Uid:\t0\t0\t0\t0\nCapEff:\t000001fffeffffff\nCpus_allowed_list:\t0\n";
    host()
        .file("/run/systemd/container", "systemd-nspawn")
        .file("/run/systemd/system/x", "")
        .file("/proc/1/status", status)
        .file("/proc/self/mounts", "tmpfs /sys/fs/cgroup tmpfs ro 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n")
        .file("/proc/modules", "")
        .file("/proc/filesystems", "nodev\tproc\nnodev\toverlay\n")
        .file("/proc/sys/net/bridge/bridge-nf-call-iptables", "1\n")
        .file("/sys/module/nf_conntrack/parameters/enable_hooks", "N\n")
        .file("/usr/bin/dpkg", "")
        .file("/usr/bin/apt-get", "")
        .file("/usr/bin/unheard-of", "")
        .file("/var/lib/dpkg/status", "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n")
}

async fn facts(probe: FakeHost) -> Facts {
    gather(&probe).await.unwrap()
}

#[tokio::test]
async fn a_bare_machine() {
    let facts = facts(
        machine()
            .answer("uname -m", 0, "x86_64\n")
            .file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
            .file("/sys/class/dmi/id/product_uuid", "5a2e0000-0000-0000-0000-00000000000b\n")
            .file("/usr/lib/os-release", "ID=fedora\nVERSION_ID=42\n"),
    )
    .await;
    assert_eq!(facts.hostname, "n1");
    assert_eq!(facts.machine_id.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    assert_eq!(facts.product_uuid.as_deref(), Some("5a2e0000-0000-0000-0000-00000000000b"));
    assert_eq!((facts.os.id.as_str(), facts.architecture.as_str()), ("fedora", "amd64"));
    assert_eq!((facts.cores, facts.memory_bytes, facts.uid), (2, 2_048_000 * 1024, 0));
    assert_eq!((facts.cgroup, facts.has_sys_resource), (Cgroup::V2, true));
    assert_eq!((facts.virtualization.as_deref(), facts.is_container()), (Some("kvm"), false));
    assert_eq!(facts.time_unix_ms, 1_795_369_052_980);
    assert_eq!(facts.free_bytes, Some(FreeBytes { root: 5_000_000_000, var_lib: 4_000_000_000 }));
    assert!(MODULES.iter().all(|name| facts.module(name) == ModuleState::Missing));
    assert!(!facts.has_apt && !facts.is_systemd && facts.runtimes.is_empty() && facts.packages.is_empty());
    assert_eq!(facts.node, NodeState::default());
    assert!(!facts.node.is_member());
    assert_eq!(facts.resolv_conf, "/etc/resolv.conf");
}

#[tokio::test]
async fn a_system_container() {
    let facts = facts(container()).await;
    assert_eq!((facts.virtualization.as_deref(), facts.is_container()), (Some("systemd-nspawn"), true));
    assert_eq!((facts.cgroup, facts.has_sys_resource, facts.cores), (Cgroup::V1, false, 2));
    assert!(facts.is_systemd && facts.has_apt);
    assert_eq!(facts.executables, ["apt-get", "dpkg"].map(String::from).into());
    assert_eq!(facts.machine_id, None);
    let states = MODULES.map(|name| facts.module(name));
    use ModuleState::{BuiltIn, Missing};
    assert_eq!(states, [BuiltIn, BuiltIn, BuiltIn, Missing]);
    let json = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts);
}

#[tokio::test]
async fn a_host_that_kboot_has_changed_is_known_by_its_baseline() {
    let bare = facts(machine().answer("uname -m", 0, "x86_64")).await.node;
    let changed = machine().answer("uname -m", 0, "x86_64").file("/var/lib/kboot/baseline.json", "{}");
    let node = facts(changed).await.node;
    assert_eq!((bare.has_history, bare.has_traces()), (false, false));
    assert_eq!((node.has_history, node.has_traces(), node.is_member()), (true, true, false));
    // Data of an etcd may be anybody's; a node's kubeconfig is not.
    let etcd = machine().answer("uname -m", 0, "x86_64").file("/var/lib/etcd/member/snap/db", "");
    assert!(!facts(etcd).await.node.has_traces());
    let node = machine().answer("uname -m", 0, "x86_64").file("/etc/kubernetes/kubelet.conf", "");
    assert!(facts(node).await.node.has_traces());
}

#[tokio::test]
async fn sys_resource_needs_all_of_the_initial_namespace_the_first_process_and_kboot() {
    let probe = machine().answer("uname -m", 0, "aarch64").file("/proc/self/uid_map", "0 100000 65536\n");
    let facts = facts(probe).await;
    assert!(!facts.has_sys_resource);
    assert_eq!(facts.architecture, "arm64");

    let own = STATUS.replace("1ffffffffff", "1fffeffffff");
    let probe = machine().answer("uname -m", 0, "x86_64").file("/proc/self/status", own);
    assert!(!self::facts(probe).await.has_sys_resource);
}

#[tokio::test]
async fn modules_on_disk() {
    let facts = facts(
        container()
            .file("/proc/modules", "nf_conntrack 188416 2 nf_nat,xt_conntrack, Live 0x0\n")
            .file("/lib/modules/6.1.0-18-amd64/modules.builtin", "kernel/drivers/net/vxlan/vxlan.ko\n"),
    )
    .await;
    assert_eq!(facts.module("nf_conntrack"), ModuleState::Loaded);
    assert_eq!(facts.module("vxlan"), ModuleState::BuiltIn);

    let dep = "kernel/net/bridge/br_netfilter.ko: kernel/net/bridge/bridge.ko\n";
    let facts =
        self::facts(machine().answer("uname -m", 0, "x86_64").file("/lib/modules/6.1.0-18-amd64/modules.dep", dep))
            .await;
    assert_eq!(facts.module("br_netfilter"), ModuleState::Loadable);
    assert_eq!(facts.module("overlay"), ModuleState::Missing);
}

#[tokio::test]
async fn a_control_plane() {
    let kubelet_conf = "clusters:\n- cluster: {server: \"https://10.77.0.11:6443\"}\n  name: x\n";
    let tcp = "sl\n 0: 00000000:192B 00000000:0000 0A 0\n";
    let facts = facts(
        container()
            .file("/etc/kubernetes/admin.conf", "")
            .file("/etc/kubernetes/kubelet.conf", kubelet_conf)
            .file("/etc/kubernetes/manifests/etcd.yaml", "")
            .file("/etc/kubernetes/manifests/kube-apiserver.yaml", "")
            .file("/etc/kubernetes/pki/ca.crt", "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n")
            .file("/var/lib/etcd/member/snap/db", "")
            .file("/run/systemd/units/invocation:containerd.service", "")
            .file("/proc/net/tcp6", tcp)
            .file("/usr/sbin/ss", "")
            .answer("ss -Hltnp", 0, "LISTEN 0 4096 *:6443 *:* users:((\"kube-apiserver\",pid=7,fd=3))\n"),
    )
    .await;
    let node = &facts.node;
    assert!(node.has_admin_conf && node.has_kubelet_conf && node.has_etcd_data && !node.has_bootstrap_conf);
    assert!(node.is_member() && node.is_control_plane());
    assert!(node.has_manifest("kube-apiserver") && !node.has_manifest("kube-scheduler"));
    assert_eq!(node.server.as_deref(), Some("https://10.77.0.11:6443"));
    assert_eq!(node.ca.len(), 1);
    assert!(node.has_lost_authorities);
    assert_eq!(facts.runtimes, [Runtime::Containerd].into());
    assert_eq!(facts.listening, [Listener { port: 6443, process: Some("kube-apiserver".into()) }]);
}

#[tokio::test]
async fn listeners_without_ss_have_no_names() {
    let facts = facts(container().file("/proc/net/tcp", "sl\n 0: 0100007F:094B 00000000:0000 0A 0\n")).await;
    assert_eq!(facts.listening, [Listener { port: 2379, process: None }]);
}

#[tokio::test]
async fn resolved_counts_only_while_it_runs() {
    let idle = container().file(RESOLVED, "nameserver 10.0.0.2\n");
    assert_eq!(facts(idle).await.resolv_conf, "/etc/resolv.conf");
    let active = container().file(RESOLVED, "").file("/run/systemd/units/invocation:systemd-resolved.service", "");
    assert_eq!(facts(active).await.resolv_conf, RESOLVED);
}

#[tokio::test]
async fn an_interface_is_up_by_its_flags() {
    let facts =
        facts(container().file("/sys/class/net/eth0/flags", "0x1003\n").file("/sys/class/net/lo/flags", "0x8\n")).await;
    let up: Vec<_> = facts.interfaces.iter().map(|interface| (interface.name.as_str(), interface.is_up)).collect();
    assert_eq!(up, [("lo", false), ("eth0", true)]);
}

#[tokio::test]
async fn what_root_alone_may_read_is_missed_by_others_only() {
    let probe = || {
        container()
            .unreadable("/etc/kubernetes/kubelet.conf", "Permission denied")
            .unreadable("/var/lib/etcd/member", "Permission denied")
    };
    assert!(gather(&probe()).await.unwrap_err().cause.contains("Permission denied"));

    let status = STATUS.replace("Uid:\t0\t0", "Uid:\t1000\t1000");
    let facts = facts(probe().file("/proc/self/status", status)).await;
    assert_eq!(facts.uid, 1000);
    assert!(facts.node.has_kubelet_conf && facts.node.server.is_none() && !facts.node.has_etcd_data);
}

#[tokio::test]
async fn a_clock_without_milliseconds_is_an_error() {
    let failure = gather(&container().answer(DATE, 0, "1795369052%3N\n")).await.unwrap_err();
    assert!(failure.cause.contains("clock"), "{failure:?}");
    assert_eq!(failure.evidence, ["1795369052%3N\n"]);
}

#[tokio::test]
async fn df_may_fail() {
    assert_eq!(facts(container().answer(DF, 1, "")).await.free_bytes, None);
}

/// Looks at the machine that runs the tests.
struct ThisMachine;

#[async_trait::async_trait]
impl Probe for ThisMachine {
    async fn read(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>> {
        absent(fs_err::read(path))
    }
    async fn stat(&self, path: &Utf8Path) -> Result<Option<crate::engine::Metadata>> {
        use crate::engine::{FileKind, Metadata};
        let found = absent(fs_err::symlink_metadata(path))?;
        Ok(found.map(|_| Metadata { kind: FileKind::Other, mode: 0, uid: 0, gid: 0, size: 0, inode: 0 }))
    }
    async fn link(&self, _: &Utf8Path) -> Result<Option<camino::Utf8PathBuf>> {
        Ok(None)
    }
    async fn list(&self, path: &Utf8Path) -> Result<Option<Vec<String>>> {
        let Some(entries) = absent(fs_err::read_dir(path))? else { return Ok(None) };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        Ok(Some(names.collect::<std::io::Result<_>>()?))
    }
    async fn query(&self, argv: &[&str]) -> Result<crate::engine::Output> {
        let mut command = tokio::process::Command::new(argv[0]);
        let Some(output) = absent(command.args(&argv[1..]).output().await)? else {
            return Ok(crate::engine::Output { code: Some(127), ..Default::default() });
        };
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Ok(crate::engine::Output { code: output.status.code(), stdout, stderr })
    }
    async fn ask(&self, guard: &crate::engine::Guard) -> Result<crate::engine::Output> {
        self.query(&guard.argv()).await
    }
}

fn absent<T>(result: std::io::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn this_machine() {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let before = now();
    let facts = gather(&ThisMachine).await.unwrap();
    assert!((before..=now()).contains(&facts.time_unix_ms), "{facts:#?}");
    // A cgroup's quota may allow less.
    assert!(facts.cores >= std::thread::available_parallelism().unwrap().get());
    assert_eq!(facts.uid, rustix::process::geteuid().as_raw());
    assert_eq!(facts.hostname, rustix::system::uname().nodename().to_str().unwrap());
    assert_eq!(facts.kernel, rustix::system::uname().release().to_str().unwrap());
    assert!(facts.interfaces.iter().any(|interface| interface.name == "lo"), "{facts:#?}");
    assert!(facts.free_bytes.is_some_and(|free| free.root > 0));
}
