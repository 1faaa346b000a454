//! The controller's side of the conversation.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::lines::{LONGEST, Lines, MOST, Unheard};
use super::patience::{self, NOTICE, Patience, SEND, STOP};
use super::protocol::{MARKER, PhaseRun, Reply, Request, ResolveRun};
use super::said::Said;
use crate::adopt::Survey;
use crate::engine::{Event, Failure, Hint, Kind, Outcome, Result, Sink};
use crate::facts::{EtcdView, Facts};
use crate::lock::Resolved;
use crate::steps::{Context, Outputs};

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A conversation with one agent. Requests are answered one after the other; a cancellation may be sent at any time.
///
/// A host is not trusted to answer at all, nor to answer what it is asked: every request has a limit, and a host that breaks one is not
/// listened to any more.
pub struct Client {
    /// Whether it is a host's. This very process is trusted.
    is_foreign: bool,
    /// None once the host was given up.
    replies: Mutex<Option<Lines<BufReader<Reader>>>>,
    requests: Arc<Mutex<Writer>>,
    stop: CancellationToken,
    /// What counts instead of each request's own limits.
    patience: Option<Patience>,
}

impl Client {
    /// The agent of a host.
    pub fn new(
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self::with(true, input, output)
    }

    /// An agent in this process.
    pub(super) fn here(
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self::with(false, input, output)
    }

    fn with(
        is_foreign: bool,
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        let reader: Reader = Box::new(input);
        let writer: Writer = Box::new(output);
        let replies = Mutex::new(Some(Lines::new(BufReader::new(reader))));
        let requests = Arc::new(Mutex::new(writer));
        Self { is_foreign, replies, requests, stop: CancellationToken::new(), patience: None }
    }

