//! A span of time as people write it in an inventory: `8760h`, `365d`, `1y`.
//!
//! Coarse on purpose: certificates are the only thing measured so, and a day more or less is no matter to them.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::types::Period;

const DAY: u32 = 24;
const YEAR: u32 = 365 * DAY;

impl Period {
    pub const fn years(years: u32) -> Self {
        Self { hours: years * YEAR }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a span of time is a whole number and a unit: h, d or y")]
pub struct PeriodError;

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let unit = text.chars().last().ok_or(PeriodError)?;
        let hours = match unit {
            'h' => 1,
            'd' => DAY,
            'y' => YEAR,
            _ => return Err(PeriodError),
        };
        let digits = &text[..text.len() - unit.len_utf8()];
        // `parse` would take a sign, too.
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PeriodError);
        }
        let count: u32 = digits.parse().map_err(|_| PeriodError)?;
        Ok(Self { hours: count.checked_mul(hours).ok_or(PeriodError)? })
    }
}

/// The largest unit that fits, so that what is printed reads as it was meant.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hours {
            hours if hours > 0 && hours % YEAR == 0 => write!(f, "{}y", hours / YEAR),
            hours if hours > 0 && hours % DAY == 0 => write!(f, "{}d", hours / DAY),
            hours => write!(f, "{hours}h"),
        }
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "period", "pattern": "^[0-9]+[hdy]$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, hours, printed) in [
            ("8760h", 8760, "1y"),
            ("365d", 8760, "1y"),
            ("10y", 87600, "10y"),
            ("36h", 36, "36h"),
            ("48h", 48, "2d"),
            ("0h", 0, "0h"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.hours(), hours, "{text}");
            assert_eq!(period.to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(period), "{text}");
        }
    }

    #[test]
    fn refuses() {
        for text in ["", "h", "12", "1w", "-1d", "+1d", "1.5y", "1 y", "8760h0m0s", "99999999999h", "4294967295y", "1é"]
        {
            assert_eq!(text.parse::<Period>(), Err(PeriodError), "{text}");
        }
    }
}
