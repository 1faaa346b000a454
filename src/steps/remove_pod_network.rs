//! The pod network's links and packet filter rules are gone, those of kube-proxy and the kubelet too.

use async_trait::async_trait;
use camino::Utf8Path;

use crate::baseline::{Baseline, Kind, filter};
use crate::engine::{Change, Planned, Probe, Result};
use crate::resource::{AnyResource, Converge, LinksAbsent};

pub fn step() -> Converge {
    Converge::new("remove-pod-network", "Remove the pod network")
        .with(LinksAbsent {
            names: &[
                "cni0",
                "flannel.1",
                "flannel-v6.1",
                "kube-ipvs0",
                "kube-bridge",
                "nodelocaldns",
                "weave",
                "datapath",
                "vxlan-6784",
            ],
            prefixes: &["vethwe"],
        })
        // A service has no address any more once the table is empty: before the sets that rules name.
        .with(VirtualServers)
        .with_all(filter::PROGRAMS.map(|program| FilterRules { program }))
        .with(Sets)
        .with(Tables)
}

/// No rules and chains of Kubernetes or of a pod network in one of the packet filters; all others stay.
struct FilterRules {
    program: &'static str,
}

#[async_trait]
impl AnyResource for FilterRules {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let saved = probe.query(&[&format!("{}-save", self.program)]).await?;
        if !saved.is_success() {
            return Ok(Planned::Satisfied);
        }
        let before = Baseline::load(probe).await?;
        let filter::Deletions { count, lines } = filter::deletions(self.program, &saved.stdout, before.as_ref());
        let change = Change::RemoveFilterRules { program: self.program.into(), count, deletions: lines };
        Ok(Planned::of(if count == 0 { Vec::new() } else { vec![change] }))
    }
}

/// No services in the kernel's load balancer where kube-proxy had its link: in that mode it takes all of them for its own, and so does this.
struct VirtualServers;

#[async_trait]
impl AnyResource for VirtualServers {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let links = probe.read_text(Utf8Path::new("/proc/net/dev")).await?.unwrap_or_default();
        if !links.contains("kube-ipvs0:") {
            return Ok(Planned::Satisfied);
        }
        let saved = probe.query(&["ipvsadm", "-Sn"]).await?;
        let services = saved.stdout.lines().filter_map(|line| line.strip_prefix("-A "));
        let delete = |service: &str| {
            let address: Vec<&str> = service.split(" -s ").next().unwrap_or(service).split(' ').collect();
            let argv = ["ipvsadm", "-D"].iter().chain(&address).map(ToString::to_string).collect();
            Change::Run { argv, why: format!("remove the virtual server {}", address.join(" ")), undo: None }
        };
        Ok(Planned::of(services.map(delete).collect()))
    }
}

/// No sets of addresses of kube-proxy's.
struct Sets;

#[async_trait]
impl AnyResource for Sets {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let listed = probe.query(&["ipset", "list", "-n"]).await?;
        let of_proxy = listed.stdout.lines().filter(|name| name.starts_with("KUBE-"));
        let destroy = |name: &str| {
            let argv = ["ipset", "destroy", name].map(String::from).into();
            Change::Run { argv, why: format!("remove the address set {name}"), undo: None }
        };
        Ok(Planned::of(of_proxy.map(destroy).collect()))
    }
}

/// No tables of nftables that kube-proxy or flannel made, nor empty ones that `iptables` made for them.
struct Tables;

#[async_trait]
impl AnyResource for Tables {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let listed = probe.query(&["nft", "list", "tables"]).await?;
        let before = Baseline::load(probe).await?;
        let mut changes = Vec::new();
        for line in listed.stdout.lines() {
            let [_, family, table] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
            let was_there = before.as_ref().is_some_and(|b| b.state(Kind::Rule, &format!("nftables {line}")).is_some());
            if was_there {
                continue;
            }
            if filter::TABLES.contains(&table) || is_idle(probe, family, table, before.as_ref()).await? {
                changes.push(Change::RemoveFilterTable { family: family.into(), table: table.into() });
            }
        }
        Ok(Planned::of(changes))
    }
}

/// Whether a table of iptables' holds nothing but what iptables itself makes of it: it would be made anew when needed. Rules that
/// are about to be removed don't count.
async fn is_idle(probe: &dyn Probe, family: &str, table: &str, before: Option<&Baseline>) -> Result<bool> {
    const TABLES: [&str; 5] = ["filter", "mangle", "nat", "raw", "security"];
    let program = match family {
        "ip" => "iptables-nft",
        "ip6" => "ip6tables-nft",
        _ => return Ok(false),
    };
    if !TABLES.contains(&table) {
        return Ok(false);
    }
    let saved = probe.query(&[&format!("{program}-save")]).await?;
    let deletions = filter::deletions(program, &saved.stdout, before);
    Ok(saved.is_success() && filter::is_idle(&saved.stdout, table, &deletions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    async fn changes(resource: impl AnyResource, host: FakeHost) -> Vec<String> {
        match resource.plan(&host).await.unwrap() {
            Planned::Changes(changes) => changes.iter().map(ToString::to_string).collect(),
            Planned::Satisfied => Vec::new(),
            Planned::After { what } | Planned::Until { what, .. } => panic!("{what}"),
        }
    }

    #[tokio::test]
    async fn tables_with_rules_of_others_stay() {
        let ip = "*nat\n:POSTROUTING ACCEPT [0:0]\n:KUBE-POSTROUTING - [0:0]\n-A POSTROUTING -j KUBE-POSTROUTING\nCOMMIT\n\
            *filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n*mangle\n:INPUT DROP [0:0]\nCOMMIT\n";
        let tables = "table ip nat\ntable ip filter\ntable ip mangle\ntable ip6 kube-proxy\ntable inet mine\n";
        let host = FakeHost::default().answer("nft list tables", 0, tables).answer("iptables-nft-save", 0, ip);
        assert_eq!(
            changes(Tables, host).await,
            ["remove the packet filter's table ip nat", "remove the packet filter's table ip6 kube-proxy"]
        );
    }

    #[tokio::test]
    async fn an_empty_table_that_was_there_before_stays() {
        let mut before = Baseline::default();
        before.things.entry(Kind::Rule).or_default().insert("nftables table ip nat".into(), "there".into());
        let host = FakeHost::default().file("/var/lib/kboot/baseline.json", before.to_bytes()).answer(
            "nft list tables",
            0,
            "table ip nat\n",
        );
        assert_eq!(changes(Tables, host).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn only_kube_proxys_sets_and_servers_go() {
        let sets = FakeHost::default().answer("ipset list -n", 0, "KUBE-CLUSTER-IP\nmine\n");
        assert_eq!(
            changes(Sets, sets).await,
            ["remove the address set KUBE-CLUSTER-IP (`ipset destroy KUBE-CLUSTER-IP`)"]
        );
        let saved = "-A -t 10.96.0.1:443 -s rr\n-a -t 10.96.0.1:443 -r 10.77.0.11:6443 -m -w 1\n";
        let dev = "Inter-|\n face |\nkube-ipvs0: 0 0\n";
        let servers = FakeHost::default().file("/proc/net/dev", dev).answer("ipvsadm -Sn", 0, saved);
        assert_eq!(
            changes(VirtualServers, servers).await,
            ["remove the virtual server -t 10.96.0.1:443 (`ipvsadm -D -t 10.96.0.1:443`)"]
        );
    }
}
