//! `kboot run`

use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use serde_json::Value;

use crate::controller::Job;
use crate::inventory::Cluster;
use crate::playbook::{self, Playbook};
use crate::report::Stream;

use super::Global;
use super::exit::Problem;
use super::run::{self, RunArgs};
use super::target::known;
use super::up::{self, InventoryArg};

/// Run a playbook of your own on the inventory's hosts
///
/// The playbook can extend a built-in playbook, and add steps before and after its phases. It can manage files, packages, units,
/// kernel settings and cluster objects. kboot plans, journals and undoes these like its own steps. The command reports all mistakes in
/// the playbook before it changes any host.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot run site.yaml -i inventory.yaml --dry-run
  kboot run site.yaml -i inventory.yaml
  kboot run site.yaml -i inventory.yaml --host n2 --host n3
  kboot run site.yaml -i inventory.yaml --var ntp=10.0.0.1")]
pub struct Run {
    /// The playbook
    #[arg(value_name = "FILE")]
    file: Utf8PathBuf,
    #[command(flatten)]
    inventory: InventoryArg,
    /// Run only on this host of the inventory. Can be repeated
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    #[command(flatten)]
    vars: Vars,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Args)]
pub struct Vars {
    /// A template variable, parsed as YAML. It overrides the playbook's and the inventory's value. Can be repeated
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = var)]
    vars: Vec<(String, Value)>,
}

fn var(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("takes a name, `=` and a value, as `ntp=10.0.0.1`")?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!("`{name}` is no name of letters, digits and `_`"));
    }
    Ok((name.into(), serde_yaml::from_str(value).unwrap_or_else(|_| value.into())))
}

impl Vars {
    /// Reads a playbook. These variables override those of the playbook and the inventory.
    pub fn load(&self, file: &Utf8Path, cluster: &Cluster) -> Result<Playbook, Problem> {
        Ok(playbook::load_for(file, cluster, self.vars.iter().cloned())?)
    }
}

impl Run {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let ignore = self.run.ignore()?;
        let cluster = self.inventory.load()?;
        known(&cluster, &self.hosts)?;
        let playbook = self.run.phases.of_own(self.vars.load(&self.file, &cluster)?)?;
        if playbook.destroys() {
            return Err(Problem::usage(format!("{} has steps that take back what was made", self.file))
                .hint("that is what `kboot reset` and `kboot undo` are for"));
        }
        // A playbook without built-in steps does not create a cluster, so its hosts need no preflight checks.
        let ignore = (!playbook.steps().is_empty()).then_some(ignore);
        let inputs = up::inputs(&cluster);
        let job = Job {
            command: "run",
            playbook,
            only: &self.hosts,
            drift: self.run.drift.into(),
            wait_lock: self.run.wait.limit(),
            ignore,
            ..up::job(&cluster, self.inventory.path(), self.run.dry.mode(), &inputs)
        };
        let ended = run::run(job, global, Stream::Out).await?;
        Ok(self.run.dry.code(&ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_read_as_yaml() {
        for (text, value) in [
            ("a=1", json!(1)),
            ("a=10.0.0.1", json!("10.0.0.1")),
            ("a=[x, y]", json!(["x", "y"])),
            ("a=b=c", json!("b=c")),
            ("a=true", json!(true)),
            ("a={", json!("{")),
        ] {
            assert_eq!(var(text).unwrap(), ("a".into(), value), "{text}");
        }
        for bad in ["a", "=1", "a-b=1", ""] {
            assert!(var(bad).is_err(), "{bad}");
        }
    }
}
