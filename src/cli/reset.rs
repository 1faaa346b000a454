//! `kboot reset`

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use crate::controller::{Intent, Job, Reach};
use crate::engine::Failure;
use crate::facts::Facts;
use crate::inventory::Cluster;
use crate::report::Stream;
use crate::steps::Inputs;

use super::Global;
use super::ask::confirm;
use super::exit::Problem;
use super::phase_filter::{PhaseFilter, PhasedCommand};
use super::run;
use super::target::{TakeBackArgs, this_machine};

/// Remove this machine, or an inventory's hosts, from the cluster and restore their previous state
///
/// This restores the hosts to their state before the first run. A control plane that stays drains and deletes the nodes. On each host,
/// the run removes pods, certificates, the pod network, and all state, including etcd's data. It also removes the packages and
/// repositories that kboot installed. It restores swap, kernel settings, modules and files. At the end, the run compares each host
/// with its state before the first run. It reports each difference with the reason.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot reset --dry-run                    Show what would be removed from this machine
  kboot reset --yes                        Reset this machine without confirmation
  kboot reset -i inventory.yaml --host n3  Reset one host; the other hosts stay a cluster
  kboot reset -i inventory.yaml            Reset all hosts, after a confirmation")]
pub struct Reset {
    #[command(flatten)]
    args: TakeBackArgs,
    #[command(flatten)]
    pub phases: PhaseFilter,
    /// Keep packages, repositories and images, for a cluster that you recreate at once
    #[arg(long)]
    keep_packages: bool,
    /// How long to wait for pods to leave their node, in seconds; 0 does not wait
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
        let playbook = self.phases.of(PhasedCommand::Reset, &[])?;
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
            intent: Intent::Reset { leaving: &leaving, keeps_packages: self.keep_packages },
            wait_lock: self.args.wait.limit(),
            inputs: &|facts: &BTreeMap<String, Facts>, inputs: &mut Inputs| -> Result<(), Failure> {
                inputs.drain_seconds = self.drain_timeout;
                // Without an inventory, a worker has no right to delete its own Node.
                inputs.node_stays = reach == Reach::Here && facts.values().any(|facts| !facts.node.is_control_plane());
                Ok(())
            },
            ..Job::new("reset", &cluster, reach, self.args.dry.mode())
        };
        Ok(self.args.dry.code(&run::run(job, global, Stream::Out).await?))
    }
}

/// The hosts of an inventory that take part in the reset, and the names of the hosts to reset: all if none is named.
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
