//! When a failed attempt is repeated, and when it is not.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::fault::{Fault, Patience, Sort};
use crate::engine::{Failure, Progress, Result};

/// The pauses between attempts, and for how long attempts are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// About the first pause; each is twice the one before.
    pub first: Duration,
    /// About the longest pause, unless the server asks for more.
    pub longest: Duration,
    /// How long a host is tried that can't be reached, from the first attempt's begin.
    pub unreachable: Duration,
    /// How long a host is tried that is busy, or whose answers are cut, from the first failure: a download may take long.
    pub troubled: Duration,
    /// How many attempts the latter has at least.
    pub least: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(20),
            unreachable: Duration::from_secs(30),
            troubled: Duration::from_secs(180),
            least: 3,
        }
    }
}

impl Policy {
    /// For tests: the same in milliseconds.
    #[cfg(test)]
    pub fn quick() -> Self {
        Self {
            first: Duration::from_millis(4),
            longest: Duration::from_millis(30),
            unreachable: Duration::from_millis(60),
            troubled: Duration::from_millis(400),
            least: 3,
        }
    }

    /// The pause after this many failures, between half of what the doubling gives and all of it: hosts that failed together
    /// do not ask together again.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        doubled.min(self.longest).mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// What an attempt comes to. A failure is none of the way to the server: it ends the attempts.
pub type Attempt<T> = Result<Result<T, Fault>>;

/// Attempts by a policy, reported as they fail.
#[derive(Clone, Copy)]
pub struct Retry<'a> {
    pub policy: Policy,
    pub progress: &'a Progress,
}

/// How often a pause looks whether the run is to stop.
const HEARING: Duration = Duration::from_millis(100);

impl<'a> Retry<'a> {
    pub fn new(progress: &'a Progress) -> Self {
        Self { policy: Policy::default(), progress }
    }

