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
        self.ask(&Request::Facts, |reply| match reply {
            Reply::Facts { facts } => Some(facts.map(|facts| *facts)),
            _ => None,
        })
        .await
    }

    /// Asks what the host would get. What happens meanwhile goes to `events`.
    pub async fn resolve(&self, run: ResolveRun, events: &mpsc::UnboundedSender<Event>) -> Result<Resolved> {
        self.ask(&Request::Resolve(Box::new(run)), |reply| match reply {
            Reply::Resolved { resolved } => Some(resolved.map(|resolved| *resolved)),
            Reply::Event { event } => {
                let _ = events.send(*event);
                None
            }
            _ => None,
        })
        .await
    }

    /// Asks what the host has of a cluster.
    pub async fn survey(&self) -> Result<Survey> {
        self.ask(&Request::Survey, |reply| match reply {
            Reply::Surveyed { survey } => Some(survey.map(|survey| *survey)),
            _ => None,
        })
        .await
    }

    /// Asks how an etcd that is not kboot's looks from the host; none where the host has nothing to ask it with.
    pub async fn etcd(&self, context: Context) -> Result<Option<EtcdView>> {
        self.ask(&Request::Etcd(Box::new(context)), |reply| match reply {
            Reply::Etcd { view } => Some(view),
            _ => None,
        })
        .await
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
        self.ask(&Request::End { outcome }, |reply| match reply {
            Reply::Ended { result } => Some(result),
            _ => None,
        })
        .await
    }

    /// Waits for the reply of this kind; what an earlier request still had to say is passed over.
    async fn ask<T>(&self, request: &Request, answer: impl Fn(Reply) -> Option<Result<T>>) -> Result<T> {
        let mut replies = self.replies.lock().await;
        self.send(request).await?;
        loop {
            if let Some(answer) = answer(next(&mut replies).await?) {
                return answer;
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
