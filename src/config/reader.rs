//! A cursor over one table of the raw form, with a method for each kind of value.
//!
//! Every method notes what is wrong and returns the default or `None`, so that reading goes on and finds the next mistake.
//! Which keys exist, what they hold and what their defaults are is said once, in `keys`.

use std::{fmt::Display, sync::Arc};

use super::{
    keys::{Key, Keys, Kind, RENAMED, ROOT},
    nearest::{TYPO, nearest},
    problem::{Findings, Origin, dotted},
    scalar::Scalar,
    source::{Entry, Node, Table, Value},
};

/// One table being read.
pub(super) struct Section<'f> {
    table: Table,
    /// The keys of the tables around it, and its own.
    path: Vec<String>,
    /// Where the table's own key was written.
    origin: Origin,
    keys: Keys,
    findings: &'f Findings,
}

/// A valid value with its position, for checks that compare it with others.
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// Text that is not empty, for [`Section::parsed`] and [`Section::list`].
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
    let mut section = Section { table, path: Vec::new(), origin, keys: ROOT, findings };
    let value = read(&mut section);
    section.finish();
    value
}

// === Tables ===

impl<'f> Section<'f> {
    /// Reads a table; an absent one is empty.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'f>) -> T) -> T {
        let (table, origin) = self.table(key).unwrap_or_else(|| (Table::default(), self.origin.clone()));
        self.inner(key, self.key(key).kind.keys(), table, origin, read)
    }

    /// Reads a table, if it is there.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'f>) -> Option<T>,
    ) -> Option<T> {
        let (table, origin) = self.table(key)?;
        self.inner(key, self.key(key).kind.keys(), table, origin, read)
    }

    /// Reads a table of tables whose keys are names, in the order of the file.
    pub(super) fn sections<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&str, &mut Section<'f>) -> T,
    ) -> Vec<T> {
        let Some((table, origin)) = self.table(key) else { return Vec::new() };
        let keys = self.key(key).kind.keys();
        self.inner(key, &[], table, origin, |outer| {
            let mut values = Vec::new();
            for Entry { key: name, key_origin, node } in std::mem::take(&mut outer.table.0) {
                match node.value {
                    Value::Table(table) => {
                        values.push(outer.inner(&name, keys, table, key_origin, |section| read(&name, section)));
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

    /// Ignores the rest of this table: the keys of an unknown name cannot be checked.
    pub(super) fn discard(&mut self) {
        self.table = Table::default();
    }

    /// Where this table's own key was written.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Reads a list of tables, in the order of the file. Returns whether there is one.
    pub(super) fn tables(&mut self, key: &'static str, mut read: impl FnMut(&mut Section<'f>)) -> bool {
        let Some(Entry { node: Node { origin, value }, .. }) = self.take(key) else { return false };
        let Value::List(nodes) = value else {
            self.wrong_kind(key, &origin, &format!("a list of tables, [[{key}]], in the file"), &value);
            return false;
        };
        for Node { origin, value } in nodes {
            match value {
                Value::Table(table) => self.inner(key, self.key(key).kind.keys(), table, origin, &mut read),
                other => self.wrong_kind(key, &origin, "a table", &other),
            }
        }
        true
    }

    /// The position of a key, if it is there; for keys that exclude each other.
    pub(super) fn whereabouts(&self, key: &str) -> Option<Origin> {
        self.table.find(key).map(|entry| entry.key_origin.clone())
    }

    /// Whether a key holds a table, for keys that may also hold something else.
    pub(super) fn is_table(&self, key: &str) -> bool {
        matches!(self.table.find(key), Some(Entry { node: Node { value: Value::Table(_), .. }, .. }))
    }

    /// Whether a key holds a table that is not empty, for rules that depend on it before it is read.
    pub(super) fn holds_any(&self, key: &str) -> bool {
        matches!(self.table.find(key), Some(Entry { node: Node { value: Value::Table(table), .. }, .. }) if !table.0.is_empty())
    }

    /// Whether a table holds a key, for keys that depend on keys of other tables.
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
                self.wrong_kind(key, &entry.node.origin, &self.key(key).kind.expected(), &other);
                None
            }
        }
    }

    fn inner<T>(
        &self,
        key: &str,
        keys: Keys,
        table: Table,
        origin: Origin,
        read: impl FnOnce(&mut Section<'f>) -> T,
    ) -> T {
        let path = self.path.iter().cloned().chain([key.to_owned()]).collect();
        let mut section = Section { table, path, origin, keys, findings: self.findings };
        for key in section.keys().filter(|key| !key.missing.is_empty()) {
            section.required(key.name, key.missing);
        }
        let value = read(&mut section);
        section.finish();
        value
    }

    /// Notes every key that was not read: it is unknown.
    fn finish(self) {
        for Entry { key, key_origin, .. } in &self.table.0 {
            self.findings.wrong_by(key_origin, || {
                let whole = self.whole(key);
                if let Some((_, advice)) = RENAMED.iter().find(|(old, _)| *old == whole) {
                    return (whole, (*advice).to_owned());
                }
                let mut known: Vec<&str> = self.keys().map(|key| key.name).collect();
                known.sort_unstable();
                known.dedup();
                let near = nearest(key, known.iter().copied(), TYPO);
                let guess = near.first().map(|known| format!("; did you mean {known}?")).unwrap_or_default();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                (whole, format!("unknown key{guess} (known here: {known})"))
            });
        }
    }

    fn keys(&self) -> impl Iterator<Item = &'static Key> + use<'f> {
        self.keys.iter().copied().flatten()
    }

    fn key(&self, name: &str) -> &'static Key {
        self.keys().find(|key| key.name == name).expect("`keys` lists every key that is read")
    }
}

// === Values ===

impl Section<'_> {
    /// Removes and returns a key's entry.
    pub(super) fn take(&mut self, key: &str) -> Option<Entry> {
        let at = self.table.position(key)?;
        Some(self.table.0.remove(at))
    }

    /// Notes a missing key. `expected` completes "expected ...".
    pub(super) fn required(&self, key: &str, expected: &str) {
        if self.table.find(key).is_none() {
            self.missing(key, &format!("is missing; expected {expected}"));
        }
    }

    /// The value of a key that has a default.
    pub(super) fn value<T: Scalar>(&mut self, name: &str) -> T {
        self.given(name).unwrap_or_else(|| {
            let Key { kind, .. } = self.key(name);
            let default = self.key(name).default().map(|text| Value::Text(text.into()));
            let value = default.and_then(|default| T::read(kind, &default, true)?.ok());
            value.expect("`keys` has a valid default for every key that is read as a value")
        })
    }

    /// The value of a key, if it is there.
    pub(super) fn given<T: Scalar>(&mut self, name: &str) -> Option<T> {
        let Entry { node: Node { origin, value }, .. } = self.take(name)?;
        match T::read(&self.key(name).kind, &value, origin.is_text()) {
            Some(Ok(value)) => return Some(value),
            Some(Err(message)) => self.wrong(name, &origin, message),
            None => self.wrong_kind(name, &origin, &self.key(name).kind.expected(), &value),
        }
        None
    }

    /// A string that `parse` accepts, or the key's default.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        name: &str,
        mut parse: impl FnMut(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        let key = self.key(name);
        if let Some(Entry { node: Node { origin, value }, .. }) = self.take(name) {
            match value {
                Value::Text(text) => match parse(text.expose()) {
                    Ok(value) => return Some(Located { value, origin }),
                    Err(error) => self.wrong(name, &origin, error.to_string()),
                },
                other => self.wrong_kind(name, &origin, &key.kind.expected(), &other),
            }
        }
        let value = parse(key.default()?).ok()?;
        Some(Located { value, origin: self.origin.clone() })
    }

    /// A string or a list of strings, each of which `parse` accepts; comma-separated in the environment. The key's default
    /// if no entry is valid.
    pub(super) fn list<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<Located<T>>> {
        let key = self.key(name);
        let nodes = self.nodes(key);
        let (is_given, mut values) = (nodes.is_some(), Vec::new());
        for Node { origin, value } in nodes.into_iter().flatten() {
            match value {
                Value::Text(text) => match parse(text.expose()) {
                    Ok(value) => values.push(Located { value, origin }),
                    Err(error) => self.wrong(name, &origin, error.to_string()),
                },
                other => self.wrong_kind(name, &origin, &key.kind.expected(), &other),
            }
        }
        if values.is_empty()
            && let Some(value) = key.default().and_then(|text| parse(text).ok())
        {
            values.push(Located { value, origin: self.origin.clone() });
        }
        (is_given || !values.is_empty()).then_some(values)
    }

    /// The entries of a list; `None` if the key is absent or wrong as a whole.
    fn nodes(&mut self, key: &Key) -> Option<Vec<Node>> {
        let Entry { node: Node { origin, value }, .. } = self.take(key.name)?;
        match value {
            Value::List(nodes) if nodes.is_empty() && !matches!(key.kind, Kind::ListOrNone(_)) => {
                let expected = key.kind.expected();
                self.wrong(key.name, &origin, format!("expected at least one entry: {expected}"));
                None
            }
            Value::List(nodes) => Some(nodes),
            Value::Text(text) if origin.is_text() => {
                let node = |part: &str| Node { origin: origin.clone(), value: Value::Text(part.trim().into()) };
                Some(text.expose().split(',').map(node).collect())
            }
            Value::Text(text) => Some(vec![Node { origin, value: Value::Text(text) }]),
            other => {
                self.wrong_kind(key.name, &origin, &format!("{}, or a list of them", key.kind.expected()), &other);
                None
            }
        }
    }

    /// Notes something wrong with a key of this table.
    pub(super) fn wrong(&self, key: &str, origin: &Origin, message: impl AsRef<str>) {
        self.findings.wrong(origin, self.whole(key), message);
    }

    /// Notes a value that is valid and probably not meant.
    pub(super) fn doubtful(&self, key: &str, origin: &Origin, message: impl AsRef<str>) {
        self.findings.doubtful(origin, self.whole(key), message);
    }

    /// Notes a value of the wrong kind. The value itself is never shown.
    pub(super) fn wrong_kind(&self, key: &str, origin: &Origin, expected: &str, found: &Value) {
        self.wrong(key, origin, format!("expected {expected}, found {}", found.kind()));
    }

    /// Notes a key that this table lacks.
    pub(super) fn missing(&self, key: &str, message: &str) {
        self.findings.missing(&self.origin, self.whole(key), message);
    }

    /// The key with those of its tables.
    fn whole(&self, key: &str) -> String {
        dotted(self.path.iter().map(String::as_str).chain([key]))
    }
}
