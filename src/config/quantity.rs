//! Durations and sizes as people write them: `"250ms"`, `"5m"`, `"64KiB"`.

use std::{ops::RangeInclusive, time::Duration};

/// What a duration looks like, for messages.
pub(super) const A_DURATION: &str = "a duration such as \"250ms\", \"30s\", \"5m\" or \"1h\"";

/// What a size looks like, for messages.
pub(super) const A_SIZE: &str = "a size such as \"512B\", \"64KiB\" or \"1MiB\"";

/// The units of a size.
const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

/// Reads a duration within a range.
pub(super) fn duration(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let duration = jiff::fmt::friendly::SpanParser::new()
        .parse_unsigned_duration(text)
        .map_err(|_| format!("expected {A_DURATION}"))?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    Err(format!("expected a duration from {} to {}", shown(*range.start()), shown(*range.end())))
}

/// Reads a size within a range.
pub(super) fn size(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let parsed = UNITS.iter().find_map(|(unit, factor)| {
        let digits = text.strip_suffix(unit)?;
        // `parse` alone would take a plus sign.
        digits.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
        digits.parse::<u64>().ok()?.checked_mul(*factor)
    });
    let size = parsed.ok_or_else(|| format!("expected {A_SIZE}"))?;
    if range.contains(&size) {
        return Ok(size);
    }
    Err(format!("expected a size from {}B to {}B", range.start(), range.end()))
}

/// A size in the largest unit that takes it whole.
pub(super) fn shown_size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"].into_iter().zip(0..);
    let fits = units.filter(|(_, power)| bytes.is_multiple_of(1 << (10 * power)));
    fits.last().map(|(unit, power)| format!("{}{unit}", bytes >> (10 * power))).unwrap_or_default()
}

/// A duration in the largest unit that takes it whole.
pub(super) fn shown(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        let range = Duration::from_millis(1)..=Duration::from_secs(3600);
        for (text, millis) in [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("1m 30s", 90_000)]
        {
            assert_eq!(duration(text, &range), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "-5s", "5 parsecs", "PT1M", "1d"] {
            assert_eq!(duration(text, &range), Err(format!("expected {A_DURATION}")), "{text}");
        }
        for text in ["0s", "0.1ms", "61m", "100000000000000h"] {
            assert_eq!(duration(text, &range), Err("expected a duration from 1ms to 1h".to_owned()), "{text}");
        }
    }

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [("1B", 1), ("64KiB", 65_536), ("1MiB", 1_048_576), ("1GiB", 1_073_741_824)] {
            assert_eq!(size(text, &(1..=1 << 30)), Ok(bytes), "{text}");
        }
        for text in ["", "B", "5", "5KB", "1 MiB", "+1B", "-1B", "1.5MiB", "99999999999999999999B", "99999999999GiB"] {
            assert_eq!(size(text, &(1..=1 << 30)), Err(format!("expected {A_SIZE}")), "{text}");
        }
        assert_eq!(size("0B", &(1..=8)), Err("expected a size from 1B to 8B".to_owned()));
        assert_eq!(size("1KiB", &(1..=8)), Err("expected a size from 1B to 8B".to_owned()));
    }
}
