//! What differs between two locks, in a person's words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Lock, Package};

/// One entry that changed, came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// As `cri-tools (debian-bookworm-amd64)`.
    pub what: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

impl Move {
    /// Whether something that was locked becomes something else; an addition moves nothing.
    pub fn is_shift(&self) -> bool {
        self.from.is_some()
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "~ {}: {from} -> {to}", self.what),
            (None, Some(to)) => write!(f, "+ {}: {to}", self.what),
            (Some(from), None) => write!(f, "- {}: {from}", self.what),
            (None, None) => f.write_str(&self.what),
        }
    }
}

/// Everything that differs, in the file's order.
pub fn moves(old: &Lock, new: &Lock) -> Vec<Move> {
    let mut moves = Vec::new();
    for (what, one, other) in
        [("cluster", &old.cluster, &new.cluster), ("Kubernetes", &old.kubernetes, &new.kubernetes)]
    {
        if one != other {
            moves.push(Move { what: what.into(), from: Some(one.clone()), to: Some(other.clone()) });
        }
    }
    let no_packages = BTreeMap::new();
    for platform in old.packages.keys().chain(new.packages.keys()).collect::<BTreeSet<_>>() {
        let before = old.packages.get(platform).unwrap_or(&no_packages);
        let after = new.packages.get(platform).unwrap_or(&no_packages);
        for (name, from, to) in differing(before, after) {
            let (from, to) = versions(from, to);
            moves.push(Move { what: format!("{name} ({platform})"), from, to });
        }
    }
    for (before, after) in [(&old.images, &new.images), (&old.objects, &new.objects)] {
        moves.extend(digests("", before, after));
    }
    let no_files = BTreeMap::new();
    for name in old.hosts.keys().chain(new.hosts.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (old.hosts.get(name), new.hosts.get(name));
        let key = |host: Option<&super::LockedHost>| host.map(|host| host.host_key.clone());
        if key(before) != key(after) {
            moves.push(Move { what: format!("{name}'s SSH key"), from: key(before), to: key(after) });
        }
        let files = (before.map_or(&no_files, |host| &host.files), after.map_or(&no_files, |host| &host.files));
        moves.extend(digests(&format!("{name}: "), files.0, files.1));
    }
    moves
}

fn digests(prefix: &str, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Move> {
    let short = |digest: Option<&String>| digest.map(|digest| short(digest));
    differing(before, after)
        .map(|(name, from, to)| Move { what: format!("{prefix}{name}"), from: short(from), to: short(to) })
        .collect()
}

/// The entries that are not the same on both sides.
fn differing<'a, T: PartialEq>(
    before: &'a BTreeMap<String, T>,
    after: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a String, Option<&'a T>, Option<&'a T>)> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().map(|name| (name, before.get(name), after.get(name))).filter(|(_, from, to)| from != to)
}

/// Versions, and digests where only those differ.
fn versions(from: Option<&Package>, to: Option<&Package>) -> (Option<String>, Option<String>) {
    let is_same = from.zip(to).is_some_and(|(from, to)| from.version == to.version);
    let shown = |package: &Package| match is_same {
        true => format!("{} sha256:{}", package.version, package.sha256.get(..12).unwrap_or_default()),
        false => package.version.clone(),
    };
    (from.map(shown), to.map(shown))
}

/// A digest's beginning: enough to see that it is another.
fn short(digest: &str) -> String {
    const LENGTH: usize = "sha256:".len() + 12;
    digest.get(..LENGTH).unwrap_or(digest).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::samples::{self, PLATFORM};

    fn told(new: &Lock) -> Vec<String> {
        moves(&samples::lock(), new).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_moves_between_a_lock_and_itself() {
        assert!(told(&samples::lock()).is_empty());
    }

    #[test]
    fn each_kind_of_entry_is_told() {
        let mut new = samples::lock();
        let packages = new.packages.get_mut(PLATFORM).unwrap();
        packages.insert("cri-tools".into(), samples::package("1.36.1-1.1", 'd'));
        packages.insert("socat".into(), samples::package("1.7.4.4-2", 'e'));
        packages.remove("kubelet");
        packages.insert("ethtool".into(), samples::package("1:6.1-1", '4'));
        new.images.values_mut().for_each(|digest| *digest = samples::digest('9'));
        new.hosts.insert("n2".into(), samples::host());
        assert_eq!(
            told(&new),
            [
                "~ cri-tools (debian-bookworm-amd64): 1.36.0-1.1 -> 1.36.1-1.1",
                "+ ethtool (debian-bookworm-amd64): 1:6.1-1",
                "- kubelet (debian-bookworm-amd64): 1.37.2-1.1",
                "~ socat (debian-bookworm-amd64): 1.7.4.4-2 sha256:cccccccccccc -> 1.7.4.4-2 sha256:eeeeeeeeeeee",
                "~ registry.k8s.io/pause:3.10.2: sha256:111111111111 -> sha256:999999999999",
                "+ n2's SSH key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAn1",
                "+ n2: /etc/crictl.yaml: sha256:333333333333",
            ]
        );
    }
}
