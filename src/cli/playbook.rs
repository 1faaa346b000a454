//! `kboot playbook`

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::playbook::BUILTIN;

use super::exit::{Problem, print};

/// Read the order in which kboot works
#[derive(Subcommand)]
pub enum Playbook {
    /// List the built-in playbooks
    #[command(after_help = "Example:\n  kboot playbook list")]
    List,
    Show(Show),
}

/// Print a built-in playbook
#[derive(Args)]
#[command(after_help = "Example:\n  kboot playbook show up")]
pub struct Show {
    /// Which
    #[arg(value_name = "NAME", value_parser = BUILTIN.map(|(name, _)| name))]
    name: String,
}

impl Playbook {
    pub fn run(self) -> Result<ExitCode, Problem> {
        let text: String = match self {
            Playbook::List => BUILTIN
                .iter()
                .map(|(name, _)| format!("{name:<8}{}\n", crate::playbook::builtin(name).description))
                .collect(),
            Playbook::Show(show) => {
                BUILTIN.iter().filter(|(name, _)| *name == show.name).map(|(_, text)| *text).collect()
            }
        };
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
