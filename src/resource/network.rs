//! Links that must not be there, and how packet filter rules are taken away.

use std::collections::BTreeMap;

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

/// Takes rules and chains away, and touches no other: all of a table at once, or none where one of them can't go. What is not there
/// any more is passed over. `deletions` are lines as `nat -X KUBE-SERVICES`.
pub(super) async fn remove_rules(program: &str, deletions: &[String]) -> Result<()> {
    let save = format!("{program}-save");
    let saved = command::output(&[&save], &[], None).await?;
    if !saved.is_success() {
        return Err(command::failed(&[&save], &saved));
    }
    let text = still_there(&saved.stdout, deletions);
    if text.is_empty() {
        return Ok(());
    }
    // With --noflush nothing goes but what is named. A lock of another program's is waited for.
    let restore = [&format!("{program}-restore"), "--noflush", "-w"];
    let output = command::output(&restore, &[], Some(text.as_bytes())).await?;
    if output.is_success() { Ok(()) } else { Err(command::failed(&restore, &output)) }
}

/// What iptables-restore is to read: the deletions, by their tables, of what there is.
fn still_there(saved: &str, deletions: &[String]) -> String {
    let mut there: BTreeMap<String, usize> = BTreeMap::new();
    let mut table = "";
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some(chain) = line.strip_prefix(':').and_then(|line| line.split(' ').next()) {
            there.insert(format!("{table} -F {chain}"), 1);
            there.insert(format!("{table} -X {chain}"), 1);
        } else if let Some(rule) = line.strip_prefix("-A ") {
            // The same rule may be there more than once.
            *there.entry(format!("{table} -D {rule}")).or_default() += 1;
        }
    }
    let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for deletion in deletions {
        if let Some(count) = there.get_mut(deletion).filter(|count| **count > 0)
            && let Some((table, line)) = deletion.split_once(' ')
        {
            *count -= 1;
            tables.entry(table).or_default().push(line);
        }
    }
    tables.iter().map(|(table, lines)| format!("*{table}\n{}\nCOMMIT\n", lines.join("\n"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_deleted_by_table_and_as_often_as_it_is() {
        let saved = "*filter\n:INPUT ACCEPT [0:0]\n:KUBE-A - [0:0]\n-A INPUT -j KUBE-A\n-A INPUT -j KUBE-A\nCOMMIT\n\
            *nat\n:KUBE-B - [0:0]\nCOMMIT\n";
        let deletions = [
            "filter -D INPUT -j KUBE-A",
            "filter -D INPUT -j KUBE-A",
            "filter -D INPUT -j KUBE-A",
            "filter -F KUBE-A",
            "filter -X KUBE-A",
            "nat -F KUBE-A",
            "nat -X KUBE-B",
        ];
        let text =
            "*filter\n-D INPUT -j KUBE-A\n-D INPUT -j KUBE-A\n-F KUBE-A\n-X KUBE-A\nCOMMIT\n*nat\n-X KUBE-B\nCOMMIT\n";
        assert_eq!(still_there(saved, &deletions.map(String::from)), text);
        assert_eq!(still_there("", &deletions.map(String::from)), "");
    }
}
