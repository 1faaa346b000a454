//! A command on a host: its streams, its end, and running it to its end.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::handshake::{Farewell, said};
use crate::engine::Failure;

/// How much of a process's standard error is kept: its end.
const STDERR_TAIL: usize = 64 << 10;
/// How much is read ahead of what a command is fed with.
const PIECE: usize = 64 << 10;
/// Chunks of standard output that wait to be read before the host is made to wait.
const UNREAD_CHUNKS: usize = 16;

/// A running command. Each part stands for itself: see [`Stdin`], [`Stdout`] and [`Status`].
pub struct Process {
    pub stdin: Stdin,
    pub stdout: Stdout,
    pub status: Status,
}

/// How a process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; `None` if it was killed, or if the connection was lost before it was known.
    pub code: Option<u32>,
    /// The signal that killed it, without `SIG`.
    pub signal: Option<String>,
    /// The end of its standard error.
    pub stderr: String,
    /// The host would not start it.
    pub refused: bool,
}

/// What a command printed, and its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    pub code: u32,
    pub stdout: Vec<u8>,
    /// The end of it.
    pub stderr: String,
}

/// What a command may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub time: Duration,
    /// Of standard output.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), bytes: 1 << 20 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    #[error("the SSH connection was lost{}", why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Lost { why: Option<String> },
    #[error("the host's sshd refused to run a command: {why}")]
    Refused { why: String },
    #[error("the command did not end within {seconds} s")]
    TimedOut { seconds: u64 },
    #[error("the command printed more than {bytes} bytes")]
    TooMuch { bytes: usize },
    #[error("the command was killed by SIG{signal}")]
    Killed { signal: String },
}

impl From<ExecError> for Failure {
    fn from(error: ExecError) -> Self {
        let failure = Self::new(error.to_string());
        match error {
            ExecError::Lost { .. } => failure
                .hint_text("see that the host is up and its network steady, then run the same command again")
                .retryable(),
            ExecError::Refused { .. } => failure.hint_text(
                "see why on the host (`journalctl -u ssh -n 20`): MaxSessions, ForceCommand or a restricted key prevent commands",
            ),
            _ => failure,
        }
    }
}

impl Process {
    pub(super) fn new(channel: Channel<Msg>, farewell: Farewell) -> Self {
        let (read, write) = channel.split();
        let (stdout, unread) = mpsc::channel(UNREAD_CHUNKS);
        let (stdin_open, stdin_closed) = oneshot::channel();
        let (status_held, status_dropped) = oneshot::channel();
        let stderr = Arc::<Mutex<Vec<u8>>>::default();
        let ended = CancellationToken::new();
        let stdin = Stdin {
            writer: Box::pin(write.make_writer()),
            open: Some(stdin_open),
            ended: Box::pin(ended.clone().cancelled_owned()),
        };
        let pump = Pump { read, write, stdout, stdin_closed, status_dropped, stderr: stderr.clone() };
        let pump = tokio::spawn(async move {
            // Whatever ends the pump, nobody may go on waiting for room to write.
            let _ended = ended.drop_guard();
            pump.run().await
        });
        let status = Status { pump, exit: None, stderr, farewell, _held: status_held };
        Self { stdin, stdout: Stdout { unread, current: Vec::new(), offset: 0 }, status }
    }

    /// Closes its standard input, reads away what it still prints, and waits for its end.
    pub async fn wait(mut self) -> Exit {
        drop(self.stdin);
        while self.stdout.unread.recv().await.is_some() {}
        self.status.wait().await
    }

    /// Feeds it all of `input` and collects what it prints, to its end.
    pub(super) async fn output(self, input: impl AsyncRead + Unpin, limits: Limits) -> Result<ExecOutput, ExecError> {
        let Self { mut stdin, stdout, mut status } = self;
        let feed = async move {
            let mut input = BufReader::with_capacity(PIECE, input);
            // A command need not read all that it is given.
            let _ = tokio::io::copy_buf(&mut input, &mut stdin).await;
            drop(stdin);
        };
        let collect = async {
            let mut collected = Vec::new();
            // Reading never fails: an end too soon shows in the status.
            let _ = stdout.take(limits.bytes as u64 + 1).read_to_end(&mut collected).await;
            if collected.len() > limits.bytes {
                return Err(ExecError::TooMuch { bytes: limits.bytes });
            }
            let exit = status.wait().await;
            if exit.refused {
                return Err(ExecError::Refused { why: "the request was denied".into() });
            }
            match (exit.code, exit.signal) {
                (Some(code), _) => Ok(ExecOutput { code, stdout: collected, stderr: exit.stderr }),
                (None, Some(signal)) => Err(ExecError::Killed { signal }),
                (None, None) => Err(ExecError::Lost { why: said(&status.farewell) }),
            }
        };
        let both = async {
            tokio::pin!(collect);
            tokio::pin!(feed);
            tokio::select! {
                result = &mut collect => result,
                () = &mut feed => collect.await,
            }
        };
        tokio::time::timeout(limits.time, both)
            .await
            .unwrap_or(Err(ExecError::TimedOut { seconds: limits.time.as_secs() }))
    }
}

