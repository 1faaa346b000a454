//! `kboot kubeconfig`

use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::Args;
use secrecy::ExposeSecret as _;

use crate::engine::Failure;
use crate::fleet::Fleet;
use crate::pki::kubeconfig;

use super::Global;
use super::exit::{Problem, print, remark, unreadable};
use super::file;
use super::up::InventoryArg;

/// Fetch the administrator's kubeconfig from a control plane
///
/// Prints it, or merges it into a file that has others. Whoever has it is the cluster's administrator.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot kubeconfig -i inventory.yaml > lab.conf
  kboot kubeconfig -i inventory.yaml --merge ~/.kube/config")]
pub struct Kubeconfig {
    #[command(flatten)]
    inventory: InventoryArg,
    /// Add it to this file, which is made if it is not there, and make it the current context
    #[arg(long, value_name = "FILE")]
    merge: Option<Utf8PathBuf>,
    /// The context's name. Default: the cluster's
    #[arg(long, value_name = "NAME", requires = "merge")]
    context: Option<String>,
}

impl Kubeconfig {
    pub async fn run(self, _: Global) -> Result<ExitCode, Problem> {
        let cluster = self.inventory.load()?;
        let host = cluster.control_planes().next().ok_or_else(|| Failure::new("the inventory has no control plane"))?;
        let text = Fleet::new(crate::report::ask_secret)
            .read_file(&cluster, host, "/etc/kubernetes/admin.conf")
            .await?
            .ok_or_else(|| {
                Failure::new(format!("{} has no /etc/kubernetes/admin.conf", host.name))
                    .hint("make the cluster first: kboot up")
            })?;
        let Some(path) = self.merge else {
            print(&text)?;
            return Ok(ExitCode::SUCCESS);
        };
        let context = self.context.unwrap_or_else(|| cluster.name.clone());
        let new = kubeconfig::Kubeconfig::parse(&text)
            .map_err(|error| Failure::new(format!("failed to {error}")).hint(error.hint()))?;
        let existing = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|error| unreadable(&path, &error))?,
        };
        let merged = kubeconfig::merge(&existing, &new, &context)
            .map_err(|error| Failure::new(format!("{path}: failed to {error}")).hint(error.hint()))?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        file::replace(&path, merged.expose_secret(), 0o600)?;
        remark(format_args!("{path}: the context {context} is the current one"));
        Ok(ExitCode::SUCCESS)
    }
}
