//! Packet filter rules as `iptables-save` prints them, and which of them the node's parts made. Pure.
//!
//! Whose a rule is, is told by its chain, by the chain that it leads to, and by whole comments that only one program writes. A word
//! somewhere in a comment tells nothing.

use std::collections::BTreeSet;

use super::{Baseline, Kind};

/// The programs that keep rules, and print them with `-save` behind their names: a host may have rules of both kinds.
pub const PROGRAMS: [&str; 4] = ["iptables-legacy", "ip6tables-legacy", "iptables-nft", "ip6tables-nft"];
/// Tables of nftables that kube-proxy and flannel make.
pub const TABLES: [&str; 3] = ["kube-proxy", "flannel-ipv4", "flannel-ipv6"];

/// kube-proxy's and the kubelet's chains, flannel's (pkg/trafficmngr/iptables), weave's (net/ipam, npc).
const CHAINS: [&str; 3] = ["KUBE-", "FLANNEL-", "WEAVE-"];
/// flannel's rules in chains of others.
const COMMENTS: [&str; 2] = ["flanneld forward", "flanneld masq"];
/// weave's rules in chains of others that lead to none of its own (net/bridge.go).
const OF_WEAVE: [&str; 4] = [
    "-A FORWARD -i weave ! -o weave -j ACCEPT",
    "-A FORWARD -o weave -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A FORWARD -o weave -m state --state NEW -j NFLOG --nflog-group 86",
    "-A FORWARD -o weave -j DROP",
];
/// The names that the pod networks' configurations have; the CNI plugins write them into each pod's rules.
const NETWORKS: [&str; 3] = ["cbr0", "weave", "k8s-pod-network"];
/// Chains of the port mapping plugin, one for all networks of a host, of other container engines too.
const SHARED: [&str; 3] = ["CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SETMARK"];

/// A line of a table.
#[derive(Clone, Copy)]
struct Line<'a> {
    table: &'a str,
    text: &'a str,
}

/// What takes away a node's rules and chains, and how many of both these are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Deletions {
    pub count: usize,
    /// As `nat -D PREROUTING -j KUBE-SERVICES`, `nat -F KUBE-SERVICES`, `nat -X KUBE-SERVICES`, in this order in each table.
    pub lines: Vec<String>,
}

/// The rules and chains that a baseline keeps, by the names that it has for them. Counters count.
pub(super) fn names(program: &str, saved: &str) -> impl Iterator<Item = String> {
    let is_kept = |line: &Line<'_>| !(line.text.starts_with(':') && line.text.contains(" ACCEPT "));
    let found: Vec<String> = lines(saved).filter(is_kept).map(|line| name(program, line)).collect();
    found.into_iter()
}

/// What the node's parts made and nobody had before, out of what `{program}-save` printed.
pub fn deletions(program: &str, saved: &str, before: Option<&Baseline>) -> Deletions {
    let was_there = |line: Line<'_>| before.is_some_and(|b| b.state(Kind::Rule, &name(program, line)).is_some());
    let all: Vec<Line<'_>> = lines(saved).collect();
    let mut found = Deletions::default();
    let tables: BTreeSet<&str> = all.iter().map(|line| line.table).collect();
    for table in tables {
        let lines: Vec<Line<'_>> = all.iter().copied().filter(|line| line.table == table).collect();
        let own = own_chains(&lines, before.is_some());
        let is_going = |chain: &str| {
            own.contains(chain) && !lines.iter().any(|line| line.chain() == Some(chain) && was_there(*line))
        };
        let chains: Vec<&str> = lines.iter().filter_map(Line::chain).filter(|chain| is_going(chain)).collect();
        for line in &lines {
            let Some(rule) = line.rule() else { continue };
            if is_going(rule.chain) {
                found.count += 1;
            } else if (own.contains(rule.chain) || rule.is_of_node(&own, line.text)) && !was_there(*line) {
                found.count += 1;
                found.lines.push(format!("{table} -D {}", line.text.trim_start_matches("-A ")));
            }
        }
        found.count += chains.len();
        found.lines.extend(chains.iter().map(|chain| format!("{table} -F {chain}")));
        found.lines.extend(chains.iter().map(|chain| format!("{table} -X {chain}")));
    }
    found
}

/// Whether nothing is in a table, once these deletions are made, but the chains that iptables itself makes.
pub fn is_idle(saved: &str, table: &str, deletions: &Deletions) -> bool {
    let is_deleted = |line: &Line<'_>| {
        let gone = |command: &str, what: &str| deletions.lines.contains(&format!("{table} {command} {what}"));
        match (line.chain(), line.rule()) {
            (Some(chain), _) => gone("-X", chain),
            (None, Some(rule)) => gone("-F", rule.chain) || gone("-D", line.text.trim_start_matches("-A ")),
            (None, None) => false,
        }
    };
    let mut left = lines(saved).filter(|line| line.table == table && !is_deleted(line));
    left.all(|line| line.text.starts_with(':') && line.text.contains(" ACCEPT "))
}

