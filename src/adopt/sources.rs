//! Where the hosts' packages and images come from.

use std::collections::BTreeSet;

use super::{Draft, Named};
use crate::agree::{Agreed, Said, agree};
use crate::engine::{Failure, Result};
use crate::facts::Cgroup;
use crate::inventory::{Packages, Repository};
use crate::manifest::{self, CgroupDriver, paths};
use crate::openpgp;

/// The packages' versions, and their repositories with the keys that the hosts know them by.
pub fn packages(draft: &mut Draft<'_>) {
    let wanted = draft.cluster.version_number().to_owned();
    for named in draft.named {
        match named.facts.packages.get("kubelet") {
            None => draft.note(format!("{}: its kubelet is of no package: `up` would install one", named.target)),
            Some(version) if !version.starts_with(&format!("{wanted}-")) => {
                draft.note(format!(
                    "{}: its kubelet is {version}, and the cluster is {wanted}: `up` would install that",
                    named.target
                ));
            }
            Some(_) => {}
        }
    }
    if let Some(repository) = repository(draft, "kubelet", "kubernetes") {
        draft.cluster.packages.kubernetes = repository;
    }
    runtime_packages(draft);
}

fn runtime_packages(draft: &mut Draft<'_>) {
    let has = |named: &Named, name: &str| named.facts.packages.contains_key(name);
    let (of_docker, of_distribution): (Vec<&Named>, Vec<&Named>) = (
        draft.named.iter().filter(|named| has(named, "containerd.io")).collect(),
        draft.named.iter().filter(|named| has(named, "containerd")).collect(),
    );
    for named in draft.named {
        let version = ["containerd.io", "containerd"].iter().find_map(|name| named.facts.packages.get(*name));
        match version {
            None => draft.note(format!(
                "{}: its container runtime is no package of containerd, which is what kboot uses",
                named.target
            )),
            Some(version) if !version.trim_start_matches("1:").starts_with("2.") => {
                draft.note(format!("{}: its containerd is {version}, and kboot uses 2.x", named.target));
            }
            Some(_) => {}
        }
    }
    if !of_docker.is_empty() && !of_distribution.is_empty() {
        draft.note(
            "some hosts have Docker's containerd.io and some the distribution's containerd: `up` would give all the one that \
             packages.containerd names",
        );
    }
    let is_docker_s = draft.said(|named| match (has(named, "containerd.io"), has(named, "containerd")) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    });
    if matches!(agree(&is_docker_s), Agreed::Word { word: false, .. }) {
        draft.cluster.packages.containerd = Repository { distribution: true, ..Repository::default() };
    } else if let Some(repository) = repository(draft, "containerd.io", "containerd") {
        draft.cluster.packages.containerd = repository;
    }
}

/// The repository that a package is installed from; None leaves kboot's default.
fn repository(draft: &mut Draft<'_>, package: &str, name: &str) -> Option<Repository> {
    let minor = draft.cluster.minor();
    let found = match agree(&draft.said(|named| found(named, package, name, &minor))) {
        Agreed::Silent => {
            draft.note(format!("where {package} was installed from can't be told: packages.{name} is kboot's default"));
            return None;
        }
        Agreed::Word { word, others } => {
            for other in others {
                draft.note(match other.word.url() == word.url() {
                    true => format!("{} knows {} by another key than the inventory has", other.host, word.url()),
                    false => {
                        format!(
                            "{} has {package} from {}, and the inventory says {}",
                            other.host,
                            other.word.url(),
                            word.url()
                        )
                    }
                });
            }
            word
        }
        Agreed::Split(words) => {
            let from = words.iter().map(|said| format!("{} has it from {}", said.host, said.word.url()));
            draft.note(format!(
                "the hosts do not agree where {package} comes from, or by which key: {}; packages.{name} is kboot's default",
                from.collect::<Vec<_>>().join(", ")
            ));
            return None;
        }
    };
    let Found::Own { entry, key } = found else { return None };
    let Some(KeyFile(key)) = key else {
        draft.note(format!(
            "{package} comes from {}, whose key was not found: packages.{name} is kboot's default",
            entry.url
        ));
        return None;
    };
    let ending = if key.starts_with(b"-----BEGIN") { "asc" } else { "gpg" };
    let file = format!("{name}.{ending}");
    let repository = Repository {
        url: entry.url.replace(&format!("/{minor}/"), "/{minor}/"),
        suite: entry.suite,
        components: entry.components,
        key_file: Some(file.clone()),
        ..Repository::default()
    };
    draft.keys.insert(file, key);
    Some(repository)
}

/// Where a host has a package from.
#[derive(Debug, Clone, PartialEq)]
enum Found {
    /// Of its own distribution, which may be another than that of the next host.
    Default {
        url: String,
    },
    Own {
        entry: Entry,
        key: Option<KeyFile>,
    },
}

/// A repository's key file. Armored or not, files of the same primary keys are equal: kubeadm's users download what kboot converts.
#[derive(Debug, Clone)]
struct KeyFile(Vec<u8>);

