//! The value of `erecnosList`: `[588882000000212025]`.
//!
//! The page asks for a "JSON Array of erecno's". Zoho writes them as numbers in its request samples and as strings in
//! its answers, so both are taken, and a caller may send back what they were given.

use super::{
    findings::About,
    json::{self, Value},
};

/// Holds a value to [`crate::catalogue::Kind::RecordNumbers`].
pub(super) fn check(value: &str, about: &mut About<'_>) {
    let numbers = match json::read(value, about) {
        Value::Refused => return,
        Value::List(numbers) => numbers,
        other => {
            about.add("", format!("expected a JSON array of record numbers, but found {other}"));
            return;
        }
    };
    if numbers.is_empty() {
        about.add("", "expected at least one record number, but the array is empty");
    }
    for (index, number) in numbers.iter().enumerate() {
        if about.is_full() {
            break;
        }
        if !number.is_long() && *number != Value::Refused {
            about.add(
                format!("/{index}"),
                format!("expected a record number (an integer from 0 to 9223372036854775807), but found {number}"),
            );
        }
    }
}
