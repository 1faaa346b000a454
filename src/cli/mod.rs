//! The command line: one file a command. The only place that knows about flags and exit codes.

mod address;
mod adopt;
mod agent;
mod apply;
mod ask;
mod completion;
mod config;
mod control_plane;
mod endpoint;
mod etcd_files;
mod exit;
mod file;
mod history;
mod hosts;
mod init;
mod join;
mod kubeadm;
mod kubeconfig;
mod lock;
mod lock_file;
mod man;
mod phase;
mod plan;
mod play;
mod playbook;
mod recover;
mod reset;
mod run;
mod target;
mod token;
mod undo;
mod up;
mod usage;
mod wait;

use std::ffi::OsStr;
use std::process::ExitCode;

use camino::Utf8Path;
use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::{Arg, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::report::{Color, Format, Options, Stream, Verbosity};

use exit::{Problem, USAGE};

pub use usage::reference;

/// Turns Linux machines that answer to SSH into a Kubernetes cluster, and keeps them one
#[derive(Parser)]
#[command(name = "kboot", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kboot up -i inventory.yaml              Make a cluster of the inventory's hosts, or mend it
  kboot plan -i inventory.yaml            Show what `up` would change on which host
  kboot kubeconfig -i inventory.yaml      Fetch what kubectl needs
  kboot init                              Make this machine a control plane
  kboot token create --print-join-command Print the line that makes another machine a worker

Exit codes:
  0    Done, or nothing to do
  1    Something failed on a host or in the cluster
  2    The command line or the inventory is wrong; nothing was touched
  3    With --detailed-exitcode: something would change
  130  Interrupted; the same command goes on where it stopped";

/// The heading of the options that every command has, so that they don't stand between its own.
const EVERYWHERE: &str = "Options of every command";

#[derive(Args, Clone, Copy)]
struct Global {
    /// What a run prints: auto is live progress on a terminal and lines elsewhere, plain is lines, json is one object a line
    #[arg(long, short = 'o', global = true, help_heading = EVERYWHERE, value_name = "FORMAT", hide_possible_values = true, value_parser = OutputParser, default_value = "auto")]
    output: Output,
    /// Tell every step and every change
    #[arg(long, short, global = true, help_heading = EVERYWHERE, conflicts_with = "quiet")]
    verbose: bool,
    /// Tell failures only
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    quiet: bool,
    /// Whether to colour: auto, always or never
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "WHEN", hide_possible_values = true, value_enum, default_value_t = When::Auto)]
    color: When,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// Live progress on a terminal, lines elsewhere
    Auto,
    /// Lines
    Plain,
    /// One JSON object a line, on the standard output
    Json,
    /// No format: the file that a plan is kept in. It lives as long as the process, as the command line does.
    #[value(skip)]
    File(&'static Utf8Path),
}

/// Takes a format's name, or a path, which has a dot or a slash.
#[derive(Clone)]
struct OutputParser;

impl TypedValueParser for OutputParser {
    type Value = Output;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&Arg>, value: &OsStr) -> Result<Output, clap::Error> {
        match value.to_str().filter(|text| text.contains(['.', '/'])) {
            Some(path) => Ok(Output::File(Utf8Path::new(String::leak(path.into())))),
            None => EnumValueParser::new().parse_ref(command, arg, value),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Output::value_variants().iter().filter_map(Output::to_possible_value)))
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum When {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Up),
    Run(play::Run),
    Plan(plan::PlanCommand),
    Apply(apply::Apply),
    Adopt(adopt::Adopt),
    Init(init::Init),
    Join(join::Join),
    Recover(recover::Recover),
    Reset(reset::Reset),
    #[command(subcommand)]
    Phase(phase::Phase),
    #[command(subcommand)]
    Endpoint(endpoint::Endpoint),
    Lock(lock::Lock),
    Undo(undo::Undo),
    History(history::History),
    #[command(subcommand)]
    Token(token::Token),
    Kubeconfig(kubeconfig::Kubeconfig),
    #[command(subcommand)]
    Hosts(hosts::Hosts),
    #[command(subcommand)]
    Config(config::Config),
    #[command(subcommand)]
    Playbook(playbook::Playbook),
    Completion(completion::Completion),
    Man(man::Man),
    #[command(hide = true)]
    Agent(agent::Agent),
}

