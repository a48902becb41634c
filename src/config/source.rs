//! The file as a tree in which every key and every value has its position.
//!
//! Two things differ from `toml::Value`: a value may come from the environment, where everything is text, and a string is
//! a [`Secret`] until it is parsed, so that no tree can be printed by accident.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::problem::{Findings, Origin, Position};
use crate::secret::Secret;

/// A value and its position.
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// A value of one of the kinds in the configuration.
pub(super) enum Value {
    Text(Secret),
    Integer(i128),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
    /// Anything else, by the name of its kind.
    Other(&'static str),
}

impl Value {
    /// Its kind, for "expected ..., found ...".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// A table's entries in the order of the file.
#[derive(Default)]
pub(super) struct Table(pub(super) Vec<Entry>);

/// A key with its value.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_origin: Origin,
    pub(super) node: Node,
}

impl Table {
    /// The entry of that key.
    pub(super) fn find(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    /// The index of that key.
    pub(super) fn position(&self, key: &str) -> Option<usize> {
        self.0.iter().position(|entry| entry.key == key)
    }
}

/// Parses a file. Syntax errors are noted, and the tree has everything that could be parsed.
pub(super) fn parse(name: &Arc<str>, text: &str, findings: &mut Findings) -> Table {
    let lines = Lines::new(name, text);
    let (document, mut errors) = DeTable::parse_recoverable(text);
    // The first error of a line is the mistake; the others mostly follow from it.
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    let mut last = None;
    for error in errors {
        let position = lines.position(error.span().map_or(0, |span| span.start));
        if last.replace(position.line) != Some(position.line) {
            let start = error.span().map_or(0, |span| span.start);
            findings.malformed(name, position, &unquoted(text, start).unwrap_or_else(|| error.message().to_owned()));
        }
    }
    lines.table(document.get_ref())
}

/// What to write if the error at `at` is a value without quotes. The message omits the value, which may be a secret.
fn unquoted(text: &str, at: usize) -> Option<String> {
    let line = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let before = text.get(line..at)?;
    // After the last character of TOML that a value can follow.
    let value = before.rfind(['=', '[', ',', '{']).map_or(0, |sign| sign + 1);
    let found = text.get(line + value..)?.lines().next()?.trim();
    let key = before[..value].strip_suffix('=').map(|key| key.rsplit(['[', ',', '{']).next().unwrap_or(key).trim());
    // A secret in base64 without quotes may end in `=` too, so only a text like our keys is repeated.
    let is_ours = |key: &str| key.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.'));
    let key = key.filter(|key| !key.is_empty() && key.len() <= LONGEST_SHOWN && is_ours(key));
    if !before.contains('=') && !within_list(&text[..line]) {
        return None;
    }
    let example = key.map_or_else(|| "\"...\"".to_owned(), |key| format!("{key} = \"...\""));
    match found.chars().next()? {
        '"' | '\'' => None,
        '#' => Some(format!("the value is missing; expected one such as {example}")),
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2018}' | '\u{2019}' | '\u{ab}' | '\u{bb}' => {
            Some(format!("these are not TOML quotes; expected straight ones: {example}"))
        }
        ']' | '}' | ',' => None,
        _ => Some(format!("the quotes are missing: expected {example}")),
    }
}

/// Longer keys are not shown.
const LONGEST_SHOWN: usize = 100;

/// Whether a text ends inside a list, so that the next line may begin with a value.
fn within_list(before: &str) -> bool {
    let last = before.trim_end();
    last.ends_with([',', '['])
}

/// Turns offsets into lines and columns.
struct Lines<'a> {
    name: &'a Arc<str>,
    text: &'a str,
    /// Where each line begins.
    starts: Vec<usize>,
    /// How many characters begin before each multiple of [`STRIDE`], so that a column on a long line needs no search from
    /// its beginning.
    counts: Vec<usize>,
}

/// Bytes between two counts: little to search, and little memory.
const STRIDE: usize = 256;

/// Whether a character begins with this byte of UTF-8.
fn begins(byte: &u8) -> bool {
    byte & 0xc0 != 0x80
}

impl<'a> Lines<'a> {
    fn new(name: &'a Arc<str>, text: &'a str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        let mut before = 0;
        let count = |part: &[u8]| {
            let here = before;
            before += part.iter().filter(|byte| begins(byte)).count();
            here
        };
        let counts = text.as_bytes().chunks(STRIDE).map(count).collect();
        Self { name, text, starts: [0].into_iter().chain(after_newlines).collect(), counts }
    }

    /// How many characters begin before an offset.
    fn characters(&self, offset: usize) -> usize {
        let bytes = self.text.as_bytes();
        let offset = offset.min(bytes.len());
        let stride = (offset / STRIDE).min(self.counts.len().saturating_sub(1));
        let counted = self.counts.get(stride).copied().unwrap_or_default();
        counted + bytes[stride * STRIDE..offset].iter().filter(|byte| begins(byte)).count()
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        // A file may begin with a byte order mark, which does not count as a character of its first line.
        let mark = usize::from(start == 0 && offset > 0 && self.text.starts_with('\u{feff}'));
        Position { line, column: (self.characters(offset) - self.characters(start)).saturating_sub(mark) + 1 }
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin::File { name: Arc::clone(self.name), position: Some(self.position(offset)) }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| Entry {
            key: key.get_ref().to_string(),
            key_origin: self.origin(key.span().start),
            node: self.node(value),
        };
        Table(entries.into_iter().map(entry).collect())
    }

