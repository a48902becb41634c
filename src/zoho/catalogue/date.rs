//! The date formats that Zoho's pages name, in the letters of Java's `SimpleDateFormat`: `dd-MMM-yyyy`,
//! `yyyyMMdd'T'HHmmssZ`.

use std::fmt;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// One format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateFormat {
    pattern: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Year,
    Month,
    MonthName,
    Day,
    /// 0 to 23.
    Hour,
    /// 1 to 12.
    HalfDayHour,
    Minute,
    Second,
    HalfOfDay,
    /// `+0530`, `-0800`, or `Z`.
    Offset,
    Literal(char),
}

impl DateFormat {
    /// Reads a pattern; the error says what in it is not known here.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            let length = rest.chars().take_while(|&c| c == first).map(char::len_utf8).sum::<usize>();
            let run = &rest[..length];
            if first == '\'' {
                let (literal, after) =
                    rest[1..].split_once('\'').ok_or_else(|| format!("{pattern:?} does not close its quote"))?;
                pieces.extend(literal.chars().map(Piece::Literal));
                rest = after;
                continue;
            }
            rest = &rest[length..];
            match run {
                "yyyy" => pieces.push(Piece::Year),
                "MM" => pieces.push(Piece::Month),
                "MMM" => pieces.push(Piece::MonthName),
                "dd" => pieces.push(Piece::Day),
                "HH" => pieces.push(Piece::Hour),
                "hh" => pieces.push(Piece::HalfDayHour),
                "mm" => pieces.push(Piece::Minute),
                "ss" => pieces.push(Piece::Second),
                "a" => pieces.push(Piece::HalfOfDay),
                "Z" => pieces.push(Piece::Offset),
                _ if first.is_ascii_alphabetic() => {
                    return Err(format!(
                        "{run:?} in the date format {pattern:?} is none of yyyy, MM, MMM, dd, HH, hh, mm, ss, a, Z; \
                         other letters stand in single quotes"
                    ));
                }
                _ => pieces.extend(run.chars().map(Piece::Literal)),
            }
        }
        if pieces.iter().all(|piece| matches!(piece, Piece::Literal(_))) {
            return Err(format!("the date format {pattern:?} holds nothing of a date"));
        }
        Ok(Self { pattern: pattern.to_owned(), pieces })
    }

    /// Whether `text` is a date in this format that the calendar knows.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        let mut rest = text;
        // A leap year with long months, so that what is not written cannot be wrong.
        let (mut year, mut month, mut day) = (2000, 1, 1);
        for piece in &self.pieces {
            let read = match piece {
                Piece::Year => number(&mut rest, 4, 0, 9999).map(|number| year = number),
                Piece::Month => number(&mut rest, 2, 1, 12).map(|number| month = number),
                Piece::MonthName => month_name(&mut rest).map(|number| month = number),
                Piece::Day => number(&mut rest, 2, 1, 31).map(|number| day = number),
                Piece::Hour => number(&mut rest, 2, 0, 23).map(drop),
                Piece::HalfDayHour => number(&mut rest, 2, 1, 12).map(drop),
                Piece::Minute | Piece::Second => number(&mut rest, 2, 0, 59).map(drop),
                Piece::HalfOfDay => take(&mut rest, 2)
                    .filter(|half| half.eq_ignore_ascii_case("am") || half.eq_ignore_ascii_case("pm"))
                    .map(drop),
                Piece::Offset => offset(&mut rest),
                Piece::Literal(literal) => rest.strip_prefix(*literal).map(|after| rest = after),
            };
            if read.is_none() {
                return false;
            }
        }
        rest.is_empty() && day <= days(year, month)
    }
}

/// The pattern as the page has it.
impl fmt::Display for DateFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

fn take<'t>(rest: &mut &'t str, length: usize) -> Option<&'t str> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn number(rest: &mut &str, length: usize, least: u32, greatest: u32) -> Option<u32> {
    let digits = take(rest, length).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|number| (least..=greatest).contains(number))
}

fn month_name(rest: &mut &str) -> Option<u32> {
    let name = take(rest, 3)?;
    (1..).zip(MONTHS).find(|(_, month)| month.eq_ignore_ascii_case(name)).map(|(number, _)| number)
}

fn offset(rest: &mut &str) -> Option<()> {
    match take(rest, 1)? {
        "Z" => Some(()),
        "+" | "-" => number(rest, 2, 0, 18).and_then(|_| number(rest, 2, 0, 59)).map(drop),
        _ => None,
    }
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_dates_of_its_format_only() {
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
    fn knows_which_letters_it_does_not_know() {
        for (pattern, expected) in [
            ("YYYY-MM-dd", "\"YYYY\""),
            ("d/MM/yyyy", "\"d\""),
            ("--", "nothing of a date"),
            ("", "nothing of a date"),
            ("yyyy'T", "quote"),
        ] {
            let error = DateFormat::new(pattern).unwrap_err();
            assert!(error.contains(expected), "{pattern}: {error}");
        }
    }
}