impl Global {
    fn options(self, stream: Stream) -> Options {
        Options {
            format: match self.output {
                Output::Auto | Output::File(_) => Format::Auto,
                Output::Plain => Format::Plain,
                Output::Json => Format::Json,
            },
            verbosity: match (self.quiet, self.verbose) {
                (true, _) => Verbosity::Quiet,
                (false, true) => Verbosity::Verbose,
                (false, false) => Verbosity::Normal,
            },
            color: match self.color {
                When::Auto => Color::Auto,
                When::Always => Color::Always,
                When::Never => Color::Never,
            },
            stream,
        }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    keep_memory_private();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    // One cryptography provider for the whole process. It can be set once, and this is the first to try.
    let _ = rustls::crypto::ring::default_provider().install_default();
    log(cli.global);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return Problem::from(error).tell(cli.global),
    };
    let global = cli.global;
    let result = runtime.block_on(dispatch(cli));
    // Reading standard input can't be given up; nobody waits for it.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(problem) => problem.tell(global),
    }
}

/// Keys, tokens and passphrases are in memory: no crash may write it to a disk, and no other process may look into it.
fn keep_memory_private() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, geteuid, set_dumpable_behavior, setrlimit};
    // Where the kernel allows neither, kboot works as well.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // Of another user, it would take away what /proc tells the process of itself.
    if geteuid().is_root() {
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// What was asked for is help, the version, or nothing that kboot knows.
fn refuse(error: &clap::Error) -> ExitCode {
    let Some(failure) = usage::failure(error, &Cli::command(), std::env::args()) else {
        // Nobody is left to be told where the stream is closed.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
    };
    exit::tell(&failure, Options { stream: Stream::Err, ..Options::default() });
    ExitCode::from(USAGE)
}

async fn dispatch(cli: Cli) -> Result<ExitCode, Problem> {
    let global = cli.global;
    if let (Output::File(path), false) = (global.output, matches!(cli.command, Command::Plan(_) | Command::Adopt(_))) {
        return Err(Problem::usage(format!("'{path}' is no output format"))
            .hint("use one of auto, plain, json; only `kboot plan` and `kboot adopt` take a file there"));
    }
    match cli.command {
        Command::Up(up) => up.run(global).await,
        Command::Run(run) => run.run(global).await,
        Command::Plan(plan) => plan.run(global).await,
        Command::Apply(apply) => apply.run(global).await,
        Command::Adopt(adopt) => adopt.run(global).await,
        Command::Init(init) => init.run(global).await,
        Command::Join(join) => join.run(global).await,
        Command::Recover(recover) => recover.run(global).await,
        Command::Reset(reset) => reset.run(global).await,
        Command::Phase(phase) => phase.run(global).await,
        Command::Endpoint(endpoint) => endpoint.run(global).await,
        Command::Lock(lock) => lock.run(global).await,
        Command::Undo(undo) => undo.run(global).await,
        Command::History(history) => history.run(global).await,
        Command::Token(token) => token.run(global).await,
        Command::Kubeconfig(kubeconfig) => kubeconfig.run(global).await,
        Command::Hosts(hosts) => hosts.run(global).await,
        Command::Config(config) => config.run(),
        Command::Playbook(playbook) => playbook.run(),
        Command::Completion(completion) => completion.run(Cli::command()),
        Command::Man(man) => man.run(Cli::command()),
        Command::Agent(agent) => agent.run().await,
    }
}

/// Logs for the developer go to standard error, and only where KBOOT_LOG asks for them.
fn log(_: Global) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("KBOOT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
