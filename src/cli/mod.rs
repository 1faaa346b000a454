//! The command line: one file a command. The only place that knows about flags and exit codes.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "commands speak with people")]

mod agent;
mod completion;
mod config;
mod exit;
mod hosts;
mod init;
mod join;
mod kubeconfig;
mod man;
mod playbook;
mod reset;
mod run;
mod token;
mod up;

use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::report::{Color, Format, Options, Stream, Verbosity};

use exit::Problem;

/// Turns Linux machines that answer to SSH into a Kubernetes cluster, and keeps them one.
#[derive(Parser)]
#[command(name = "kboot", version, propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kboot up -i inventory.yaml             Make a cluster of the inventory's hosts, or mend it
  kboot up -i inventory.yaml --dry-run   Show what would change on which host
  kboot init                             Make this machine a control plane
  kboot join 10.0.0.1:6443 --token …     Make this machine a worker

Exit codes:
  0    Done, or nothing to do
  1    Something failed on a host or in the cluster
  2    The command line or the inventory is wrong; nothing was touched
  130  Interrupted; the same command goes on where it stopped";

#[derive(Args, Clone, Copy)]
struct Global {
    /// What is printed: live progress on a terminal and lines elsewhere, always lines, or one JSON object a line
    #[arg(long, short = 'o', global = true, value_enum, default_value_t = Output::Auto)]
    output: Output,
    /// Tell every change
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Tell failures only
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Whether to colour
    #[arg(long, global = true, value_enum, default_value_t = When::Auto)]
    color: When,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Auto,
    Plain,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Up),
    Init(init::Init),
    Join(join::Join),
    Reset(reset::Reset),
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
    let cli = Cli::parse();
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

async fn dispatch(cli: Cli) -> Result<ExitCode, Problem> {
    let global = cli.global;
    match cli.command {
        Command::Up(up) => up.run(global).await,
        Command::Init(init) => init.run(global).await,
        Command::Join(join) => join.run(global).await,
        Command::Reset(reset) => reset.run(global).await,
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
