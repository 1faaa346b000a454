//! `kboot hosts`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use futures_util::future::join_all;
use serde_json::json;

use crate::engine::Failure;
use crate::fleet;
use crate::fleet::known_hosts::{self, Verdict};
use crate::fleet::ssh::{self, Target};

use super::ask::is_agreed;
use super::exit::{FAILED, Problem, print, print_json, remark};
use super::up::InventoryArg;
use super::{Global, Output};

/// Trust the SSH host keys of the inventory's machines
#[derive(Subcommand)]
pub enum Hosts {
    Trust(Trust),
}

/// Show unknown SSH host keys of the inventory's machines, and remember them if you agree
///
/// Compare each fingerprint with the output of this command on the machine's own console: `ssh-keygen -lf
/// /etc/ssh/ssh_host_ed25519_key.pub`. If a machine shows another key than the remembered one, the remembered key stays.
#[derive(Args)]
#[command(after_help = "Example:\n  kboot hosts trust -i inventory.yaml")]
pub struct Trust {
    #[command(flatten)]
    inventory: InventoryArg,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl Hosts {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        match self {
            Hosts::Trust(trust) => trust.run(global).await,
        }
    }
}

impl Trust {
    async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let cluster = self.inventory.load()?;
        let targets: Vec<Target> = cluster
            .hosts
            .iter()
            .map(|host| fleet::target(&cluster, host))
            .filter(|target| target.host_key.is_none())
            .collect();
        let scanned = join_all(targets.iter().map(ssh::scan)).await;
        let mut unknown = Vec::new();
        let mut is_whole = true;
        for (target, keys) in targets.iter().zip(scanned) {
            match keys {
                Ok(keys) => {
                    let mut judged = Vec::new();
                    for key in keys {
                        judged.push((verdict(target, &key)?, key));
                    }
                    // A host that has shown a known key is the right host, and may have further keys.
                    let is_known = judged.iter().any(|(verdict, _)| *verdict == Verdict::Match);
                    for (verdict, key) in judged {
                        match verdict {
                            Verdict::Match => {}
                            Verdict::Unknown => unknown.push((target, key)),
                            Verdict::OtherAlgorithm { .. } if is_known => unknown.push((target, key)),
                            other => {
                                is_whole = false;
                                remark(format_args!("{}: {}: {}", target.name, key.fingerprint, told(&other)));
                            }
                        }
                    }
                }
                Err(error) => {
                    is_whole = false;
                    remark(format_args!("{}: {error}", target.name));
                    if let Some(hint) = Failure::from(error).hint {
                        remark(format_args!("  hint: {}", hint.with_inventory(self.inventory.path().as_str())));
                    }
                }
            }
        }
        let code = if is_whole { ExitCode::SUCCESS } else { ExitCode::from(FAILED) };
        if unknown.is_empty() {
            remark("no new host keys");
            return Ok(code);
        }
        for (target, key) in &unknown {
            let (name, address) = (&target.name, target.address());
            match global.output {
                Output::Json => print_json(&json!({"host": name, "address": address, "fingerprint": key.fingerprint}))?,
                Output::Auto | Output::Plain => print(&format!("{name:<12}{address:<28}{}\n", key.fingerprint))?,
            }
        }
        let nobody = Problem::usage("nobody is here to compare the fingerprints")
            .hint("compare them yourself, then run it again with --yes");
        if !self.yes && !is_agreed("Trust these keys?", nobody)? {
            return Err(Problem::Failed(Failure::new("no key was added")));
        }
        for (target, key) in &unknown {
            known_hosts::add(&target.known_hosts, &target.host, target.port, &key.key).map_err(Failure::from)?;
        }
        remark(format_args!("added to {}", targets[0].known_hosts));
        Ok(code)
    }
}

fn verdict(target: &Target, key: &ssh::ScannedKey) -> Result<Verdict, Problem> {
    let record = known_hosts::record(&target.known_hosts, &target.host, target.port);
    let record = record.map_err(|error| Problem::usage(error.to_string()))?;
    Ok(record.check(&key.key))
}

fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::OtherAlgorithm { file, line, .. } => format!(
            "is not the key in {file}:{line}, which the host does not show; if the machine was reinstalled, remove that line"
        ),
        Verdict::Changed { .. } => {
            "differs from the key that is remembered; if the machine was reinstalled, remove that line from known_hosts"
                .into()
        }
        Verdict::Revoked { .. } => "is not to be trusted: known_hosts says it was revoked".into(),
        Verdict::OnlyAuthority { file, line } => {
            format!(
                "is not on record: {file}:{line} trusts the host through a certificate authority, which kboot does not support"
            )
        }
        Verdict::Match | Verdict::Unknown => String::new(),
    }
}
