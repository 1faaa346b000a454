//! Processes that end in time, and everything that they said.

use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Limits are what an idle machine needs. Labs side by side on two cores may take so many times as long; only a test that fails waits that
/// long.
const PATIENCE: u32 = 4;

/// A process under way, in a group of its own that is killed when this is dropped.
pub struct Running {
    what: String,
    child: Child,
    started: Instant,
    stdout: Stream,
    stderr: Stream,
}

/// How a process ended.
#[derive(Clone)]
pub struct Done {
    pub what: String,
    /// None if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Running {
    /// Starts it with `input` as its standard input.
    pub fn start(mut command: Command, input: &str) -> Self {
        let what = show(&command);
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_owned();
        // A process that doesn't read all of its input is no failure of the test's.
        thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let stdout = Stream::new(child.stdout.take().expect("piped"));
        let stderr = Stream::new(child.stderr.take().expect("piped"));
        Self { what, child, started: Instant::now(), stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_some()
    }

    /// Waits until `is_so` holds of the standard output so far. It must come about while the process runs.
    #[track_caller]
    pub fn until(&mut self, limit: Duration, what: &str, is_so: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + limit * PATIENCE;
        loop {
            let ended = self.has_ended();
            if is_so(&self.stdout()) {
                return;
            }
            if ended || Instant::now() > deadline {
                let end = if ended { "it ended" } else { "time is up" };
                panic!("{end} before there was {what}: {}\n{}", self.what, self.said_last());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal to the process itself, not to its group.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it is ours and not waited for");
    }

    /// Waits for its end. One that takes longer than `limit` from now on is killed, and the test fails.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Done {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                break status;
            }
            if Instant::now() > deadline {
                panic!("not done after {} s: {}\n{}", limit.as_secs(), self.what, self.said_last());
            }
            thread::sleep(Duration::from_millis(5));
        };
        self.done(status)
    }

    fn said_last(&self) -> String {
        let said = self.stdout();
        let lines: Vec<&str> = said.lines().collect();
        format!("{}\n{}", lines[lines.len().saturating_sub(15)..].join("\n"), self.stderr.text())
    }

    fn done(mut self, status: ExitStatus) -> Done {
        let took = self.started.elapsed();
        Done {
            what: std::mem::take(&mut self.what),
            code: status.code(),
            stdout: self.stdout.end(),
            stderr: self.stderr.end(),
            took,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let group = rustix::process::Pid::from_child(&self.child);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            let status = self.child.wait();
            debug_assert!(status.is_ok_and(|status| status.signal().is_some()));
        }
    }
}

impl Done {
    /// It succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ends(0)
    }

    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "unexpected exit code\n{self}");
        self
    }

    /// All that it said.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// It said each of these, on whichever stream.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        let said = self.text();
        for text in texts {
            assert!(said.contains(text), "it doesn't say {text:?}\n{self}");
        }
        self
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, code, stdout, stderr, took } = self;
        let code = code.map_or("by a signal".into(), |code| format!("with {code}"));
        write!(f, "$ {what}\n{stdout}{stderr}(ended {code} after {:.1} s)", took.as_secs_f64())
    }
}

/// Reads a pipe to its end, beside the test.
struct Stream {
    text: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Stream {
    fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let sink = text.clone();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                sink.lock().expect("nobody panics with it").extend_from_slice(&buffer[..count]);
            }
        });
        Self { text, reader }
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.text.lock().expect("nobody panics with it")).into_owned();
        if words_are_disguised() { undisguised(&text) } else { text }
    }

    /// What was said, once the pipe is closed. A grandchild that keeps it open is not waited for.
    fn end(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(2);
        while !self.reader.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        self.text()
    }
}

/// Whether kboot's own words have other letters in this run: what decides by them fails then (src/engine/disguise.rs). Takes a build with
/// debug assertions.
pub fn words_are_disguised() -> bool {
    std::env::var("KBOOT_WORDS").is_ok_and(|words| words == "disguised")
}

/// The letters as they are in the source.
fn undisguised(text: &str) -> String {
    let ascii = |first: char, c: char, base: u8| {
        let offset = u32::from(c).checked_sub(u32::from(first)).and_then(|offset| u8::try_from(offset).ok());
        offset.filter(|offset| *offset < 26).map(|offset| char::from(base + offset))
    };
    text.chars().map(|c| ascii('𝙰', c, b'A').or_else(|| ascii('𝚊', c, b'a')).unwrap_or(c)).collect()
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Tries until it holds; tells why not when time is up.
#[track_caller]
pub fn eventually(limit: Duration, what: &str, mut attempt: impl FnMut() -> Result<(), String>) {
    let limit = limit * PATIENCE;
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(()) => return,
            Err(why) if Instant::now() > deadline => panic!("not within {} s: {what}\n{why}", limit.as_secs()),
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
}