impl PartialEq for KeyFile {
    fn eq(&self, other: &Self) -> bool {
        let fingerprints = |file: &Self| openpgp::fingerprints(&file.0).ok();
        self.0 == other.0 || fingerprints(self).is_some_and(|own| fingerprints(other) == Some(own))
    }
}

impl Found {
    fn url(&self) -> &str {
        match self {
            Self::Default { url } | Self::Own { entry: Entry { url, .. }, .. } => url,
        }
    }
}

fn found(named: &Named, package: &str, name: &str, minor: &str) -> Option<Found> {
    let entry = entry(&named.survey.policy, package)?;
    let (os, defaults) = (&named.facts.os, Packages::default());
    let default = if name == "kubernetes" { defaults.kubernetes } else { defaults.containerd };
    if default.expand(minor, &os.id, &os.codename).url.trim_end_matches('/') == entry.url.trim_end_matches('/') {
        return Some(Found::Default { url: default.url });
    }
    let sources = named.survey.files.iter().filter(|(path, _)| path.starts_with("/etc/apt/"));
    let keyring = sources.filter_map(|(_, text)| keyring(text, &entry.url)).next();
    let key = keyring.as_ref().and_then(|path| named.survey.keys.get(path)).cloned().map(KeyFile);
    Some(Found::Own { entry, key })
}

/// A repository as apt tells of it.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    url: String,
    suite: String,
    components: Vec<String>,
}

/// The repository of the installed version, in what `apt-cache policy` prints.
fn entry(policy: &str, package: &str) -> Option<Entry> {
    let lines = policy.lines().skip_while(|line| *line != format!("{package}:")).skip(1);
    let own = lines.take_while(|line| line.starts_with(' '));
    // Versions stand further left than their sources.
    let sources =
        own.skip_while(|line| !line.starts_with(" ***")).skip(1).take_while(|line| line.starts_with("        "));
    sources.filter_map(source).next()
}

/// `500 https://download.docker.com/linux/debian bookworm/stable amd64 Packages`, or of a flat one `500 https://k  Packages`.
fn source(line: &str) -> Option<Entry> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let url = (*words.get(1)?).to_owned();
    if !url.contains("://") {
        return None;
    }
    match words.get(2).and_then(|word| word.split_once('/')) {
        Some((suite, component)) if words.len() > 3 && !suite.is_empty() => {
            Some(Entry { url, suite: suite.into(), components: vec![component.into()] })
        }
        _ => Some(Entry { url: format!("{}/", url.trim_end_matches('/')), suite: "/".into(), components: Vec::new() }),
    }
}

/// The file of the key by which a source that names this address is known; of either format.
fn keyring(text: &str, url: &str) -> Option<String> {
    let names =
        |words: &str| words.split_whitespace().any(|word| word.trim_end_matches('/') == url.trim_end_matches('/'));
    let of_line = text.lines().filter(|line| line.starts_with("deb ") && names(line)).find_map(|line| {
        let words = line.split(|c: char| c.is_whitespace() || ['[', ']'].contains(&c));
        words.filter_map(|word| word.strip_prefix("signed-by=")).next().map(String::from)
    });
    let of_stanza = || {
        let stanza = text.split("\n\n").find(|stanza| names(stanza) && !stanza.starts_with("deb "))?;
        stanza.lines().find_map(|line| line.strip_prefix("Signed-By:")).map(|path| path.trim().to_owned())
    };
    of_line.or_else(of_stanza)
}

/// The container runtime's settings, as far as an inventory knows them.
pub fn runtime(draft: &mut Draft<'_>) -> Result<()> {
    for named in draft.named {
        let driver = if named.facts.cgroup == Cgroup::V1 { CgroupDriver::Cgroupfs } else { CgroupDriver::Systemd };
        let own = manifest::containerd_config(&draft.cluster, driver, !named.facts.has_sys_resource)
            .map_err(|error| Failure::new(format!("failed to {error}")))?;
        if named.survey.file(paths::CONTAINERD_CONFIG) != Some(own.as_str()) {
            draft.cluster.containerd.keep_config = true;
        }
    }
    let files = draft.named.iter().flat_map(|named| named.survey.files.keys());
    let registries: BTreeSet<String> = files.filter_map(|path| registry(path)).map(String::from).collect();
    for registry in registries {
        // Where there are control planes among the hosts, one without a mirror says that there is none.
        let said = draft.said(|named| Some(named.survey.file(&paths::mirror_hosts(&registry)).map(ToOwned::to_owned)));
        let targets = |is_it: &dyn Fn(&Said<Option<String>>) -> bool| {
            said.iter().filter(|said| is_it(said)).map(|said| said.host.clone()).collect::<Vec<_>>().join(", ")
        };
        let agreed = agree(&said);
        let word = match &agreed {
            Agreed::Word { word, .. } => word.as_ref(),
            Agreed::Silent | Agreed::Split(_) => None,
        };
        match word.and_then(|text| mirror(&registry, text)) {
            Some(url) => {
                let others = targets(&|said| said.word.as_ref() != word);
                if !others.is_empty() {
                    draft.note(format!("{others}: the registry {registry} is reached otherwise there than by {url}"));
                }
                draft.cluster.images.mirrors.insert(registry, url);
            }
            None => draft.note(format!(
                "{}: containerd's settings for the registry {registry} are not such as an inventory can say, or not those of all \
                 hosts; they stay as they are",
                targets(&|said| said.word.is_some())
            )),
        }
    }
    if draft.cluster.containerd.keep_config {
        draft.note(
            "containerd's configuration stays as it is on the nodes: containerd.keepConfig is true; hosts that are added get kboot's",
        );
    }
    Ok(())
}

