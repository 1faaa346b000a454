//! The commands that have phases, and the flag that skips phases.

use clap::{Args, ValueEnum};

use crate::kubeadm::{self, Command, Counterpart};
use crate::playbook::{self, Playbook};

use super::exit::Problem;

/// Commands that have phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PhasedCommand {
    Init,
    Join,
    Reset,
    Up,
}

/// The phases and steps of a command that run.
#[derive(Args, Default)]
pub struct PhaseFilter {
    /// Phases and steps to skip, by kboot's or kubeadm's names; `kboot phase list` shows them
    #[arg(long = "skip-phases", value_name = "NAME,…", value_delimiter = ',')]
    skip: Vec<String>,
    /// Run only these; all if empty.
    #[arg(skip)]
    pub only: Vec<String>,
}

impl PhasedCommand {
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Join => "join",
            Self::Reset => "reset",
            Self::Up => "up",
        }
    }

    /// kubeadm's commands that do the same.
    pub fn theirs(self) -> &'static [Command] {
        match self {
            Self::Init => &[Command::Init],
            Self::Join => &[Command::Join],
            Self::Reset => &[Command::Reset],
            Self::Up => &[Command::Init, Command::Join],
        }
    }
}

impl PhaseFilter {
    /// Only these phases and steps.
    pub fn only(names: &[&str]) -> Self {
        Self { skip: Vec::new(), only: names.iter().map(ToString::to_string).collect() }
    }

    /// Whether all phases and steps run.
    pub fn is_whole(&self) -> bool {
        self.only.is_empty() && self.skip.is_empty()
    }

    /// The part of the command's playbook that runs. Leaves out the `skipped` steps as well.
    pub fn of(&self, command: PhasedCommand, skipped: &[String]) -> Result<Playbook, Problem> {
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

/// kboot's names for a name of kboot or kubeadm. kboot's own names have priority.
fn ours(command: PhasedCommand, playbook: &Playbook, name: &str) -> Result<Vec<String>, Problem> {
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
        // The playbook rejects an unknown name, and lists the known ones.
        _ => Ok(vec![name.into()]),
    }
}
