//! `kboot playbook`

use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::inventory;
use crate::playbook::{self, BUILTIN};
use crate::report::count;

use super::exit::{Problem, print_data, print_json};
use super::play::Vars;
use super::{Global, Output};

/// Show kboot's built-in playbooks, and check playbooks of your own
#[derive(Subcommand)]
pub enum Playbook {
    /// List the built-in playbooks
    #[command(after_help = "Example:\n  kboot playbook list")]
    List,
    Show(Show),
    Validate(Validate),
    /// Print the JSON Schema of playbooks, for editors
    #[command(after_help = "Example:\n  kboot playbook schema > playbook.schema.json")]
    Schema,
}

/// Print a built-in playbook, or a file merged with its hooks and the playbook that it extends
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot playbook show up
  kboot playbook show site.yaml")]
pub struct Show {
    /// The name of a built-in playbook, or a file
    #[arg(value_name = "NAME|FILE")]
    name: String,
}

/// Check a playbook and report every mistake in it
///
/// The command reads the playbook, the playbook that it extends, and the files beside it. It connects to no host. With an inventory,
/// it also checks the names of hosts, and all variables that need no facts. It reports each mistake with its line and column.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot playbook validate site.yaml
  kboot playbook validate site.yaml -i inventory.yaml")]
pub struct Validate {
    /// The playbook
    #[arg(value_name = "FILE")]
    file: Utf8PathBuf,
    /// The inventory to check the playbook against
    #[arg(long = "inventory", short = 'i', value_name = "FILE")]
    inventory: Option<Utf8PathBuf>,
    #[command(flatten)]
    vars: Vars,
}

impl Playbook {
    pub fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let text = match self {
            Playbook::List => return list(global),
            Playbook::Show(show) => show.text()?,
            Playbook::Validate(validate) => validate.text()?,
            Playbook::Schema => playbook::schema(),
        };
        print_data(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn list(global: Global) -> Result<ExitCode, Problem> {
    let playbooks = BUILTIN.map(|(name, _)| (name, playbook::builtin(name).description));
    match global.output {
        Output::Json => {
            let playbooks = playbooks.map(|(name, description)| json!({"name": name, "description": description}));
            print_json(&json!({ "playbooks": playbooks }))?;
        }
        Output::Auto | Output::Plain => {
            let lines = playbooks.map(|(name, description)| format!("{name:<8}{description}\n"));
            print_data(&lines.concat())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Show {
    fn text(&self) -> Result<String, Problem> {
        if let Some((_, text)) = BUILTIN.iter().find(|(name, _)| *name == self.name) {
            return Ok((*text).into());
        }
        let is_file = self.name.contains(['/', '.']);
        if !is_file {
            let names = BUILTIN.map(|(name, _)| name).join(", ");
            return Err(Problem::usage(format!("there is no built-in playbook {}", self.name))
                .hint(format!("there are {names}; a file is named by its path, as `site.yaml`")));
        }
        Ok(playbook::load(self.name.as_str().into())?.to_yaml())
    }
}

impl Validate {
    fn text(&self) -> Result<String, Problem> {
        let playbook = match &self.inventory {
            Some(inventory) => self.vars.load(&self.file, &inventory::load(inventory)?.cluster)?,
            None => playbook::load(&self.file)?,
        };
        let (phases, steps) = (playbook.phases.len(), playbook.size());
        Ok(format!("{}: {}, {}\n", self.file, count(phases, "phase"), count(steps, "step")))
    }
}
