//! `kboot phase`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::engine::Item;
use crate::kubeadm;
use crate::playbook;

use super::exit::{Problem, print, print_json};
use super::init::Init;
use super::join::Join;
use super::phase_filter::PhasedCommand;
use super::reset::Reset;
use super::up::Up;
use super::{Global, Output};

/// Run single phases or steps of a command
///
/// A phase is a part of a command, and consists of steps. `kboot phase list` shows both. You can also use kubeadm's names for its
/// phases. A phase runs as its command would run it. --dry-run plans the run, the journal records it, and `kboot undo` reverts it.
/// Existing results stay.
#[derive(Subcommand)]
pub enum Phase {
    List(List),
    /// Run phases of `kboot init`
    #[command(after_help = "\
Examples:
  kboot phase init prepare
  kboot phase init certs,kubeconfig --config cluster.yaml
  kboot phase init cluster/apply-dns --dry-run")]
    Init(PhasedRun<Init>),
    /// Run phases of `kboot join`
    #[command(after_help = "\
Examples:
  kboot phase join prepare 10.0.0.1:6443 --token-file token --discovery-token-ca-cert-hash sha256:…")]
    Join(PhasedRun<Join>),
    /// Run phases of `kboot reset`
    #[command(after_help = "\
Examples:
  kboot phase reset remove-pod-network --yes
  kboot phase reset leave -i inventory.yaml --host n3")]
    Reset(PhasedRun<Reset>),
    /// Run phases of `kboot up`
    #[command(after_help = "\
Examples:
  kboot phase up prepare -i inventory.yaml
  kboot phase up issue-certificates,write-kubeconfigs -i inventory.yaml --dry-run
  kboot phase up addons -i inventory.yaml")]
    Up(PhasedRun<Up>),
}

/// List the phases and steps of a command, with kubeadm's names for them
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot phase list
  kboot phase list up")]
pub struct List {
    /// The command
    #[arg(value_name = "COMMAND", value_enum, default_value_t = PhasedCommand::Init)]
    of: PhasedCommand,
}

/// A command, and the phases and steps of it to run.
#[derive(Args)]
pub struct PhasedRun<C: Args> {
    /// The phases and steps to run, by kboot's or kubeadm's names; PHASE/STEP for a step in one phase only
    #[arg(value_name = "NAME,…", value_parser = names)]
    only: Names,
    #[command(flatten)]
    command: C,
}

/// A list in one argument, because another argument may follow, as in `phase join`.
#[derive(Debug, Clone)]
struct Names(Vec<String>);

fn names(text: &str) -> Result<Names, String> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_string()).collect();
    match names.iter().any(String::is_empty) {
        true => Err("takes names with a comma between each two, as `certs,kubeconfig`".into()),
        false => Ok(Names(names)),
    }
}

impl Phase {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        match self {
            Phase::List(list) => {
                match global.output {
                    Output::Json => print_json(&list.json())?,
                    Output::Auto | Output::Plain => print(&list.text())?,
                }
                Ok(ExitCode::SUCCESS)
            }
            Phase::Init(PhasedRun { only, mut command }) => {
                command.run.phases.only = only.0;
                command.run(global).await
            }
            Phase::Join(PhasedRun { only, mut command }) => {
                command.run.phases.only = only.0;
                command.run(global).await
            }
            Phase::Reset(PhasedRun { only, mut command }) => {
                command.phases.only = only.0;
                command.run(global).await
            }
            Phase::Up(PhasedRun { only, mut command }) => {
                command.run.phases.only = only.0;
                command.run(global).await
            }
        }
    }
}

impl List {
    fn text(&self) -> String {
        let mut text = format!("Phases and steps of `kboot {}`, and what kubeadm calls them:\n", self.of.name());
        for phase in playbook::builtin(self.of.name()).phases {
            text.push_str(&format!("\n{}  {}\n", phase.name, phase.description));
            for (step, theirs) in self.steps(&phase) {
                text.push_str(format!("  {step:<30}{}", theirs.join(", ")).trim_end());
                text.push('\n');
            }
        }
        text
    }

    fn json(&self) -> Value {
        let phases = playbook::builtin(self.of.name()).phases;
        let phases = phases.iter().map(|phase| {
            let steps = self.steps(phase).into_iter().map(|(step, theirs)| json!({"name": step, "kubeadm": theirs}));
            json!({"name": phase.name, "description": phase.description, "steps": steps.collect::<Vec<_>>()})
        });
        json!({"command": self.of.name(), "phases": phases.collect::<Vec<_>>()})
    }

    /// The steps of a phase, each with kubeadm's names for it.
    fn steps<'a>(&self, phase: &'a playbook::Phase) -> Vec<(&'a str, Vec<&'static str>)> {
        let steps = phase.steps.iter().flat_map(Item::leaves).filter_map(|item| match item {
            Item::Step(step) => Some(step.as_str()),
            _ => None,
        });
        let theirs = |step: &str| {
            let mut theirs: Vec<&str> =
                self.of.theirs().iter().flat_map(|theirs| kubeadm::phases_of(*theirs, step)).collect();
            theirs.dedup();
            theirs
        };
        steps.map(|step| (step, theirs(step))).collect()
    }
}
