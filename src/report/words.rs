//! Numbers and times as people write them.

use crate::engine::Text;

/// `1 change`, `2 changes`.
pub fn count(number: usize, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// `0.4 s`, `12 s`, `1 min 5 s`, `2 h 3 min`.
pub(super) fn duration(millis: u64) -> String {
    if millis < 9_950 {
        // Rounded to tenths in whole numbers: 0.05 as a float is a little less than it says.
        let tenths = (millis + 50) / 100;
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    whole_seconds((millis + 500) / 1_000)
}

/// As [`duration`], without tenths.
pub(super) fn whole_seconds(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// That an attempt failed, and when the next one follows.
pub fn retrying(what: &Text, why: &Text, millis: u64) -> String {
    format!("failed to {what}: {why}; trying again in {}", duration(millis))
}

/// `n1`, `n1 and n2`, `n1, n2 and n3`, `n1, n2 and 478 more`.
pub(super) fn names(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first, second] => format!("{first} and {second}"),
        [first, second, third] => format!("{first}, {second} and {third}"),
        [first, second, rest @ ..] => format!("{first}, {second} and {} more", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_get_coarser_as_they_grow() {
        let shown =
            [0, 49, 50, 120, 9_949, 9_950, 59_499, 59_500, 61_000, 3_599_499, 3_600_000, 7_380_000].map(duration);
        assert_eq!(
            shown.join(" | "),
            "0.0 s | 0.0 s | 0.1 s | 0.1 s | 9.9 s | 10 s | 59 s | 1 min 0 s | 1 min 1 s | 59 min 59 s | 1 h 0 min | 2 h 3 min"
        );
    }

    #[test]
    fn one_thing_is_singular() {
        assert_eq!([0, 1, 2].map(|n| count(n, "host")), ["0 hosts", "1 host", "2 hosts"]);
    }

    #[test]
    fn many_names_are_summed_up() {
        let hosts: Vec<String> = (1..=5).map(|n| format!("n{n}")).collect();
        let shown: Vec<String> = (1..=5).map(|n| names(&hosts[..n])).collect();
        assert_eq!(shown, ["n1", "n1 and n2", "n1, n2 and n3", "n1, n2 and 2 more", "n1, n2 and 3 more"]);
    }
}
