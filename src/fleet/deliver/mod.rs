//! Puts the agent, which is this very binary, on a host, and starts it there as root.
//!
//! The agent's file is named after its digest, so that a host that has it needs one round trip and no copy, and a host never
//! runs another version than the controller's. May use [`super::ssh`]; what is said to the agent after its first line,
//! [`MARKER`], is no matter of this module.

mod binary;
mod script;

use std::time::Duration;

use crate::agent::MARKER;
use crate::engine::{Failure, Result};
use crate::fleet::ssh::{Connection, ExecError, Exit, Limits, Process, Stdout, Target};

pub use binary::AgentBinary;

/// Where agents are kept on a host; for root only.
const FOLDER: &str = "/var/lib/kboot/agent";
/// How much a login shell may print before the agent's first line.
const MOST_NOISE: usize = 64 << 10;
/// How long sudo, its PAM modules and the login shell's start-up files may take.
const START: Duration = Duration::from_secs(60);
/// How long an upload may take; a host that no longer answers is noticed long before.
const UPLOAD: Limits = Limits { time: Duration::from_secs(900), bytes: 64 << 10 };

/// Starts the agent as root, uploading it first if the host does not have it. Its streams begin after [`MARKER`].
///
/// One that does not stay removes itself once it runs, and with it the folders that were made for it.
pub async fn start_agent(
    connection: &Connection,
    target: &Target,
    agent: &AgentBinary,
    stays: bool,
) -> Result<Process> {
    let place = Place { folder: FOLDER, sudo: target.user != "root", stays };
    start_in(connection, target, agent, &place).await
}

/// Where on a host the agent goes, and by which right.
struct Place<'a> {
    folder: &'a str,
    sudo: bool,
    stays: bool,
}

async fn start_in(connection: &Connection, target: &Target, agent: &AgentBinary, place: &Place<'_>) -> Result<Process> {
    let command = script::start(place.folder, agent.digest(), place.sudo, "");
    let architecture = match begin(connection, &command).await? {
        Begun::Running(process) => return Ok(process),
        Begun::Absent { architecture } => architecture,
        Begun::Ended { exit, printed } => return Err(not_started(target, place, &exit, &printed)),
    };
    if architecture != agent.architecture() {
        return Err(Failure::new(format!(
            "{} is a {architecture} machine, and this kboot is built for {}",
            target.name,
            agent.architecture()
        ))
        .hint_text(format!(
            "run a kboot that is built for {architecture}, and keep hosts of other architectures out of this inventory"
        )));
    }
    upload(connection, agent, place).await?;
    let options = if place.stays { "" } else { " --vanish" };
    let command = script::start(place.folder, agent.digest(), place.sudo, options);
    match begin(connection, &command).await? {
        Begun::Running(process) => Ok(process),
        Begun::Absent { .. } => Err(Failure::new(format!("the agent vanished from {} right after its upload", place.folder))
            .hint_text("another kboot, of another version, seems to be at work on this host: let it finish, then run the same command again")
            .retryable()),
        Begun::Ended { exit, printed } => Err(not_started(target, place, &exit, &printed)),
    }
}

enum Begun {
    Running(Process),
    /// The host does not have this agent.
    Absent {
        architecture: String,
    },
    Ended {
        exit: Exit,
        printed: String,
    },
}

async fn begin(connection: &Connection, command: &str) -> Result<Begun> {
    let mut process = connection.spawn(command).await?;
    let heard = tokio::time::timeout(START, listen(&mut process.stdout)).await;
    match heard {
        Ok(Heard::Marker) => Ok(Begun::Running(process)),
        Ok(Heard::Absent(architecture)) => Ok(Begun::Absent { architecture }),
        Ok(Heard::End(printed)) => Ok(Begun::Ended { exit: process.wait().await, printed }),
        Ok(Heard::TooMuch(printed)) => Err(Failure::new("the login shell prints without end before a command runs")
            .evidence(last_lines(&printed))
            .hint_text("start-up files such as ~/.bashrc must be silent in sessions without a terminal")),
        Err(_) => Err(Failure::new(format!("the agent did not start within {} s", START.as_secs()))
            .evidence(last_lines(&process.status.stderr()))
            .hint_text("log in by hand and see what hangs: the shell's start-up files, or `sudo -n true`")
            .retryable()),
    }
}

enum Heard {
    Marker,
    Absent(String),
    End(String),
    TooMuch(String),
}

/// Reads up to the line that tells, and leaves what follows it unread. A start-up file may have printed before it, even
/// without ending its line.
async fn listen(stdout: &mut Stdout) -> Heard {
    let mut heard = Vec::new();
    let mut line_start = 0;
    loop {
        let Some(chunk) = stdout.chunk().await else {
            return Heard::End(String::from_utf8_lossy(&heard).into_owned());
        };
        heard.extend_from_slice(&chunk);
        while let Some(length) = heard[line_start..].iter().position(|byte| *byte == b'\n') {
            let end = line_start + length;
            let line = String::from_utf8_lossy(&heard[line_start..end]).into_owned();
            let line = line.trim_end();
            if line.ends_with(MARKER) {
                stdout.unread(heard.split_off(end + 1));
                return Heard::Marker;
            }
            if let Some((_, architecture)) = line.split_once(script::ABSENT) {
                return Heard::Absent(architecture.trim().to_owned());
            }
            line_start = end + 1;
        }
        if heard.len() > MOST_NOISE {
            return Heard::TooMuch(String::from_utf8_lossy(&heard).into_owned());
        }
    }
}

