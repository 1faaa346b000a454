//! `kboot agent`: what a controller starts on a host. Not for people.

use std::process::ExitCode;

use clap::Args;

use super::exit::Problem;

/// Serve this machine to a controller over standard input and output
#[derive(Args)]
pub struct Agent {}

impl Agent {
    pub async fn run(self) -> Result<ExitCode, Problem> {
        crate::agent::serve(tokio::io::stdin(), tokio::io::stdout()).await?;
        Ok(ExitCode::SUCCESS)
    }
}
