//! `kboot man`

use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::Args;

use super::exit::Problem;

/// Write the man pages, one a command, into a folder
#[derive(Args)]
#[command(after_help = "Example:\n  kboot man /usr/local/share/man/man1")]
pub struct Man {
    #[arg(value_name = "FOLDER")]
    folder: Utf8PathBuf,
}

impl Man {
    pub fn run(self, command: clap::Command) -> Result<ExitCode, Problem> {
        std::fs::create_dir_all(&self.folder)?;
        clap_mangen::generate_to(command, &self.folder)?;
        Ok(ExitCode::SUCCESS)
    }
}