    fn node(&self, value: &toml::Spanned<DeValue<'_>>) -> Node {
        let origin = self.origin(value.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(Secret::from(text.as_ref())),
            DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix())
                .map_or(Value::Other("an integer of absurd size"), Value::Integer),
            DeValue::Array(list) => Value::List(list.iter().map(|value| self.node(value)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Float(_) => Value::Other("a number with a fraction"),
            DeValue::Datetime(_) => Value::Other("a date or time"),
        };
        Node { origin, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_columns_as_editors_do() {
        let name = Arc::from("f");
        let text = "\u{feff}ab\r\näöx\n";
        let lines = Lines::new(&name, text);
        let at = |pattern: &str| {
            let Position { line, column } = lines.position(text.find(pattern).unwrap());
            (line, column)
        };
        assert_eq!(at("a"), (1, 1));
        assert_eq!(at("b"), (1, 2));
        assert_eq!(at("x"), (2, 3));
        let Position { line, column } = lines.position(text.len());
        assert_eq!((line, column), (3, 1));
    }

    #[test]
    fn counts_characters_across_strides() {
        let name = Arc::from("f");
        for filler in ["a", "ä", "€", "😀"] {
            let text = format!("first\n{}x", filler.repeat(3 * STRIDE + 7));
            let Position { line, column } = Lines::new(&name, &text).position(text.len() - 1);
            assert_eq!((line, column), (2, 3 * STRIDE + 8), "{filler}");
        }
        let Position { line, column } = Lines::new(&name, "").position(0);
        assert_eq!((line, column), (1, 1));
    }

    #[test]
    fn says_where_quotes_are_missing() {
        let message = |text: &str| {
            let mut findings = Findings::default();
            parse(&Arc::from("f"), text, &mut findings);
            findings.into_result().unwrap_err().problems()[0].to_string()
        };
        for (text, expected) in [
            ("[proxy]\nlisten = 127.0.0.1:8080", "the quotes are missing: expected listen = \"...\""),
            ("[proxy]\nlisten = localhost:8080", "the quotes are missing: expected listen = \"...\""),
            ("[proxy]\nlisten = [127.0.0.1:8080]", "the quotes are missing: expected \"...\""),
            ("[proxy]\nlisten = [\n  127.0.0.1:8080,\n]", "the quotes are missing: expected \"...\""),
            ("[proxy]\nlisten = [\n  \"[::1]:1\",\n  [::1]:8080,\n]", "the quotes are missing"),
            ("[admin]\nlisten = :9090", "the quotes are missing: expected listen = \"...\""),
            ("[accounts.main]\ndata_center = us", "the quotes are missing: expected data_center = \"...\""),
            ("[accounts.main]\nclient_id = 1000.ABC", "the quotes are missing: expected client_id = \"...\""),
            ("[accounts.main]\nclient_id = ${ID}", "the quotes are missing: expected client_id = \"...\""),
            ("[callers]\nc3R5bGU2NA==", "the quotes are missing: expected \"...\""),
            ("[accounts.main]\nclient_secret = { env = ID }", "the quotes are missing: expected env = \"...\""),
            ("[queue]\nmax_wait = 30s # half a minute", "the quotes are missing: expected max_wait = \"...\""),
            ("[state]\ndir = /var/lib/x", "the quotes are missing: expected dir = \"...\""),
            ("proxy.tls.cert = /etc/x.pem", "the quotes are missing: expected proxy.tls.cert = \"...\""),
            ("[state]\ndir = \u{201c}/var/lib/x\u{201d}", "expected straight ones: dir = \"...\""),
            ("[state]\ndir = # none yet", "the value is missing"),
        ] {
            assert!(message(text).contains(expected), "{text}: {}", message(text));
        }
        for text in ["[state]\ndir = \"/var", "[state]\ndir: x", "[state\n", "a = \"x\" y", "a = 'x", "= 1", "x"] {
            assert!(!message(text).contains("quotes are missing"), "{text}: {}", message(text));
        }
    }

    #[test]
    fn keeps_the_order_of_the_file() {
        let mut findings = Findings::default();
        let table = parse(&Arc::from("f"), "[b]\n[a]\n[c]\n[b.x]\n", &mut findings);
        let keys: Vec<&str> = table.0.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["b", "a", "c"]);
    }

    #[test]
    fn tells_one_mistake_per_line() {
        let mut findings = Findings::default();
        parse(&Arc::from("f"), "a = 1000.x.y\nb = \"open\nc = 1\n", &mut findings);
        let errors = findings.into_result().unwrap_err().to_string();
        assert_eq!(errors.lines().count(), 3, "{errors}");
        assert!(errors.contains("f:1:10: ") && errors.contains("f:2:10: "), "{errors}");
    }
}
