//! Values without parts: a parameter's text, or a number, string or boolean in JSON.

use std::borrow::Cow;

use crate::zoho::catalogue::{List, Scalar, ScalarKind};

use super::{address, findings::About, json::Value, pointer::Path, wording::quoted};

/// Checks a parameter's text against its rule.
///
/// `had_plus` says that a `+` in it was decoded to a space, as happens to `user+tag@example.com`.
pub(super) fn check_text(scalar: &Scalar, text: &str, had_plus: bool, about: &mut About<'_>) {
    if text.is_empty() && scalar.empty {
        return;
    }
    if let Err(reason) = check_kind(&scalar.kind, text, had_plus) {
        let found = if text.is_empty() { "nothing".to_owned() } else { quoted(text) };
        about.add("", format!("expected {}, but found {found}{reason}", expected(scalar, false)));
    }
}

/// Checks a list in a parameter's text; blanks around its commas do not matter.
pub(super) fn check_list(list: &List, text: &str, had_plus: bool, about: &mut About<'_>) {
    let items = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let found = items().count();
    if found > list.max {
        about.add("", format!("expected at most {} items between commas, but found {found}", list.max));
    }
    for item in items() {
        if about.is_full() {
            break;
        }
        check_text(&list.items, item, had_plus, about);
    }
}

/// Checks a JSON value against its rule. Numbers and booleans may also be strings; Zoho's own samples have both.
pub(super) fn check_value(scalar: &Scalar, value: &Value<'_>, had_plus: bool, path: &Path<'_>, about: &mut About<'_>) {
    if about.is_full() || *value == Value::Invalid {
        return;
    }
    let text = match (value, &scalar.kind) {
        (Value::Text(text), _) => Some(text.as_str()),
        (
            Value::Number(digits),
            ScalarKind::Integer { .. } | ScalarKind::Digits { .. } | ScalarKind::OneOf(_) | ScalarKind::Date(_),
        ) => Some(*digits),
        (Value::Bool(true), ScalarKind::Boolean) => Some("true"),
        (Value::Bool(false), ScalarKind::Boolean) => Some("false"),
        _ => None,
    };
    if text == Some("") && scalar.empty {
        return;
    }
    let reason = match text.map(|text| check_kind(&scalar.kind, text, had_plus)) {
        Some(Ok(())) => return,
        Some(Err(reason)) => reason,
        None => String::new(),
    };
    // A number may look like a typo of an address; the hint says that the type is wrong.
    let as_string = if text.is_none() && scalar.kind == ScalarKind::Email { " as a string" } else { "" };
    let expected = expected(scalar, true);
    about.add(path.pointer(), format!("expected {expected}{as_string}, but found {value}{reason}"));
}

/// The noun for an element of an array, without its article: "record number".
pub(super) fn noun(scalar: &Scalar) -> &str {
    let called = called(scalar);
    called.strip_prefix("a ").or_else(|| called.strip_prefix("an ")).unwrap_or(called)
}

/// The text for a missing value, if the catalogue has none.
pub(super) fn missing(scalar: &Scalar) -> String {
    match &scalar.kind {
        ScalarKind::OneOf(words) => words.list.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or "),
        _ => called(scalar).to_owned(),
    }
}

fn called(scalar: &Scalar) -> &str {
    scalar.called.as_deref().unwrap_or(match scalar.kind {
        ScalarKind::Text { .. } => "a text",
        ScalarKind::Integer { .. } => "an integer",
        ScalarKind::Digits { .. } => "a record number",
        ScalarKind::OneOf(_) => "a word",
        ScalarKind::Email => "an e-mail address",
        ScalarKind::Date(_) => "a date",
        ScalarKind::Boolean => "a boolean",
    })
}

