//! Moments and spans in words.

use jiff::{SignedDuration, Timestamp, Unit};

/// The moment from which spans count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Option<Timestamp>);

impl Clock {
    /// A moment in RFC 3339.
    pub(super) fn at(text: &str) -> Self {
        Self(text.parse().ok())
    }

    /// The start of a span that ends now: `08:25:00Z (48 s ago)`.
    pub(super) fn start(self, seconds: f64) -> String {
        let words = span(seconds);
        match self.at_distance(-seconds) {
            Some(start) => format!("{start} ({words} ago)"),
            None => format!("{words} ago"),
        }
    }

    /// The end of a span that begins now: `08:30:00Z (4 min 12 s)`, with the date if it is another day.
    pub(super) fn end(self, seconds: f64) -> String {
        let words = span(seconds);
        match self.at_distance(seconds) {
            Some(end) => format!("{end} ({words})"),
            None => words,
        }
    }

    fn at_distance(self, seconds: f64) -> Option<String> {
        let (now, distance) = (self.0?, SignedDuration::try_from_secs_f64(seconds).ok()?);
        let moment = now.checked_add(distance).ok()?.round(Unit::Second).ok()?;
        let (moment, now) = (moment.to_string(), now.to_string());
        // An RFC 3339 text in UTC: date, T, time.
        let same_day = moment.get(..10) == now.get(..10);
        Some(if same_day { moment.get(11..)?.to_owned() } else { moment })
    }
}

/// A span in its two largest units: `4 min 12 s`.
pub(super) fn span(seconds: f64) -> String {
    // A float beyond the range becomes the nearest number.
    let seconds = seconds.round().max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let units = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds % 60, "s")];
    let largest = units.iter().position(|(count, _)| *count > 0).unwrap_or(units.len() - 1);
    let shown = units.iter().skip(largest).take(2).filter(|(count, _)| *count > 0);
    let shown: Vec<_> = shown.map(|(count, unit)| format!("{count} {unit}")).collect();
    if shown.is_empty() { "0 s".to_owned() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_its_two_largest_units() {
        for (seconds, words) in [
            (0.0, "0 s"),
            (-1.0, "0 s"),
            (0.4, "0 s"),
            (59.6, "1 min"),
            (252.0, "4 min 12 s"),
            (3600.0, "1 h"),
            (3605.0, "1 h"),
            (87_360.0, "1 d"),
            (97_200.0, "1 d 3 h"),
            (f64::NAN, "0 s"),
        ] {
            assert_eq!(span(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn a_moment_is_in_utc_and_has_a_date_if_it_is_another_day() {
        let clock = Clock::at("2026-11-30T23:25:48.400Z");
        assert_eq!(clock.end(252.0), "23:30:00Z (4 min 12 s)");
        assert_eq!(clock.end(0.0), "23:25:48Z (0 s)");
        assert_eq!(clock.end(7200.0), "2026-12-01T01:25:48Z (2 h)");
        for seconds in [f64::INFINITY, f64::NAN, 1e300] {
            assert!(!clock.end(seconds).contains('('), "{seconds}");
        }
        assert_eq!(Clock::at("").end(60.0), "1 min");
    }
}
