//! How what takes long says that it goes on, and how a change that needs several attempts reports them, and learns that it is to stop.

use std::time::Duration;

use super::{Cancel, Kind, Sink, Text};

/// After how long something in hand is said to go on; then again after twice as long.
pub(super) const LONG: Duration = Duration::from_secs(10);

/// Does what may take long, and says again and again that it goes on: after `pause`, after twice as long, and so on.
pub(super) async fn telling<T>(pause: Duration, sink: &Sink, what: &str, work: impl Future<Output = T>) -> T {
    let started = tokio::time::Instant::now();
    let mut work = std::pin::pin!(work);
    let mut due = pause;
    loop {
        match tokio::time::timeout_at(started + due, &mut work).await {
            Ok(done) => return done,
            Err(_) => {
                let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                sink.emit(Kind::InProgress { what: what.into(), millis });
                due *= 2;
            }
        }
    }
}

/// The way from a change in hand to whoever watches the run. Cheap to clone.
#[derive(Clone, Default)]
pub struct Progress {
    sink: Option<Sink>,
    cancel: Cancel,
}

impl Progress {
    pub fn new(sink: Sink, cancel: Cancel) -> Self {
        Self { sink: Some(sink), cancel }
    }

    /// Nobody watches.
    pub fn silent() -> Self {
        Self::default()
    }

    /// An attempt failed, and another one follows after a pause.
    pub fn retrying(&self, what: &str, why: impl Into<Text>, pause: Duration) {
        if let Some(sink) = &self.sink {
            let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            sink.emit(Kind::Retrying { what: what.into(), why: why.into(), millis });
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_long_says_so_at_growing_intervals() {
        let (sender, mut inbox) = tokio::sync::mpsc::unbounded_channel();
        let sink = Sink::new("n1", sender).phase("reset").step("unmount");
        let pause = Duration::from_millis(50);
        // Told after 50, 100 and 200 ms.
        let done = telling(pause, &sink, "unmount /a", async {
            tokio::time::sleep(pause * 6).await;
            7
        });
        assert_eq!(done.await, 7);
        assert_eq!(telling(pause, &sink, "quick", async { 8 }).await, 8);
        drop(sink);
        let mut told = Vec::new();
        while let Some(event) = inbox.recv().await {
            let Kind::InProgress { what, millis } = event.kind else { panic!("{event:?}") };
            assert_eq!((event.host.as_str(), event.step.as_str(), &*what), ("n1", "unmount", "unmount /a"));
            told.push(millis);
        }
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0] >= 50 && told[1] >= 100 && told[2] >= 200, "{told:?}");
    }
}
