//! `kboot phase`, and the flag that leaves phases out.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::engine::Item;
use crate::kubeadm::{self, Command, Counterpart};
use crate::playbook::{self, Playbook};

use super::Global;
use super::exit::{Problem, print};
use super::init::Init;
use super::join::Join;
use super::reset::Reset;
use super::up::Up;

/// Run single phases or steps of a command
///
/// A phase is a part of what a command does, and consists of steps: `kboot phase list` shows both. Phases that kubeadm has are known by kubeadm's names, too. Each is run as the
/// command would run it: it is planned with --dry-run, journalled, and taken back by `kboot undo`; what is there already stays.
#[derive(Subcommand)]
pub enum Phase {
    List(List),
    /// Run phases of `kboot init`
    #[command(after_help = "\
Examples:
  kboot phase init prepare
  kboot phase init certs,kubeconfig --config cluster.yaml
  kboot phase init cluster/apply-dns --dry-run")]
    Init(Part<Init>),
    /// Run phases of `kboot join`
    #[command(after_help = "\
Examples:
  kboot phase join prepare 10.0.0.1:6443 --token-file token --discovery-token-ca-cert-hash sha256:…")]
    Join(Part<Join>),
    /// Run phases of `kboot reset`
    #[command(after_help = "\
Examples:
  kboot phase reset remove-pod-network --yes
  kboot phase reset leave -i inventory.yaml --host n3")]
    Reset(Part<Reset>),
    /// Run phases of `kboot up`
    #[command(after_help = "\
Examples:
  kboot phase up prepare -i inventory.yaml
  kboot phase up issue-certificates,write-kubeconfigs -i inventory.yaml --dry-run
  kboot phase up addons -i inventory.yaml")]
    Up(Part<Up>),
}

/// List the phases and steps of a command, and what kubeadm calls them
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot phase list
  kboot phase list up")]
pub struct List {
    /// The command
    #[arg(value_name = "COMMAND", value_enum, default_value_t = Of::Init)]
    of: Of,
}

/// Commands that have phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Of {
    Init,
    Join,
    Reset,
    Up,
}

/// A command, and what of it is to be run.
#[derive(Args)]
pub struct Part<C: Args> {
    /// Phases and steps, by kboot's names or kubeadm's; PHASE/STEP for a step in one phase alone
    #[arg(value_name = "NAME,…", value_parser = names)]
    only: Names,
    #[command(flatten)]
    command: C,
}

/// A list in one argument: another may follow, as of `join`.
#[derive(Debug, Clone)]
struct Names(Vec<String>);

fn names(text: &str) -> Result<Names, String> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_string()).collect();
    match names.iter().any(String::is_empty) {
        true => Err("takes names with a comma between each two, as `certs,kubeconfig`".into()),
        false => Ok(Names(names)),
    }
}

/// What of a command's phases is run.
#[derive(Args, Default)]
pub struct PartArgs {
    /// Phases and steps to leave out, by kboot's names or kubeadm's; `kboot phase list` shows them
    #[arg(long = "skip-phases", value_name = "NAME,…", value_delimiter = ',')]
    skip: Vec<String>,
    /// Only these, if any.
    #[arg(skip)]
    pub only: Vec<String>,
}

impl Of {
    fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Join => "join",
            Self::Reset => "reset",
            Self::Up => "up",
        }
    }

    /// kubeadm's commands that do the same.
    fn theirs(self) -> &'static [Command] {
        match self {
            Self::Init => &[Command::Init],
            Self::Join => &[Command::Join],
            Self::Reset => &[Command::Reset],
            Self::Up => &[Command::Init, Command::Join],
        }
    }
}

impl PartArgs {
    /// Whether all of it is run.
    pub fn is_whole(&self) -> bool {
        self.only.is_empty() && self.skip.is_empty()
    }

    /// The command's playbook, as far as it is to be run; without these steps besides.
    pub fn of(&self, command: Of, skipped: &[String]) -> Result<Playbook, Problem> {
        let playbook = playbook::builtin(command.name());
        let known =
            |names: &[String]| names.iter().map(|name| ours(command, &playbook, name)).collect::<Result<Vec<_>, _>>();
        let (only, skip) = (known(&self.only)?.concat(), known(&self.skip)?.concat());
        let there = |step: &&String| playbook.steps().contains(&step.as_str());
        let skip = [skip, skipped.iter().filter(there).cloned().collect()].concat();
        part(playbook, &only, &skip)
    }

    /// A playbook of the user's own.
    pub fn of_own(&self, playbook: Playbook) -> Result<Playbook, Problem> {
        part(playbook, &self.only, &self.skip)
    }
}

fn part(playbook: Playbook, only: &[String], skip: &[String]) -> Result<Playbook, Problem> {
    playbook.part(only, skip).map_err(|error| Problem::usage(error.to_string()).hint(error.hint()))
}

/// kboot's names for a name; kboot's own count first.
fn ours(command: Of, playbook: &Playbook, name: &str) -> Result<Vec<String>, Problem> {
    if playbook.names().contains(&name) {
        return Ok(vec![name.into()]);
    }
    let there = |steps: &[&str]| -> Vec<String> {
        steps.iter().filter(|step| playbook.steps().contains(step)).map(|step| (*step).into()).collect()
    };
    match command.theirs().iter().find_map(|theirs| kubeadm::counterpart(*theirs, name)) {
        Some(Counterpart::Steps(steps)) if !there(steps).is_empty() => Ok(there(steps)),
        Some(Counterpart::Otherwise(how)) => {
            Err(Problem::usage(format!("kubeadm's phase {name} is no phase of kboot's")).hint(how))
        }
        // It says what there is instead.
        _ => Ok(vec![name.into()]),
    }
}

impl Phase {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        match self {
            Phase::List(list) => {
                print(&list.text())?;
                Ok(ExitCode::SUCCESS)
            }
            Phase::Init(Part { only, mut command }) => {
                command.run.part.only = only.0;
                command.run(global).await
            }
            Phase::Join(Part { only, mut command }) => {
                command.run.part.only = only.0;
                command.run(global).await
            }
            Phase::Reset(Part { only, mut command }) => {
                command.part.only = only.0;
                command.run(global).await
            }
            Phase::Up(Part { only, mut command }) => {
                command.run.part.only = only.0;
                command.run(global).await
            }
        }
    }
}

impl List {
    fn text(&self) -> String {
        let playbook = playbook::builtin(self.of.name());
        let mut text = format!("Phases and steps of `kboot {}`, and what kubeadm calls them:\n", self.of.name());
        for phase in &playbook.phases {
            text.push_str(&format!("\n{}  {}\n", phase.name, phase.description));
            for step in phase.steps.iter().flat_map(Item::leaves) {
                let Item::Step(step) = step else { continue };
                let mut theirs: Vec<&str> =
                    self.of.theirs().iter().flat_map(|theirs| kubeadm::phases_of(*theirs, step)).collect();
                theirs.dedup();
                text.push_str(format!("  {step:<30}{}", theirs.join(", ")).trim_end());
                text.push('\n');
            }
        }
        text
    }
}
