//! Spans of time as Go writes them: `24h0m0s`, `1h30m`, `0`.

/// Nanoseconds; None if it is none. Go takes signs, too, which no field here has a use for.
fn nanoseconds(text: &str) -> Option<u128> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut sum = 0_u128;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        // More digits than these are no time that anybody means.
        if whole.len() + fraction.len() == 0 || whole.len() > 9 || fraction.len() > 9 {
            return None;
        }
        let parse = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u128>().ok() };
        sum += parse(whole)? * unit;
        sum += parse(fraction)? * unit / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}

/// Whole seconds, rounded up.
pub fn seconds(text: &str) -> Option<u64> {
    u64::try_from(nanoseconds(text)?.div_ceil(1_000_000_000)).ok()
}

/// Whole hours, if it is some.
pub fn hours(text: &str) -> Option<u64> {
    const HOUR: u128 = 3_600_000_000_000;
    let span = nanoseconds(text)?;
    (span % HOUR == 0).then(|| u64::try_from(span / HOUR).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_as_go_writes_them() {
        for (text, expected) in [
            ("24h0m0s", Some(86_400)),
            ("1h30m", Some(5_400)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("1.5h", Some(5_400)),
            (".5m", Some(30)),
            ("1500ms", Some(2)),
            ("1ns", Some(1)),
            ("", None),
            ("24", None),
            ("h", None),
            ("1d", None),
            ("-1h", None),
            ("1h 30m", None),
            ("1.2.3s", None),
            ("9999999999h", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn whole_hours() {
        assert_eq!(hours("8760h0m0s"), Some(8_760));
        assert_eq!(hours("120m"), Some(2));
        assert_eq!(hours("90m"), None);
        assert_eq!(hours("1y"), None);
    }
}
