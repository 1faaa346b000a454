//! `kboot reset`

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use crate::engine::Failure;
use crate::facts::Facts;
use crate::inventory::Cluster;
use crate::report::Stream;
use crate::steps::{Inputs, Undo, UndoScope};

use super::Global;
use super::ask::confirm;
use super::exit::Problem;
use super::phase::{Of, PartArgs};
use super::run::{self, Job, Reach};
use super::target::{TakeBackArgs, this_machine};

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
    #[command(flatten)]
    args: TakeBackArgs,
    #[command(flatten)]
    pub part: PartArgs,
    /// Leave packages, repositories and images, for a cluster that is made anew at once
    #[arg(long)]
    keep_packages: bool,
    /// How long pods may take to leave their node, in seconds; 0 doesn't wait for any
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "inventory")]
    drain_timeout: u64,
}

impl Reset {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let (cluster, leaving, reach) = match self.args.inventory()? {
            Some(cluster) => {
                let (cluster, leaving) = chosen(cluster, &self.args.hosts);
                (cluster, leaving, Reach::Ssh)
            }
            None => {
                let cluster = this_machine()?;
                let leaving = cluster.hosts.iter().map(|host| host.name.clone()).collect();
                (cluster, leaving, Reach::Here)
            }
        };
        let playbook = self.part.of(Of::Reset, &[])?;
        if self.args.needs_word() {
            let names = leaving.join(" ");
            confirm(
                &leaving,
                &format!(
                    "This takes {names} out of the cluster and destroys their state, etcd's data and the copies that `kboot recover` made included."
                ),
            )?;
        }
        let job = Job {
            playbook,
            inventory: self.args.path(),
            undo: Some(Undo { scope: UndoScope::All, keeps_packages: self.keep_packages }),
            wait_lock: self.args.wait.limit(),
            inputs: &|facts: &BTreeMap<String, Facts>, inputs: &mut Inputs| -> Result<(), Failure> {
                inputs.drain_seconds = self.drain_timeout;
                // Alone, a worker has no right to delete its node.
                inputs.node_stays = reach == Reach::Here && facts.values().any(|facts| !facts.node.is_control_plane());
                Ok(())
            },
            leaving: &leaving,
            ..Job::new("reset", &cluster, reach, self.args.dry.mode())
        };
        Ok(self.args.dry.code(&run::run(job, global, Stream::Out).await?))
    }
}

/// Of an inventory, the hosts that the reset has to do with, and the names of those that it resets: all if none is named.
fn chosen(mut cluster: Cluster, hosts: &[String]) -> (Cluster, Vec<String>) {
    let is_leaving = |name: &String| hosts.is_empty() || hosts.contains(name);
    cluster.hosts.retain(|host| is_leaving(&host.name) || host.is_control_plane() || host.is_etcd());
    let leaving = cluster.hosts.iter().map(|host| host.name.clone()).filter(is_leaving).collect();
    (cluster, leaving)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory;

    fn cluster() -> Cluster {
        let file = camino::Utf8PathBuf::from("inventory.yaml");
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
