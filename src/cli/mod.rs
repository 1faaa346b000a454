//! The command line: one file per command. Only this module knows about flags and exit codes.

mod address;
mod adopt;
mod agent;
mod apply;
mod ask;
mod completion;
mod config;
mod config_init;
mod control_plane;
mod elsewhere;
mod endpoint;
mod etcd_files;
mod exit;
mod file;
mod history;
mod hosts;
mod images;
mod init;
mod join;
mod kubeadm;
mod kubeconfig;
mod localhost;
mod lock;
mod lock_file;
mod machine;
mod man;
mod output;
mod phase;
mod phase_filter;
mod plan;
mod play;
mod playbook;
mod recover;
mod reset;
mod run;
mod saved_plan;
mod target;
mod token;
mod undo;
mod up;
mod usage;
mod version;
mod wait;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::report::{Color, Format, Options, Stream, Verbosity};

use exit::{Problem, USAGE};

pub use usage::reference;

/// Create a Kubernetes cluster from bare Linux machines, and keep it as your inventory describes it
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
  kboot up -i inventory.yaml              Create the inventory's cluster, or repair it
  kboot plan -i inventory.yaml            Show what `up` would change on each host
  kboot kubeconfig -i inventory.yaml      Fetch the kubeconfig for kubectl
  kboot init                              Make this machine a control plane
  kboot token create --print-join-command Print the command that joins another machine as a worker

Exit codes:
  0    Success, or nothing to do
  1    Something failed on a host or in the cluster
  2    The command line or the inventory is wrong; nothing was changed
  3    With --detailed-exitcode: something would change
  130  Interrupted; run the same command again to continue";

/// The heading of the options that every command has. It separates them from a command's own options.
const EVERYWHERE: &str = "Global options";

#[derive(Args, Clone, Copy)]
struct Global {
    /// The output format. auto: live progress on a terminal, else lines; plain: lines; json: one object per line
    #[arg(long, short = 'o', global = true, help_heading = EVERYWHERE, value_name = "FORMAT", hide_possible_values = true, value_enum, default_value_t = Output::Auto, env = "KBOOT_OUTPUT", hide_env_values = true)]
    output: Output,
    /// Whether the format was asked for on the command line, and not by the environment.
    #[arg(skip)]
    is_output_given: bool,
    /// Report every step and every change
    #[arg(long, short, global = true, help_heading = EVERYWHERE, conflicts_with = "quiet")]
    verbose: bool,
    /// Report only failures
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    quiet: bool,
    /// When to use colors: auto, always or never
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "WHEN", hide_possible_values = true, value_enum, default_value_t = When::Auto)]
    color: When,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// Live progress on a terminal, lines elsewhere
    Auto,
    /// Lines
    Plain,
    /// One JSON object per line, on standard output
    Json,
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
    Version(version::Version),
    #[command(hide = true)]
    Agent(agent::Agent),
}

impl Global {
    fn options(self, stream: Stream) -> Options {
        Options {
            format: match self.output {
                Output::Auto => Format::Auto,
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
    let (cli, line) = match parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&error),
    };
    if let Err(problem) = output::allows(&line, &cli.global) {
        return problem.tell(cli.global);
    }
    // The process has one cryptography provider, which can be set only once. Nothing sets it before this.
    let _ = rustls::crypto::ring::default_provider().install_default();
    log(cli.global);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return Problem::from(error).tell(cli.global),
    };
    let global = cli.global;
    let result = runtime.block_on(dispatch(cli));
    // A read from standard input can't be cancelled, so do not wait for it.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(problem) => problem.tell(global),
    }
}

/// Parses a command line. Gives the command's name as well, for example `token create`.
fn parse(arguments: impl Iterator<Item = OsString>) -> clap::error::Result<(Cli, String)> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    cli.global.is_output_given = matches.value_source("output") == Some(ValueSource::CommandLine);
    let mut names = Vec::new();
    let mut next = matches.subcommand();
    while let Some((name, below)) = next {
        names.push(name);
        next = below.subcommand();
    }
    let line = names.join(" ");
    Ok((cli, line))
}

/// The memory contains keys, tokens and passphrases. A crash must not write it to a disk, and no other process may read it.
fn keep_memory_private() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, geteuid, set_dumpable_behavior, setrlimit};
    // If the kernel allows neither, kboot works without them.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // For a user other than root, the process could then no longer read its own files in /proc.
    if geteuid().is_root() {
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// Prints help or the version, or reports a mistake in the command line.
fn refuse(error: &clap::Error) -> ExitCode {
    let Some(failure) = usage::failure(error, &Cli::command(), std::env::args()) else {
        // If the stream is closed, kboot has no way to report that.
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
    };
    exit::tell(&failure, Options { stream: Stream::Err, ..Options::default() });
    ExitCode::from(USAGE)
}

async fn dispatch(cli: Cli) -> Result<ExitCode, Problem> {
    let global = cli.global;
    match cli.command {
        Command::Up(up) => up.run(global).await,
        Command::Run(run) => run.run(global).await,
        Command::Plan(plan) => plan.run(global).await,
        Command::Apply(apply) => apply.run(global).await,
        Command::Adopt(adopt) => adopt.run().await,
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
        Command::Config(config) => config.run(global).await,
        Command::Playbook(playbook) => playbook.run(global),
        Command::Completion(completion) => completion.run(Cli::command()),
        Command::Man(man) => man.run(Cli::command()),
        Command::Version(version) => version.run(global),
        Command::Agent(agent) => agent.run().await,
    }
}

/// Writes logs for developers to standard error, but only if KBOOT_LOG is set.
fn log(_: Global) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("KBOOT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
