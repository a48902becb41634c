//! The raw form: the file as a tree in which every key and every value knows where it was written.
//!
//! Two things differ from `toml::Value`. A value may also come from the environment, where everything is text, and a
//! string is a [`Secret`] until a reader asks for it as something else, so that no tree can be printed by accident.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::problem::{Findings, Origin, Position};
use crate::secret::Secret;

/// A value and where it was written.
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// A value of the kinds that the configuration knows.
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
    /// What it is, for "expected ..., found ...".
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

/// A table's entries in the order in which they were written.
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

    /// The place of that key in the order.
    pub(super) fn position(&self, key: &str) -> Option<usize> {
        self.0.iter().position(|entry| entry.key == key)
    }
}

/// Parses a file. Where it is no TOML this is noted, and the tree holds what could be made of the rest.
pub(super) fn parse(name: &Arc<str>, text: &str, findings: &mut Findings) -> Table {
    let lines = Lines::new(name, text);
    let (document, mut errors) = DeTable::parse_recoverable(text);
    // The first error of a line is the mistake, the others mostly its echo.
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    let mut last = None;
    for error in errors {
        let position = lines.position(error.span().map_or(0, |span| span.start));
        if last.replace(position.line) != Some(position.line) {
            findings.malformed(name, position, error.message());
        }
    }
    lines.table(document.get_ref())
}

/// Turns offsets into lines and columns.
struct Lines<'a> {
    name: &'a Arc<str>,
    text: &'a str,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(name: &'a Arc<str>, text: &'a str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { name, text, starts: [0].into_iter().chain(after_newlines).collect() }
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        // A file may begin with a byte order mark, which is no character of its first line.
        let before = self.text.get(start..offset).unwrap_or_default().trim_start_matches('\u{feff}');
        Position { line, column: before.chars().count() + 1 }
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
