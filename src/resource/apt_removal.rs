//! What apt would remove, found by a simulation: a package that somebody else's package needs is not kboot's to remove.

use std::collections::BTreeSet;

use camino::Utf8Path;

use super::{command, vetted};
use crate::engine::hint::PackageWords;
use crate::engine::{Failure, Hint, Probe, Result};

/// Where apt keeps which packages came only because others need them; of all others somebody asked for.
const EXTENDED_STATES: &str = "/var/lib/apt/extended_states";

/// The container runtimes exclude each other: the one that kboot installs takes the other's place, as preflight says.
const REPLACED: [&str; 3] = ["containerd", "containerd.io", "runc"];

/// What becomes of packages that are to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    pub goes: Vec<String>,
    /// Packages that stay, each with the packages that need it.
    pub kept: Vec<(String, BTreeSet<String>)>,
}

/// Which of these packages can go without others that are not among them.
pub async fn removal(probe: &dyn Probe, packages: &[String]) -> Result<Removal> {
    // Where apt can't even say it, it won't do it either, and its own words tell why.
    let Some(others) = others(probe, packages).await? else {
        return Ok(Removal { goes: packages.to_vec(), kept: Vec::new() });
    };
    if others.is_empty() {
        return Ok(Removal { goes: packages.to_vec(), kept: Vec::new() });
    }
    // One by one: several may only together be what another package needs.
    let mut removal = Removal::default();
    for package in packages {
        let mut tried = removal.goes.clone();
        tried.push(package.clone());
        let all: BTreeSet<&str> = packages.iter().map(String::as_str).collect();
        let foreign = match removed(probe, &tried).await? {
            // Others of the list may go with it: they are tried in their turn.
            Some(gone) => gone.into_iter().filter(|name| !all.contains(name.as_str())).collect(),
            None => others.clone(),
        };
        if foreign.is_empty() {
            removal.goes = tried;
        } else {
            removal.kept.push((package.clone(), foreign));
        }
    }
    Ok(removal)
}

/// The packages that are not among these and would go with them; None where apt can't tell.
pub(super) async fn others(probe: &dyn Probe, packages: &[String]) -> Result<Option<BTreeSet<String>>> {
    Ok(removed(probe, packages).await?.map(|gone| gone.into_iter().filter(|name| !packages.contains(name)).collect()))
}

async fn removed(probe: &dyn Probe, packages: &[String]) -> Result<Option<BTreeSet<String>>> {
    let argv = simulated(packages);
    let output = probe.query(&argv).await?;
    Ok(output.is_success().then(|| removals(&output.stdout)))
}

/// A purge of these packages that only says what it would do.
fn simulated(packages: &[String]) -> Vec<&str> {
    let fixed = vetted::PURGE.iter().filter(|word| **word != "*").copied();
    fixed.chain(packages.iter().map(String::as_str)).collect()
}

/// Which of these packages, that came because others need them, somebody has asked for since, as with `apt-mark manual`. Where apt
/// keeps no such list, nobody has.
pub async fn marked_manual(probe: &dyn Probe, packages: BTreeSet<String>) -> Result<BTreeSet<String>> {
    let Some(text) = probe.read_text(Utf8Path::new(EXTENDED_STATES)).await? else { return Ok(BTreeSet::new()) };
    let automatic: BTreeSet<&str> = text
        .split("\n\n")
        .filter(|stanza| stanza.lines().any(|line| line.trim() == "Auto-Installed: 1"))
        .filter_map(|stanza| stanza.lines().find_map(|line| line.strip_prefix("Package: ")))
        .map(str::trim)
        .collect();
    Ok(packages.into_iter().filter(|package| !automatic.contains(package.as_str())).collect())
}

/// Refuses to remove what would take others along.
pub(super) async fn refuse_others(packages: &[String]) -> Result<()> {
    let argv = simulated(packages);
    let output = command::output(&argv, &[], None).await?;
    if !output.is_success() {
        return Err(command::failed(&argv, &output));
    }
    let gone = removals(&output.stdout);
    let others: BTreeSet<&str> =
        gone.iter().map(String::as_str).filter(|name| !packages.iter().any(|p| p == name)).collect();
    if others.is_empty() { Ok(()) } else { Err(needed(packages, others)) }
}