    /// With limits that a test can wait for.
    #[cfg(test)]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience: Some(patience), ..self }
    }

    fn patience(&self, request: &Request) -> Patience {
        self.patience.unwrap_or_else(|| Patience::of(request))
    }

    pub async fn facts(&self) -> Result<Facts> {
        self.ask(&Request::Facts, |reply| match reply {
            Reply::Facts { facts } => Some(facts.map(|facts| *facts)),
            _ => None,
        })
        .await
    }

    /// Asks what the host would get. What it has to fetch again meanwhile goes to `sink`.
    pub async fn resolve(&self, run: ResolveRun, sink: &Sink) -> Result<Resolved> {
        self.ask(&Request::Resolve(Box::new(run)), |reply| match reply {
            Reply::Resolved { resolved } => Some(resolved.map(|resolved| *resolved)),
            Reply::Event { event } => {
                if let Some(kind) = super::said::retrying(event.kind) {
                    sink.emit(kind);
                }
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
        let mut said = Said::of(&run, self.is_foreign);
        let result = self.exchange(run, &sink, &mut said).await;
        if let Err(failure) = &result
            && !said.has_failed
        {
            sink.emit(Kind::Failed { failure: failure.clone() });
            sink.emit(Kind::PhaseFinished { outcome: Outcome::Failed, millis: 0 });
        }
        result
    }

    async fn exchange(&self, run: PhaseRun, sink: &Sink, said: &mut Said) -> Result<Outputs> {
        let request = Request::Run(Box::new(run));
        let mut wait = Wait::new(self.patience(&request));
        let mut replies = self.replies.lock().await;
        self.send(&request, &mut replies).await?;
        drop(request);
        loop {
            match self.next(&mut replies, &mut wait, Some(sink)).await? {
                Reply::Event { event } => {
                    if let Some(event) = said.take(*event, self.stop.is_cancelled()) {
                        wait.change(&event);
                        sink.pass(event);
                    }
                }
                Reply::Done { result } => {
                    return result.map(|outputs| *outputs).map_err(|failure| self.worded(failure));
                }
                Reply::Alive
                | Reply::Facts { .. }
                | Reply::Resolved { .. }
                | Reply::Surveyed { .. }
                | Reply::Etcd { .. }
                | Reply::Read { .. }
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
    pub(super) async fn ask<T>(&self, request: &Request, answer: impl Fn(Reply) -> Option<Result<T>>) -> Result<T> {
        let mut wait = Wait::new(self.patience(request));
        let mut replies = self.replies.lock().await;
        self.send(request, &mut replies).await?;
        loop {
            if let Some(answer) = answer(self.next(&mut replies, &mut wait, None).await?) {
                return answer.map_err(|failure| self.worded(failure));
            }
        }
    }

    /// A failure in a host's own words.
    fn worded(&self, failure: Failure) -> Failure {
        if self.is_foreign { super::said::failure(failure) } else { failure }
    }

    /// Asks the running phase to stop after the change in hand. A host that does not stop soon after it is waited for no longer.
    pub async fn cancel(&self) {
        self.stop.cancel();
        // An agent that does not hear this is gone, and stops by that.
        let _ = timeout(STOP, self.write(&Request::Cancel)).await;
    }

    /// Sends a request to a host that was not given up, and counts anew what it says.
    async fn send(&self, request: &Request, replies: &mut Option<Lines<BufReader<Reader>>>) -> Result<()> {
        replies.as_mut().ok_or_else(lost)?.begin();
        let sent = tokio::select! {
            sent = timeout(SEND, self.write(request)) => sent.unwrap_or_else(|_| Err(patience::silent(SEND))),
            () = self.stopped(STOP) => Err(unstopped()),
        };
        if sent.is_err() {
            *replies = None;
        }
        sent
    }

    async fn write(&self, request: &Request) -> Result<()> {
        let mut line = serde_json::to_vec(request).expect("requests are plain data");
        line.push(b'\n');
        let mut output = self.requests.lock().await;
        let sent = async {
            output.write_all(&line).await?;
            output.flush().await
        };
        sent.await.map_err(|_: std::io::Error| lost())
    }

    /// The run was stopped so long ago.
    async fn stopped(&self, since: std::time::Duration) {
        self.stop.cancelled().await;
        tokio::time::sleep(since).await;
    }

    /// The next reply. After an error the host is not listened to any more.
    async fn next(
        &self,
        replies: &mut Option<Lines<BufReader<Reader>>>,
        wait: &mut Wait,
        sink: Option<&Sink>,
    ) -> Result<Reply> {
        let heard = match replies {
            Some(lines) => self.hear(lines, wait, sink).await,
            None => Err(lost()),
        };
        if heard.is_err() {
            // Its connection ends with this, and with that the agent, after the change in hand.
            *replies = None;
        }
        heard
    }

    async fn hear(&self, lines: &mut Lines<BufReader<Reader>>, wait: &mut Wait, sink: Option<&Sink>) -> Result<Reply> {
        loop {
            let (until, failure) = wait.end();
            let notice = wait.notice();
            let line = tokio::select! {
                biased;
                line = lines.next() => line,
                () = self.stop.cancelled(), if wait.stopped.is_none() => {
                    wait.stopped = Some(Instant::now());
                    continue;
                }
                () = tokio::time::sleep_until(notice), if !wait.is_noticed && sink.is_some() => {
                    wait.is_noticed = true;
                    if let Some(sink) = sink {
                        sink.emit(Kind::Silent { millis: NOTICE.as_millis() as u64 });
                    }
                    continue;
                }
                () = tokio::time::sleep_until(until) => return Err(failure),
            };
            let line = line.map_err(unheard)?;
            // One that talks without end would never let the limits be looked at.
            if wait.is_over() {
                return Err(failure);
            }
            wait.heard = Instant::now();
            wait.is_noticed = false;
            if line.trim_ascii() == MARKER.as_bytes() {
                continue;
            }
            match serde_json::from_slice(&line) {
                Ok(Reply::Alive) => {}
                Ok(reply) => return Ok(reply),
                // The error may repeat what was said, and that may be anything.
                Err(_) => return Err(Failure::new("failed to understand the agent").hint(Hint::OtherProgramAnswers)),
            }
        }
    }
}

/// How long an answer has been waited for.
struct Wait {
    patience: Patience,
    began: Instant,
    heard: Instant,
    /// When the run was stopped.
    stopped: Option<Instant>,
    /// The steps that have a change in hand.
    changing: BTreeSet<String>,
    /// When the last of them was done.
    changed: Instant,
    /// Whether it was said that this host is waited for.
    is_noticed: bool,
}

impl Wait {
    fn new(patience: Patience) -> Self {
        let now = Instant::now();
        let (began, heard, changed) = (now, now, now);
        Self { patience, began, heard, stopped: None, changing: BTreeSet::new(), changed, is_noticed: false }
    }

    fn change(&mut self, event: &Event) {
        match event.kind {
            Kind::ChangeStarted { .. } => drop(self.changing.insert(event.step.clone())),
            Kind::ChangeFinished { .. } | Kind::StepFinished { .. } => {
                self.changing.remove(&event.step);
                self.changed = Instant::now();
            }
            _ => {}
        }
    }

    /// When it is over, and what is wrong then.
    fn end(&self) -> (Instant, Failure) {
        let Patience { silence, total } = self.patience;
        let limits =
            [(self.heard + silence, patience::silent(silence)), (self.began + total, patience::overdue(total))];
        let stop = self.stopped.map(|stopped| {
            let since = if self.changing.is_empty() { stopped.max(self.changed) } else { stopped.max(self.heard) };
            (since + STOP, unstopped())
        });
        limits.into_iter().chain(stop).min_by_key(|(at, _)| *at).expect("there are two limits at least")
    }

    /// Whether even one that is heard has had its time.
    fn is_over(&self) -> bool {
        let stop = self.stopped.filter(|_| self.changing.is_empty()).map(|stopped| stopped.max(self.changed) + STOP);
        let total = self.began + self.patience.total;
        Instant::now() > stop.map_or(total, |stop| stop.min(total))
    }

    fn notice(&self) -> Instant {
        self.heard + NOTICE
    }
}

fn lost() -> Failure {
    Failure::new("the connection to the host was lost").hint(Hint::ReconnectAndRunAgain).retryable()
}

/// The run was stopped, and the host did not follow.
fn unstopped() -> Failure {
    let cause = format!("interrupted; the host did not stop within {} s and was left alone", STOP.as_secs());
    Failure { cause: cause.into(), ..Failure::interrupted() }
}

fn unheard(why: Unheard) -> Failure {
    match why {
        Unheard::Lost => lost(),
        Unheard::TooLong => {
            Failure::new(format!("the host sent a line of more than {} MiB", LONGEST >> 20)).hint(Hint::SuspectHost)
        }
        Unheard::TooMuch => {
            Failure::new(format!("the host sent more than {} MiB in answer to one request", MOST >> 20))
                .hint(Hint::SuspectHost)
        }
    }
}