/// The rule as text after "expected"; text in a parameter has rules for its digits that JSON does not need.
fn expected(scalar: &Scalar, in_json: bool) -> String {
    let called = called(scalar);
    match &scalar.kind {
        ScalarKind::Text { min: 0, max: usize::MAX } => called.to_owned(),
        ScalarKind::Text { min, max: usize::MAX } => format!("{called} of at least {}", characters(*min)),
        ScalarKind::Text { min: 0, max } => format!("{called} of at most {}", characters(*max)),
        ScalarKind::Text { min, max } => format!("{called} of {min} to {}", characters(*max)),
        ScalarKind::Integer { min, max } => {
            let range = match (in_json, *min, *max) {
                (false, 0.., _) => format!("from {min} (digits only, at most {max})"),
                (_, i64::MIN, i64::MAX) => String::new(),
                (_, i64::MIN, _) => format!("of at most {max}"),
                _ => format!("from {min} to {max}"),
            };
            let space = if range.is_empty() { "" } else { " " };
            format!("{called}{space}{range}")
        }
        ScalarKind::Digits { min, max } => {
            let long = i64::MAX;
            let length = match (*min, *max) {
                (1, 19..) => String::new(),
                (min, max) if min == max => format!(", {min} of them"),
                (min, max) => format!(", {min} to {max} of them"),
            };
            match in_json {
                false if length.is_empty() => format!("{called} (digits only, at most {long})"),
                false => format!("{called} (digits only{length})"),
                true if length.is_empty() => format!("{called} (an integer from 0 to {long})"),
                true => format!("{called} (an integer in digits{length})"),
            }
        }
        ScalarKind::OneOf(words) => format!("one of {}", words.list.join(", ")),
        ScalarKind::Email => called.to_owned(),
        ScalarKind::Date(formats) => {
            let formats: Vec<_> = formats.iter().map(ToString::to_string).collect();
            format!("{called} as {}", formats.join(" or "))
        }
        ScalarKind::Boolean => "true or false".to_owned(),
    }
}

fn characters(number: usize) -> String {
    format!("{number} character{}", if number == 1 { "" } else { "s" })
}

/// Checks a text against the rule. The error is the text that follows the quoted value; it may be empty.
fn check_kind(kind: &ScalarKind, text: &str, had_plus: bool) -> Result<(), String> {
    let fits = match kind {
        ScalarKind::Text { min, max } => {
            // Stops one character after the maximum: a megabyte is too long before its end.
            let length = text.chars().take(max.saturating_add(1)).count();
            if (*min..=*max).contains(&length) {
                return Ok(());
            }
            let what = if length < *min { "shorter" } else { "longer" };
            return Err(if text.is_empty() { String::new() } else { format!(": it is {what}") });
        }
        ScalarKind::Integer { min, max } => integer(text).is_some_and(|number| (*min..=*max).contains(&number)),
        ScalarKind::Digits { min, max } => {
            let is_record_number = integer(text).is_some() && !text.starts_with('-');
            is_record_number && (*min == 1 && *max >= 19 || (*min..=*max).contains(&text.len()))
        }
        ScalarKind::OneOf(words) => words.contain(text),
        ScalarKind::Email => {
            let Some(complaint) = address::complaint(text) else { return Ok(()) };
            let hint = if had_plus && text.contains(' ') {
                "; mind that a raw + means a space and must be written %2B"
            } else {
                ""
            };
            return Err(format!(": {complaint}{hint}"));
        }
        ScalarKind::Date(formats) => {
            // The pages' own samples write the plus of an offset raw, which decodes to a space.
            let spelled = if had_plus { Cow::Owned(text.replace(' ', "+")) } else { Cow::Borrowed(text) };
            formats.iter().any(|format| format.fits(text) || format.fits(&spelled))
        }
        // Java reads a boolean in any case, and Python writes it in capitals.
        ScalarKind::Boolean => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
    };
    if fits { Ok(()) } else { Err(String::new()) }
}

/// A number that fits Zoho's signed 64-bit long, in digits only: without `+` and without `-0`. A float would round
/// record numbers beyond 2^53 to other record numbers.
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| only_digits && (*number != 0 || digits.len() == text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_numbers_are_digits_that_fit_a_long() {
        let fits = |text| check_kind(&ScalarKind::Digits { min: 1, max: usize::MAX }, text, false).is_ok();
        for good in ["0", "7", "007", "588882000000212025", "9007199254740993", "9223372036854775807"] {
            assert!(fits(good), "{good}");
        }
        for bad in ["", "+1", "-1", "-0", "1.0", "1e3", " 1", "1 ", "0x1", "1_000", "９", "٣", "9223372036854775808"]
        {
            assert!(!fits(bad), "{bad}");
        }
    }
}
