//! A cursor over one table of the raw form, with a question for each kind of value.
//!
//! Every question notes what is wrong and answers `None`, so that the reading goes on and finds the next mistake.
//! Keys that nobody asked for are noted when a section ends: which keys exist is said once, by the questions.

use std::{collections::BTreeSet, fmt::Display, ops::RangeInclusive, sync::Arc, time::Duration};

use super::{
    nearest::{SLIP, nearest},
    problem::{Findings, Origin, dotted},
    quantity,
    source::{Entry, Node, Table, Value},
};

/// Keys of earlier versions, and what to write now.
const RENAMED: [(&str, &str); 1] = [(
    "state.missing",
    "is now state.when_empty: write \"fresh\" instead of \"unused\", and \"assume_lost\" instead of \"lost\"",
)];

/// One table being read.
pub(super) struct Section<'f> {
    table: Table,
    /// The keys that lead here.
    path: Vec<String>,
    /// Where the table's own key was written.
    origin: Origin,
    known: BTreeSet<&'static str>,
    findings: &'f Findings,
}

/// A value that passed, and where it stands, for judging it beside others.
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// Text that says something, for [`Section::parsed`] and [`Section::list`].
pub(super) fn some_text(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("is empty") } else { Ok(text.to_owned()) }
}

/// Reads the root of the tree with `read`.
pub(super) fn read_root<T>(
    name: &Arc<str>,
    table: Table,
    findings: &Findings,
    read: impl FnOnce(&mut Section<'_>) -> T,
) -> T {
    let origin = Origin::File { name: Arc::clone(name), position: None };
    let mut section = Section { table, path: Vec::new(), origin, known: BTreeSet::new(), findings };
    let value = read(&mut section);
    section.finish();
    value
}

// === Tables ===

impl<'f> Section<'f> {
    /// Reads a table of known keys; one that is absent reads as empty.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'f>) -> T) -> T {
        let (table, origin) = self.table(key).unwrap_or_else(|| (Table::default(), self.origin.clone()));
        self.inner(key, table, origin, read)
    }

    /// Reads a table of known keys, if it is there. `expected` completes "expected ..." for anything but a table.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&mut Section<'f>) -> Option<T>,
    ) -> Option<T> {
        let Entry { key_origin, node: Node { origin, value }, .. } = self.take(key)?;
        match value {
            Value::Table(table) => self.inner(key, table, key_origin, read),
            other => {
                self.wrong_kind(key, &origin, expected, &other);
                None
            }
        }
    }

    /// Reads a table of tables whose keys are names, in the order of the file.
    pub(super) fn sections<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&str, &mut Section<'f>) -> T,
    ) -> Vec<T> {
        let Some((table, origin)) = self.table(key) else { return Vec::new() };
        self.inner(key, table, origin, |outer| {
            let mut values = Vec::new();
            for Entry { key: name, key_origin, node } in std::mem::take(&mut outer.table.0) {
                match node.value {
                    Value::Table(table) => {
                        values.push(outer.inner(&name, table, key_origin, |section| read(&name, section)));
                    }
                    other => outer.wrong_kind(&name, &node.origin, "a table", &other),
                }
            }
            values
        })
    }

    /// Notes something wrong with this table as a whole.
    pub(super) fn refuse(&self, message: impl AsRef<str>) {
        self.findings.wrong(&self.origin, dotted(&self.path), message);
    }

    /// The same, for messages that take work.
    pub(super) fn refuse_by(&self, message: impl FnOnce() -> String) {
        self.findings.wrong_by(&self.origin, || (dotted(&self.path), message()));
    }

    /// Leaves the rest of this table unread: what belongs to an unknown name cannot be judged.
    pub(super) fn discard(&mut self) {
        self.table = Table::default();
    }

    /// Where this table's own key was written.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Reads a list of tables, in the order of the file.
    pub(super) fn tables(&mut self, key: &'static str, mut read: impl FnMut(&mut Section<'f>)) {
        let Some(Entry { node: Node { origin, value }, .. }) = self.take(key) else { return };
        let Value::List(nodes) = value else {
            return self.wrong_kind(key, &origin, &format!("a list of tables, [[{key}]], in the file"), &value);
        };
        for Node { origin, value } in nodes {
            match value {
                Value::Table(table) => self.inner(key, table, origin, &mut read),
                other => self.wrong_kind(key, &origin, "a table", &other),
            }
        }
    }

    /// Whether a key is there, and where; for keys that exclude each other.
    pub(super) fn whereabouts(&self, key: &str) -> Option<Origin> {
        self.table.find(key).map(|entry| entry.key_origin.clone())
    }

    /// Whether a key holds a table, for keys that may also hold something else.
    pub(super) fn is_table(&self, key: &str) -> bool {
        matches!(self.table.find(key), Some(Entry { node: Node { value: Value::Table(_), .. }, .. }))
    }

    /// Whether a key holds a table with anything in it, for rules that hang on it before it is read.
    pub(super) fn holds_any(&self, key: &str) -> bool {
        matches!(self.table.find(key), Some(Entry { node: Node { value: Value::Table(table), .. }, .. }) if !table.0.is_empty())
    }

    /// Whether a key holds a list without entries, for keys of which that means something.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        matches!(self.table.find(key), Some(Entry { node: Node { value: Value::List(nodes), .. }, .. }) if nodes.is_empty())
    }

    /// Whether the table of this key holds that one, for keys that depend on others far away.
    pub(super) fn holds(&self, table: &str, key: &str) -> bool {
        let found = self.table.find(table).map(|entry| &entry.node.value);
        matches!(found, Some(Value::Table(inner)) if inner.find(key).is_some())
    }

    /// Whether any key of this table is itself a table.
    pub(super) fn has_tables(&self) -> bool {
        self.table.0.iter().any(|entry| matches!(entry.node.value, Value::Table(_)))
    }

    /// The keys of the tables within this one, joined by dots: what unquoted dots made of a name.
    pub(super) fn unquoted(&self) -> String {
        let (mut table, mut keys) = (&self.table, Vec::new());
        while let Some(Entry { key, node: Node { value: Value::Table(inner), .. }, .. }) = table.0.first() {
            keys.push(key.as_str());
            table = inner;
        }
        keys.join(".")
    }

    fn table(&mut self, key: &'static str) -> Option<(Table, Origin)> {
        let entry = self.take(key)?;
        match entry.node.value {
            Value::Table(table) => Some((table, entry.key_origin)),
            other => {
                self.wrong_kind(key, &entry.node.origin, "a table", &other);
                None
            }
        }
    }

    fn inner<T>(&self, key: &str, table: Table, origin: Origin, read: impl FnOnce(&mut Section<'f>) -> T) -> T {
        let path = self.path.iter().cloned().chain([key.to_owned()]).collect();
        let mut section = Section { table, path, origin, known: BTreeSet::new(), findings: self.findings };
        let value = read(&mut section);
        section.finish();
        value
    }

    /// Notes every key that nobody asked for.
    fn finish(self) {
        for Entry { key, key_origin, .. } in &self.table.0 {
            self.findings.wrong_by(key_origin, || {
                let whole = self.key(key);
                if let Some((_, advice)) = RENAMED.iter().find(|(old, _)| *old == whole) {
                    return (whole, (*advice).to_owned());
                }
                let near = nearest(key, self.known.iter().copied(), SLIP);
                let guess = near.first().map(|known| format!("; did you mean {known}?")).unwrap_or_default();
                let known: Vec<&str> = self.known.iter().copied().collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                (whole, format!("unknown key{guess} (known here: {known})"))
            });
        }
    }
}

