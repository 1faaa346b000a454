//! A host of a few files for tests. A query that was not foreseen fails the test.

use std::collections::BTreeMap;

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{FileKind, Metadata, Output, Probe, Result};

#[derive(Debug, Default)]
pub struct FakeProbe {
    files: BTreeMap<String, Vec<u8>>,
    unreadable: BTreeMap<String, &'static str>,
    queries: BTreeMap<String, Output>,
}

impl FakeProbe {
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), content.into());
        self
    }

    /// A file that is there, but can't be read.
    pub fn unreadable(mut self, path: &str, error: &'static str) -> Self {
        self.unreadable.insert(path.into(), error);
        self
    }

    pub fn query(mut self, command: &str, code: i32, stdout: &str) -> Self {
        let output = Output { code: Some(code), stdout: stdout.into(), stderr: String::new() };
        self.queries.insert(command.into(), output);
        self
    }
}

#[async_trait]
impl Probe for FakeProbe {
    async fn read(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>> {
        match self.unreadable.get(path.as_str()) {
            Some(error) => Err(crate::engine::Failure::new(*error)),
            None => Ok(self.files.get(path.as_str()).cloned()),
        }
    }

    async fn stat(&self, path: &Utf8Path) -> Result<Option<Metadata>> {
        let kind = if self.files.contains_key(path.as_str()) || self.unreadable.contains_key(path.as_str()) {
            FileKind::File
        } else if self.list(path).await?.is_some() {
            FileKind::Directory
        } else {
            return Ok(None);
        };
        Ok(Some(Metadata { kind, mode: 0o644, uid: 0, gid: 0, size: 0, inode: 0, changed: 0 }))
    }

    async fn list(&self, path: &Utf8Path) -> Result<Option<Vec<String>>> {
        if let Some(error) = self.unreadable.get(path.as_str()) {
            return Err(crate::engine::Failure::new(*error));
        }
        let below = self.files.keys().filter_map(|file| file.strip_prefix(path.as_str())?.strip_prefix('/'));
        let mut names: Vec<String> = below.filter_map(|rest| rest.split('/').next()).map(String::from).collect();
        names.dedup();
        Ok(if names.is_empty() { None } else { Some(names) })
    }

    async fn query(&self, argv: &[&str]) -> Result<Output> {
        let command = argv.join(" ");
        match self.queries.get(&command) {
            Some(output) => Ok(output.clone()),
            None => panic!("unexpected query: {command}"),
        }
    }
}