/// Whether a thing of [`Kind::Rule`] is one that only a node's parts make, by its name.
pub(super) fn is_of_node(name: &str) -> bool {
    if let Some(table) = name.strip_prefix("nftables ") {
        return table.rsplit(' ').next().is_some_and(|table| TABLES.contains(&table));
    }
    let Some((_, rest)) = name.split_once(' ') else { return false };
    let Some((table, text)) = rest.split_once(' ') else { return false };
    let line = Line { table, text };
    line.chain().is_some_and(is_own)
        || line.rule().is_some_and(|rule| is_own(rule.chain) || rule.is_of_node(&BTreeSet::new(), text))
}

/// The chains and rules of all tables.
fn lines(saved: &str) -> impl Iterator<Item = Line<'_>> {
    let mut table = "";
    saved.lines().filter_map(move |text| {
        if let Some(name) = text.strip_prefix('*') {
            table = name;
        }
        (text.starts_with("-A ") || text.starts_with(':')).then_some(Line { table, text })
    })
}

fn name(program: &str, line: Line<'_>) -> String {
    format!("{program} {} {}", line.table, line.text.split(" [").next().unwrap_or(line.text))
}

fn is_own(chain: &str) -> bool {
    chain == "WEAVE" || CHAINS.iter().any(|start| chain.starts_with(start))
}

/// The chains of a table that the node's parts made. `is_known`: what was there before is known.
fn own_chains<'a>(lines: &[Line<'a>], is_known: bool) -> BTreeSet<&'a str> {
    let mut own: BTreeSet<&str> = lines.iter().filter_map(Line::chain).filter(|chain| is_own(chain)).collect();
    // Each pod's own, that are known by the rule that leads to them.
    for rule in lines
        .iter()
        .filter_map(Line::rule)
        .filter(|rule| rule.network().is_some_and(|n| NETWORKS.contains(&n.as_str())))
    {
        let to = lines.iter().filter_map(Line::chain).find(|chain| rule.target.as_deref() == Some(chain));
        own.extend(to.filter(|chain| chain.starts_with("CNI-")));
    }
    let is_shared = |chain: &str| SHARED.contains(&chain);
    // All that is in it leads to pods' chains that go.
    let is_left =
        |rule: &Rule<'_>| rule.chain == SHARED[0] && rule.target.as_deref().is_none_or(|to| !own.contains(to));
    if is_known && !lines.iter().filter_map(Line::rule).any(|rule| is_left(&rule)) {
        own.extend(lines.iter().filter_map(Line::chain).filter(|chain| is_shared(chain)));
    }
    own
}

impl<'a> Line<'a> {
    /// The chain that it makes.
    fn chain(&self) -> Option<&'a str> {
        self.text.strip_prefix(':')?.split(' ').next()
    }

    fn rule(&self) -> Option<Rule<'a>> {
        let rest = self.text.strip_prefix("-A ")?;
        let words = words(rest);
        let after =
            |option: &str| words.iter().position(|word| word == option).and_then(|at| words.get(at + 1).cloned());
        Some(Rule {
            chain: rest.split(' ').next().unwrap_or_default(),
            target: after("-j").or_else(|| after("-g")),
            comment: after("--comment"),
        })
    }
}

struct Rule<'a> {
    chain: &'a str,
    target: Option<String>,
    comment: Option<String>,
}

impl Rule<'_> {
    /// Whether a rule in a chain of others is one of the node's parts.
    fn is_of_node(&self, own: &BTreeSet<&str>, text: &str) -> bool {
        self.target.as_deref().is_some_and(|to| is_own(to) || own.contains(to))
            || self.comment.as_deref().is_some_and(|comment| COMMENTS.contains(&comment))
            || OF_WEAVE.contains(&text)
    }

    /// The network whose pod a rule is for: the plugins' comment is `name: "cbr0" id: "…"`, with `dnat ` before it for ports.
    fn network(&self) -> Option<String> {
        let comment = self.comment.as_deref()?;
        let rest = comment.strip_prefix("dnat ").unwrap_or(comment).strip_prefix("name: \"")?;
        let (network, rest) = rest.split_once('"')?;
        rest.starts_with(" id: \"").then(|| network.into())
    }
}