// === Values ===

impl Section<'_> {
    /// Takes a key out, whatever it holds.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Entry> {
        self.known.insert(key);
        let at = self.table.position(key)?;
        Some(self.table.0.remove(at))
    }

    /// Notes a key that this table has to have and lacks. `expected` completes "expected ...".
    pub(super) fn required(&mut self, key: &'static str, expected: &str) {
        self.known.insert(key);
        if self.table.find(key).is_none() {
            self.missing(key, &format!("is missing; expected {expected}"));
        }
    }

    /// A string that `parse` understands. `expected` completes "expected ..." for anything but a string.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        let Entry { node: Node { origin, value }, .. } = self.take(key)?;
        match value {
            Value::Text(text) => match parse(text.expose()) {
                Ok(value) => Some(Located { value, origin }),
                Err(error) => {
                    self.wrong(key, &origin, error.to_string());
                    None
                }
            },
            other => {
                self.wrong_kind(key, &origin, expected, &other);
                None
            }
        }
    }

    /// A duration within a range.
    pub(super) fn duration(&mut self, key: &'static str, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.parsed(key, quantity::A_DURATION, |text| quantity::duration(text, &range)).map(|found| found.value)
    }

    /// A size in bytes within a range.
    pub(super) fn size(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        self.parsed(key, quantity::A_SIZE, |text| quantity::size(text, &range)).map(|found| found.value)
    }

    /// An integer within a range; from the environment, where everything is text, in digits.
    pub(super) fn integer(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let Entry { node: Node { origin, value }, .. } = self.take(key)?;
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        let integer = match &value {
            Value::Integer(integer) => Some(*integer),
            Value::Text(text) if matches!(origin, Origin::Environment { .. }) => text.expose().parse().ok(),
            other => {
                self.wrong_kind(key, &origin, &expected, other);
                return None;
            }
        };
        let integer = integer.and_then(|integer| u32::try_from(integer).ok()).filter(|integer| range.contains(integer));
        if integer.is_none() {
            self.wrong(key, &origin, format!("expected {expected}"));
        }
        integer
    }

    /// True or false; from the environment, where everything is text, by that word.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let Entry { node: Node { origin, value }, .. } = self.take(key)?;
        let expected = "true or false";
        let boolean = match &value {
            Value::Boolean(boolean) => Some(*boolean),
            Value::Text(text) if matches!(origin, Origin::Environment { .. }) => text.expose().parse().ok(),
            other => {
                self.wrong_kind(key, &origin, expected, other);
                return None;
            }
        };
        if boolean.is_none() {
            self.wrong(key, &origin, format!("expected {expected}"));
        }
        boolean
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let listed: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let expected = match listed.as_slice() {
            [only] => only.clone(),
            _ => format!("one of {}", listed.join(", ")),
        };
        let parse = |text: &str| match words.iter().find(|(word, _)| *word == text) {
            Some((_, meaning)) => Ok(*meaning),
            None => Err(format!("expected {expected}")),
        };
        self.parsed(key, &expected, parse).map(|found| found.value)
    }

    /// A string or a list of strings, each of which `parse` understands; from the environment, parted by commas.
    pub(super) fn list<T, E: Display>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<Located<T>>> {
        let Entry { node: Node { origin, value }, .. } = self.take(key)?;
        let nodes = match value {
            Value::List(nodes) => nodes,
            Value::Text(text) if matches!(origin, Origin::Environment { .. }) => {
                let part = |part: &str| Node { origin: origin.clone(), value: Value::Text(part.trim().into()) };
                text.expose().split(',').map(part).collect()
            }
            Value::Text(text) => vec![Node { origin: origin.clone(), value: Value::Text(text) }],
            other => {
                self.wrong_kind(key, &origin, &format!("{expected}, or a list of them"), &other);
                return None;
            }
        };
        if nodes.is_empty() {
            self.wrong(key, &origin, format!("expected at least one entry: {expected}"));
            return None;
        }
        let mut values = Vec::new();
        for Node { origin, value } in nodes {
            match value {
                Value::Text(text) => match parse(text.expose()) {
                    Ok(value) => values.push(Located { value, origin }),
                    Err(error) => self.wrong(key, &origin, error.to_string()),
                },
                other => self.wrong_kind(key, &origin, expected, &other),
            }
        }
        Some(values)
    }

    /// Notes something wrong with a key of this table.
    pub(super) fn wrong(&self, key: &str, origin: &Origin, message: impl AsRef<str>) {
        self.findings.wrong(origin, self.key(key), message);
    }

    /// Notes a value that is valid and probably not what was meant.
    pub(super) fn doubtful(&self, key: &str, origin: &Origin, message: impl AsRef<str>) {
        self.findings.doubtful(origin, self.key(key), message);
    }

    /// Notes a value of the wrong kind. The value itself is never shown.
    pub(super) fn wrong_kind(&self, key: &str, origin: &Origin, expected: &str, found: &Value) {
        self.wrong(key, origin, format!("expected {expected}, found {}", found.kind()));
    }

    /// Notes a key that this table lacks.
    pub(super) fn missing(&self, key: &str, message: &str) {
        self.findings.missing(&self.origin, self.key(key), message);
    }

    fn key(&self, key: &str) -> String {
        dotted(self.path.iter().map(String::as_str).chain([key]))
    }
}
