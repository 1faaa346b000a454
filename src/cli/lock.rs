//! `kboot lock`

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use camino::Utf8Path;
use clap::Args;
use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::agent::{Client, ResolveRun};
use crate::controller::{name_inventory, roots};
use crate::engine::{Event, Failure, Kind, Sink};
use crate::facts::Facts;
use crate::fleet::Fleet;
use crate::inventory::{Cluster, Host};
use crate::lock::{self, Answer, Answers, Lock as LockFile, Move, Question};
use crate::report::{clean_line, count};
use crate::steps::{Context, Handout, Inputs};

use super::Global;
use super::ask::is_agreed;
use super::exit::{self, FAILED, Problem, print, remark};
use super::file;
use super::lock_file::LockFileArg;
use super::run::repository_keys;
use super::up::InventoryArg;

/// Record the exact package versions and image digests for an inventory in kboot.lock
///
/// The command asks every host for the content of its package repositories and image registries, and changes nothing there. The first
/// lock contains the versions that the hosts already have, if they fit the inventory, and otherwise the newest versions. Later, locked
/// entries stay. The command adds only missing entries, for a new host or after a change of the inventory. With --update, it locks the
/// newest version of everything.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot lock -i inventory.yaml                   Create the lock, or add what is missing
  kboot lock -i inventory.yaml --update          Show newer versions, and ask to lock them
  kboot lock -i inventory.yaml --update --yes    Lock newer versions without asking
  kboot lock -i inventory.yaml --check           For CI: exit with code 1 if the lock is incomplete
  kboot up -i inventory.yaml --locked            Use only the locked versions

Exit codes:
  0    The lock was written, or is up to date
  1    Something failed on a host; or, with --check, the lock would change
  2    The command line, the inventory or the lock is wrong")]
pub struct Lock {
    #[command(flatten)]
    inventory: InventoryArg,
    #[command(flatten)]
    file: LockFileArg,
    /// Lock the newest version of everything. Shows the changes first, and asks
    #[arg(long)]
    update: bool,
    /// Only report what would change in the lock. Exit with code 1 if anything would
    #[arg(long)]
    check: bool,
    /// Do not ask for confirmation
    #[arg(long, conflicts_with = "check")]
    yes: bool,
}

impl Lock {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let cluster = self.inventory.load()?;
        let path = self.file.path(self.inventory.path());
        let (text, old) = self.file.read(self.inventory.path())?.unzip();
        if let Some(old) = old.as_ref().filter(|old| old.cluster != cluster.name) {
            return Err(Problem::usage(format!(
                "{path} is for the cluster {}, and the inventory's is {}",
                old.cluster, cluster.name
            ))
            .hint("give each cluster a lock of its own: `--lock-file NAME.lock`"));
        }
        let answers = ask(&cluster, self.inventory.path(), old.as_ref(), self.update, global).await?;
        let empty = LockFile::empty(&cluster);
        let kept = if self.update { None } else { Some(old.as_ref().unwrap_or(&empty)) };
        let composed = lock::compose(&cluster, kept, &answers).map_err(|conflicts| told(conflicts, global))?;
        tell_notes(&composed.notes);
        let new = composed.lock;
        let moves = old.as_ref().map(|old| lock::moves(old, &new)).unwrap_or_default();
        print(&moves.iter().map(|moved| format!("  {}\n", clean_line(&moved.to_string()))).collect::<String>())?;
        let is_same = old.as_ref() == Some(&new);
        if self.check {
            remark(format_args!("{path} {}", checked(old.is_some(), is_same, self.update)));
            return Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::from(FAILED) });
        }
        if is_same {
            remark(format_args!("{path} is right as it is: {}", size(&new)));
            return Ok(ExitCode::SUCCESS);
        }
        let nobody = Problem::usage(format!("{path} was left as it is: nobody is here to agree to this"))
            .hint("add --yes to write it, or --check to only look");
        let is_question = self.update && moves.iter().any(Move::is_shift) && !self.yes;
        if is_question && !is_agreed(&format!("Write this to {path}?"), nobody)? {
            return Err(Problem::Failed(Failure::new(format!("{path} was left as it is"))));
        }
        let head = text.as_deref().map_or(lock::HEAD, lock::head);
        let written = file::replace(&path, &lock::print(&new, head), 0o644);
        written.map_err(|error| Failure::from(error).context(format_args!("write {path}")))?;
        remark(format_args!("wrote {path}: {}", size(&new)));
        Ok(ExitCode::SUCCESS)
    }
}

