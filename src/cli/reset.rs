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
use crate::steps::{Inputs, Undo, UndoScope};

use super::Global;
use super::exit::Problem;
use super::history;
use super::init::{MachineArgs, require_root};
use super::run::{self, Job, Reach};
use super::wait::WaitArgs;

/// Take this machine, or the hosts of an inventory, out of the cluster and back to what they were
///
/// A control plane that stays drains and deletes the nodes. On the hosts, pods, state, etcd's data included, certificates and
/// the pod network go, and so do the packages and repositories that kboot brought; swap, kernel settings, modules and files are
/// put back. In the end each host is compared with what it was before the first run, and whatever is left is told with its
/// reason.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot reset --dry-run                    Show what would go from this machine
  kboot reset --yes                        This machine, without asking
  kboot reset -i inventory.yaml --host n3  One host; the others stay a cluster
  kboot reset -i inventory.yaml            All hosts, after a confirmation")]
pub struct Reset {
    /// The inventory whose hosts are reset; this machine if none is given
    #[arg(long = "inventory", short = 'i', value_name = "FILE")]
    inventory: Option<Utf8PathBuf>,
    /// Only these hosts of the inventory
    #[arg(long = "host", value_name = "NAME", requires = "inventory")]
    hosts: Vec<String>,
    /// Leave packages, repositories and images, for a cluster that is made anew at once
    #[arg(long)]
    keep_packages: bool,
    /// How long pods may take to leave their node, in seconds; 0 doesn't wait for any
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "inventory")]
    drain_timeout: u64,
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
        let Target { cluster, reach, leaving } = self.target()?;
        let mode = if self.dry_run { Mode::Plan } else { Mode::Apply };
        if mode == Mode::Apply && !self.yes {
            let names = leaving.join(" ");
            confirm(
                &leaving,
                &format!("This takes {names} out of the cluster and destroys their state, etcd's data included."),
            )?;
        }
        let (keeps_packages, drain_seconds) = (self.keep_packages, self.drain_timeout);
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
            inputs: &|facts: &BTreeMap<String, Facts>, inputs: &mut Inputs| -> Result<(), Failure> {
                inputs.undo = Some(Undo { scope: UndoScope::All, keeps_packages });
                inputs.drain_seconds = drain_seconds;
                // Alone, a worker has no right to delete its node.
                inputs.node_stays = reach == Reach::Here && facts.values().any(|facts| !facts.node.is_control_plane());
                Ok(())
            },
            saved: None,
            lock: None,
            leaving: &leaving,
        };
        Ok(run::run(job, global, Stream::Out).await?.code(self.detailed_exitcode))
    }

    fn target(&self) -> Result<Target, Problem> {
        let Some(path) = &self.inventory else {
            require_root()?;
            let (mut cluster, host) = MachineArgs::here().resolve(Role::Worker)?;
            let leaving = vec![host.name.clone()];
            cluster.hosts = vec![host];
            return Ok(Target { cluster, reach: Reach::Here, leaving });
        };
        let cluster = inventory::load(path)?.cluster;
        history::chosen(cluster.clone(), &self.hosts)?;
        let (cluster, leaving) = chosen(cluster, &self.hosts);
        Ok(Target { cluster, reach: Reach::Ssh, leaving })
    }
}

struct Target {
    /// The hosts that leave, and the control planes that stay: one of them drains and deletes their nodes.
    cluster: Cluster,
    reach: Reach,
    leaving: Vec<String>,
}

/// Of an inventory, the hosts that the reset has to do with, and the names of those that it resets: all if none is named.
fn chosen(mut cluster: Cluster, hosts: &[String]) -> (Cluster, Vec<String>) {
    let is_leaving = |name: &String| hosts.is_empty() || hosts.contains(name);
    cluster.hosts.retain(|host| is_leaving(&host.name) || host.is_control_plane());
    let leaving = cluster.hosts.iter().map(|host| host.name.clone()).filter(is_leaving).collect();
    (cluster, leaving)
}

/// Says what is about to happen, and has the names of the hosts typed.
pub fn confirm(hosts: &[String], what: &str) -> Result<(), Problem> {
    let names = hosts.join(" ");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        let file = Utf8PathBuf::from("inventory.yaml");
        let text = "apiVersion: kboot/v1alpha1\nkind: Cluster\nhosts:\n\
            - {name: n1, address: 192.0.2.1, roles: [control-plane]}\n\
            - {name: n2, address: 192.0.2.2, roles: [worker]}\n\
            - {name: n3, address: 192.0.2.3, roles: [worker]}\n";
        inventory::parse(text, &file).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    fn names(cluster: &Cluster) -> Vec<&str> {
        cluster.hosts.iter().map(|host| host.name.as_str()).collect()
    }

    #[test]
    fn a_control_plane_that_stays_helps_the_one_that_leaves() {
        let (cluster, leaving) = chosen(cluster(), &["n3".into()]);
        assert_eq!((names(&cluster), leaving), (vec!["n1", "n3"], vec!["n3".to_string()]));
    }

    #[test]
    fn when_the_last_control_plane_leaves_nobody_helps() {
        let (cluster, leaving) = chosen(cluster(), &["n1".into()]);
        assert_eq!((names(&cluster), leaving), (vec!["n1"], vec!["n1".to_string()]));
        let (all, leaving) = chosen(self::cluster(), &[]);
        assert_eq!((names(&all), leaving.len()), (vec!["n1", "n2", "n3"], 3));
    }
}
