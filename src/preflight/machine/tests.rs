use crate::facts::{Cgroup, FreeBytes, ModuleState};
use crate::inventory::Cni;
use crate::preflight::samples::{Sample, sample};

fn none(sample: Sample) {
    assert_eq!(sample.found(), [""; 0]);
}

#[test]
fn systemd() {
    assert_eq!(
        sample().on("n2", |facts| facts.is_systemd = false).found(),
        ["n2 Systemd error: systemd does not run here"]
    );
}

#[test]
fn operating_systems() {
    let on = |id: &str, version: &str| {
        sample()
            .on("n2", |facts| {
                (facts.os.id, facts.os.version_id) = (id.into(), version.into());
                facts.os.pretty_name = format!("{id} {version}").trim().into();
            })
            .found()
    };
    for (id, version) in
        [("debian", "11"), ("debian", "13"), ("ubuntu", "20.04"), ("ubuntu", "24.04"), ("ubuntu", "26.04")]
    {
        assert_eq!(on(id, version), [""; 0], "{id} {version}");
    }
    for (id, version, reason) in [
        ("debian", "10", "is too old"),
        ("ubuntu", "18.04", "is too old"),
        ("ubuntu", "19.10", "is too old"),
        ("fedora", "42", "is not supported"),
        ("raspbian", "12", "is not supported"),
    ] {
        assert_eq!(on(id, version), [format!("n2 OperatingSystem error: {id} {version} {reason}")]);
    }
    assert_eq!(on("", ""), ["n2 OperatingSystem error: an unnamed operating system is not supported"]);
    assert_eq!(on("debian", ""), ["n2 OperatingSystem warning: debian is not a release"]);

    let without_apt = sample().on("n2", |facts| facts.has_apt = false);
    assert_eq!(without_apt.found(), ["n2 OperatingSystem error: apt-get or dpkg is missing"]);
}

#[test]
fn architectures() {
    let found = sample().on("n3", |facts| facts.architecture = "arm64".into()).found();
    assert_eq!(found, ["n3 Architecture error: the architecture is arm64, not amd64"]);
}

#[test]
fn cores_and_memory_count_on_control_planes() {
    let small = |name: &str| {
        sample().on(name, |facts| {
            facts.cores = 1;
            facts.memory_bytes = (1700 << 20) - 1;
        })
    };
    assert_eq!(
        small("n1").found(),
        [
            "n1 NumCPU error: 1 core, where a control plane needs 2",
            "n1 Mem error: 1699 MB of memory, where a control plane needs 1700 MB",
        ]
    );
    none(small("n2"));
}

#[test]
fn swap_and_cgroups_are_mended_by_kboot() {
    let found = sample().on("n2", |facts| facts.swaps = vec!["/dev/a".into(), "/b".into()]).found();
    assert_eq!(found, ["n2 Swap warning: swap is on: /dev/a and /b"]);
    let found = sample().on("n2", |facts| facts.cgroup = Cgroup::V1).found();
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("n2 CgroupVersion warning: cgroups are version 1"));
}

#[test]
fn modules_may_be_anywhere_but_missing() {
    let with = |name: &str, state| {
        sample().on("n2", |facts| {
            facts.modules.insert(name.into(), state);
        })
    };
    none(with("overlay", ModuleState::BuiltIn));
    none(with("overlay", ModuleState::Loaded));
    for name in ["overlay", "br_netfilter", "nf_conntrack", "vxlan"] {
        let found = with(name, ModuleState::Missing).found();
        assert_eq!(found, [format!("n2 KernelModule-{name} error: the kernel has no module {name}")]);
    }
    // VXLAN is flannel's.
    none(with("vxlan", ModuleState::Missing).wanting(|cluster| cluster.network.cni = Cni::None));
}

#[test]
fn the_hint_for_a_module_depends_on_whose_kernel_it_is() {
    let missing = |virtualization: &str| {
        sample()
            .on("n2", |facts| {
                facts.virtualization = Some(virtualization.into());
                facts.modules.clear();
            })
            .findings()
            .remove(0)
            .hint
    };
    assert!(missing("systemd-nspawn").contains("the machine that this container runs on"));
    assert!(missing("kvm").contains("linux-modules-extra-6.1.0-18-amd64"));
}

#[test]
fn executables_are_needed_when_they_are() {
    let without = |name: &str| {
        sample().on("n2", |facts| {
            facts.executables.remove(name);
        })
    };
    for name in ["cp", "losetup", "modprobe", "mount"] {
        let found = without(name).found();
        assert_eq!(found, [format!("n2 FileExisting-{name} error: the program {name} is missing")]);
    }
    none(without("swapoff"));
    let found = without("swapoff").on("n2", |facts| facts.swaps = vec!["/dev/a".into()]).found();
    assert!(found.contains(&"n2 FileExisting-swapoff error: the program swapoff is missing".into()), "{found:?}");
    let built_in = |facts: &mut crate::facts::Facts| {
        facts.modules.values_mut().for_each(|state| *state = ModuleState::BuiltIn);
    };
    none(without("modprobe").on("n2", built_in));
}

#[test]
fn disk_space() {
    let with = |root, var_lib| sample().on("n2", |facts| facts.free_bytes = Some(FreeBytes { root, var_lib }));
    const GB: u64 = 1_000_000_000;
    none(with(GB, 10 * GB));
    assert_eq!(with(5 * GB, 5 * GB).found(), ["n2 DiskSpace warning: 5.0 GB are free on /var/lib"]);
    assert_eq!(with(2 * GB, 2 * GB).found(), ["n2 DiskSpace warning: 2.0 GB are free on /var/lib"]);
    assert_eq!(with(GB, GB).found(), ["n2 DiskSpace error: 1.0 GB are free on /var/lib"]);
    assert_eq!(with(GB / 2, 20 * GB).found(), ["n2 DiskSpace error: 0.5 GB are free on /"]);
    assert_eq!(with(0, 0).found(), ["n2 DiskSpace error: 0.0 GB are free on /var/lib"]);
    none(sample().on("n2", |facts| facts.free_bytes = None));

    let node = sample().converged().on("n2", |facts| facts.free_bytes = Some(FreeBytes { root: GB / 2, var_lib: GB }));
    assert_eq!(
        node.found(),
        ["n2 DiskSpace warning: 1.0 GB are free on /var/lib", "n2 DiskSpace warning: 0.5 GB are free on /"]
    );
}
