//! The lock file beside an inventory, for the commands that read it.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::inventory::Cluster;
use crate::lock::{self, InUse, Lock};

use super::exit::{Problem, remark, unreadable};

/// The flag that names the lock file.
#[derive(Args)]
pub struct LockFileArg {
    /// The lock file. Default: kboot.lock beside the inventory
    #[arg(id = "lock-file", long = "lock-file", value_name = "FILE")]
    path: Option<Utf8PathBuf>,
}

/// How a run uses the lock.
#[derive(Args)]
pub struct LockedArgs {
    /// Use only the packages, images, host keys, and rendered files and objects of kboot.lock. If anything differs, fail before any
    /// change
    #[arg(long)]
    locked: bool,
    #[command(flatten)]
    file: LockFileArg,
}

impl LockFileArg {
    /// The path of the file, as messages show it.
    pub fn path(&self, inventory: &Utf8Path) -> Utf8PathBuf {
        self.path.clone().unwrap_or_else(|| match inventory.parent() {
            Some(folder) => folder.join(lock::FILE),
            None => lock::FILE.into(),
        })
    }

    /// The flag as the user gave it, for commands in hints.
    fn flag(&self) -> String {
        self.path.as_ref().map(|path| format!(" --lock-file {path}")).unwrap_or_default()
    }

    /// The file's text and the lock in it; None if the file does not exist.
    pub fn read(&self, inventory: &Utf8Path) -> Result<Option<(String, Lock)>, Problem> {
        let path = self.path(inventory);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let lock = lock::parse(&text, &path).map_err(|mistakes| Problem::Report(format!("error: {mistakes}")))?;
        Ok(Some((text, lock)))
    }
}

impl LockedArgs {
    /// The lock that a run uses, if there is one. Reports what the lock does not cover. With `--locked`, that is an error.
    pub fn load(&self, inventory: &Utf8Path, cluster: &Cluster) -> Result<Option<InUse>, Problem> {
        let path = self.file.path(inventory);
        let Some((_, lock)) = self.file.read(inventory)? else {
            return match self.locked || self.file.path.is_some() {
                true => Err(Problem::usage(format!("there is no lock file {path}"))
                    .hint(format!("make one: `kboot lock -i {inventory}{}`", self.file.flag()))),
                false => Ok(None),
            };
        };
        let reasons = lock::uncovered(&lock, cluster);
        let told = format!("{path} {}", reasons.join(", and "));
        if self.locked && !reasons.is_empty() {
            return Err(Problem::usage(told).hint(match lock.cluster == cluster.name {
                true => format!("bring it up to date: `kboot lock -i {inventory}{}`", self.file.flag()),
                false => "give each cluster a lock of its own: `--lock-file NAME.lock`".into(),
            }));
        }
        if lock.cluster != cluster.name {
            remark(format_args!("warning: {told}: it is not used"));
            return Ok(None);
        }
        if !reasons.is_empty() {
            remark(format_args!("warning: {told}: what it does not have is taken as without a lock"));
        }
        if self.locked {
            same_host_keys(&path, &lock, cluster)?
        }
        Ok(Some(InUse { lock, is_strict: self.locked }))
    }
}

/// An error if the inventory pins another SSH key than the lock. Without it, the lock would override the inventory silently.
fn same_host_keys(path: &Utf8Path, lock: &Lock, cluster: &Cluster) -> Result<(), Problem> {
    for host in &cluster.hosts {
        let (Some(own), Some(locked)) = (&host.ssh.host_key, lock.hosts.get(&host.name)) else { continue };
        let words = |key: &str| key.split_whitespace().take(2).map(String::from).collect::<Vec<_>>();
        if !own.starts_with("SHA256:") && words(own) != words(&locked.host_key) {
            return Err(Problem::usage(format!("{path} has another SSH key for {} than the inventory", host.name))
                .hint("if the inventory's is right, `kboot lock --update` takes it"));
        }
    }
    Ok(())
}
