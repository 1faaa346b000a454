//! What a host's kernel, files and programs say.

use std::collections::BTreeMap;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use futures_util::FutureExt as _;

use super::sections;
use crate::baseline::{self, filter};
use crate::engine::{Failure, FileKind, Guard, Metadata, Output, Probe, Result};
use crate::facts::{Facts, gather};
use crate::fetch::{Sort, of_apt, of_crictl};
use crate::resource::{DpkgStatus, fuzzed};

/// A host of the files that an input has; of `=== $ COMMAND` it has what the command prints.
pub struct Sections(BTreeMap<String, Vec<u8>>);

impl Sections {
    pub fn file(path: &str, content: &[u8]) -> Self {
        Self([(path.to_owned(), content.to_vec())].into())
    }

    fn of(data: &[u8]) -> Self {
        Self(sections(data).into_iter().skip(1).collect())
    }

    fn below(&self, folder: &Utf8Path) -> Vec<String> {
        let names = self.0.keys().filter_map(|path| Utf8Path::new(path).strip_prefix(folder).ok()?.components().next());
        let mut names: Vec<String> = names.map(|name| name.to_string()).collect();
        names.dedup();
        names
    }
}

#[async_trait]
impl Probe for Sections {
    async fn read(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get(path.as_str()).cloned())
    }

    async fn stat(&self, path: &Utf8Path) -> Result<Option<Metadata>> {
        let (kind, size) = match self.0.get(path.as_str()) {
            Some(content) => (FileKind::File, content.len() as u64),
            None if !self.below(path).is_empty() => (FileKind::Directory, 0),
            None => return Ok(None),
        };
        Ok(Some(Metadata { kind, mode: 0o644, uid: 0, gid: 0, size, inode: 1 }))
    }

    async fn link(&self, _: &Utf8Path) -> Result<Option<Utf8PathBuf>> {
        Ok(None)
    }

    async fn list(&self, path: &Utf8Path) -> Result<Option<Vec<String>>> {
        Ok(Some(self.below(path)).filter(|names| !names.is_empty()))
    }

    async fn query(&self, argv: &[&str]) -> Result<Output> {
        let printed = self.0.get(&format!("$ {}", argv.join(" ")));
        let stdout = printed.map(|printed| String::from_utf8_lossy(printed).into_owned());
        Ok(Output {
            code: Some(stdout.as_ref().map_or(127, |_| 0)),
            stdout: stdout.unwrap_or_default(),
            stderr: String::new(),
        })
    }

    async fn ask(&self, _: &Guard) -> Result<Output> {
        Err(Failure::new("nobody guards anything here"))
    }
}

/// Nothing of such a host is waited for.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("it is all in memory")
}

/// Facts travel as they are, and a host is as it was a moment before.
pub fn files(data: &[u8]) {
    let host = Sections::of(data);
    if let Ok(facts) = block_on(gather(&host)) {
        let sent = serde_json::to_string(&facts).expect("facts are plain data");
        assert_eq!(serde_json::from_str::<Facts>(&sent).expect("they were just written"), facts);
    }
    if let Ok(baseline) = block_on(baseline::gather(&host)) {
        assert_eq!(baseline.compare(&baseline), []);
    }
    let _ = block_on(DpkgStatus::read(&host));
}

/// The kernel's answers about tables of nftables.
pub fn netlink(data: &[u8]) {
    fuzzed::netlink(data);
}

/// What dpkg, apt, crictl and iptables print. `=== WORD` says which of them.
pub fn packages(data: &[u8]) {
    for (whose, printed) in sections(data) {
        let printed = String::from_utf8_lossy(&printed);
        match whose.as_str() {
            "apt" => of_apt(&printed).iter().for_each(|fault| drop(fault.failure(Sort::Packages))),
            "crictl pull" => drop(of_crictl(&printed, "registry.k8s.io").failure(Sort::Image)),
            "iptables-save" => rules(&printed),
            _ => fuzzed::packages(&printed),
        }
    }
}

/// What is deleted is of the rules that there are: each once.
fn rules(saved: &str) {
    let found = filter::deletions("iptables-nft", saved, None);
    assert!(found.count <= saved.lines().count());
    let _ = filter::is_idle(saved, "nat", &found);
}
