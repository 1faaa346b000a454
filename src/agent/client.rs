//! The controller's side of the conversation.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, Lines};
use tokio::sync::{Mutex, mpsc};

use super::protocol::{MARKER, PhaseRun, Reply, Request, ResolveRun};
use crate::adopt::Survey;
use crate::engine::{Event, Failure, Kind, Outcome, Result, Sink};
use crate::facts::{EtcdView, Facts};
use crate::lock::Resolved;
use crate::steps::{Context, Outputs};

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A conversation with one agent. Requests are answered one after the other; a cancellation may be sent at any time.
pub struct Client {
    replies: Mutex<Lines<BufReader<Reader>>>,
    requests: Arc<Mutex<Writer>>,
}

impl Client {
    pub fn new(
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        let reader: Reader = Box::new(input);
        let writer: Writer = Box::new(output);
        Self { replies: Mutex::new(BufReader::new(reader).lines()), requests: Arc::new(Mutex::new(writer)) }
    }

    pub async fn facts(&self) -> Result<Facts> {
        let mut replies = self.replies.lock().await;
        self.send(&Request::Facts).await?;
        loop {
            if let Reply::Facts { facts } = next(&mut replies).await? {
                return facts.map(|facts| *facts);
            }
        }
    }

    /// Asks what the host would get.
    pub async fn resolve(&self, run: ResolveRun) -> Result<Resolved> {
        let mut replies = self.replies.lock().await;
        self.send(&Request::Resolve(Box::new(run))).await?;
        loop {
            if let Reply::Resolved { resolved } = next(&mut replies).await? {
                return resolved.map(|resolved| *resolved);
            }
        }
    }

    /// Asks what the host has of a cluster.
    pub async fn survey(&self) -> Result<Survey> {
        let mut replies = self.replies.lock().await;
        self.send(&Request::Survey).await?;
        loop {
            if let Reply::Surveyed { survey } = next(&mut replies).await? {
                return survey.map(|survey| *survey);
            }
        }
    }

    /// Asks how an etcd that is not kboot's looks from the host; none where the host has nothing to ask it with.
    pub async fn etcd(&self, context: Context) -> Result<Option<EtcdView>> {
        let mut replies = self.replies.lock().await;
        self.send(&Request::Etcd(Box::new(context))).await?;
        loop {
            if let Reply::Etcd { view } = next(&mut replies).await? {
                return view;
            }
        }
    }

    /// Runs a phase to its end; its events go to `events` as they come. A failure that was no step's is told there, too.
    pub async fn run(&self, run: PhaseRun, events: &mpsc::UnboundedSender<Event>) -> Result<Outputs> {
        let sink = Sink::new(&run.context.host, events.clone()).phase(&run.phase);
        let mut is_told = false;
        let result = self.exchange(run, events, &mut is_told).await;
        if let Err(failure) = &result
            && !is_told
        {
            sink.emit(Kind::Failed { failure: failure.clone() });
            sink.emit(Kind::PhaseFinished { outcome: Outcome::Failed, millis: 0 });
        }
        result
    }

    async fn exchange(
        &self,
        run: PhaseRun,
        events: &mpsc::UnboundedSender<Event>,
        is_told: &mut bool,
    ) -> Result<Outputs> {
        let mut replies = self.replies.lock().await;
        self.send(&Request::Run(Box::new(run))).await?;
        loop {
            match next(&mut replies).await? {
                Reply::Event { event } => {
                    *is_told |= matches!(event.kind, Kind::Failed { .. });
                    let _ = events.send(*event);
                }
                Reply::Done { result } => return result.map(|outputs| *outputs),
                Reply::Facts { .. }
                | Reply::Resolved { .. }
                | Reply::Surveyed { .. }
                | Reply::Etcd { .. }
                | Reply::Ended { .. } => {}
            }
        }
    }

    /// Has the run's end written down; the milliseconds that all of its writing took, if anything was written.
    pub async fn end(&self, outcome: Outcome) -> Result<Option<u64>> {
        let mut replies = self.replies.lock().await;
        self.send(&Request::End { outcome }).await?;
        loop {
            if let Reply::Ended { result } = next(&mut replies).await? {
                return result;
            }
        }
    }

    /// Asks the running phase to stop after the change in hand.
    pub async fn cancel(&self) {
        // An agent that does not hear this is gone, and stops by that.
        let _ = self.send(&Request::Cancel).await;
    }

    async fn send(&self, request: &Request) -> Result<()> {
        let mut line = serde_json::to_vec(request).expect("requests are plain data");
        line.push(b'\n');
        let mut output = self.requests.lock().await;
        let sent = async {
            output.write_all(&line).await?;
            output.flush().await
        };
        sent.await.map_err(|_: std::io::Error| lost())
    }
}

async fn next(replies: &mut Lines<BufReader<Reader>>) -> Result<Reply> {
    loop {
        let line = replies.next_line().await.map_err(|_| lost())?.ok_or_else(lost)?;
        if line.trim() == MARKER {
            continue;
        }
        return serde_json::from_str(&line)
            .map_err(|error| Failure::new(format!("failed to understand the agent: {error}")));
    }
}

fn lost() -> Failure {
    Failure::new("the connection to the host was lost")
        .hint("see that the host is up, then run the same command again: it goes on where this one stopped")
        .retryable()
}
