//! Processes: run to their end, their words kept for the error.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::engine::{Failure, Output, Result};

/// Runs a command; None of its output is shown unless it fails.
pub(super) async fn run(argv: &[&str]) -> Result<()> {
    run_with(argv, &[]).await.map(drop)
}

/// Runs a command with further environment variables and gives what it printed.
pub(super) async fn run_with(argv: &[&str], environment: &[(&str, &str)]) -> Result<Output> {
    let output = output(argv, environment, None).await?;
    if output.is_success() {
        return Ok(output);
    }
    Err(failed(argv, &output))
}

/// Why a command that ended badly did so, with the last lines that it printed.
pub(super) fn failed(argv: &[&str], output: &Output) -> Failure {
    let ended = match output.code {
        Some(127) if output.stderr.is_empty() => "is not installed".to_string(),
        Some(code) => format!("ended with exit code {code}"),
        None => "was ended by a signal".to_string(),
    };
    Failure::new(format!("`{}` {ended}", argv.join(" "))).evidence(last_lines(output))
}

/// The last lines that a command printed.
pub(super) fn last_lines(output: &Output) -> Vec<String> {
    let said: Vec<&str> = output.stdout.lines().chain(output.stderr.lines()).filter(|l| !l.trim().is_empty()).collect();
    said[said.len().saturating_sub(12)..].iter().map(|line| (*line).into()).collect()
}

/// Runs a command and gives what it printed, however it ended. In the C locale, without standard input unless given.
pub(super) async fn output(argv: &[&str], environment: &[(&str, &str)], stdin: Option<&[u8]>) -> Result<Output> {
    let [program, arguments @ ..] = argv else { return Err(Failure::new("an empty command")) };
    let path = search_path();
    let Ok(found) = which::which_in(program, Some(&path), "/") else {
        return Ok(Output { code: Some(127), ..Output::default() });
    };
    let mut command = Command::new(found);
    command
        .args(arguments)
        .env("LC_ALL", "C")
        .env("PATH", &path)
        .envs(environment.iter().copied())
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let started = command.spawn();
    let mut child = started.map_err(|error| Failure::from(error).context(format_args!("start {program}")))?;
    if let (Some(bytes), Some(mut pipe)) = (stdin, child.stdin.take()) {
        // A program that reads no further says itself why.
        let _ = pipe.write_all(bytes).await;
    }
    let done = child.wait_with_output().await?;
    Ok(Output {
        code: done.status.code(),
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    })
}

/// Where programs are looked for: also where an administrator's are, which a shell that `su` opened may not know.
fn search_path() -> String {
    const ADMINISTRATION: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
    match std::env::var("PATH") {
        Ok(path) if !path.is_empty() => format!("{path}:{ADMINISTRATION}"),
        _ => ADMINISTRATION.into(),
    }
}
