//! `kboot man`

use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use crate::engine::Failure;

use super::exit::Problem;

/// Write the man pages, one per command, into a folder
#[derive(Args)]
#[command(after_help = "Example:\n  kboot man /usr/local/share/man/man1")]
pub struct Man {
    /// The folder. Created if it does not exist
    #[arg(value_name = "FOLDER")]
    folder: Utf8PathBuf,
}

impl Man {
    pub fn run(self, command: clap::Command) -> Result<ExitCode, Problem> {
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| {
                let mut command = command.disable_help_subcommand(true);
                command.build();
                write(&command, &self.folder)
            })
            .map_err(|error| Failure::from(error).context(format_args!("write man pages into {}", self.folder)))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes the pages of a command and of its subcommands.
fn write(command: &clap::Command, folder: &Utf8Path) -> std::io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write(below, folder)?;
    }
    let source = concat!("kboot ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command.clone()).source(source).manual("kboot").generate_to(folder).map(drop)
}