/// Says why a command that should have become the agent ended instead.
fn not_started(target: &Target, place: &Place<'_>, exit: &Exit, printed: &str) -> Failure {
    let evidence = last_lines(&format!("{}\n{printed}", exit.stderr));
    let user = &target.user;
    let grant = format!(
        "as root on {}: `echo '{user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{user}`, or set ssh.user to root",
        target.name
    );
    let said = |words: &[&str]| words.iter().any(|word| exit.stderr.contains(word));
    let failure = match exit.code {
        _ if exit.refused => Failure::from(ExecError::Refused { why: "the request was denied".into() }),
        None if exit.signal.is_none() => return Failure::from(ExecError::Lost { why: None }).evidence(evidence),
        // Only the login shell itself says 127: further in, a missing agent has an answer of its own.
        Some(127) if place.sudo && said(&["sudo"]) => Failure::new(format!("sudo is not installed, and {user} is not root"))
            .hint_text(format!("install sudo on {}, or set ssh.user to root", target.name)),
        Some(126) => Failure::new(format!("{} does not allow programs to run", place.folder))
            .hint_text(format!("is its file system mounted noexec? `findmnt -T {}`; `mount -o remount,exec` mends it", place.folder)),
        Some(1) if place.sudo && said(&["must have a tty"]) => {
            Failure::new(format!("sudo wants a terminal for {user} (requiretty)"))
                .hint_text(format!("as root on {}: `echo 'Defaults:{user} !requiretty' > /etc/sudoers.d/{user}-tty`", target.name))
        }
        Some(1) if place.sudo && said(&["sudo:", "sudoers"]) => {
            Failure::new(format!("{user} can't become root without a password")).hint_text(grant)
        }
        Some(code) => Failure::new(format!("the agent ended before it said anything (exit code {code})"))
            .hint_text("run `kboot agent` on the host by hand to see why; a shell that is no shell (/usr/sbin/nologin) ends like this too"),
        None => Failure::new(format!("the agent was killed by SIG{}", exit.signal.as_deref().unwrap_or("?")))
            .hint_text("see why on the host: `journalctl -k -n 20` (out of memory?)"),
    };
    failure.evidence(evidence)
}

async fn upload(connection: &Connection, agent: &AgentBinary, place: &Place<'_>) -> Result<()> {
    let source = agent.open().await?;
    let command = script::upload(place.folder, agent.digest(), place.sudo, place.stays);
    let output = connection
        .exec_within(&command, source, UPLOAD)
        .await
        .map_err(|error| Failure::from(error).context("upload the agent"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let problem = printed.lines().find_map(|line| line.split_once(script::PROBLEM).map(|(_, what)| what.trim()));
    let done = printed.lines().any(|line| line.ends_with(script::UPLOADED));
    if done && output.code == 0 {
        return Ok(());
    }
    let folder = place.folder;
    let evidence = last_lines(&format!("{}\n{}", output.stderr, after(&printed, script::PROBLEM)));
    let full = output.stderr.contains("No space left") || output.stderr.contains("quota exceeded");
    let failure = match problem {
        _ if full => Failure::new(format!("no space in {folder} for the agent's {}", megabytes(agent.size())))
            .hint_text("free some space there (`df -h /var/lib`, `apt-get clean`), then run the same command again"),
        _ if output.stderr.contains("Read-only file system") => {
            Failure::new(format!("{folder} is on a read-only file system"))
                .hint_text("see `dmesg` for why; `mount -o remount,rw /` mends it if the disk is well")
        }
        Some("digest") => Failure::new("the agent arrived damaged: its digest differs")
            .hint_text("run the same command again; if it happens again, suspect the host's disk or memory")
            .retryable(),
        Some("noexec") => Failure::new(format!("{folder} does not allow programs to run (noexec)"))
            .hint_text(format!("let it: `mount -o remount,exec $(findmnt -no TARGET -T {folder})`")),
        Some("folder") => Failure::new(format!("can't make the folder {folder}"))
            .hint_text("see what is in the way: `ls -ld /var/lib/kboot /var/lib/kboot/agent`"),
        _ => Failure::new(format!("failed to upload the agent to {folder} (exit code {})", output.code)),
    };
    Err(failure.evidence(evidence))
}

/// What follows the line with `mark`.
fn after<'a>(text: &'a str, mark: &str) -> &'a str {
    text.split_once(mark).and_then(|(_, rest)| rest.split_once('\n')).map_or("", |(_, rest)| rest)
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(10)..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests;
