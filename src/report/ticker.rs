//! Something that must also act when time passes, not only when something happens. One thread, which sleeps until it's due.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

pub(super) trait Timed: Send + 'static {
    /// When to call [`Timed::tick`] next; None while nothing is due.
    fn due(&self) -> Option<Instant>;

    /// Time has passed. Must put off what is due, or it's called again at once.
    fn tick(&mut self, now: Instant);
}

/// Keeps a [`Timed`] and its thread; dropping it ends the thread.
pub(super) struct Ticker<T: Timed> {
    shared: Arc<Shared<T>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    timed: T,
    /// What the thread sleeps until.
    next: Option<Instant>,
    is_over: bool,
}

impl<T: Timed> Ticker<T> {
    pub fn new(timed: T) -> Self {
        let state = Mutex::new(State { timed, next: None, is_over: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let clock = shared.clone();
        // Without a thread nothing but the passing of time goes unreported; that must not end a run.
        let thread = std::thread::Builder::new().name("report".into()).spawn(move || clock.run()).ok();
        Self { shared, thread }
    }

    pub fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        let mut state = self.shared.lock();
        let result = act(&mut state.timed);
        let due = state.timed.due();
        if due.is_some_and(|due| state.next.is_none_or(|next| due < next)) {
            self.shared.changed.notify_one();
        }
        result
    }
}

impl<T: Timed> Drop for Ticker<T> {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, which has been told on the standard error.
            let _ = thread.join();
        }
    }
}

impl<T: Timed> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.is_over {
            let now = Instant::now();
            state.next = state.timed.due();
            state = match state.next {
                Some(due) if due <= now => {
                    state.timed.tick(now);
                    continue;
                }
                Some(due) => {
                    let woken = self.changed.wait_timeout(state, due - now);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use super::*;

    struct Alarm {
        due: Option<Instant>,
        rings: Sender<Instant>,
    }

    impl Timed for Alarm {
        fn due(&self) -> Option<Instant> {
            self.due
        }

        fn tick(&mut self, now: Instant) {
            self.due = None;
            let _ = self.rings.send(now);
        }
    }

    #[test]
    fn it_ticks_when_due_and_not_before() {
        let (rings, heard) = channel();
        let ticker = Ticker::new(Alarm { due: None, rings });
        let start = Instant::now();
        let far = start + Duration::from_secs(600);
        ticker.with(|alarm| alarm.due = Some(far));
        // An earlier time wakes the sleeper.
        let near = start + Duration::from_millis(30);
        ticker.with(|alarm| alarm.due = Some(near));
        let rung = heard.recv_timeout(Duration::from_secs(20)).expect("it rings");
        assert!(rung >= near && rung < far);
        assert!(heard.try_recv().is_err());
    }

    #[test]
    fn dropping_it_ends_the_thread_at_once() {
        let (rings, heard) = channel();
        let due = Some(Instant::now() + Duration::from_secs(600));
        drop(Ticker::new(Alarm { due, rings }));
        // The thread held the other end.
        assert!(
            heard
                .recv_timeout(Duration::from_secs(20))
                .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Disconnected)
        );
    }
}
