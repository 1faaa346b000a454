//! The signals of Ctrl-C (SIGINT), of a service manager (SIGTERM), and of a terminal that closes (SIGHUP).
//!
//! While a run changes hosts, the first signal lets each host finish its current change, and the second ends this process at once. At
//! any other time, the first signal ends the process. A process that handles signals handles them to its end. So there is one
//! listener, and runs register with it.

use std::sync::{Arc, Mutex, Once, PoisonError};

use futures_util::future::{join_all, select_all};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::agent::Client;
use crate::engine::Cancel;

/// The exit code of a run that a signal ended.
pub const INTERRUPTED: u8 = 130;

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

struct Running {
    cancel: Cancel,
    clients: Vec<Arc<Client>>,
}

/// A run that signals can stop, until this is dropped.
pub struct Stoppable;

impl Stoppable {
    pub fn new(cancel: Cancel, clients: Vec<Arc<Client>>) -> Self {
        static LISTENING: Once = Once::new();
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { cancel, clients });
        LISTENING.call_once(|| {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            // If the process can't handle signals, they end it, as they do by default.
            if let Ok(signals) = kinds.into_iter().map(signal).collect::<Result<Vec<_>, _>>() {
                tokio::spawn(listen(signals));
            }
        });
        Self
    }
}

impl Drop for Stoppable {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[expect(clippy::disallowed_methods, reason = "the second signal is for when nothing else helps")]
async fn listen(mut signals: Vec<Signal>) {
    loop {
        select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { cancel, clients }) = running else { std::process::exit(i32::from(INTERRUPTED)) };
        cancel.cancel();
        // A host that hangs must not block the next signal.
        tokio::spawn(async move { join_all(clients.iter().map(|client| client.cancel())).await });
    }
}
