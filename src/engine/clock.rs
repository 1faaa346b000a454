//! Times as events and the journal have them: in milliseconds.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Since 1970.
pub fn now_millis() -> u64 {
    whole(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub fn millis_since(start: Instant) -> u64 {
    whole(start.elapsed())
}

fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
