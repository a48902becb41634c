//! The date formats that Zoho's pages name, in the letters of Java's `SimpleDateFormat`: `dd-MMM-yyyy`,
//! `yyyyMMdd'T'HHmmssZ`.

use std::fmt;

use jiff::{civil::Date, fmt::strtime::BrokenDownTime};

/// The letters of a pattern, and their equivalents in jiff.
const FIELDS: [(&str, &str); 10] = [
    ("yyyy", "%Y"),
    ("MM", "%m"),
    ("MMM", "%b"),
    ("dd", "%d"),
    ("HH", "%H"),
    ("hh", "%I"),
    ("mm", "%M"),
    ("ss", "%S"),
    ("a", "%p"),
    ("Z", OFFSET),
];

const OFFSET: &str = "%z";

/// The forms of an offset; jiff reads `-0000` too, but writes it as `+0000`.
const OFFSETS: [&str; 3] = [OFFSET, "Z", "-0000"];

/// The largest offset of Java, in seconds.
const LARGEST_OFFSET: i32 = 18 * 3600 + 59 * 60;

/// One format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateFormat {
    pattern: String,
    /// The format for jiff.
    format: String,
}

impl DateFormat {
    /// Reads a pattern; the error names the unknown part.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let parts: Vec<&str> = pattern.split('\'').collect();
        if parts.len().is_multiple_of(2) {
            return Err(format!("{pattern:?} does not close its quote"));
        }
        let mut format = String::new();
        let mut has_field = false;
        for (index, part) in parts.into_iter().enumerate() {
            let letters: Vec<char> = part.chars().collect();
            let is_quoted = index % 2 == 1;
            for run in letters.chunk_by(|one, next| one == next) {
                let text: String = run.iter().collect();
                match FIELDS.iter().find(|(letters, _)| *letters == text && !is_quoted) {
                    Some((_, field)) => {
                        has_field = true;
                        format.push_str(field);
                    }
                    None if run[0].is_ascii_alphabetic() && !is_quoted => {
                        return Err(format!(
                            "{text:?} in the date format {pattern:?} is none of yyyy, MM, MMM, dd, HH, hh, mm, ss, a, Z; \
                             other letters stand in single quotes"
                        ));
                    }
                    None => format.push_str(&text.replace('%', "%%")),
                }
            }
        }
        if !has_field {
            return Err(format!("the date format {pattern:?} has no field of a date"));
        }
        Ok(Self { pattern: pattern.to_owned(), format })
    }

    /// Whether `text` is an existing date in this format.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        OFFSETS.into_iter().any(|offset| is_written_so(&self.format.replace(OFFSET, offset), text))
    }
}

/// Whether jiff reads the text and would write it in the same way; jiff also reads numbers without leading zeros.
fn is_written_so(format: &str, text: &str) -> bool {
    let Ok(time) = BrokenDownTime::parse(format, text) else { return false };
    // The default is a leap year with long months, so that parts that are not written cannot be wrong.
    let (year, month, day) = (time.year().unwrap_or(2000), time.month().unwrap_or(1), time.day().unwrap_or(1));
    let offset = time.offset().map_or(0, |offset| offset.seconds());
    let is_real =
        year >= 0 && Date::new(year, month, day).is_ok() && offset.abs() <= LARGEST_OFFSET && offset % 60 == 0;
    is_real && time.to_string(format).is_ok_and(|written| written.eq_ignore_ascii_case(text))
}

/// The pattern as on Zoho's page.
impl fmt::Display for DateFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dates_in_the_format_are_accepted() {
        for (pattern, good, bad) in [
            (
                "yyyy-MM-dd",
                &["2026-02-28", "2024-02-29", "2000-02-29"][..],
                &[
                    "2026-02-29",
                    "1900-02-29",
                    "2026-13-01",
                    "2026-1-1",
                    "26-01-01",
                    "2026-01-01 ",
                    "",
                    "2026-04-31",
                    "２０26-01-01",
                ][..],
            ),
            (
                "dd-MMM-yyyy",
                &["01-Jan-2026", "31-DEC-2026"],
                &["1-Jan-2026", "01-Jän-2026", "31-Nov-2026", "01-01-2026"],
            ),
            ("dd/MM/yyyy", &["31/01/2026"], &["01/31/2026", "31.01.2026"]),
            (
                "yyyyMMdd'T'HHmmssZ",
                &["20260131T235959Z", "20260131T000000+0530"],
                &["20260131T240000Z", "20260131T000000", "20260131 000000Z"],
            ),
            (
                "dd-MM-yyyy hh:mm a",
                &["01-02-2026 12:59 PM"],
                &["01-02-2026 13:00 PM", "01-02-2026 00:00 AM", "01-02-2026 12:59"],
            ),
            ("HH:mm", &["00:00", "23:59"], &["24:00", "9:00"]),
        ] {
            let format = DateFormat::new(pattern).unwrap();
            for text in good {
                assert!(format.fits(text), "{pattern}: {text}");
            }
            for text in bad {
                assert!(!format.fits(text), "{pattern}: {text}");
            }
        }
    }

    #[test]
    fn unknown_letters_are_reported() {
        for (pattern, expected) in [
            ("YYYY-MM-dd", "\"YYYY\""),
            ("d/MM/yyyy", "\"d\""),
            ("--", "no field of a date"),
            ("", "no field of a date"),
            ("yyyy'T", "quote"),
        ] {
            let error = DateFormat::new(pattern).unwrap_err();
            assert!(error.contains(expected), "{pattern}: {error}");
        }
    }
}
