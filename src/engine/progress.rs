//! How a change that needs several attempts reports them, and learns that it is to stop.

use std::time::Duration;

use super::{Cancel, Kind, Sink};

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
    pub fn retrying(&self, what: &str, why: &str, pause: Duration) {
        if let Some(sink) = &self.sink {
            let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            sink.emit(Kind::Retrying { what: what.into(), why: why.into(), millis });
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
