//! The versions that hosts have already, and which of them a lock begins with. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::agree::{Agreed, Said, agree};
use crate::engine::Failure;

/// What a host has installed of the packages whose versions kboot decides.
#[derive(Debug, Clone)]
pub struct Installed {
    pub host: String,
    pub is_control_plane: bool,
    /// Whose packages it takes, as `debian-bookworm-amd64`.
    pub platform: String,
    pub versions: BTreeMap<String, String>,
}

/// Versions by platform and package, and what people should know of hosts that have others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Begun {
    pub pins: BTreeMap<String, BTreeMap<String, String>>,
    pub notes: Vec<String>,
}

/// The versions to begin with. A platform's are those of its control planes; only where it has none, those of its workers. Versions
/// of which none has a majority are a failure that names who has which.
pub fn installed(hosts: &[Installed]) -> Result<Begun, Vec<Failure>> {
    let mut begun = Begun::default();
    let mut conflicts = Vec::new();
    let platforms: BTreeSet<&str> = hosts.iter().map(|host| host.platform.as_str()).collect();
    for platform in platforms {
        let of_platform: Vec<&Installed> = hosts.iter().filter(|host| host.platform == platform).collect();
        // A control plane without packages is yet to be made, and what a worker has is not for it.
        let is_led = of_platform.iter().any(|host| host.is_control_plane);
        let speakers = || of_platform.iter().filter(|host| host.is_control_plane || !is_led);
        let names: BTreeSet<&String> = speakers().flat_map(|host| host.versions.keys()).collect();
        for name in names {
            let words: Vec<Said<&String>> = of_platform.iter().filter_map(|host| said(host, name)).collect();
            match agree(&words) {
                Agreed::Silent => {}
                Agreed::Word { word, others } => {
                    begun.pins.entry(platform.into()).or_default().insert(name.clone(), word.clone());
                    begun.notes.extend(others.iter().map(|other| {
                        format!("{} has {name} {}, and {word} is locked for {platform}", other.host, other.word)
                    }));
                }
                Agreed::Split(words) => conflicts.push(split(name, platform, &words)),
            }
        }
    }
    if conflicts.is_empty() { Ok(begun) } else { Err(conflicts) }
}

fn said<'a>(host: &'a Installed, name: &str) -> Option<Said<&'a String>> {
    let word = host.versions.get(name)?;
    Some(Said { host: host.host.clone(), is_control_plane: host.is_control_plane, word })
}

fn split(name: &str, platform: &str, words: &[Said<&String>]) -> Failure {
    Failure::new(format!("the hosts of {platform} have different versions of {name}, and none has a majority"))
        .evidence(words.iter().map(|said| format!("{}: {}", said.host, said.word)))
        .hint_text("bring them to one version first, or take what is newest: `kboot lock --update`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, platform: &str, version: Option<&str>) -> Installed {
        Installed {
            host: name.into(),
            is_control_plane: name.starts_with('c'),
            platform: platform.into(),
            versions: version.map(|version| ("containerd.io".into(), version.into())).into_iter().collect(),
        }
    }

    fn pin(hosts: &[Installed]) -> (Option<String>, Vec<String>) {
        let begun = installed(hosts).unwrap();
        let pin = begun.pins.get("debian").and_then(|pins| pins.get("containerd.io")).cloned();
        (pin, begun.notes)
    }

    #[test]
    fn a_worker_pins_nothing_where_control_planes_are() {
        let old = host("a-worker", "debian", Some("1.6"));
        let note = "a-worker has containerd.io 1.6, and 2.1 is locked for debian".to_string();
        assert_eq!(pin(&[old.clone(), host("c1", "debian", Some("2.1"))]), (Some("2.1".into()), vec![note]));
        // One that is yet to be made, too: it gets what is newest.
        assert_eq!(pin(&[old.clone(), host("c1", "debian", None)]).0, None);
        // Workers of a platform of their own speak for it.
        assert_eq!(pin(&[old.clone(), host("c1", "ubuntu", Some("2.1"))]).0, Some("1.6".into()));
        let most = [old, host("w2", "debian", Some("2.1")), host("w3", "debian", Some("2.1"))];
        assert_eq!(pin(&most).0, Some("2.1".into()));
    }

    #[test]
    fn versions_without_a_majority_are_refused_with_who_has_which() {
        let hosts =
            [host("c1", "debian", Some("2.1")), host("c2", "debian", Some("2.2")), host("w", "debian", Some("2.2"))];
        let [failure] = &installed(&hosts).unwrap_err()[..] else { panic!("one conflict") };
        assert_eq!(failure.evidence, ["c1: 2.1", "c2: 2.2"]);
    }
}
