//! `kboot reset`

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::Args;

use crate::engine::{Drift, Failure, Mode};
use crate::facts::Facts;
use crate::inventory::{self, Cluster, Role};
use crate::playbook;
use crate::report::Stream;
use crate::steps::Inputs;

use super::Global;
use super::exit::Problem;
use super::history;
use super::init::{MachineArgs, require_root};
use super::run::{self, Job, Reach};
use super::wait::WaitArgs;

/// Take this machine, or the hosts of an inventory, back from the cluster
///
/// Stops the node's pods and its kubelet, and removes the node's state, etcd's data included, its certificates and its pod
/// network. Kernel settings stay, and packages do unless --packages says otherwise.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot reset --dry-run                    Show what would go from this machine
  kboot reset --yes                        This machine, without asking
  kboot reset -i inventory.yaml --host n3  One host
  kboot reset -i inventory.yaml            All hosts, after a confirmation")]
pub struct Reset {
    /// The inventory whose hosts are reset; this machine if none is given
    #[arg(long = "inventory", short = 'i', value_name = "FILE")]
    inventory: Option<Utf8PathBuf>,
    /// Only these hosts of the inventory
    #[arg(long = "host", value_name = "NAME", requires = "inventory")]
    hosts: Vec<String>,
    /// Remove the packages and repositories that kboot brought, too
    #[arg(long)]
    packages: bool,
    /// Don't ask for a confirmation
    #[arg(long)]
    yes: bool,
    /// Show what would change and touch nothing
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: exit code 3 if something would change, 0 if nothing would
    #[arg(long, requires = "dry_run")]
    detailed_exitcode: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

impl Reset {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let (cluster, reach) = self.target()?;
        let mode = if self.dry_run { Mode::Plan } else { Mode::Apply };
        if mode == Mode::Apply && !self.yes {
            let names = names(&cluster);
            confirm(
                &cluster,
                &format!("This takes {names} out of the cluster and destroys their state, etcd's data included."),
            )?;
        }
        let removes_packages = self.packages;
        let job = Job {
            command: "reset",
            playbook: playbook::builtin("reset"),
            cluster: &cluster,
            only: &[],
            reach,
            inventory: self.inventory.as_deref(),
            mode,
            drift: Drift::Repair,
            undoes: Some("all".into()),
            wait_lock: self.wait.limit(),
            ignore: None,
            inputs: &|_: &BTreeMap<String, Facts>, inputs: &mut Inputs| -> Result<(), Failure> {
                inputs.removes_packages = removes_packages;
                Ok(())
            },
            saved: None,
            lock: None,
        };
        Ok(run::run(job, global, Stream::Out).await?.code(self.detailed_exitcode))
    }

    fn target(&self) -> Result<(Cluster, Reach), Problem> {
        let Some(path) = &self.inventory else {
            require_root()?;
            let (mut cluster, host) = MachineArgs::here().resolve(Role::Worker)?;
            cluster.hosts = vec![host];
            return Ok((cluster, Reach::Here));
        };
        let cluster = history::chosen(inventory::load(path)?.cluster, &self.hosts)?;
        Ok((cluster, Reach::Ssh))
    }
}

fn names(cluster: &Cluster) -> String {
    cluster.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(" ")
}

/// Says what is about to happen, and has the names of the hosts typed.
pub fn confirm(cluster: &Cluster, what: &str) -> Result<(), Problem> {
    let names = names(cluster);
    if !std::io::stdin().is_terminal() {
        return Err(
            Problem::usage("this is not to be done unasked, and nobody is here to confirm it").hint("add --yes")
        );
    }
    eprint!("{what}\nType `{names}` to go on: ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == names { Ok(()) } else { Err(Problem::usage("not confirmed; nothing was touched")) }
}