/// Why packages are not removed.
pub(super) fn needed<'a>(packages: &[String], others: impl IntoIterator<Item = &'a str>) -> Failure {
    let others: Vec<&str> = others.into_iter().collect();
    Failure::new(format!("removing {} would also remove {}", packages.join(", "), others.join(", ")))
        .hint(Hint::RemoveDependents { packages: PackageWords::of(others) })
}

/// Whether apt stopped because it was told to remove nothing.
pub(super) fn is_refused(failure: &Failure) -> bool {
    failure.evidence.iter().any(|line| line.contains("remove is disabled"))
}

/// Of what a simulated installation removes, the packages that are not replaced by design.
pub(super) fn foreign(simulation: &str) -> BTreeSet<String> {
    removals(simulation).into_iter().filter(|name| !REPLACED.contains(&name.as_str())).collect()
}

/// The lines of a simulation: `Remv NAME [VERSION] …` or `Purg NAME [VERSION] …`.
fn removals(simulation: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let rest = line.strip_prefix("Remv ").or_else(|| line.strip_prefix("Purg "))?;
        rest.split_whitespace().next().map(String::from)
    };
    simulation.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    fn asked(packages: &[&str]) -> String {
        simulated(&names(packages)).join(" ")
    }

    fn names(packages: &[&str]) -> Vec<String> {
        packages.iter().map(ToString::to_string).collect()
    }

    #[tokio::test]
    async fn a_package_that_others_need_stays_and_is_named_with_them() {
        let host = FakeHost::default()
            .answer(
                &asked(&["iptables", "kubelet", "socat"]),
                0,
                "Purg kubelet [1]\nPurg ufw [2]\nPurg iptables [1]\nPurg socat [1]\n",
            )
            // kubelet depends on iptables and is of the list.
            .answer(&asked(&["iptables"]), 0, "Purg ufw [2]\nPurg kubelet [1]\nPurg iptables [1]\n")
            .answer(&asked(&["kubelet"]), 0, "Purg kubelet [1]\n")
            .answer(&asked(&["kubelet", "socat"]), 0, "Purg kubelet [1]\nPurg socat [1]\n");
        let removal = removal(&host, &names(&["iptables", "kubelet", "socat"])).await.unwrap();
        assert_eq!(removal.goes, ["kubelet", "socat"]);
        assert_eq!(removal.kept, [("iptables".to_string(), BTreeSet::from(["ufw".to_string()]))]);
    }

    #[tokio::test]
    async fn what_nobody_needs_goes_at_one_look() {
        let host = FakeHost::default().answer(&asked(&["a", "b"]), 0, "Purg b [1]\nPurg a [1]\n");
        let removal = removal(&host, &names(&["a", "b"])).await.unwrap();
        assert_eq!(removal, Removal { goes: names(&["a", "b"]), kept: Vec::new() });
    }

    #[tokio::test]
    async fn what_is_not_marked_automatic_was_asked_for() {
        let states = "Package: a\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: b\nArchitecture: amd64\nAuto-Installed: 0\n";
        let all = || ["a", "b", "c"].map(String::from).into();
        let host = FakeHost::default().file(EXTENDED_STATES, states);
        assert_eq!(marked_manual(&host, all()).await.unwrap(), ["b", "c"].map(String::from).into());
        assert_eq!(marked_manual(&FakeHost::default(), all()).await.unwrap(), BTreeSet::new());
    }

    #[test]
    fn only_the_runtime_is_replaced() {
        let simulation = "Remv docker.io [20]\nRemv containerd [1.6]\nRemv libfoo:i386 [1]\nInst containerd.io (2)\n";
        assert_eq!(foreign(simulation), BTreeSet::from(["docker.io".to_string(), "libfoo:i386".to_string()]));
    }
}