/// Knows how the process ended. Dropping it ends the process's channel: what it prints from then on is lost, and it reads
/// end of file.
pub struct Status {
    pump: tokio::task::JoinHandle<Exit>,
    exit: Option<Exit>,
    stderr: Arc<Mutex<Vec<u8>>>,
    farewell: Farewell,
    _held: oneshot::Sender<()>,
}

impl Status {
    /// Waits for the end. What it prints must be read meanwhile, or [`Stdout`] dropped.
    pub async fn wait(&mut self) -> Exit {
        if self.exit.is_none() {
            // The pump neither panics nor is aborted; if the runtime ends first, nothing is known of the process.
            self.exit = Some((&mut self.pump).await.unwrap_or_default());
        }
        self.exit.clone().unwrap_or_default()
    }

    /// The end of what the process has written to its standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// What the host said when it hung up, or why it is taken for dead.
    pub fn farewell(&self) -> Option<String> {
        said(&self.farewell)
    }
}

/// The process's standard input. Dropping it, or shutting it down, is end of file. Writing fails once the process has ended.
pub struct Stdin {
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    open: Option<oneshot::Sender<()>>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AsyncWrite for Stdin {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        // The writer itself would wait for ever for a window that no one opens any more.
        if self.open.is_none() || self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.writer.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.open = None;
        Poll::Ready(Ok(()))
    }
}

/// The process's standard output. If it is dropped, what comes is thrown away.
pub struct Stdout {
    unread: mpsc::Receiver<Vec<u8>>,
    current: Vec<u8>,
    offset: usize,
}

impl Stdout {
    /// Puts bytes back, to be read next.
    pub(crate) fn unread(&mut self, mut bytes: Vec<u8>) {
        bytes.extend_from_slice(&self.current[self.offset..]);
        (self.current, self.offset) = (bytes, 0);
    }

    /// The next bytes, as they came; `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        if self.offset < self.current.len() {
            let rest = self.current.split_off(self.offset);
            (self.current, self.offset) = (Vec::new(), 0);
            return Some(rest);
        }
        self.unread.recv().await
    }
}

impl AsyncRead for Stdout {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while self.offset == self.current.len() {
            match ready!(self.unread.poll_recv(cx)) {
                Some(chunk) => (self.current, self.offset) = (chunk, 0),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = buffer.remaining().min(self.current.len() - self.offset);
        buffer.put_slice(&self.current[self.offset..self.offset + count]);
        self.offset += count;
        Poll::Ready(Ok(()))
    }
}

/// Moves a channel's messages to where they belong until the channel ends.
struct Pump {
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    stdout: mpsc::Sender<Vec<u8>>,
    stdin_closed: oneshot::Receiver<()>,
    status_dropped: oneshot::Receiver<()>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Pump {
    async fn run(mut self) -> Exit {
        let mut exit = Exit::default();
        let mut stdin_open = true;
        loop {
            let message = tokio::select! {
                message = self.read.wait() => message,
                // Sending fails only where the session is gone, which the next message tells.
                _ = &mut self.stdin_closed, if stdin_open => {
                    stdin_open = false;
                    let _ = self.write.eof().await;
                    continue;
                }
                _ = &mut self.status_dropped => {
                    let _ = self.write.close().await;
                    break;
                }
            };
            match message {
                Some(ChannelMsg::Data { data }) => {
                    tokio::select! {
                        // Fails where nobody reads any more: the process's end is still of interest.
                        _ = self.stdout.send(data.into()) => {}
                        _ = &mut self.status_dropped => {
                            let _ = self.write.close().await;
                            break;
                        }
                    }
                }
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => keep_tail(&self.stderr, &data),
                Some(ChannelMsg::ExitStatus { exit_status }) => exit.code = Some(exit_status),
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => exit.signal = Some(format!("{signal_name:?}")),
                Some(ChannelMsg::Failure) => {
                    exit.refused = true;
                    let _ = self.write.close().await;
                    break;
                }
                Some(ChannelMsg::Close) | None => break,
                Some(_) => {}
            }
        }
        exit.stderr = text(&self.stderr);
        exit
    }
}

fn keep_tail(tail: &Mutex<Vec<u8>>, bytes: &[u8]) {
    let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
    tail.extend_from_slice(bytes);
    if tail.len() > STDERR_TAIL {
        let surplus = tail.len() - STDERR_TAIL;
        tail.drain(..surplus);
    }
}

fn text(bytes: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}
