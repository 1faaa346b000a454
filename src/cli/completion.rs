//! `kboot completion`

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::exit::Problem;

/// Print a shell's completion script
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot completion bash > /etc/bash_completion.d/kboot
  kboot completion zsh > \"${fpath[1]}/_kboot\"")]
pub struct Completion {
    shell: Shell,
}

impl Completion {
    pub fn run(self, mut command: clap::Command) -> Result<ExitCode, Problem> {
        clap_complete::generate(self.shell, &mut command, "kboot", &mut std::io::stdout());
        Ok(ExitCode::SUCCESS)
    }
}
