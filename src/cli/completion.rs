//! `kboot completion`

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::exit::{Problem, print_data};

/// Print the completion script of a shell
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot completion bash > /etc/bash_completion.d/kboot
  kboot completion zsh > \"${fpath[1]}/_kboot\"
  kboot completion fish > ~/.config/fish/completions/kboot.fish")]
pub struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    pub fn run(self, command: clap::Command) -> Result<ExitCode, Problem> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut visible(&command), "kboot", &mut script);
        print_data(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The commands without the hidden ones: the scripts of some shells would offer them.
fn visible(command: &clap::Command) -> clap::Command {
    clap::Command::new("kboot")
        .version(env!("CARGO_PKG_VERSION"))
        .args(command.get_arguments().cloned())
        .subcommands(command.get_subcommands().filter(|below| !below.is_hide_set()).cloned())
}
