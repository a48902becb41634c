//! Any configuration: messages about mistakes do not show values.

use std::{ffi::OsString, path::Path, sync::Arc};

use super::{
    environment::flattened,
    keys::{Keys, Kind, ROOT},
    parse,
    problem::Findings,
    source::{self, Node, Table, Value},
};

/// The value that no message may show. Digits only, so that it may be a number too.
const SECRET: &str = "8675309";

/// The line between the file and the environment, in which each line is a variable.
const SEPARATOR: &str = "\n---\n";

/// The folder does not exist, so no path of an input names a file.
const FILE: &str = "/nonexistent/zoho-gateway/fuzz.toml";

/// Reads a file's text and, after `---`, variables, and looks for the secret in the messages.
pub fn configuration(data: &[u8]) {
    let Ok(data) = std::str::from_utf8(data) else { return };
    let (text, variables) = data.split_once(SEPARATOR).unwrap_or((data, ""));
    let variables: Vec<(&str, &str)> = variables.lines().filter_map(|line| line.split_once('=')).collect();
    let mut seen = Seen::default();
    seen.table(&source::parse(&Arc::from(FILE), text, &mut Findings::default()));
    for (name, value) in &variables {
        seen.named |= flattened(name).contains(SECRET);
        seen.value(name.to_ascii_lowercase().rsplit("__").next().unwrap_or_default(), value);
    }
    if seen.leads_outside {
        return;
    }
    let environment = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let Err(errors) = parse(FILE, text, environment) else { return };
    let said = errors.to_string();
    assert!(!errors.problems().is_empty() && errors.problems().iter().all(|problem| !problem.message.is_empty()));
    // Messages repeat keys and paths of files.
    assert!(seen.named || !said.contains(SECRET), "{said}");
}

/// Parts of an input that messages may repeat, or that a test must not follow.
#[derive(Default)]
struct Seen {
    /// The secret is part of a key or of a file's path.
    named: bool,
    /// A path leaves the folder that does not exist.
    leads_outside: bool,
}

impl Seen {
    fn table(&mut self, table: &Table) {
        for entry in &table.0 {
            self.named |= entry.key.contains(SECRET);
            self.node(&entry.key, &entry.node);
        }
    }

    fn node(&mut self, key: &str, node: &Node) {
        match &node.value {
            Value::Text(text) => self.value(key, text.expose()),
            Value::List(nodes) => nodes.iter().for_each(|node| self.node(key, node)),
            Value::Table(table) => self.table(table),
            Value::Integer(_) | Value::Boolean(_) | Value::Other(_) => {}
        }
    }

    fn value(&mut self, key: &str, text: &str) {
        if is_file(ROOT, key) {
            self.leads_outside |= Path::new(text).is_absolute() || text.contains("..");
            self.named |= text.contains('/') && text.contains(SECRET);
        }
    }
}

/// Whether a key of that name, anywhere below these, names a file.
fn is_file(keys: Keys, name: &str) -> bool {
    let mut keys = keys.iter().copied().flatten();
    keys.any(|key| key.name == name && matches!(key.kind, Kind::File(_)) || is_file(key.kind.keys(), name))
}
