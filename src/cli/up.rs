//! `kboot up`

use std::collections::BTreeMap;
use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::engine::{Failure, Mode};
use crate::facts::Facts;
use crate::inventory::{self, Cluster, Etcd, Host};
use crate::report::Stream;
use crate::steps::{Inputs, JoinToken};

use super::Global;
use super::exit::{Problem, remark_lines};
use super::lock_file::LockedArgs;
use super::phase::Of;
use super::run::{self, FillIn, Job, Reach, RunArgs};

/// Make a cluster of the inventory's hosts, or bring it back to what the inventory says
///
/// Connects to all hosts over SSH, looks at what they are, and does only what is missing. A run that was cut off is simply
/// repeated; a run that finds nothing to do changes nothing.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot up -i inventory.yaml
  kboot up -i inventory.yaml --dry-run
  kboot up -i inventory.yaml --locked
  kboot up -i inventory.yaml --ignore-preflight NumCPU,Mem
  kboot up -i inventory.yaml --output json | jq .")]
pub struct Up {
    #[command(flatten)]
    inventory: InventoryArg,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    locked: LockedArgs,
}

#[derive(Args)]
pub struct InventoryArg {
    /// The file that describes the cluster and its hosts
    #[arg(long = "inventory", short = 'i', value_name = "FILE", default_value = "inventory.yaml")]
    path: Utf8PathBuf,
}

impl InventoryArg {
    /// Reads and checks the file; warnings go to standard error.
    pub fn load(&self) -> Result<Cluster, Problem> {
        let loaded = inventory::load(&self.path)?;
        if !loaded.warnings.is_empty() {
            remark_lines(&loaded.warnings);
        }
        super::kubeadm::fit(&loaded.cluster)?;
        Ok(loaded.cluster)
    }

    pub fn path(&self) -> &Utf8PathBuf {
        &self.path
    }
}

impl Up {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let ignore = self.run.ignore()?;
        let cluster = self.inventory.load()?;
        let lock = self.locked.load(self.inventory.path(), &cluster)?;
        let cluster = lock.as_ref().map_or(cluster.clone(), |lock| lock.pinned(&cluster));
        let inputs = inputs(&cluster);
        let job = Job {
            playbook: self.run.part.of(Of::Up, &[])?,
            lock: lock.as_ref(),
            drift: self.run.drift.into(),
            wait_lock: self.run.wait.limit(),
            ignore: Some(ignore),
            ..job(&cluster, self.inventory.path(), self.run.dry.mode(), &inputs)
        };
        let ended = run::run(job, global, Stream::Out).await?;
        Ok(self.run.dry.code(&ended))
    }
}

/// What `up` does, and `plan` says that it would.
pub fn job<'a>(cluster: &'a Cluster, inventory: &'a Utf8Path, mode: Mode, inputs: &'a FillIn<'a>) -> Job<'a> {
    Job { inventory: Some(inventory), inputs, ..Job::new("up", cluster, Reach::Ssh, mode) }
}

/// The cluster with every path absolute, so that it means the same wherever it is used.
pub fn absolute(cluster: &Cluster) -> Result<Cluster, Problem> {
    let mut cluster = cluster.clone();
    let Cluster { packages, ssh, hosts, etcd, .. } = &mut cluster;
    let own = hosts.iter_mut().map(|host| &mut host.ssh.identity_file);
    let files = [&mut packages.kubernetes.key_file, &mut packages.containerd.key_file, &mut ssh.identity_file];
    let etcd = etcd.iter_mut().flat_map(|Etcd { external }| external.files_mut());
    for path in files.into_iter().chain(own).flatten().chain([&mut ssh.known_hosts]).chain(etcd) {
        // A home is the same everywhere.
        if !path.starts_with("~/") {
            *path = camino::absolute_utf8(Utf8Path::new(path))?.into_string();
        }
    }
    Ok(cluster)
}

/// Which hosts have yet to join.
pub fn inputs(cluster: &Cluster) -> impl Fn(&BTreeMap<String, Facts>, &mut Inputs) -> Result<(), Failure> + Sync + '_ {
    |facts, inputs| {
        let is_new = |host: &&Host| facts.get(&host.name).is_some_and(|facts| !facts.node.has_kubelet_conf);
        let is_joining = cluster.workers().any(|host| is_new(&host));
        inputs.join_token = if is_joining { JoinToken::ForRun } else { JoinToken::Unneeded };
        inputs.joining = cluster.nodes().filter(is_new).map(|host| host.name.clone()).collect();
        // Of one that was cut off while its kubelet joined, the cluster has no former self any more; what it has is new.
        let has_begun = |name: &String| facts[name].node.has_bootstrap_conf;
        inputs.bare = inputs.joining.iter().filter(|name| !has_begun(name)).cloned().collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::samples::sample;

    #[test]
    fn one_that_was_cut_off_while_it_joined_has_no_former_self() {
        let mut sample = sample();
        sample.facts.get_mut("n2").unwrap().node.has_bootstrap_conf = true;
        let mut found = Inputs::default();
        inputs(&sample.cluster)(&sample.facts, &mut found).unwrap();
        assert_eq!(found.join_token, JoinToken::ForRun);
        assert_eq!(found.joining.iter().collect::<Vec<_>>(), ["n1", "n2", "n3"]);
        assert_eq!(found.bare.iter().collect::<Vec<_>>(), ["n1", "n3"]);
    }
}