/// Asks all hosts at once; all must answer.
async fn ask(
    cluster: &Cluster,
    inventory: &Utf8Path,
    old: Option<&LockFile>,
    is_update: bool,
    global: Global,
) -> Result<Answers, Problem> {
    let fleet = Fleet::new(crate::report::ask_secret);
    let reached = join_all(cluster.hosts.iter().map(|host| async {
        // The agent leaves nothing on the host, not even its own file.
        let client = fleet.agent(cluster, host, false).await?;
        let facts = client.facts().await?;
        Ok::<_, Failure>((client, facts))
    }));
    let reached = all(cluster, inventory, reached.await, global)?;
    let inputs = Inputs {
        keys: repository_keys(cluster)?,
        has_containers: reached.values().any(|(_, facts)| facts.is_container()),
        ..Inputs::default()
    };
    let lock::Begun { pins: installed, notes } = match is_update {
        true => lock::Begun::default(),
        false => installed(cluster, old, &reached, &inputs).map_err(|conflicts| told(conflicts, global))?,
    };
    tell_notes(&notes);
    let (events, inbox) = mpsc::unbounded_channel();
    let resolved = join_all(cluster.hosts.iter().map(|host| {
        let (client, facts) = &reached[&host.name];
        let context = context(cluster, host, facts, &inputs);
        let question = question(&context.platform(), old, installed.get(&context.platform()), is_update);
        let sink = Sink::new(&host.name, events.clone());
        async move { client.resolve(ResolveRun { question, context }, &sink).await }
    }));
    drop(events);
    let (resolved, ()) = tokio::join!(resolved, tell_retries(inbox, global));
    let resolved = all(cluster, inventory, resolved, global)?;
    let answer = |(name, resolved): (String, _)| {
        let host_key = fleet.host_key(&name).unwrap_or_default();
        (name, Answer { resolved, host_key })
    };
    Ok(resolved.into_iter().map(answer).collect())
}

/// The context of a question. It has no secrets, because no question needs one.
fn context(cluster: &Cluster, host: &Host, facts: &Facts, inputs: &Inputs) -> Context {
    let (cluster, host, facts, inputs) = (cluster.clone(), host.name.clone(), facts.clone(), inputs.clone());
    Context { cluster, host, facts, inputs, secrets: Handout::default() }
}

/// Reports retries while the hosts query repositories and registries.
async fn tell_retries(mut inbox: mpsc::UnboundedReceiver<Event>, global: Global) {
    while let Some(event) = inbox.recv().await {
        if let Kind::Retrying { what, why, millis } = &event.kind
            && !global.quiet
        {
            let text = crate::report::retrying(what, why, *millis);
            remark(format_args!("{}: {text}", event.host));
        }
    }
}

/// The installed versions of packages whose versions kboot decides, if the lock does not have them.
fn installed(
    cluster: &Cluster,
    old: Option<&LockFile>,
    reached: &BTreeMap<String, (Client, Facts)>,
    inputs: &Inputs,
) -> Result<lock::Begun, Vec<Failure>> {
    let of = |host: &Host| {
        let facts = &reached[&host.name].1;
        let context = context(cluster, host, facts, inputs);
        let locked = old.and_then(|old| old.packages.get(&context.platform()));
        let is_open = |name: &String| locked.is_none_or(|locked| !locked.contains_key(name));
        let version = |name: String| facts.packages.get(&name).map(|version| (name.clone(), version.clone()));
        lock::Installed {
            host: host.name.clone(),
            is_control_plane: host.is_control_plane(),
            platform: context.platform(),
            versions: context.own_packages().into_iter().filter(is_open).filter_map(version).collect(),
        }
    };
    lock::installed(&cluster.hosts.iter().map(of).collect::<Vec<_>>())
}

fn question(
    platform: &str,
    old: Option<&LockFile>,
    installed: Option<&BTreeMap<String, String>>,
    is_update: bool,
) -> Question {
    let locked = old.and_then(|old| old.packages.get(platform));
    let names: BTreeSet<String> = locked.into_iter().flat_map(|packages| packages.keys().cloned()).collect();
    let mut pins = BTreeMap::new();
    if !is_update {
        pins.extend(installed.into_iter().flatten().map(|(name, version)| (name.clone(), version.clone())));
        pins.extend(locked.into_iter().flatten().map(|(name, package)| (name.clone(), package.version.clone())));
    }
    Question { pins, names, is_whole: true, is_fresh: is_update, roots: roots() }
}

/// All answers, or all failures.
fn all<T>(
    cluster: &Cluster,
    inventory: &Utf8Path,
    answers: Vec<Result<T, Failure>>,
    global: Global,
) -> Result<BTreeMap<String, T>, Problem> {
    let mut good = BTreeMap::new();
    let mut bad = Vec::new();
    for (host, answer) in cluster.hosts.iter().zip(answers) {
        match answer {
            Ok(answer) => drop(good.insert(host.name.clone(), answer)),
            Err(mut failure) => {
                name_inventory(&mut failure.hint, inventory.as_str());
                bad.push(Failure { cause: format!("{}: {}", host.name, failure.cause).into(), ..failure });
            }
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(told(bad, global)) }
}

fn tell_notes(notes: &[String]) {
    for note in notes {
        remark(note);
    }
}

/// Prints all failures except the last one, and returns the last one.
fn told(mut failures: Vec<Failure>, global: Global) -> Problem {
    let last = failures.pop().unwrap_or_else(|| Failure::new("nothing was resolved"));
    for failure in &failures {
        exit::tell(failure, global.options(crate::report::Stream::Err));
    }
    Problem::Failed(last)
}

fn checked(is_there: bool, is_same: bool, is_update: bool) -> &'static str {
    match (is_there, is_same, is_update) {
        (false, ..) => "is not there",
        (_, true, false) => "is complete",
        (_, true, true) => "has what is newest",
        (_, false, false) => "is not complete",
        (_, false, true) => "could be moved on",
    }
}

fn size(lock: &LockFile) -> String {
    let packages = lock.packages.values().map(BTreeMap::len).sum();
    format!(
        "{}, {}, {}",
        count(lock.hosts.len(), "host"),
        count(packages, "package"),
        count(lock.images.len(), "image")
    )
}
