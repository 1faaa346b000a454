//! Kernel parameters and units that the kubelet, its proxy and the pod network changed by themselves are as they were.
//!
//! What kboot itself set is the journal's matter. A parameter that somebody has set to something else since stays.

use async_trait::async_trait;

use crate::baseline::{Baseline, Difference, Kind};
use crate::engine::{Change, Planned, Probe, Result, Step, UnitChange};
use crate::proc;

/// Parameters, each with the value that a node's part gives it; None where it computes one.
const SET_BY_NODES: [(&str, Option<&str>); 12] = [
    // the kubelet's protectKernelDefaults: cm/container_manager_linux.go
    ("kernel/keys/root_maxbytes", Some("25000000")),
    ("kernel/keys/root_maxkeys", Some("1000000")),
    ("kernel/panic", Some("10")),
    ("kernel/panic_on_oops", Some("1")),
    ("vm/overcommit_memory", Some("1")),
    ("vm/panic_on_oom", Some("0")),
    // kube-proxy: for node ports on the loopback address, and its conntrack settings
    ("net/ipv4/conf/all/route_localnet", Some("1")),
    ("net/netfilter/nf_conntrack_buckets", None),
    ("net/netfilter/nf_conntrack_max", None),
    ("net/netfilter/nf_conntrack_tcp_be_liberal", None),
    ("net/netfilter/nf_conntrack_tcp_timeout_close_wait", None),
    ("net/netfilter/nf_conntrack_tcp_timeout_established", None),
];
/// Turning this turns parameters of all links.
const FORWARDING: &str = "net/ipv4/ip_forward";
const LINKS: &str = "net/ipv4/conf/";

pub struct RestoreSettings;

#[async_trait]
impl Step for RestoreSettings {
    /// What is different; nothing where it is not known how the host was.
    type Observed = Vec<Difference>;

    fn id(&self) -> &str {
        "restore-settings"
    }

    fn title(&self) -> String {
        "Put back what the node's parts have set".into()
    }

    async fn observe(&self, probe: &dyn Probe) -> Result<Vec<Difference>> {
        Ok(Baseline::differences(probe).await?.unwrap_or_default())
    }

    fn diff(&self, differences: Vec<Difference>) -> Planned {
        let is_forwarding_right = !differences.iter().any(|d| d.kind == Kind::Sysctl && d.name == FORWARDING);
        let mut changes = Vec::new();
        for difference in &differences {
            let (Some(before), Some(now)) = (&difference.before, &difference.now) else { continue };
            let name = difference.name.as_str();
            let is_ours = match difference.kind {
                Kind::Sysctl => {
                    SET_BY_NODES.iter().any(|(known, value)| *known == name && value.is_none_or(|value| value == now))
                        // It says `now` where forwarding has been put back and a link's own parameters have not.
                        || is_forwarding_right && name.starts_with(LINKS)
                }
                _ => false,
            };
            if is_ours {
                let key = proc::sysctl_key(name);
                changes.push(Change::SetSysctl { key, before: now.clone(), after: before.clone() });
            }
        }
        // Services are stopped by the steps that know them.
        for difference in differences.iter().filter(|d| d.kind == Kind::Unit && d.name.ends_with(".target")) {
            if difference.now.as_deref() == Some("active") {
                let unit = difference.name.clone();
                changes.push(Change::SetUnit(UnitChange { unit, start: Some(false), ..UnitChange::default() }));
            }
        }
        Planned::of(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysctl(name: &str, before: &str, now: &str) -> Difference {
        Difference { kind: Kind::Sysctl, name: name.into(), before: Some(before.into()), now: Some(now.into()) }
    }

    fn changes(differences: Vec<Difference>) -> Vec<String> {
        match RestoreSettings.diff(differences) {
            Planned::Changes(changes) => changes.iter().map(ToString::to_string).collect(),
            Planned::Satisfied => Vec::new(),
            Planned::After { what } | Planned::Until { what, .. } => panic!("{what}"),
        }
    }

    #[test]
    fn only_what_a_node_sets_is_put_back() {
        let differences = vec![
            sysctl("kernel/panic", "0", "10"),
            sysctl("kernel/panic_on_oops", "0", "2"),
            sysctl("net/ipv4/tcp_syncookies", "1", "0"),
            sysctl("net/netfilter/nf_conntrack_max", "65536", "131072"),
        ];
        assert_eq!(
            changes(differences),
            ["set kernel.panic = 0 (was 10)", "set net.netfilter.nf_conntrack_max = 65536 (was 131072)"]
        );
    }

    #[test]
    fn a_links_parameters_follow_forwarding() {
        let link = sysctl("net/ipv4/conf/eth0.100/forwarding", "0", "1");
        assert_eq!(changes(vec![link.clone()]), ["set net.ipv4.conf.eth0/100.forwarding = 0 (was 1)"]);
        // Somebody wants it: undoing kept it.
        assert_eq!(changes(vec![link, sysctl(FORWARDING, "0", "1")]).len(), 0);
    }
}
