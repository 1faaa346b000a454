//! This machine: the one interpreter of changes, and the probe that looks at it.

use std::os::unix::fs::MetadataExt as _;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};

use super::{
    apt_fetch, apt_key, apt_run, certificate, cgroup, command, drain, file, image, kernel, kubeconfig, member, network,
    nftables, node, object, removal, state, unit, vetted,
};
use crate::engine::{
    Change, Content, Failure, FileKind, Guard, Hint, Host, Metadata, Output, Probe, Progress, Result, State, Subject,
};
use crate::fetch::Retry;
use crate::kube::Connector;

/// The machine that this process runs on, as root.
pub struct LocalHost {
    kube: Connector,
}

impl LocalHost {
    pub fn new(kube: Connector) -> Self {
        Self { kube }
    }
}

#[async_trait]
impl Probe for LocalHost {
    async fn read(&self, path: &Utf8Path) -> Result<Option<Vec<u8>>> {
        present(std::fs::read(path)).map_err(|error| Failure::new(format!("failed to read {path}: {error}")))
    }

    async fn read_head(&self, path: &Utf8Path, bytes: usize) -> Result<Option<Vec<u8>>> {
        use std::io::Read as _;
        let read = std::fs::File::open(path).and_then(|file| {
            let mut head = Vec::new();
            file.take(bytes as u64).read_to_end(&mut head).map(|_| head)
        });
        present(read).map_err(|error| Failure::new(format!("failed to read {path}: {error}")))
    }

    async fn stat(&self, path: &Utf8Path) -> Result<Option<Metadata>> {
        let found = present(std::fs::symlink_metadata(path))
            .map_err(|error| Failure::new(format!("failed to look at {path}: {error}")))?;
        Ok(found.map(|metadata| metadata_of(&metadata)))
    }

    async fn link(&self, path: &Utf8Path) -> Result<Option<Utf8PathBuf>> {
        let target = match present(std::fs::read_link(path)) {
            // Something else than a link.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => return Ok(None),
            other => other.map_err(|error| Failure::new(format!("failed to read the link {path}: {error}")))?,
        };
        Ok(target.and_then(|target| Utf8PathBuf::try_from(target).ok()))
    }

    async fn list(&self, path: &Utf8Path) -> Result<Option<Vec<String>>> {
        let entries = present(std::fs::read_dir(path))
            .map_err(|error| Failure::new(format!("failed to list {path}: {error}")))?;
        let Some(entries) = entries else { return Ok(None) };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(Some(names))
    }

    async fn query(&self, argv: &[&str]) -> Result<Output> {
        if !vetted::is_vetted(argv) {
            return Err(Failure::new(format!("`{}` is not a query that is known to only read", argv.join(" "))));
        }
        if argv == nftables::LIST {
            return Ok(nftables::list());
        }
        command::output(argv, &[], None).await
    }

    async fn ask(&self, guard: &Guard) -> Result<Output> {
        /// Seconds, for a guard is asked in every run.
        const PATIENCE: &str = "60";
        /// timeout(1)'s own exit code.
        const TIMED_OUT: i32 = 124;
        let argv = guard.argv();
        let limited: Vec<&str> = ["timeout", "-k", "5", PATIENCE].into_iter().chain(argv.iter().copied()).collect();
        let output = command::output(&limited, &[], None).await?;
        if output.code == Some(TIMED_OUT) {
            return Err(
                Failure::new(format!("`{}` has not ended within {PATIENCE} s", argv.join(" "))).hint(Hint::GuardIsSlow)
            );
        }
        Ok(output)
    }
}

/// None where there is no such file, nor a directory for it.
fn present<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn metadata_of(metadata: &std::fs::Metadata) -> Metadata {
    let kind = match metadata.file_type() {
        t if t.is_file() => FileKind::File,
        t if t.is_dir() => FileKind::Directory,
        t if t.is_symlink() => FileKind::Symlink,
        _ => FileKind::Other,
    };
    Metadata {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        size: metadata.size(),
        inode: metadata.ino(),
    }
}

#[async_trait]
impl Host for LocalHost {
    async fn apply(&self, change: &Change, progress: &Progress) -> Result<()> {
        let retry = Retry::new(progress);
        match change {
            Change::WriteFile { path, mode, after, .. } => file::write(path, &writable(after)?, *mode),
            Change::Remove { path } => removal::remove(path),
            Change::MakeDirectory { path, mode } => file::make_directory(path, *mode),
            Change::RemoveEmptyDirectory { path } => file::remove_empty_directory(path),
            Change::MakeLink { path, target } => file::make_link(path, target),
            Change::SetOwner { path, uid, gid } => file::set_owner(path, *uid, *gid),
            Change::SetMode { path, mode } => file::set_mode(path, *mode),
            Change::RefreshPackages { source } => apt_fetch::refresh(source.as_ref(), retry).await,
            Change::InstallPackages { packages, lock } => apt_run::install(packages, lock.as_ref(), retry).await,
            Change::RemovePackages { packages } => apt_run::remove(packages).await,
            Change::HoldPackages { packages, hold } => apt_run::hold(packages, *hold).await,
            Change::MendPackages { .. } => apt_run::mend(retry).await,
            Change::SetUnit(change) => unit::set(change).await,
            Change::LoadModule { module } => kernel::load_module(module).await,
            Change::UnloadModule { module } => kernel::unload_module(module).await,
            Change::SetSysctl { key, after, .. } => kernel::set_sysctl(key, after),
            Change::SwapOff { device } => kernel::swap_off(device).await,
            Change::SwapOn { device } => kernel::swap_on(device).await,
            Change::IssueCertificate { certificate, key, issuer, request } => {
                certificate::issue(certificate, key, issuer.as_ref(), request)
            }
            Change::MakeKeyPair { private, public, algorithm } => {
                certificate::make_key_pair(private, public, *algorithm)
            }
            Change::WriteKubeconfig { path, cluster, server, authority, request } => {
                kubeconfig::write(path, cluster, server, authority, request)
            }
            Change::FetchKey { url, path, fingerprints } => apt_key::fetch(url, path, fingerprints, None, retry).await,
            Change::RemoveFilterTable { family, table } => nftables::delete(family, table),
            Change::RemoveControlGroup { path } => cgroup::remove(path).await,
            Change::DrainNode { node, pods, seconds } => drain::drain(&self.kube, node, pods, *seconds).await,
            Change::SetMember(change) => member::set(self, change).await,
            Change::RemoveFilterRules { program, deletions, .. } => network::remove_rules(program, deletions).await,
            Change::PullImages { images } => image::pull(images, retry).await,
            Change::RemoveImages { images } => image::remove(images).await,
            Change::ApplyObject { object, .. } => object::apply(&self.kube, object).await,
            Change::DeleteObject { api_version, kind, namespace, name } => {
                object::delete(&self.kube, api_version, kind, namespace.as_deref(), name).await
            }
            Change::MarkNode(change) => node::mark(&self.kube, change).await,
            Change::Run { argv, .. } => {
                let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
                command::run(&argv).await
            }
        }
    }

    async fn state(&self, subject: &Subject) -> State {
        state::state(self, &self.kube, subject).await
    }

    fn probe(&self) -> &dyn Probe {
        self
    }
}

fn writable(content: &Content) -> Result<Vec<u8>> {
    content.bytes().ok_or_else(|| Failure::new("only the digest of this content is known, so it can't be written"))
}
