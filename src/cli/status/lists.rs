//! Numbers and lists as a person reads them.

/// How many lines a list has at most: a person reads it.
const LONGEST_LIST: usize = 20;

/// The list with so many lines that a person reads it.
pub(super) fn shortened(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LONGEST_LIST);
    if more > 0 {
        lines.truncate(LONGEST_LIST);
        lines.push(format!("    and {more} more; --json has all"));
    }
    lines
}

/// A number with its noun.
pub(super) fn count(number: impl Into<u64>, noun: &str) -> String {
    match number.into() {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}