/// The registry whose settings a file has.
fn registry(path: &str) -> Option<&str> {
    path.strip_prefix(paths::CERTS_D)?.strip_prefix('/')?.strip_suffix("/hosts.toml")
}

/// The mirror in a `hosts.toml` that says nothing else.
fn mirror(registry: &str, text: &str) -> Option<String> {
    let server = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    let mut url = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("[host.\"").and_then(|rest| rest.strip_suffix("\"]")) {
            if url.replace(name.to_owned()).is_some() {
                return None;
            }
        } else if !line.starts_with("capabilities") && line.replace(' ', "") != format!("server=\"https://{server}\"") {
            return None;
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "kubelet:
  Installed: 1.37.2-1.1
  Candidate: 1.38.0-1.1
  Version table:
     1.38.0-1.1 500
        500 https://other.example.com/k/v1.38/deb  Packages
 *** 1.37.2-1.1 500
        500 https://pkgs.example.com/k/v1.37/deb  Packages
        100 /var/lib/dpkg/status
containerd.io:
  Installed: 2.1.0-1
  Candidate: 2.1.0-1
  Version table:
 *** 2.1.0-1 500
        500 http://d.example.com/docker bookworm/stable amd64 Packages
        100 /var/lib/dpkg/status
containerd:
  Installed: 1.6
  Version table:
 *** 1.6 100
        100 /var/lib/dpkg/status
";

    #[test]
    fn the_repository_of_what_is_installed() {
        let entry = |package| entry(POLICY, package);
        let flat = Entry { url: "https://pkgs.example.com/k/v1.37/deb/".into(), suite: "/".into(), components: vec![] };
        assert_eq!(entry("kubelet"), Some(flat));
        let found = entry("containerd.io").unwrap();
        assert_eq!((found.suite.as_str(), found.components), ("bookworm", vec!["stable".to_owned()]));
        assert_eq!((entry("containerd"), entry("kubeadm")), (None, None));
    }

    #[test]
    fn the_key_of_a_source_of_either_format() {
        let line = "# deb [signed-by=/no] https://k.example.com/deb /\ndeb [arch=amd64 signed-by=/k.gpg] https://k.example.com/deb/ /\n";
        assert_eq!(keyring(line, "https://k.example.com/deb/").as_deref(), Some("/k.gpg"));
        let stanzas =
            "Types: deb\nURIs: http://a\nSigned-By: /a.asc\n\nTypes: deb\nURIs: http://b/\nSigned-By: /b.asc\n";
        assert_eq!(keyring(stanzas, "http://b").as_deref(), Some("/b.asc"));
        assert_eq!(keyring(stanzas, "http://c"), None);
        assert_eq!(keyring("deb https://k.example.com/deb /\n", "https://k.example.com/deb"), None);
    }

    #[test]
    fn a_key_file_is_the_same_in_either_form() {
        let armored = include_bytes!("../../tests/inventory/keys/expiring.asc").to_vec();
        let other = KeyFile(include_bytes!("../../tests/inventory/keys/lasting.gpg").to_vec());
        let binary = KeyFile(openpgp::dearmor(&armored).unwrap());
        let armored = KeyFile(armored);
        assert_ne!(armored.0, binary.0);
        assert_eq!(armored, binary);
        assert_ne!(armored, other);
        let (one, two) = (KeyFile(b"no key".to_vec()), KeyFile(b"no key either".to_vec()));
        assert_eq!(one, one.clone());
        assert_ne!(one, two);
    }

    #[test]
    fn a_mirror_and_nothing_else() {
        let plain = "server = \"https://ghcr.io\"\n\n[host.\"http://10.0.0.1:5000\"]\n  capabilities = [\"pull\", \"resolve\"]\n";
        assert_eq!(mirror("ghcr.io", plain).as_deref(), Some("http://10.0.0.1:5000"));
        assert_eq!(mirror("quay.io", plain), None);
        assert_eq!(mirror("ghcr.io", &format!("{plain}  skip_verify = true\n")), None);
        assert_eq!(mirror("ghcr.io", &format!("{plain}[host.\"http://b\"]\n")), None);
        assert_eq!(mirror("ghcr.io", ""), None);
    }
}
