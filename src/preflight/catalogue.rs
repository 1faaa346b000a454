//! The checks and their names: kubeadm's where it has the same check.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::facts::{MODULES, PORTS};

/// Programs that must be there before kboot brings any package.
pub(super) const EXECUTABLES: [&str; 5] = ["cp", "losetup", "modprobe", "mount", "swapoff"];

/// A check; in data it is its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    IsPrivilegedUser,
    Systemd,
    OperatingSystem,
    Architecture,
    NumCpu,
    Mem,
    Swap,
    CgroupVersion,
    KernelModule(&'static str),
    FileExisting(&'static str),
    DiskSpace,
    Hostname,
    UniqueHostname,
    UniqueMachineId,
    UniqueProductUuid,
    TimeSkew,
    ContainerRuntime,
    ExistingCluster,
    ClusterSettings,
    ClusterEndpoint,
    NodeAddress,
    Port(u16),
    HostAddress,
    SubnetOverlap,
    Balancer,
    VirtualAddress,
    ExternalEtcdVersion,
    ExternalEtcdClientCertificates,
    ExternalEtcdData,
}

impl Check {
    /// Every check that there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let plain = [
            Self::IsPrivilegedUser,
            Self::Systemd,
            Self::OperatingSystem,
            Self::Architecture,
            Self::NumCpu,
            Self::Mem,
            Self::Swap,
            Self::CgroupVersion,
            Self::DiskSpace,
            Self::Hostname,
            Self::UniqueHostname,
            Self::UniqueMachineId,
            Self::UniqueProductUuid,
            Self::TimeSkew,
            Self::ContainerRuntime,
            Self::ExistingCluster,
            Self::ClusterSettings,
            Self::ClusterEndpoint,
            Self::NodeAddress,
            Self::HostAddress,
            Self::SubnetOverlap,
            Self::Balancer,
            Self::VirtualAddress,
            Self::ExternalEtcdVersion,
            Self::ExternalEtcdClientCertificates,
            Self::ExternalEtcdData,
        ];
        plain
            .into_iter()
            .chain(MODULES.map(Self::KernelModule))
            .chain(EXECUTABLES.map(Self::FileExisting))
            .chain(PORTS.map(Self::Port))
    }

    /// The check of this name, in whatever case, as kubeadm has it.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::all().find(|check| check.to_string().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IsPrivilegedUser => f.write_str("IsPrivilegedUser"),
            Self::Systemd => f.write_str("Systemd"),
            Self::OperatingSystem => f.write_str("OperatingSystem"),
            Self::Architecture => f.write_str("Architecture"),
            Self::NumCpu => f.write_str("NumCPU"),
            Self::Mem => f.write_str("Mem"),
            Self::Swap => f.write_str("Swap"),
            Self::CgroupVersion => f.write_str("CgroupVersion"),
            Self::KernelModule(name) => write!(f, "KernelModule-{name}"),
            Self::FileExisting(name) => write!(f, "FileExisting-{name}"),
            Self::DiskSpace => f.write_str("DiskSpace"),
            Self::Hostname => f.write_str("Hostname"),
            Self::UniqueHostname => f.write_str("UniqueHostname"),
            Self::UniqueMachineId => f.write_str("UniqueMachineID"),
            Self::UniqueProductUuid => f.write_str("UniqueProductUUID"),
            Self::TimeSkew => f.write_str("TimeSkew"),
            Self::ContainerRuntime => f.write_str("ContainerRuntime"),
            Self::ExistingCluster => f.write_str("ExistingCluster"),
            Self::ClusterSettings => f.write_str("ClusterSettings"),
            Self::ClusterEndpoint => f.write_str("ClusterEndpoint"),
            Self::NodeAddress => f.write_str("NodeAddress"),
            Self::Port(port) => write!(f, "Port-{port}"),
            Self::HostAddress => f.write_str("HostAddress"),
            Self::SubnetOverlap => f.write_str("SubnetOverlap"),
            Self::Balancer => f.write_str("Balancer"),
            Self::VirtualAddress => f.write_str("VirtualAddress"),
            Self::ExternalEtcdVersion => f.write_str("ExternalEtcdVersion"),
            Self::ExternalEtcdClientCertificates => f.write_str("ExternalEtcdClientCertificates"),
            Self::ExternalEtcdData => f.write_str("ExternalEtcdData"),
        }
    }
}

impl Serialize for Check {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Check {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::by_name(&name).ok_or_else(|| serde::de::Error::custom(super::UnknownCheck::new(&name)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        let names: BTreeSet<_> = Check::all().map(|check| check.to_string().to_lowercase()).collect();
        assert_eq!(names.len(), Check::all().count());
        for check in Check::all() {
            assert_eq!(Check::by_name(&check.to_string()), Some(check));
            let json = serde_json::to_string(&check).unwrap();
            assert_eq!(serde_json::from_str::<Check>(&json).unwrap(), check);
        }
    }

    #[test]
    fn names_are_those_of_kubeadm() {
        for name in ["IsPrivilegedUser", "NumCPU", "Mem", "Swap", "Hostname", "Port-6443", "FileExisting-losetup"] {
            assert_eq!(Check::by_name(&name.to_lowercase()).unwrap().to_string(), name);
        }
        assert_eq!(Check::by_name("Port-80"), None);
    }
}
