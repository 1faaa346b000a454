//! `kboot agent`: the controller starts this command on a host. Users do not run it.

use std::process::ExitCode;

use clap::Args;

use super::exit::Problem;

/// Serve a controller over standard input and output
#[derive(Args)]
pub struct Agent {
    /// Remove this program's file, and the parent folders that are then empty
    #[arg(long)]
    vanish: bool,
}

impl Agent {
    pub async fn run(self) -> Result<ExitCode, Problem> {
        if self.vanish {
            vanish()?;
        }
        crate::agent::serve(tokio::io::stdin(), tokio::io::stdout()).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Removes this program's file. The program continues to run without it.
fn vanish() -> std::io::Result<()> {
    let program = std::env::current_exe()?;
    std::fs::remove_file(&program)?;
    for folder in program.ancestors().skip(1).take(2) {
        if std::fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}
