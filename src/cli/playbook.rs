//! `kboot playbook`

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::playbook::BUILTIN;

use super::exit::Problem;

/// Read the order in which kboot works
#[derive(Subcommand)]
pub enum Playbook {
    /// List the built-in playbooks
    List,
    Show(Show),
}

/// Print a built-in playbook
#[derive(Args)]
pub struct Show {
    #[arg(value_name = "NAME", value_parser = BUILTIN.map(|(name, _)| name))]
    name: String,
}

impl Playbook {
    pub fn run(self) -> Result<ExitCode, Problem> {
        let mut out = std::io::stdout();
        match self {
            Playbook::List => {
                for (name, _) in BUILTIN {
                    writeln!(out, "{name:<8}{}", crate::playbook::builtin(name).description)?;
                }
            }
            Playbook::Show(show) => {
                let text = BUILTIN.iter().find(|(name, _)| *name == show.name).map(|(_, text)| *text);
                write!(out, "{}", text.unwrap_or_default())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
