//! `kboot history`

use std::collections::BTreeMap;
use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::Args;
use futures_util::future::join_all;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::agent::HostFile;
use crate::engine::{Failure, Journal, Made, Outcome, Run};
use crate::fleet::Fleet;
use crate::inventory::{self, Cluster};
use crate::report::{Stream, clean_line, escape_json};
use crate::steps::UndoScope;

use super::exit::{FAILED, Problem, print, print_data, tell};
use super::localhost::require_root;
use super::target::{chosen, known};
use super::{Global, Output};

/// Show kboot's runs on hosts, from the hosts' journals
///
/// Each host keeps its own journal. The journal records every change that kboot made there, and the state before it. Without an
/// inventory, the command shows this machine's journal.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot history                              Show this machine's runs, the last run first
  kboot history -i inventory.yaml n1         Show one host's runs
  kboot history -i inventory.yaml --run ID   Show every change of one run
  kboot history -o json | jq .               Include the state before each change")]
pub struct History {
    /// The inventory with the hosts to ask. Default: this machine
    #[arg(long = "inventory", short = 'i', value_name = "FILE")]
    inventory: Option<Utf8PathBuf>,
    /// Show only these hosts of the inventory
    #[arg(value_name = "HOST", requires = "inventory")]
    hosts: Vec<String>,
    /// Show each change of this run
    #[arg(long, value_name = "ID")]
    run: Option<String>,
}

/// The runs of hosts, by the hosts' names, each host's oldest first.
pub type Journals = BTreeMap<String, Vec<Run>>;

impl History {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let mut is_whole = true;
        let journals = match &self.inventory {
            None => BTreeMap::from([here()?]),
            Some(path) => {
                let cluster = inventory::load(path)?.cluster;
                known(&cluster, &self.hosts)?;
                let (journals, failures) = over_ssh(&chosen(cluster, &self.hosts)).await;
                failures.iter().for_each(|failure| tell(failure, global.options(Stream::Err)));
                is_whole = failures.is_empty();
                journals
            }
        };
        if let Some(id) = &self.run
            && !journals.values().flatten().any(|run| run.info.id == *id)
        {
            return Err(Problem::usage(format!("no journal has a run {id}")).hint("`kboot history` lists the runs"));
        }
        let mut rows: Vec<(&str, &Run)> =
            journals.iter().flat_map(|(host, runs)| runs.iter().map(|run| (host.as_str(), run))).collect();
        rows.retain(|(_, run)| self.run.as_ref().is_none_or(|id| run.info.id == *id));
        rows.sort_by_key(|(_, run)| std::cmp::Reverse(run.at));
        let text = match (global.output, &self.run) {
            (Output::Json, _) => rows.iter().map(|(host, run)| format!("{}\n", in_json(host, run))).collect(),
            (_, Some(_)) => rows.iter().map(|(host, run)| in_full(host, run)).collect::<Vec<_>>().join("\n"),
            // Hosts that could not be asked may have runs, so do not report that there are none.
            (_, None) if rows.is_empty() && !is_whole => String::new(),
            (_, None) => table(&rows, &journals),
        };
        match global.output {
            Output::Json => print_data(&escape_json(&text))?,
            Output::Auto | Output::Plain => print(&text)?,
        }
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }
}

/// This machine's runs.
pub fn here() -> Result<(String, Vec<Run>), Problem> {
    require_root()?;
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Ok((name.trim().to_string(), Journal::past()?))
}

/// The runs of the hosts of an inventory, and the failures of hosts that could not be asked.
pub async fn over_ssh(cluster: &Cluster) -> (Journals, Vec<Failure>) {
    let fleet = Fleet::new(crate::report::ask_secret);
    let read = join_all(cluster.hosts.iter().map(|host| fleet.read(cluster, host, HostFile::Journal))).await;
    let (mut journals, mut failures) = (Journals::new(), Vec::new());
    for (host, read) in cluster.hosts.iter().zip(read) {
        match read.and_then(|bytes| Journal::runs(&bytes.unwrap_or_default())) {
            Ok(runs) => drop(journals.insert(host.name.clone(), runs)),
            Err(failure) => failures.push(failure.context(format_args!("read the journal of {}", host.name))),
        }
    }
    (journals, failures)
}

/// Whether a run on this host has reverted that run completely.
pub fn is_undone(run: &Run, runs: &[Run]) -> bool {
    runs.iter().any(|other| {
        let takes_back = other.info.undoes.as_deref() == Some(&run.info.id);
        takes_back && matches!(other.outcome, Some(Outcome::Changed | Outcome::Unchanged))
    })
}

fn table(rows: &[(&str, &Run)], journals: &Journals) -> String {
    if rows.is_empty() {
        return "kboot has changed nothing here.\n".into();
    }
    let head = ["RUN", "WHEN (UTC)", "HOST", "COMMAND", "CHANGES", "ENDED"].map(String::from);
    let mut lines = vec![head];
    for (host, run) in rows {
        let is_undone = journals.get(*host).is_some_and(|runs| is_undone(run, runs));
        let ended = if is_undone { "taken back".into() } else { ended(run) };
        let command = match &run.info.undoes {
            Some(id) if id != UndoScope::ALL => format!("{} of {id}", run.info.command),
            _ => run.info.command.clone(),
        };
        let cells = [&run.info.id, &when(run.at), *host, &command, &run.changes.len().to_string(), &ended];
        // A line break in a cell would forge a row.
        lines.push(cells.map(clean_line));
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..6).map(width).collect();
    let text = |line: &[String; 6]| {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    lines.iter().map(text).collect()
}

fn ended(run: &Run) -> String {
    match run.outcome {
        Some(Outcome::Failed) => "failed".into(),
        Some(_) => "done".into(),
        None => "cut off".into(),
    }
}

fn in_full(host: &str, run: &Run) -> String {
    let mut lines = vec![
        format!("{host}: `{}`, {} UTC, {}", run.info.command, when(run.at), ended(run)),
        format!("  run {} by {}", run.info.id, run.info.owner),
    ];
    for made in &run.changes {
        lines.push(format!("  {}  {:28}  {}{}", clock(made.at), made.step, made.text, remark(made)));
    }
    lines.iter().map(|line| clean_line(line) + "\n").collect()
}

fn remark(made: &Made) -> String {
    match (&made.failure, &made.after) {
        (Some(cause), _) => format!("  (failed: {cause})"),
        (None, None) => "  (cut off)".into(),
        (None, Some(_)) => String::new(),
    }
}

fn in_json(host: &str, run: &Run) -> serde_json::Value {
    json!({ "host": host, "run": run })
}

fn at(millis: u64) -> OffsetDateTime {
    let seconds = i64::try_from(millis / 1000).unwrap_or_default();
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

pub fn when(millis: u64) -> String {
    at(millis).format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second]")).unwrap_or_default()
}

fn clock(millis: u64) -> String {
    at(millis).format(format_description!("[hour]:[minute]:[second]")).unwrap_or_default()
}
