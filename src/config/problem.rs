//! What is wrong with a configuration, all of it at once, and where.
//!
//! No message repeats a value, because any value may be a secret in the wrong place. Keys are repeated.

use std::{cell::RefCell, fmt, sync::Arc};

/// Everything that is wrong with a configuration: at least one problem, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(Vec<Problem>);

impl ConfigErrors {
    /// The problems: those without a line first, then by position, those of the environment last.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl From<Problem> for ConfigErrors {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        match self.0.len() {
            1 => write!(f, "1 problem in the configuration"),
            count => write!(f, "{count} problems in the configuration"),
        }
    }
}

/// One thing that is wrong, as `FILE:LINE:COLUMN: KEY: message` or `environment VARIABLE: KEY: message`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it stands.
    pub origin: Origin,
    /// The key with its tables, for example `proxy.max_body`; empty where the text is no TOML at all.
    pub key: String,
    /// What was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Where a key or a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In the file; without a position when it is about what the file lacks.
    File {
        /// The file as the user named it.
        name: Arc<str>,
        /// Line and column.
        position: Option<Position>,
    },
    /// In an environment variable.
    Environment {
        /// The variable's name.
        variable: Arc<str>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, position: Some(Position { line, column }) } => write!(f, "{name}:{line}:{column}"),
            Self::File { name, position: None } => f.write_str(name),
            Self::Environment { variable } => write!(f, "environment {variable}"),
        }
    }
}

/// A place in a file, counted from 1 as editors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character within the line.
    pub column: usize,
}

/// Collects problems while the reading goes on.
#[derive(Default)]
pub(super) struct Findings {
    problems: RefCell<Vec<Problem>>,
    /// The first line that is no TOML. What the parser made of the text from there on is a guess.
    broken: Option<usize>,
}

impl Findings {
    /// Notes text that is no TOML.
    pub(super) fn malformed(&mut self, name: &Arc<str>, position: Position, message: &str) {
        self.broken = Some(self.broken.map_or(position.line, |line| line.min(position.line)));
        let origin = Origin::File { name: Arc::clone(name), position: Some(position) };
        self.problems.get_mut().push(Problem { origin, key: String::new(), message: message.to_owned() });
    }

    /// Notes something that stands there and should not; unless it stands where the text is a guess.
    pub(super) fn wrong(&self, origin: &Origin, key: impl Into<String>, message: impl Into<String>) {
        if let (Some(broken), Origin::File { position: Some(position), .. }) = (self.broken, origin)
            && position.line >= broken
        {
            return;
        }
        self.push(origin, key.into(), message.into());
    }

    /// Notes something that should stand there and does not; unless it may hide in text that could not be read.
    pub(super) fn missing(&self, origin: &Origin, key: impl Into<String>, message: impl Into<String>) {
        if self.broken.is_none() {
            self.push(origin, key.into(), message.into());
        }
    }

    /// Fails if there was anything to note.
    pub(super) fn into_result(self) -> Result<(), ConfigErrors> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort();
        problems.dedup();
        Err(ConfigErrors(problems))
    }

    fn push(&self, origin: &Origin, key: String, message: String) {
        self.problems.borrow_mut().push(Problem { origin: origin.clone(), key, message });
    }
}

/// Keys joined as TOML writes them.
pub(super) fn dotted<S: AsRef<str>>(keys: impl IntoIterator<Item = S>) -> String {
    let bare = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let quoted = |key: S| match key.as_ref() {
        key if bare(key) => key.to_owned(),
        key => format!("\"{}\"", key.escape_debug()),
    };
    keys.into_iter().map(quoted).collect::<Vec<_>>().join(".")
}