    /// Makes attempts until one succeeds, a fault is final, or its time is over. `what` is what the attempts do, as
    /// `download https://…`.
    pub async fn run<'f, T>(
        &self,
        what: &str,
        sort: Sort,
        attempt: impl FnMut() -> BoxFuture<'f, Attempt<T>> + Send,
    ) -> Result<T> {
        self.attempts(what, attempt).await?.map_err(|fault| fault.failure(sort))
    }

    /// The same; it gives the last fault, with the number of attempts as its first evidence.
    pub async fn attempts<'f, T>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> BoxFuture<'f, Attempt<T>> + Send,
    ) -> Attempt<T> {
        let started = Instant::now();
        let mut troubled = None;
        let mut failures = 0;
        loop {
            let fault = match attempt().await? {
                Ok(value) => return Ok(Ok(value)),
                Err(fault) => fault,
            };
            failures += 1;
            let troubled: &Instant = troubled.get_or_insert_with(Instant::now);
            let asked = fault.asked_pause().unwrap_or_default();
            let pause = self.policy.pause(failures).max(asked);
            let is_over = match fault.patience() {
                Patience::None => true,
                Patience::Unreachable => started.elapsed() + pause > self.policy.unreachable,
                // A server that wants a longer pause than there is time for is not asked sooner.
                Patience::Troubled => {
                    let is_late = troubled.elapsed() + pause > self.policy.troubled;
                    asked > self.policy.troubled || (is_late && failures >= self.policy.least)
                }
            };
            if is_over {
                let tried = (failures > 1).then(|| format!("tried {failures} times"));
                let evidence: Vec<String> = tried.into_iter().chain(fault.evidence.iter().cloned()).collect();
                return Ok(Err(fault.evidence(evidence)));
            }
            self.progress.retrying(what, fault.cause(), pause);
            self.sleep(pause).await?;
        }
    }

    async fn sleep(&self, pause: Duration) -> Result<()> {
        let end = Instant::now() + pause;
        loop {
            if self.progress.is_cancelled() {
                return Err(Failure::interrupted());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(HEARING)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;

    use super::*;
    use crate::engine::{Cancel, Event, Sink};
    use crate::fetch::Kind;

    fn fault(kind: Kind) -> Fault {
        Fault::new(kind, "h")
    }

    /// Attempts that fail in these ways, and succeed after; how many were made, how long they took, what came of them.
    async fn run(progress: &Progress, kinds: Vec<Kind>) -> (usize, Duration, Result<()>) {
        let started = Instant::now();
        let made = AtomicUsize::new(0);
        let retry = Retry { policy: Policy::quick(), progress };
        let attempt = || {
            let at = made.fetch_add(1, Ordering::Relaxed);
            let result = kinds.get(at).map_or(Ok(()), |kind| Err(fault(kind.clone())));
            async move { Ok(result) }.boxed()
        };
        let result = retry.run("download x", Sort::Key, attempt).await;
        (made.load(Ordering::Relaxed), started.elapsed(), result)
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_reported() {
        let (sender, mut events) = tokio::sync::mpsc::unbounded_channel::<Event>();
        let progress = Progress::new(Sink::new("n1", sender), Cancel::default());
        let (made, took, result) = run(&progress, vec![Kind::Busy(503, None), Kind::Cut, Kind::Busy(502, None)]).await;
        assert_eq!((made, result), (4, Ok(())));
        // Half of 4, 8 and 16 ms at least.
        assert!(took >= Duration::from_millis(14), "{took:?}");
        let mut whys = Vec::new();
        while let Ok(event) = events.try_recv() {
            let crate::engine::Kind::Retrying { what, why, .. } = event.kind else { panic!("{event:?}") };
            assert_eq!(what, "download x");
            whys.push(why);
        }
        assert_eq!(whys[0], "h answers 503 Service Unavailable");
        assert_eq!(whys.len(), 3);
    }

    #[tokio::test]
    async fn what_is_final_is_final_at_once() {
        let (made, _, result) = run(&Progress::silent(), vec![Kind::Missing; 3]).await;
        assert_eq!(made, 1);
        let failure = result.unwrap_err();
        assert!(!failure.retryable && failure.evidence.is_empty(), "{failure:?}");
    }

    #[tokio::test]
    async fn the_time_for_attempts_is_limited_by_the_kind_of_fault() {
        let (unreachable, _, result) = run(&Progress::silent(), vec![Kind::UnknownName; 1000]).await;
        let failure = result.unwrap_err();
        assert!(failure.retryable, "{failure:?}");
        assert_eq!(failure.evidence, [format!("tried {unreachable} times")]);
        let (troubled, took, _) = run(&Progress::silent(), vec![Kind::Busy(503, None); 1000]).await;
        assert!(troubled > unreachable && took >= Policy::quick().troubled - Policy::quick().longest, "{took:?}");
    }

    #[tokio::test]
    async fn the_pause_that_a_server_asks_for_is_kept_and_too_long_a_one_is_not_waited_for() {
        let limited = |millis| Kind::RateLimit(Some(Duration::from_millis(millis)));
        let (made, took, result) = run(&Progress::silent(), vec![limited(150)]).await;
        assert_eq!((made, result), (2, Ok(())));
        assert!(took >= Duration::from_millis(150), "{took:?}");
        let (made, _, result) = run(&Progress::silent(), vec![limited(3_600_000)]).await;
        assert_eq!(made, 1);
        assert!(result.unwrap_err().cause.ends_with("asks for a pause of 3600 s"));
    }

    #[tokio::test]
    async fn a_run_that_is_to_stop_makes_no_further_attempt() {
        let cancel = Cancel::default();
        let (sender, _events) = tokio::sync::mpsc::unbounded_channel();
        let progress = Progress::new(Sink::new("n1", sender), cancel.clone());
        cancel.cancel();
        let (made, _, result) = run(&progress, vec![Kind::Cut; 3]).await;
        assert!(made == 1 && result.unwrap_err().interrupted);
    }

    #[test]
    fn pauses_grow_up_to_a_limit_and_differ() {
        let policy = Policy::default();
        let pauses: Vec<Duration> = (1..40).map(|failures| policy.pause(failures)).collect();
        assert!(pauses[0] >= Duration::from_millis(250) && pauses[0] <= Duration::from_millis(500));
        assert!(pauses.iter().all(|pause| *pause <= policy.longest));
        assert!(pauses[20..].iter().collect::<std::collections::BTreeSet<_>>().len() > 1);
    }
}
