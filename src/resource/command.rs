//! Processes: run to their end, their words kept for the error.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

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
        _ if is_missing(output) => "is not installed".to_string(),
        Some(code) => format!("ended with exit code {code}"),
        None => "was ended by a signal".to_string(),
    };
    Failure::new(format!("`{}` {ended}", argv.join(" "))).evidence(last_lines(output))
}

/// Whether there is no such program.
pub(super) fn is_missing(output: &Output) -> bool {
    output.code == Some(127) && output.stderr.is_empty()
}

/// The last lines that a command printed.
pub(super) fn last_lines(output: &Output) -> Vec<String> {
    let said: Vec<&str> = output.stdout.lines().chain(output.stderr.lines()).filter(|l| !l.trim().is_empty()).collect();
    said[said.len().saturating_sub(12)..].iter().map(|line| (*line).into()).collect()
}

/// Runs a command and gives what it printed, however it ended. In the C locale, without standard input unless given.
pub(super) async fn output(argv: &[&str], environment: &[(&str, &str)], stdin: Option<&[u8]>) -> Result<Output> {
    output_within(limit(argv), argv, environment, stdin).await
}

/// How long a command may take, by its kind.
fn limit(argv: &[&str]) -> Duration {
    const MINUTE: Duration = Duration::from_secs(60);
    match argv.first().copied().unwrap_or_default() {
        // They ask or tell the kernel; where they hang, as on a file server that is gone, they hang for ever.
        "umount" | "mount" | "ip" | "nft" | "ipset" | "ipvsadm" | "modprobe" | "sysctl" | "df" | "ss" | "date"
        | "uname" => 2 * MINUTE,
        "systemctl" | "journalctl" | "swapoff" | "swapon" | "apt-cache" | "apt-mark" => 10 * MINUTE,
        // Packages and images come by slow ways, and what a playbook runs may be anything.
        _ => 60 * MINUTE,
    }
}

async fn output_within(
    limit: Duration,
    argv: &[&str],
    environment: &[(&str, &str)],
    stdin: Option<&[u8]>,
) -> Result<Output> {
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
        .stderr(Stdio::piped())
        // Ctrl-C at the terminal is for kboot, which lets the change in hand come to its end.
        .process_group(0);
    let started = command.spawn();
    let mut child = started.map_err(|error| Failure::from(error).context(format_args!("start {program}")))?;
    let stdout = Pipe::read(child.stdout.take());
    let stderr = Pipe::read(child.stderr.take());
    let fed = child.stdin.take();
    let ended = tokio::time::timeout(limit, async {
        if let (Some(bytes), Some(mut pipe)) = (stdin, fed) {
            // A program that reads no further says itself why.
            let _ = pipe.write_all(bytes).await;
        }
        child.wait().await
    });
    let Ok(status) = ended.await else {
        end(&mut child).await;
        let (stdout, stderr) = (stdout.text().await, stderr.text().await);
        let failure = failed(argv, &Output { code: None, stdout, stderr });
        let cause = format!("`{}` did not end within {} s", argv.join(" "), limit.as_secs());
        return Err(Failure { cause: cause.into(), ..failure });
    };
    let code = status?.code();
    let (stdout, stderr) = tokio::join!(stdout.text(), stderr.text());
    Ok(Output { code, stdout, stderr })
}

/// Ends a command with all that it started.
async fn end(child: &mut Child) {
    let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
    for signal in [Signal::TERM, Signal::KILL] {
        let _ = rustix::process::kill_process_group(group, signal);
        if tokio::time::timeout(ENDING, child.wait()).await.is_ok() {
            return;
        }
    }
}

/// How long a command may take to end once it was asked to.
const ENDING: Duration = Duration::from_secs(5);
/// How long a pipe is read after the command's end: a service that it started may have it for ever.
const PIPE: Duration = Duration::from_secs(1);
/// Bytes that are kept of a stream.
const MOST: usize = 32 << 20;

/// What a command prints on a stream, read while it runs.
struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Pipe {
    fn read(pipe: Option<impl AsyncRead + Send + Unpin + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = bytes.clone();
        let reader = tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut piece = vec![0; 16 << 10];
            while let Ok(length @ 1..) = pipe.read(&mut piece).await {
                let mut kept = kept.lock().expect("no panic while held");
                let room = MOST.saturating_sub(kept.len());
                kept.extend_from_slice(&piece[..length.min(room)]);
            }
        });
        Self { bytes, reader }
    }

    /// All that was printed, once the command has ended.
    async fn text(mut self) -> String {
        if tokio::time::timeout(PIPE, &mut self.reader).await.is_err() {
            self.reader.abort();
        }
        String::from_utf8_lossy(&self.bytes.lock().expect("no panic while held")).into_owned()
    }
}

/// Where programs are looked for: also where an administrator's are, which a shell that `su` opened may not know.
fn search_path() -> String {
    const ADMINISTRATION: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
    match std::env::var("PATH") {
        Ok(path) if !path.is_empty() => format!("{path}:{ADMINISTRATION}"),
        _ => ADMINISTRATION.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_service_that_a_command_leaves_is_not_waited_for() {
        let started = Instant::now();
        let output = output(&["sh", "-c", "echo hello; sleep 30 & echo $! >&2"], &[], None).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        assert_eq!((output.code, output.stdout.as_str()), (Some(0), "hello\n"));
        run(&["kill", output.stderr.trim()]).await.unwrap();
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended_with_all_that_it_started() {
        let line = "trap '' TERM; sleep 600 & echo $!; wait";
        let limit = Duration::from_millis(300);
        let failure = output_within(limit, &["sh", "-c", line], &[], None).await.unwrap_err();
        assert!(failure.cause.ends_with("did not end within 0 s"), "{}", failure.cause);
        let sleeper = failure.evidence.first().expect("what it printed");
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", sleeper.trim())).unwrap_or_default();
        let has_ended = || state().is_empty() || state().contains(") Z ");
        // It has the signal by now; the kernel may take a moment to end it.
        let until = Instant::now() + Duration::from_secs(10);
        while !has_ended() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(has_ended(), "{}", state());
    }

    #[tokio::test]
    async fn much_input_and_much_output_do_not_wait_for_each_other() {
        let input = vec![b'x'; 4 << 20];
        let output = output(&["cat"], &[], Some(&input)).await.unwrap();
        assert_eq!(output.stdout.len(), input.len());
    }
}