/// The words of a rule, quotes taken away as iptables-restore does.
fn words(rule: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut is_quoted, mut is_escaped) = (false, false);
    for c in rule.chars() {
        let word = words.last_mut().expect("it begins with one");
        match c {
            c if is_escaped => {
                word.push(c);
                is_escaped = false;
            }
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            c => word.push(c),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = r#"*filter
:INPUT ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
:KUBE-FIREWALL - [0:0]
:f2b-sshd - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -p tcp --dport 9000 -m comment --comment "interweave: nobody but us" -j DROP
-A INPUT -p tcp --dport 6443 -m comment --comment "office may reach the KUBE-API [x]" -j ACCEPT
-A INPUT -i cni0 -m comment --comment "say \"-j KUBE-FIREWALL\"" -j ACCEPT
-A INPUT -p tcp --dport 22 -j f2b-sshd
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FORWARD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FORWARD -m comment --comment "not flanneld forward" -j ACCEPT
-A FORWARD -o weave -j DROP
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:CNI-1a - [0:0]
:CNI-2b - [0:0]
:CNI-DN-1a - [0:0]
:CNI-DN-2b - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -s 10.244.0.5/32 -m comment --comment "name: \"cbr0\" id: \"1a\"" -j CNI-1a
-A POSTROUTING -s 10.88.0.5/32 -m comment --comment "name: \"podman\" id: \"2b\"" -j CNI-2b
-A CNI-1a -j MASQUERADE
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"cbr0\" id: \"1a\"" -j CNI-DN-1a
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"podman\" id: \"2b\"" -j CNI-DN-2b
COMMIT
"#;

    fn lines_of(before: Option<&Baseline>, saved: &str) -> Vec<String> {
        deletions("iptables-nft", saved, before).lines
    }

    fn baseline(saved: &str) -> Baseline {
        let mut baseline = Baseline::default();
        names("iptables-nft", saved).for_each(|name| baseline.insert(Kind::Rule, name, "there"));
        baseline
    }

    #[test]
    fn rules_go_by_chain_and_by_whole_comment() {
        let found = deletions("iptables-nft", SAVED, Some(&Baseline::default()));
        let expected = [
            "filter -D INPUT -j KUBE-FIREWALL",
            "filter -D FORWARD -m comment --comment \"flanneld forward\" -j FLANNEL-FWD",
            "filter -D FORWARD -s 10.244.0.0/16 -m comment --comment \"flanneld forward\" -j ACCEPT",
            "filter -D FORWARD -o weave -j DROP",
            "filter -F FLANNEL-FWD",
            "filter -F KUBE-FIREWALL",
            "filter -X FLANNEL-FWD",
            "filter -X KUBE-FIREWALL",
            "nat -D POSTROUTING -s 10.244.0.5/32 -m comment --comment \"name: \\\"cbr0\\\" id: \\\"1a\\\"\" -j CNI-1a",
            "nat -D CNI-HOSTPORT-DNAT -p tcp -m comment --comment \"dnat name: \\\"cbr0\\\" id: \\\"1a\\\"\" -j CNI-DN-1a",
            "nat -F CNI-1a",
            "nat -F CNI-DN-1a",
            "nat -X CNI-1a",
            "nat -X CNI-DN-1a",
        ];
        assert_eq!(found.lines, expected);
        assert_eq!(found.count, 4 + 1 + 2 + 2 + 1 + 2);
        assert!(!is_idle(SAVED, "filter", &found) && !is_idle(SAVED, "nat", &found));
    }

    #[test]
    fn what_was_there_before_stays() {
        assert_eq!(lines_of(Some(&baseline(SAVED)), SAVED), Vec::<String>::new());
        let more = SAVED.replace("COMMIT\n*nat", "-A KUBE-FIREWALL -j DROP\nCOMMIT\n*nat");
        assert_eq!(lines_of(Some(&baseline(SAVED)), &more), ["filter -D KUBE-FIREWALL -j DROP"]);
    }

    #[test]
    fn the_port_mapping_s_chains_go_where_nobody_else_can_have_made_them() {
        let saved =
            "*nat\n:PREROUTING ACCEPT [0:0]\n:CNI-HOSTPORT-DNAT - [0:0]\n-A PREROUTING -j CNI-HOSTPORT-DNAT\nCOMMIT\n";
        let none = Baseline::default();
        let found = deletions("iptables-nft", saved, Some(&none));
        assert_eq!(
            found.lines,
            ["nat -D PREROUTING -j CNI-HOSTPORT-DNAT", "nat -F CNI-HOSTPORT-DNAT", "nat -X CNI-HOSTPORT-DNAT"]
        );
        assert!(is_idle(saved, "nat", &found));
        assert_eq!(lines_of(None, saved), Vec::<String>::new());
        assert_eq!(lines_of(Some(&baseline(saved)), saved), Vec::<String>::new());
    }

    #[test]
    fn a_rule_s_name_tells_whose_it_is() {
        for name in [
            "nftables table ip kube-proxy",
            "iptables-nft nat :KUBE-MARK-MASQ -",
            "iptables-nft nat -A OUTPUT -j KUBE-SERVICES",
        ] {
            assert!(is_of_node(name), "{name}");
        }
        let comment = "iptables-nft filter -A INPUT -m comment --comment \"the KUBE-API\" -j ACCEPT";
        for name in ["nftables table inet filter", "iptables-nft nat :CNI-HOSTPORT-DNAT -", comment] {
            assert!(!is_of_node(name), "{name}");
        }
    }
}
