//! Durations as Go writes them: `1h30m`, `500ms`, `0s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANOSECOND: i64 = 1;
const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// A duration in nanoseconds. It may be negative, so that validation can name the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GoDuration(i64);

impl GoDuration {
    /// So many seconds.
    pub(crate) const fn from_secs(secs: i64) -> Self {
        GoDuration(secs * SECOND)
    }

    /// Whether it is exactly zero.
    pub(crate) fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether it lies below zero.
    pub(crate) fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The same as [`Duration`]; a negative one is zero.
    pub(crate) fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// Nanoseconds.
    pub(crate) fn nanos(self) -> i64 {
        self.0
    }

    /// So many nanoseconds.
    pub(crate) const fn from_nanos(nanos: i64) -> Self {
        GoDuration(nanos)
    }
}

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a duration such as \"30s\", \"1h30m\" or \"500ms\"");
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if text.is_empty() || rest == "0" {
            return Ok(GoDuration(0));
        }
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let (part, after) = one_part(rest).ok_or_else(wrong)?;
            total = total.checked_add(part).ok_or_else(wrong)?;
            rest = after;
        }
        Ok(GoDuration(if negative { -total } else { total }))
    }
}

/// Reads one number with its unit and hands back what follows.
fn one_part(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(end);
    let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let unit = unit_nanos(unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    whole.checked_mul(unit)?.checked_add(fraction_nanos(fraction, unit)).map(|nanos| (nanos, rest))
}

fn unit_nanos(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => NANOSECOND,
        // Micro is spelt with either of Unicode's two signs.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

/// The digits after the point, in nanoseconds; what is finer than that is cut off.
fn fraction_nanos(digits: &str, unit: i64) -> i64 {
    let (mut nanos, mut scale) = (0, unit);
    for digit in digits.bytes() {
        let value = scale.saturating_mul(i64::from(digit - b'0'));
        nanos += value / 10;
        scale /= 10;
    }
    nanos
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs() as i64;
        match nanos {
            0 => f.write_str("0s"),
            n if n < MICROSECOND => write!(f, "{sign}{n}ns"),
            n if n < MILLISECOND => write!(f, "{sign}{}\u{b5}s", decimal(n, MICROSECOND)),
            n if n < SECOND => write!(f, "{sign}{}ms", decimal(n, MILLISECOND)),
            n => {
                let (hours, minutes) = (n / HOUR, n % HOUR / MINUTE);
                let seconds = decimal(n % MINUTE, SECOND);
                match (hours, minutes) {
                    (0, 0) => write!(f, "{sign}{seconds}s"),
                    (0, m) => write!(f, "{sign}{m}m{seconds}s"),
                    (h, m) => write!(f, "{sign}{h}h{m}m{seconds}s"),
                }
            }
        }
    }
}

/// `nanos` in `unit`, with as many decimals as it needs.
fn decimal(nanos: i64, unit: i64) -> String {
    let (whole, rest) = (nanos / unit, nanos % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// `logging.flushFrequency`: a duration, or a number of nanoseconds as older files have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlushFrequency(pub(crate) GoDuration);

impl Serialize for FlushFrequency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0.nanos())
    }
}

impl<'de> Deserialize<'de> for FlushFrequency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = match text.parse::<i64>() {
            Ok(nanos) => Ok(GoDuration::from_nanos(nanos)),
            Err(_) => text.parse(),
        };
        parsed.map(FlushFrequency).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("1h30m", 90 * MINUTE),
            ("500ms", 500 * MILLISECOND),
            ("1.5s", 1_500 * MILLISECOND),
            ("0s", 0),
            ("0", 0),
            ("", 0),
            ("-2s", -2 * SECOND),
            (".5m", 30 * SECOND),
            ("3\u{b5}s", 3 * MICROSECOND),
        ] {
            assert_eq!(text.parse(), Ok(GoDuration(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in ["30", "s", "1x", "1.2.3s", "-", "1h 5m", "9999999999h", "."] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn prints_as_go_prints() {
        for (nanos, text) in [
            (HOUR, "1h0m0s"),
            (15 * MINUTE, "15m0s"),
            (90 * SECOND, "1m30s"),
            (1_500 * MILLISECOND, "1.5s"),
            (MILLISECOND, "1ms"),
            (1_500, "1.5\u{b5}s"),
            (0, "0s"),
            (-SECOND, "-1s"),
        ] {
            assert_eq!(GoDuration(nanos).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(nanos in -1_000_000 * SECOND..1_000_000 * SECOND) {
            prop_assert_eq!(GoDuration(nanos).to_string().parse(), Ok(GoDuration(nanos)));
        }
    }
}
