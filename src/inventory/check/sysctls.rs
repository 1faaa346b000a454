//! Kernel settings: their names, and those that Kubernetes can't do without.

use std::collections::BTreeMap;

use super::Findings;
use crate::inventory::format::Flaw;
use crate::inventory::mistake::{Mistake, quote};
use crate::inventory::path::Path;
use crate::inventory::types::Cluster;

const FORWARDED: &str = "pods' traffic is forwarded by their host";
const FILTERED: &str = "services and network policies see bridged traffic by it alone";
const KUBELET: &str = "the kubelet sets it so whenever it starts";

/// Settings with the only value that works, and why. The kubelet's are those of its container manager (cm/container_manager_linux.go).
const FIXED: [(&str, &str, &str); 10] = [
    ("net.ipv4.ip_forward", "1", FORWARDED),
    ("net.ipv4.conf.all.forwarding", "1", FORWARDED),
    ("net.bridge.bridge-nf-call-iptables", "1", FILTERED),
    ("net.bridge.bridge-nf-call-ip6tables", "1", FILTERED),
    ("vm.overcommit_memory", "1", KUBELET),
    ("vm.panic_on_oom", "0", KUBELET),
    ("kernel.panic", "10", KUBELET),
    ("kernel.panic_on_oops", "1", KUBELET),
    ("kernel.keys.root_maxkeys", "1000000", KUBELET),
    ("kernel.keys.root_maxbytes", "25000000", KUBELET),
];

pub fn check(cluster: &Cluster, findings: &mut Findings) {
    all(&cluster.sysctls, &Path::of("sysctls"), findings);
    for (index, host) in cluster.hosts.iter().enumerate() {
        all(&host.sysctls, &Path::of("hosts").index(index).key("sysctls"), findings);
    }
}

fn all(sysctls: &BTreeMap<String, String>, path: &Path, findings: &mut Findings) {
    for (key, value) in sysctls {
        let path = path.key(key);
        if let Err(flaw) = name(key) {
            findings.add(Mistake::new(path.clone(), flaw.message).maybe_hint(flaw.hint).about_key());
        }
        if value.trim().is_empty() || value.contains(['\n', '\0']) {
            findings.add(Mistake::new(path.clone(), "must be a single line, and not empty"));
        }
        if let Some((_, fixed, why)) = FIXED.iter().find(|(fixed, ..)| fixed == key)
            && value.trim() != *fixed
        {
            let message = format!("must be {}: {why}", quote(fixed));
            findings.add(Mistake::new(path, message).hint("remove the line: kboot and the kubelet see to it"));
        }
    }
}

/// `net.core.somaxconn`; a slash stands for a dot inside a part, as in `net.ipv4.conf.eth0/1.rp_filter`.
fn name(key: &str) -> Result<(), Flaw> {
    let part = |part: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/' | b':');
        !part.is_empty() && !part.starts_with('/') && !part.ends_with('/') && part.bytes().all(is_plain)
    };
    if key.contains('.') && key.split('.').all(part) {
        return Ok(());
    }
    let flaw = Flaw::new(format!("{} is not a kernel setting's name", quote(key)));
    let dotted = key.trim_start_matches("/proc/sys/").replace('/', ".");
    Err(match dotted.contains('.') && dotted.split('.').all(part) {
        true => flaw.hint(format!("with dots: `{dotted}`")),
        false => flaw.hint("for example `net.core.somaxconn`"),
    })
}
