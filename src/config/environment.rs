//! Environment variables override the file: `ZOHO_GATEWAY__PROXY__LISTEN=127.0.0.1:8080` sets `proxy.listen`.
//!
//! A name is split at `__` and read in lower case. Route ids and account names contain characters that a variable's name
//! cannot. There, `_` matches every character but letters and digits: `PEOPLE_LMS_SHARE_COURSE` means
//! `people.lms.share-course`. An account that is not in the file is added, with its name in lower case. An account with two
//! such characters in a row can only be set in the file.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    sync::Arc,
};

use super::{
    keys,
    problem::{Findings, Origin, dotted},
    source::{Entry, Node, Table, Value},
};
use crate::secret::Secret;

/// The beginning of our variables' names.
const PREFIX: &str = "ZOHO_GATEWAY__";

/// What overrides the file: the environment, and options of the command line, which override both.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Sorted, so that errors have the same order every time.
    variables: BTreeMap<OsString, OsString>,
    options: Vec<CommandLineOption>,
}

#[derive(Debug, Clone)]
struct CommandLineOption {
    /// As the user writes it.
    name: &'static str,
    /// The key that it sets.
    path: [&'static str; 2],
    value: String,
}

impl<I: IntoIterator<Item = (OsString, OsString)>> From<I> for Overrides {
    fn from(variables: I) -> Self {
        Self { variables: variables.into_iter().collect(), options: Vec::new() }
    }
}

impl Overrides {
    /// Adds an option of the command line that sets this key of this table.
    #[must_use]
    pub fn with_option(mut self, name: &'static str, path: [&'static str; 2], value: String) -> Self {
        self.options.push(CommandLineOption { name, path, value });
        self
    }

    /// Only the variables whose names begin so.
    pub(super) fn only(mut self, beginning: &str) -> Self {
        self.variables.retain(|name, _| name.as_encoded_bytes().starts_with(beginning.as_bytes()));
        self
    }

    /// A variable's value, ours or not.
    pub(super) fn value(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Puts our variables and the options into the file's tree.
    pub(super) fn overlay(&self, root: &mut Table, route_ids: &[String], findings: &Findings) {
        self.overlay_variables(root, route_ids, findings);
        for CommandLineOption { name, path, value } in &self.options {
            let (origin, path) = (Origin::CommandLine { option: name }, path.map(str::to_owned));
            if let Err((key, message)) = place(root, &path, &origin, Secret::from(value.as_str()), route_ids) {
                findings.wrong(&origin, key, message);
            }
        }
    }

    fn overlay_variables(&self, root: &mut Table, route_ids: &[String], findings: &Findings) {
        for (name, value) in &self.variables {
            if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                continue;
            }
            let origin = Origin::Environment { variable: Arc::from(name.to_string_lossy()) };
            let path: Option<Vec<String>> = name.to_str().map(|name| {
                let path = name.strip_prefix(PREFIX).unwrap_or(name);
                path.split("__").map(str::to_ascii_lowercase).collect()
            });
            let Some(path) = path.filter(|path| path.iter().all(|segment| !segment.is_empty())) else {
                findings.wrong(&origin, "", "expected a name such as ZOHO_GATEWAY__PROXY__LISTEN");
                continue;
            };
            let Some(value) = value.to_str() else {
                findings.wrong(&origin, dotted(&path), "expected UTF-8 text");
                continue;
            };
            if let Err((key, message)) = place(root, &path, &origin, Secret::from(value), route_ids) {
                findings.wrong(&origin, key, message);
            }
        }
    }
}

/// Puts one value into the tree. An error has the key and the message.
fn place(
    root: &mut Table,
    path: &[String],
    origin: &Origin,
    value: Secret,
    route_ids: &[String],
) -> Result<(), (String, String)> {
    let mut table = root;
    let mut keys: Vec<String> = Vec::new();
    for (depth, segment) in path.iter().enumerate() {
        let key = resolve(table, &keys, segment, route_ids)
            .map_err(|message| (dotted(keys.iter().chain([segment])), message))?;
        keys.push(key.clone());
        if depth + 1 == path.len() {
            return set(table, key, origin, value).map_err(|message| (dotted(&keys), message));
        }
        table = descend(table, key, origin).map_err(|message| (dotted(&keys), message))?;
    }
    Ok(())
}

/// The key that a segment of a variable's name means in a table.
fn resolve(table: &Table, parents: &[String], segment: &str, route_ids: &[String]) -> Result<String, String> {
    let ids: &[String] = match parents {
        [parent] if parent == "routes" => route_ids,
        [parent] if keys::are_named(parent) => &[],
        _ => return Ok(segment.to_owned()),
    };
    let written = table.0.iter().map(|entry| &entry.key);
    let mut meant: Vec<&String> = written.chain(ids).filter(|key| flattened(key) == segment).collect();
    meant.sort();
    meant.dedup();
    match meant.as_slice() {
        [] => Ok(segment.to_owned()),
        [key] => Ok((*key).clone()),
        [first, second, ..] => Err(format!("may mean {first} or {second}; set this one in the file")),
    }
}

/// A name in the characters of a variable's name.
pub(super) fn flattened(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// The table of that key. It replaces another value of the file, but not one of another variable.
fn descend<'t>(table: &'t mut Table, key: String, origin: &Origin) -> Result<&'t mut Table, String> {
    let empty = || Node { origin: origin.clone(), value: Value::Table(Table::default()) };
    let at = match table.position(&key) {
        Some(at) => at,
        None => {
            table.0.push(Entry { key, key_origin: origin.clone(), node: empty() });
            table.0.len() - 1
        }
    };
    let node = &mut table.0[at].node;
    if !matches!(node.value, Value::Table(_)) {
        undisputed(&node.origin, origin)?;
        *node = empty();
    }
    match &mut node.value {
        Value::Table(inner) => Ok(inner),
        _ => Err("expected a table".to_owned()),
    }
}

/// Sets a key. It replaces the file's value, and the file's other reference to the same secret.
fn set(table: &mut Table, key: String, origin: &Origin, value: Secret) -> Result<(), String> {
    if let Some(present) = table.find(&key) {
        undisputed(&present.node.origin, origin)?;
    }
    let rival = match key.as_str() {
        "env" => "file",
        "file" => "env",
        _ => "",
    };
    let of_file = |entry: &Entry| matches!(entry.node.origin, Origin::File { .. });
    table.0.retain(|entry| entry.key != key && !(entry.key == rival && of_file(entry)));
    let node = Node { origin: origin.clone(), value: Value::Text(value) };
    table.0.push(Entry { key, key_origin: origin.clone(), node });
    Ok(())
}

/// Fails if another variable has set the key. An option of the command line overrides variables.
fn undisputed(present: &Origin, origin: &Origin) -> Result<(), String> {
    match (present, origin) {
        (Origin::Environment { variable }, Origin::Environment { .. }) => Err(format!("is already set by {variable}")),
        _ => Ok(()),
    }
}
