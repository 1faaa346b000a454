//! `kboot undo`

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use crate::controller::{Intent, Job, Reach};
use crate::engine::{Failure, Run};
use crate::facts::Facts;
use crate::inventory::{Cluster, Host};
use crate::report::Stream;
use crate::steps::{Inputs, is_member_made, is_node_made};

use super::Global;
use super::ask::confirm;
use super::exit::{FAILED, Problem, remark, tell};
use super::history::{self, Journals, is_undone};
use super::run;
use super::target::{TakeBackArgs, chosen, this_machine};

/// Revert the last run
///
/// This restores the state before that run from the hosts' journals: change by change, the last change first. Everything that already
/// had the wanted state before the run stays. Everything that someone has edited since also stays, and `undo` reports it. It also
/// reports what it can't revert. If you repeat the command, it reverts the run before.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot undo --dry-run               Show what would be reverted on this machine
  kboot undo -i inventory.yaml       Revert the last run, on all hosts that it changed
  kboot undo -i inventory.yaml --run 19a3c2f1b70-04d2")]
pub struct Undo {
    #[command(flatten)]
    args: TakeBackArgs,
    /// Revert this run instead of the last one; `kboot history` lists the runs
    #[arg(long, value_name = "ID")]
    run: Option<String>,
}

impl Undo {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let (mut cluster, reach, journals, failures) = self.hosts().await?;
        failures.iter().for_each(|failure| tell(failure, global.options(Stream::Err)));
        let Some(id) = self.choose(&journals)? else {
            if failures.is_empty() {
                remark("There is nothing to take back.");
                return Ok(ExitCode::SUCCESS);
            }
            return Err(Failure::new("no host that could be asked has anything to take back").into());
        };
        cluster.hosts.retain(|host| journals.get(&host.name).is_some_and(|runs| has(runs, &id)));
        if self.args.needs_word() {
            let names: Vec<String> = cluster.hosts.iter().map(|host| host.name.clone()).collect();
            confirm(&names, &told(&id, &journals))?;
        }
        let leaving = made_nodes(&cluster, &journals, &id);
        let job = Job {
            inventory: self.args.path(),
            wait_lock: self.args.wait.limit(),
            intent: Intent::Undo { run: id, leaving: &leaving },
            inputs: &|_: &BTreeMap<String, Facts>, inputs: &mut Inputs| -> Result<(), Failure> {
                inputs.drain_seconds = DRAIN_SECONDS;
                Ok(())
            },
            ..Job::new("undo", &cluster, reach, self.args.dry.mode())
        };
        let code = self.args.dry.code(&run::run(job, global, Stream::Out).await?);
        Ok(if failures.is_empty() { code } else { ExitCode::from(FAILED) })
    }

    /// The hosts, their journals, and the failures of hosts that could not be asked.
    async fn hosts(&self) -> Result<(Cluster, Reach, Journals, Vec<Failure>), Problem> {
        if let Some(cluster) = self.args.inventory()? {
            let cluster = chosen(cluster, &self.args.hosts);
            let (journals, failures) = history::over_ssh(&cluster).await;
            return Ok((cluster, Reach::Ssh, journals, failures));
        }
        let cluster = this_machine()?;
        let (_, runs) = history::here()?;
        let journals = cluster.hosts.iter().map(|host| (host.name.clone(), runs.clone())).collect();
        Ok((cluster, Reach::Here, journals, Vec::new()))
    }

    /// The run to revert; None if there is none.
    fn choose(&self, journals: &Journals) -> Result<Option<String>, Problem> {
        match &self.run {
            Some(id) if !journals.values().any(|runs| has(runs, id)) => {
                Err(Problem::usage(format!("no journal has a run {id}")).hint("`kboot history` lists the runs"))
            }
            Some(id) if journals.values().flatten().any(|run| run.info.id == *id && is_final(run)) => {
                Err(Problem::usage(format!("the run {id} is a recovery of etcd, which can't be taken back")).hint(
                    "the data as they were before are kept below /var/lib/kboot on the host that it went on with",
                ))
            }
            Some(id) => Ok(Some(id.clone())),
            None => Ok(last(journals)),
        }
    }
}

fn has(runs: &[Run], id: &str) -> bool {
    runs.iter().any(|run| run.info.id == id && !run.changes.is_empty())
}

/// A recovery can't be reverted: the state before it belongs to a cluster that no longer exists.
fn is_final(run: &Run) -> bool {
    run.info.command == "kboot recover"
}

/// How long to wait for pods to leave a node that the run created.
const DRAIN_SECONDS: u64 = 120;

