//! The program that becomes the agent: this one.

use std::io::Read;
use std::sync::OnceLock;

use camino::Utf8PathBuf;
use sha2::{Digest, Sha256};

use crate::engine::{Failure, Result};

/// A program file and its digest. Its bytes are read when a host needs them and never kept.
#[derive(Debug, Clone)]
pub struct AgentBinary {
    file: Utf8PathBuf,
    digest: String,
    size: u64,
    architecture: String,
}

impl AgentBinary {
    /// This program; its digest is computed at the first call.
    pub fn current() -> Result<&'static Self> {
        static CURRENT: OnceLock<Result<AgentBinary>> = OnceLock::new();
        // The kernel's own link holds the program that runs, also once another has been installed in its place.
        let current = CURRENT.get_or_init(|| Self::of("/proc/self/exe", std::env::consts::ARCH));
        current.as_ref().map_err(Failure::clone)
    }

    /// A program for an architecture, named as `uname -m` has it.
    pub fn of(file: impl Into<Utf8PathBuf>, architecture: &str) -> Result<Self> {
        let file = file.into();
        let (digest, size) =
            digest(&file).map_err(|error| Failure::from(error).context("read kboot's own program file"))?;
        Ok(Self { file, digest, size, architecture: architecture.to_owned() })
    }

    /// SHA-256, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    pub(super) async fn open(&self) -> Result<tokio::fs::File> {
        tokio::fs::File::open(&self.file)
            .await
            .map_err(|error| Failure::from(error).context("read kboot's own program file"))
    }
}

fn digest(file: &Utf8PathBuf) -> std::io::Result<(String, u64)> {
    let mut source = fs_err::File::open(file)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        let count = source.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
    Ok((hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect(), size))
}
