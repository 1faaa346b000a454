//! Whose the configuration of a load balancer is. Pure.

use serde::{Deserialize, Serialize};

/// haproxy's and keepalived's configuration files, and the sections by which each serves somebody.
pub const CONFIGS: [(&str, &[&str]); 2] = [
    ("/etc/haproxy/haproxy.cfg", &["frontend", "listen"]),
    ("/etc/keepalived/keepalived.conf", &["vrrp_instance", "virtual_server", "vrrp_sync_group"]),
];

/// How a file of kboot's begins.
const MARK: &str = "# kboot: ";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigOrigin {
    Kboot,
    /// Serves nobody, as the one that Debian's haproxy comes with.
    Idle,
    /// Somebody's own.
    Foreign,
}

impl ConfigOrigin {
    /// Of the file at this path, one of [`CONFIGS`].
    pub fn of(path: &str, text: &str) -> Self {
        let sections = CONFIGS.iter().find(|(known, _)| *known == path).map_or(&[][..], |(_, sections)| sections);
        let serves = |line: &str| line.split_whitespace().next().is_some_and(|word| sections.contains(&word));
        match () {
            () if text.starts_with(MARK) => Self::Kboot,
            () if text.lines().any(serves) => Self::Foreign,
            () => Self::Idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_somebodys_own_if_it_serves_somebody() {
        let [(haproxy, _), (keepalived, _)] = CONFIGS;
        let debian = "global\n\tlog /dev/log\tlocal0\n\ndefaults\n\tmode\thttp\n\toption\thttplog\n# listen here\n";
        for (path, text, origin) in [
            (haproxy, debian, ConfigOrigin::Idle),
            (haproxy, "", ConfigOrigin::Idle),
            (haproxy, "global\n  listen stats\n", ConfigOrigin::Foreign),
            (haproxy, "frontend web\n", ConfigOrigin::Foreign),
            (haproxy, "# kboot: balances\nlisten kubernetes\n", ConfigOrigin::Kboot),
            (keepalived, "vrrp_instance VI_1 {\n", ConfigOrigin::Foreign),
            (keepalived, "! Configuration File for keepalived\n", ConfigOrigin::Idle),
        ] {
            assert_eq!(ConfigOrigin::of(path, text), origin, "{text}");
        }
    }
}