/// The hosts that the run made nodes of the cluster or members of its etcd. They leave the cluster.
fn made_nodes(cluster: &Cluster, journals: &Journals, id: &str) -> Vec<String> {
    let is_made = |host: &str, run: &Run| match cluster.host(host).is_some_and(Host::is_etcd) {
        true => is_member_made(&[run]),
        false => is_node_made(&[run]),
    };
    let is_any = |(host, runs): &(&String, &Vec<Run>)| runs.iter().any(|run| run.info.id == id && is_made(host, run));
    journals.iter().filter(is_any).map(|(host, _)| host.clone()).collect()
}

/// The last run that changed something, was not reverted, and is not an undo or a reset.
fn last(journals: &Journals) -> Option<String> {
    let candidates = journals.values().filter_map(|runs| {
        let is_open = |run: &&Run| run.info.undoes.is_none() && !run.changes.is_empty() && !is_undone(run, runs);
        runs.iter().filter(is_open).rfind(|run| !is_final(run))
    });
    // Each host has one candidate: its last run. If a journal contains two candidates, the later one counts. Only hosts without a
    // common run are compared by their clocks. The controllers' clocks, which are in the IDs of runs, never count.
    let candidates: Vec<&Run> = candidates.collect();
    let is_passed =
        |run: &Run| candidates.iter().any(|other| journals.values().any(|runs| is_before(run, other, runs)));
    let open = candidates.iter().filter(|run| !is_passed(run));
    open.max_by_key(|run| run.at).map(|run| run.info.id.clone())
}

/// Whether a journal has one run before another.
fn is_before(one: &Run, other: &Run, runs: &[Run]) -> bool {
    let place = |run: &Run| runs.iter().position(|known| known.info.id == run.info.id);
    place(one).zip(place(other)).is_some_and(|(one, other)| one < other)
}

fn told(id: &str, journals: &Journals) -> String {
    let mut text = String::new();
    for (host, runs) in journals {
        for run in runs.iter().filter(|run| run.info.id == id && !run.changes.is_empty()) {
            if text.is_empty() {
                text = format!("This takes back `{}` of {} UTC:", run.info.command, history::when(run.at));
            }
            text += &format!("\n  {host}: {} changes", run.changes.len());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Made, Outcome, RunInfo};

    fn run(id: &str, undoes: Option<&str>, changes: usize, outcome: Option<Outcome>) -> Run {
        let made = Made {
            id: None,
            at: 0,
            step: String::new(),
            text: String::new(),
            before: vec![],
            wants: Default::default(),
            after: None,
            failure: None,
        };
        let info = RunInfo { id: id.into(), undoes: undoes.map(String::from), ..RunInfo::default() };
        Run { info, at: 0, changes: vec![made; changes], outcome }
    }

    #[test]
    fn the_last_run_is_one_that_changed_something_and_was_not_taken_back() {
        let done = Some(Outcome::Changed);
        let mut journals = Journals::from([("n1".into(), vec![run("1", None, 2, done), run("2", None, 1, None)])]);
        assert_eq!(last(&journals).as_deref(), Some("2"));
        let n1 = journals.get_mut("n1").unwrap();
        n1.push(run("3", Some("2"), 1, None));
        assert_eq!(last(&journals).as_deref(), Some("2"), "its undo was cut off");
        journals.get_mut("n1").unwrap().push(run("4", Some("2"), 1, done));
        assert_eq!(last(&journals).as_deref(), Some("1"));
        journals.insert("n2".into(), vec![run("5", None, 0, done), run("2", None, 3, done)]);
        assert_eq!(last(&journals).as_deref(), Some("2"), "on n2 it was not taken back");
        assert_eq!(last(&Journals::new()), None);
        let mut recovery = run("6", None, 3, done);
        recovery.info.command = "kboot recover".into();
        journals.get_mut("n2").unwrap().push(recovery);
        assert_eq!(last(&journals).as_deref(), Some("2"), "a recovery is not taken back");
    }

    #[test]
    fn the_last_run_is_the_journal_s_and_not_the_controller_s_clock() {
        let done = Some(Outcome::Changed);
        let at = |at, run: Run| Run { at, ..run };
        // The laptop's clock is an hour ahead: its run has the greater name.
        let (laptop, desk) = (at(10, run("f-laptop", None, 1, done)), at(20, run("a-desk", None, 1, done)));
        let one = Journals::from([("n1".into(), vec![laptop.clone(), desk.clone()])]);
        assert_eq!(last(&one).as_deref(), Some("a-desk"));
        // n2's own clock is ahead, and n1 knows the order of both.
        let two = Journals::from([
            ("n1".into(), vec![laptop.clone(), desk.clone()]),
            ("n2".into(), vec![at(99, laptop.clone())]),
        ]);
        assert_eq!(last(&two).as_deref(), Some("a-desk"));
        let apart = Journals::from([("n1".into(), vec![laptop]), ("n2".into(), vec![desk])]);
        assert_eq!(last(&apart).as_deref(), Some("a-desk"), "hosts that share no run have their clocks alone");
    }
}
