//! Ctrl-C, the wish of a service manager (SIGTERM), or the end of the terminal (SIGHUP).
//!
//! While hosts are changed the first of them lets each host finish the change in hand; the second ends this process at once, as the first
//! does at any other time. Once a process hears signals it hears them to its end: so there is one listener, and runs come to it.

use std::sync::{Arc, Mutex, Once, PoisonError};

use futures_util::future::{join_all, select_all};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::agent::Client;
use crate::cli::exit::INTERRUPTED;
use crate::engine::Cancel;

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

struct Running {
    cancel: Cancel,
    clients: Vec<Arc<Client>>,
}

/// A run that can be stopped, until this is dropped.
pub struct Stoppable;

impl Stoppable {
    pub fn new(cancel: Cancel, clients: Vec<Arc<Client>>) -> Self {
        static LISTENING: Once = Once::new();
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { cancel, clients });
        LISTENING.call_once(|| {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            // Where they can't be heard, they end the process as they do by themselves.
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
        // A host that hangs must not keep the next signal from being heard.
        tokio::spawn(async move { join_all(clients.iter().map(|client| client.cancel())).await });
    }
}
