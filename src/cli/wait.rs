//! The flag for how long a command waits for a host that another kboot run has locked.

use std::time::Duration;

use clap::Args;

/// The flag of every command that takes the hosts' locks.
#[derive(Args)]
pub struct WaitArgs {
    /// How long to wait for a host that another kboot run has locked, for example 30s, 10m or 2h. Default: do not wait; report who
    /// holds the lock and skip the host
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait_lock: Option<Duration>,
}

impl WaitArgs {
    pub fn limit(&self) -> Duration {
        self.wait_lock.unwrap_or_default()
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    const WANTED: &str = "a whole number and a unit, s, m or h, as in 10m";
    let digits = text.trim_end_matches(['s', 'm', 'h']);
    let seconds = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(WANTED.into()),
    };
    // `parse` would also accept a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WANTED.into());
    }
    let count: u64 = digits.parse().map_err(|_| WANTED)?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "too long".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        for (text, seconds) in [("0s", 0), ("30s", 30), ("10m", 600), ("2h", 7200)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "s", "30", "-1s", "+1s", "1.5h", "10min", "1d", "99999999999999999999s", "9999999999999999999h", "5 m"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
