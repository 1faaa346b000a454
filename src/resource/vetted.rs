//! The commands that a probe may run: each only reads.

/// A purge that only says what it would do. Without the options it writes caches.
pub(super) const PURGE: &[&str] = &[
    "apt-get",
    "-s",
    "-o",
    "Dir::Cache::pkgcache=",
    "-o",
    "Dir::Cache::srcpkgcache=",
    "--allow-change-held-packages",
    "purge",
    "*",
];

/// What may follow a program's name. `*` at the end stands for any further words.
const VETTED: &[&[&str]] = &[
    &["systemctl", "show", "*"],
    &["journalctl", "-u", "*"],
    &["crictl", "images", "*"],
    &["crictl", "inspect", "*"],
    &["crictl", "ps", "*"],
    &["crictl", "logs", "*"],
    &["crictl", "pods", "*"],
    &["iptables-save"],
    &["ip6tables-save"],
    &["iptables-legacy-save"],
    &["ip6tables-legacy-save"],
    &["iptables-nft-save"],
    &["ip6tables-nft-save"],
    &["nft", "list", "tables"],
    &["ipset", "list", "-n"],
    &["ipvsadm", "-Sn"],
    // Without the options it writes caches.
    &["apt-cache", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "policy", "*"],
    PURGE,
    &["date", "+%s%3N"],
    &["df", "*"],
    &["ss", "-Hltnp"],
    &["systemd-detect-virt"],
    &["uname", "*"],
];

pub(super) fn is_vetted(argv: &[&str]) -> bool {
    VETTED.iter().any(|pattern| match pattern.split_last() {
        Some((&"*", fixed)) => argv.len() >= fixed.len() && argv[..fixed.len()] == *fixed,
        _ => argv == *pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_is_vetted() {
        assert!(is_vetted(&["systemctl", "show", "kubelet"]));
        assert!(!is_vetted(&["systemctl", "restart", "kubelet"]));
        assert!(!is_vetted(&["systemctl"]));
        assert!(!is_vetted(&["sh", "-c", "true"]));
    }
}
