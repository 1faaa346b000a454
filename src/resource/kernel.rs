//! Kernel modules, sysctls and swap, as they are now; files make them last.

use std::borrow::Cow;

use async_trait::async_trait;
use camino::Utf8PathBuf;

use super::{Resource, command};
use crate::engine::hint::{ModuleWord, PathWord};
use crate::engine::{Change, Failure, Hint, Planned, Probe, Result};
use crate::proc;

/// A kernel module that is loaded or built in.
pub struct Module {
    name: Cow<'static, str>,
    /// What is there once the module works, also when it is built into the kernel.
    sign: Sign,
}

/// By what a module's presence shows.
#[derive(Debug, Clone, Copy)]
enum Sign {
    Path(&'static str),
    FileSystem(&'static str),
    /// What the kernel and its package list.
    Lists,
}

impl Module {
    pub fn overlay() -> Self {
        Self { name: "overlay".into(), sign: Sign::FileSystem("overlay") }
    }

    pub fn br_netfilter() -> Self {
        Self { name: "br_netfilter".into(), sign: Sign::Path("/proc/sys/net/bridge/bridge-nf-call-iptables") }
    }

    /// Any other, as modprobe knows it.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Cow::Owned(name.into()), sign: Sign::Lists }
    }

    async fn is_listed(&self, probe: &dyn Probe) -> Result<bool> {
        // The kernel writes underscores whatever the file's name has.
        let name = self.name.replace('-', "_");
        if probe.stat(&Utf8PathBuf::from(format!("/sys/module/{name}"))).await?.is_some() {
            return Ok(true);
        }
        let release = probe.read_text("/proc/sys/kernel/osrelease".into()).await?.unwrap_or_default();
        let list = Utf8PathBuf::from(format!("/lib/modules/{}/modules.builtin", release.trim()));
        let built_in = probe.read_text(&list).await?.unwrap_or_default();
        let names = built_in.lines().filter_map(|line| line.rsplit('/').next()?.split('.').next());
        Ok(names.map(|found| found.replace('-', "_")).any(|found| found == name))
    }
}

#[async_trait]
impl Resource for Module {
    type Observed = bool;

    async fn observe(&self, probe: &dyn Probe) -> Result<bool> {
        match self.sign {
            Sign::Path(path) => Ok(probe.stat(path.into()).await?.is_some()),
            Sign::FileSystem(name) => {
                let known = probe.read_text("/proc/filesystems".into()).await?.unwrap_or_default();
                Ok(known.lines().any(|line| line.split_whitespace().last() == Some(name)))
            }
            Sign::Lists => self.is_listed(probe).await,
        }
    }

    fn diff(&self, is_loaded: bool) -> Result<Planned> {
        Ok(Planned::of(if is_loaded { Vec::new() } else { vec![Change::LoadModule { module: self.name.to_string() }] }))
    }
}

/// A kernel setting, as `net.ipv4.ip_forward` = `1`.
pub struct Sysctl {
    pub key: String,
    pub value: String,
}

impl Sysctl {
    pub fn new(key: &str, value: &str) -> Self {
        Self { key: key.into(), value: normal(value) }
    }

    /// The value now, white space between its numbers a space; None where the kernel has no such setting.
    pub async fn read(probe: &dyn Probe, key: &str) -> Result<Option<String>> {
        Ok(probe.read_text(&proc::sysctl(key)).await?.map(|text| normal(&text)))
    }
}

#[async_trait]
impl Resource for Sysctl {
    type Observed = Option<String>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        Self::read(probe, &self.key).await
    }

    fn diff(&self, observed: Self::Observed) -> Result<Planned> {
        let before = observed.unwrap_or_else(|| "unset".into());
        if before == self.value {
            return Ok(Planned::Satisfied);
        }
        let (key, after) = (self.key.clone(), self.value.clone());
        Ok(Planned::Changes(vec![Change::SetSysctl { key, before, after }]))
    }
}

/// The kernel puts tabs between several numbers; people put spaces.
fn normal(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// No swap in use.
pub struct SwapOff;

#[async_trait]
impl Resource for SwapOff {
    type Observed = Vec<String>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        swaps(probe).await
    }

    fn diff(&self, devices: Vec<String>) -> Result<Planned> {
        Ok(Planned::of(devices.into_iter().map(|device| Change::SwapOff { device }).collect()))
    }
}

/// The devices that are swapped to.
pub(super) async fn swaps(probe: &dyn Probe) -> Result<Vec<String>> {
    let swaps = probe.read_text("/proc/swaps".into()).await?.unwrap_or_default();
    Ok(swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(String::from).collect())
}

/// Whether a module is loaded; one that is built into the kernel is not.
pub(super) async fn is_loaded(probe: &dyn Probe, module: &str) -> Result<bool> {
    let modules = probe.read_text("/proc/modules".into()).await?.unwrap_or_default();
    let name = module.replace('-', "_");
    Ok(modules.lines().any(|line| line.split(' ').next() == Some(&name)))
}

pub(super) async fn load_module(module: &str) -> Result<()> {
    command::run(&["modprobe", module])
        .await
        .map_err(|failure| failure.hint(Hint::InstallModule { module: ModuleWord::of(module) }))
}

pub(super) fn set_sysctl(key: &str, value: &str) -> Result<()> {
    let path = proc::sysctl(key);
    std::fs::write(&path, format!("{value}\n")).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new("the kernel has no such setting").hint(Hint::FindSysctl { path: PathWord::of(&path) })
        }
        std::io::ErrorKind::InvalidInput => Failure::new(format!("the kernel does not take {value}: {error}")),
        _ => Failure::new(format!("{path}: {error}")),
    })
}

pub(super) async fn swap_off(device: &str) -> Result<()> {
    command::run(&["swapoff", device]).await
}

pub(super) async fn swap_on(device: &str) -> Result<()> {
    command::run(&["swapon", device]).await
}

pub(super) async fn unload_module(module: &str) -> Result<()> {
    command::run(&["modprobe", "--remove", module]).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    #[test]
    fn a_sysctl_that_is_right_is_left_alone() {
        let forward = Sysctl::new("net.ipv4.ip_forward", "1");
        assert_eq!(forward.diff(Some("1".into())).unwrap(), Planned::Satisfied);
        let Planned::Changes(changes) = forward.diff(Some("0".into())).unwrap() else { panic!("no change") };
        assert_eq!(changes[0].to_string(), "set net.ipv4.ip_forward = 1 (was 0)");
    }

    #[test]
    fn a_slash_in_a_key_is_a_dot_in_a_name() {}

    #[tokio::test]
    async fn a_setting_of_several_numbers_is_compared_number_by_number() {
        let host = FakeHost::default().file("/proc/sys/net/ipv4/ping_group_range", "0\t2147483647\n");
        let range = Sysctl::new("net.ipv4.ping_group_range", "0 2147483647");
        let observed = range.observe(&host).await.unwrap();
        assert_eq!(range.diff(observed).unwrap(), Planned::Satisfied);
    }

    #[tokio::test]
    async fn a_module_is_found_loaded_or_built_in_and_else_is_loaded() {
        let host = FakeHost::default()
            .file("/sys/module/ip_vs/refcnt", "0")
            .file("/proc/sys/kernel/osrelease", "6.1.0\n")
            .file("/lib/modules/6.1.0/modules.builtin", "kernel/drivers/net/dummy-net.ko\n");
        for (name, is_there) in [("ip_vs", true), ("ip-vs", true), ("dummy_net", true), ("wireguard", false)] {
            assert_eq!(Module::named(name).observe(&host).await.unwrap(), is_there, "{name}");
        }
    }
}
