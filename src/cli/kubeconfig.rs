//! `kboot kubeconfig`

use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use secrecy::ExposeSecret as _;

use crate::agent::HostFile;
use crate::engine::Failure;
use crate::fleet::Fleet;
use crate::inventory::{Cluster, Host};
use crate::pki::kubeconfig::{self, Authority, Credentials};

use super::Global;
use super::exit::{Problem, print_data, remark, unreadable};
use super::file::{self, KubectlLock};
use super::up::InventoryArg;

/// Fetch the administrator's kubeconfig from a control plane
///
/// The command prints the kubeconfig, or merges it into another kubeconfig file. Anyone who has it is an administrator of the cluster.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot kubeconfig -i inventory.yaml > lab.conf
  kboot kubeconfig -i inventory.yaml --merge ~/.kube/config")]
pub struct Kubeconfig {
    #[command(flatten)]
    inventory: InventoryArg,
    /// Merge it into this file, and make it the current context. Creates the file if it does not exist
    #[arg(long, value_name = "FILE")]
    merge: Option<Utf8PathBuf>,
    /// The name of the context. Default: the cluster's name
    #[arg(long, value_name = "NAME", requires = "merge")]
    context: Option<String>,
}

impl Kubeconfig {
    pub async fn run(self, _: Global) -> Result<ExitCode, Problem> {
        let cluster = self.inventory.load()?;
        let new = fetch(&cluster).await?;
        let Some(path) = self.merge else {
            print_data(new.to_yaml().expose_secret())?;
            return Ok(ExitCode::SUCCESS);
        };
        let context = self.context.unwrap_or_else(|| cluster.name.clone());
        if let Some(folder) = path.parent() {
            file::make_folder(folder)?;
        }
        let _lock = KubectlLock::take(&path).await.map_err(|error| locked(&path, error))?;
        let existing = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|error| unreadable(&path, &error))?,
        };
        let merged = kubeconfig::merge(&existing, &new, &context)
            .map_err(|error| Failure::new(format!("{path}: failed to {error}")).hint_text(error.hint()))?;
        file::replace(&path, merged.expose_secret(), 0o600)?;
        remark(format_args!("{path}: the context {context} is the current one"));
        Ok(ExitCode::SUCCESS)
    }
}

/// Fetches the kubeconfig from the first control plane that has one.
async fn fetch(cluster: &Cluster) -> Result<kubeconfig::Kubeconfig, Failure> {
    let fleet = Fleet::new(crate::report::ask_secret);
    let mut failures = Vec::new();
    for host in cluster.control_planes() {
        match fetch_from(&fleet, cluster, host).await {
            Ok(found) => {
                for failure in &failures {
                    let Failure { cause, .. } = failure;
                    remark(format_args!("warning: {cause}; asked {} instead", host.name));
                }
                return Ok(found);
            }
            Err(failure) => failures.push(failure),
        }
    }
    let mut failures = failures.into_iter();
    let first = failures.next().unwrap_or_else(|| Failure::new("the inventory has no control plane"));
    let others: Vec<String> = failures.map(|failure| failure.cause.to_string()).collect();
    Err(if others.is_empty() { first } else { first.evidence(others) })
}

async fn fetch_from(fleet: &Fleet, cluster: &Cluster, host: &Host) -> Result<kubeconfig::Kubeconfig, Failure> {
    let bytes = fleet.read(cluster, host, HostFile::AdminConf).await?.ok_or_else(|| {
        Failure::new(format!("{} has no /etc/kubernetes/admin.conf", host.name))
            .hint_text("make the cluster first: kboot up")
    })?;
    let found = kubeconfig::Kubeconfig::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|error| Failure::new(format!("failed to {error}")).hint_text(error.hint()))?;
    // Anything else would let the host make the next kubectl on this machine run a command or read a file.
    match (&found.authority, &found.credentials) {
        (Authority::Pem(_), Credentials::Certificate { .. } | Credentials::Token(_)) => Ok(found),
        (Authority::Pem(_) | Authority::File(_) | Authority::Unspecified, _) => Err(Failure::new(format!(
            "/etc/kubernetes/admin.conf of {} has no certificate authority, client certificate or token of its own",
            host.name
        ))
        .hint_text("kboot takes no kubeconfig that names commands or files: look at it on the host, and have `kboot up` recreate it")),
    }
}

fn locked(path: &Utf8Path, error: std::io::Error) -> Problem {
    if error.kind() != std::io::ErrorKind::AlreadyExists {
        return Failure::from(error).context(format_args!("lock {path} as kubectl does")).into();
    }
    Problem::Failed(
        Failure::new(format!("{path}.lock is there: another program changes {path}"))
            .hint_text(format!("if no kubectl is at work any more: `rm {path}.lock`")),
    )
}
