//! `kboot version`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::inventory::RELEASES;

use super::exit::{Problem, print_data, print_json};
use super::{Global, Output};

/// The commit that this binary was built from. A release build sets the variable (RELEASING.md).
const COMMIT: Option<&str> = option_env!("KBOOT_COMMIT");

/// Print the version, the commit and the Kubernetes versions that kboot can install
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot version
  kboot version -o json | jq -r .version")]
pub struct Version {}

impl Version {
    pub fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let version = env!("CARGO_PKG_VERSION");
        let commit = COMMIT.filter(|commit| !commit.is_empty());
        let kubernetes = RELEASES.map(|release| release.to_string());
        match global.output {
            Output::Json => print_json(&json!({"version": version, "commit": commit, "kubernetes": kubernetes}))?,
            Output::Auto | Output::Plain => {
                let commit = commit.map(|commit| format!(" (commit {commit})")).unwrap_or_default();
                print_data(&format!("kboot {version}{commit}\nKubernetes: {}\n", kubernetes.join(", ")))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
