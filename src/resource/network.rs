//! Links and packet filter rules that must not be there.

use async_trait::async_trait;
use camino::Utf8Path;

use super::{Resource, command};
use crate::engine::{Change, Planned, Probe, Result};
use crate::proc;

/// No network links of these names.
pub struct LinksAbsent {
    pub names: &'static [&'static str],
    pub prefixes: &'static [&'static str],
}

#[async_trait]
impl Resource for LinksAbsent {
    type Observed = Vec<String>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Vec<String>> {
        // Unlike /sys/class/net, this is always of the network namespace that we are in.
        let table = probe.read_text(Utf8Path::new("/proc/net/dev")).await?.unwrap_or_default();
        Ok(proc::links(&table).map(String::from).collect())
    }

    fn diff(&self, links: Vec<String>) -> Result<Planned> {
        let is_unwanted = |link: &String| {
            self.names.contains(&link.as_str()) || self.prefixes.iter().any(|prefix| link.starts_with(prefix))
        };
        let delete = |link: String| Change::Run {
            argv: ["ip", "link", "delete", link.as_str()].map(String::from).to_vec(),
            why: format!("delete the link {link}"),
            undo: None,
        };
        Ok(Planned::of(links.into_iter().filter(is_unwanted).map(delete).collect()))
    }
}

/// No rules and chains of Kubernetes or of a pod network; all others stay.
pub struct FilterRules {
    /// Of `iptables` or `ip6tables` one of its two kinds, as `iptables-nft`: a host may have rules of both.
    pub program: &'static str,
}

#[async_trait]
impl Resource for FilterRules {
    /// The rules as they are; None where there is no such program.
    type Observed = Option<String>;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        let output = probe.query(&[&format!("{}-save", self.program)]).await?;
        Ok(output.is_success().then_some(output.stdout))
    }

    fn diff(&self, rules: Self::Observed) -> Result<Planned> {
        let Some(rules) = rules else { return Ok(Planned::Satisfied) };
        let unwanted = rules.lines().filter(|line| FilterRules::is_ours(line)).count();
        if unwanted == 0 {
            return Ok(Planned::Satisfied);
        }
        let program = self.program.to_string();
        Ok(Planned::Changes(vec![Change::RemoveFilterRules { program, count: unwanted }]))
    }
}

/// How kube-proxy, the kubelet, the CNI plugins, flannel and weave name their chains and mark their rules.
const SIGNS: [&str; 7] = ["KUBE-", "CNI-", "FLANNEL", "WEAVE", "flanneld", "cni0", "weave"];

impl FilterRules {
    /// Whether a line of iptables-save is a rule or a chain of Kubernetes or a pod network.
    pub fn is_ours(line: &str) -> bool {
        (line.starts_with('-') || line.starts_with(':')) && SIGNS.iter().any(|sign| line.contains(sign))
    }
}

pub(super) async fn remove_rules(program: &str) -> Result<()> {
    let save = format!("{program}-save");
    let saved = command::output(&[&save], &[], None).await?;
    let kept: Vec<&str> = saved.stdout.lines().filter(|line| !FilterRules::is_ours(line)).collect();
    let text = format!("{}\n", kept.join("\n"));
    let restore = format!("{program}-restore");
    let output = command::output(&[&restore], &[], Some(text.as_bytes())).await?;
    if output.is_success() { Ok(()) } else { Err(command::failed(&[&restore], &output)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rules_of_kubernetes_and_the_pod_network_are_ours() {
        assert!(FilterRules::is_ours(":KUBE-SERVICES - [0:0]"));
        assert!(FilterRules::is_ours("-A FORWARD -m comment --comment \"flanneld forward\" -j FLANNEL-FWD"));
        assert!(!FilterRules::is_ours(":INPUT ACCEPT [0:0]"));
        assert!(!FilterRules::is_ours("-A INPUT -p tcp --dport 22 -j ACCEPT"));
        assert!(!FilterRules::is_ours("# KUBE- in a comment"));
    }
}
