//! The texts of faults. They quote the caller's text shortened, and harmless in a terminal or a log line.

use crate::zoho::catalogue::{Except, Place, Required, Terms};

/// How many characters of a value are quoted: enough to recognise it, too few to leak a payload into logs.
const LONGEST_QUOTE: usize = 40;

/// How many characters of a parameter's name are shown. All documented names are far shorter.
const LONGEST_NAME: usize = 100;

/// The caller's value in backticks, shortened, control characters escaped.
pub(super) fn quoted(value: &str) -> String {
    format!("`{}`", shown(value, LONGEST_QUOTE))
}

/// A parameter's name, shortened, control characters escaped.
pub(super) fn name(name: &str) -> String {
    shown(name, LONGEST_NAME)
}

/// The part of the request, as text after "in the" or "from the".
pub(super) fn place(place: Place) -> &'static str {
    match place {
        Place::Query => "query",
        Place::Form => "form body",
        Place::Json => "JSON body",
        Place::Multipart => "multipart body",
    }
}

/// What to say of the siblings that would do instead of a missing one: ", unless jobName is given".
pub(super) fn or_else(terms: &Terms) -> String {
    match &terms.required {
        Required::Unless(siblings) => format!(", unless {} is given", siblings.join(" or ")),
        Required::Never | Required::Always | Required::When(_) => String::new(),
    }
}

/// The detail for what is given without the sibling that it needs.
pub(super) fn only_with(sibling: &str) -> String {
    format!("expected only together with {sibling}, which is missing")
}

/// The detail for a word that is not allowed in this case; `None` if it is allowed.
pub(super) fn excepted<'v>(
    words: &[String],
    except: &Except,
    word: &str,
    value_of: impl Fn(&str) -> Option<&'v str>,
) -> Option<String> {
    if !except.values.iter().any(|value| value == word) || !except.when.holds(value_of) {
        return None;
    }
    let left: Vec<_> = words.iter().filter(|word| !except.values.contains(word)).map(String::as_str).collect();
    let left = left.join(" or ");
    Some(match &except.because {
        Some(because) => format!("expected {left}, because {word} {because}"),
        None => format!("expected {left} where {}, but found {}", except.when, quoted(word)),
    })
}

/// The detail for a name that the page does not document; `what` is "key" or "parameter".
pub(super) fn unknown(what: &str, known: &[&str], found: &str) -> String {
    let found = quoted(found);
    match known {
        [] => format!("expected no {what}, because the call's page documents none, but found {found}"),
        [only] => format!("expected only the {what} {only}, but found {found}"),
        _ => format!("expected only the {what}s {}, but found {found}", known.join(", ")),
    }
}

fn shown(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == longest {
            shown.push('…');
            break;
        }
        match character {
            // JSON has many quotes; escaped quotes are harder to read.
            '"' | '\'' => shown.push(character),
            // Also escapes characters that a terminal does not print, or prints right to left.
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_control_sequences_of_terminals() {
        assert_eq!(quoted("a\r\n\u{1b}[31m\u{202e}\0"), r"`a\r\n\u{1b}[31m\u{202e}\0`");
        assert_eq!(quoted(r#"{"it's": 1}"#), r#"`{"it's": 1}`"#);
    }

    #[test]
    fn shortens_by_characters() {
        assert_eq!(quoted(&"é".repeat(40)), format!("`{}`", "é".repeat(40)));
        assert_eq!(quoted(&"é".repeat(41)), format!("`{}…`", "é".repeat(40)));
    }
}
