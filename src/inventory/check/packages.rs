//! Package repositories: addresses, suites and how their keys are known.

use super::Findings;
use crate::inventory::format::Flaw;
use crate::inventory::mistake::{Mistake, quote};
use crate::inventory::path::Path;
use crate::inventory::types::{Cluster, Repository};
use crate::inventory::words;
use crate::openpgp::Fingerprint;

const PLACEHOLDERS: [&str; 3] = ["minor", "distribution", "codename"];

pub fn check(cluster: &Cluster, findings: &mut Findings) {
    let path = Path::of("packages.kubernetes");
    if cluster.packages.kubernetes.distribution {
        let message = "distributions have no packages of Kubernetes that kboot could use";
        findings.add(Mistake::new(path.key("distribution"), message).hint("leave it out: the default is pkgs.k8s.io"));
    }
    repository(&cluster.packages.kubernetes, &path, findings);
    repository(&cluster.packages.containerd, &Path::of("packages.containerd"), findings);
}

fn repository(repository: &Repository, path: &Path, findings: &mut Findings) {
    if repository.distribution {
        let alone = Repository { distribution: true, ..Repository::default() };
        if *repository != alone {
            let message = "excludes the other fields: the distribution's repository is set up already";
            findings.add(Mistake::new(path.key("distribution"), message).hint("remove it, or all the others"));
        }
        return;
    }
    findings.take(&path.key("url"), template(&repository.url, true));
    suite(repository, path, findings);
    for (index, component) in repository.components.iter().enumerate() {
        if component.is_empty() || component.contains(char::is_whitespace) {
            let message = format!("{} is not a component's name", quote(component));
            findings.add(Mistake::new(path.key("components").index(index), message).hint("for example `stable`"));
        }
    }
    key(repository, path, findings);
}

fn suite(repository: &Repository, path: &Path, findings: &mut Findings) {
    let suite = &repository.suite;
    let place = path.key("suite");
    if suite.is_empty() {
        let message = "lacks the field `suite`, which goes with `url`";
        findings.add(
            Mistake::new(path.clone(), message)
                .hint("`suite: /` for a flat repository, or else the suite and its `components`"),
        );
        return;
    }
    if suite.contains(char::is_whitespace) {
        findings
            .add(Mistake::new(place, format!("{} is not a suite's name", quote(suite))).hint("for example `bookworm`"));
        return;
    }
    findings.take(&place, template(suite, false));
    // apt's own rule: a suite that ends in a slash is a path, and then there are no components.
    match (suite.ends_with('/'), repository.components.is_empty()) {
        (true, false) => {
            let message = format!("a flat repository (suite {}) has no components", quote(suite));
            findings.add(Mistake::new(path.key("components"), message).hint("remove the line"));
        }
        (false, true) => {
            let message = format!("lacks the field `components`, which goes with the suite {}", quote(suite));
            findings.add(Mistake::new(path.clone(), message).hint("for example `components: [stable]`"));
        }
        _ => {}
    }
}

fn key(repository: &Repository, path: &Path, findings: &mut Findings) {
    let place = path.key("fingerprint");
    for (index, fingerprint) in repository.fingerprint.iter().enumerate() {
        if fingerprint.parse::<Fingerprint>().is_ok() {
            continue;
        }
        let bare: String = fingerprint.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
        let bare = bare.strip_prefix("0x").unwrap_or(&bare).to_uppercase();
        let hint = match bare.parse::<Fingerprint>() {
            Ok(right) => format!("write `{right}`"),
            Err(_) => "`gpg --show-keys FILE` prints it".into(),
        };
        let message = format!("{} is not a fingerprint: 40 hex digits", quote(fingerprint));
        let place = if repository.fingerprint.len() > 1 { place.index(index) } else { place.clone() };
        findings.add(Mistake::new(place, message).hint(hint));
    }
    if let Some(url) = &repository.key_url {
        findings.take(&path.key("keyUrl"), template(url, true));
    }
    let has_file = repository.key_file.is_some() || !findings.is_intact(&path.key("keyFile"));
    let has_url = repository.key_url.is_some() || !findings.is_intact(&path.key("keyUrl"));
    let has_fingerprint = !repository.fingerprint.is_empty() || !findings.is_intact(&place);
    if has_file {
        return;
    }
    let (message, hint) = match (has_url, has_fingerprint) {
        (true, true) => return,
        (true, false) => {
            ("has a `keyUrl`, but no `fingerprint` to know the key by", "`gpg --show-keys FILE` prints it")
        }
        (false, _) => {
            ("says nothing of the key that signs it", "`keyFile: ./repository.asc`, or `keyUrl` and `fingerprint`")
        }
    };
    findings.add(Mistake::new(path.clone(), message).hint(hint));
}

/// A text in which `{minor}`, `{distribution}` and `{codename}` will be filled in.
fn template(text: &str, is_url: bool) -> Result<(), Flaw> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return Err(Flaw::new(format!("the brace in {} is not closed", quote(text))));
        };
        if !PLACEHOLDERS.contains(&name) {
            let flaw = Flaw::new(format!("nothing is known to fill in for `{{{name}}}`"));
            return Err(match words::nearest(name, &PLACEHOLDERS) {
                Some(word) => flaw.hint(format!("did you mean `{{{word}}}`?")),
                None => flaw.hint("the placeholders are `{minor}`, `{distribution}` and `{codename}`"),
            });
        }
        filled.push_str(before);
        filled.push('x');
        rest = after;
    }
    filled.push_str(rest);
    if is_url { web_address_of(&filled, text, "https://packages.example.com/kubernetes") } else { Ok(()) }
}

/// An http or https address.
pub fn web_address(text: &str, example: &str) -> Result<(), Flaw> {
    web_address_of(text, text, example)
}

fn web_address_of(text: &str, shown: &str, example: &str) -> Result<(), Flaw> {
    let flaw = |why: &str| Flaw::new(format!("{} is not an address: {why}", quote(shown)));
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(flaw("it has a space in it"));
    }
    let url = match reqwest::Url::parse(text) {
        Ok(url) => url,
        Err(_) if !text.contains("://") => {
            return Err(flaw("it has no scheme").hint(format!("for example `{example}`")));
        }
        Err(error) => return Err(flaw(&error.to_string()).hint(format!("for example `{example}`"))),
    };
    if !matches!(url.scheme(), "http" | "https") {
        let why = format!("its scheme is {}, not http or https", quote(url.scheme()));
        return Err(flaw(&why).hint(format!("for example `{example}`")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Flaw::new("holds a user or password, which would end up in files that everybody can read"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(flaw("it has a query or a fragment"));
    }
    Ok(())
}
