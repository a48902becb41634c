//! All mistakes of a configuration, with their positions.
//!
//! No message repeats a value, because any value may be a secret in the wrong place. Messages repeat keys.

use std::{cell::RefCell, collections::BTreeSet, fmt, sync::Arc};

/// How many problems are shown. People cannot use more at once, and a file of another format has one on every line.
const MOST_SHOWN: usize = 50;

/// How many characters of a key and of a message are shown. The longest messages list the keys of a table.
const LONGEST_KEY: usize = 200;
const LONGEST_MESSAGE: usize = 1000;

/// All mistakes of a configuration: at least one problem, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    shown: Vec<Problem>,
    /// How many are not shown.
    more: usize,
}

impl ConfigErrors {
    /// The first problems: those without a line first, then by position, those of the environment last.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.shown
    }
}

impl From<Problem> for ConfigErrors {
    fn from(problem: Problem) -> Self {
        Self { shown: vec![problem], more: 0 }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.shown {
            writeln!(f, "{problem}")?;
        }
        if self.more > 0 {
            writeln!(f, "... and {} more", self.more)?;
        }
        match self.shown.len() + self.more {
            1 => write!(f, "1 problem in the configuration"),
            count => write!(f, "{count} problems in the configuration"),
        }
    }
}

/// One mistake, shown as `FILE:LINE:COLUMN: KEY: message`, `environment VARIABLE: KEY: message` or `OPTION: KEY: message`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Its position.
    pub origin: Origin,
    /// The key with its tables, for example `proxy.max_body`; empty for a syntax error.
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
    /// In the file; without a position for something that the file lacks.
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
    /// On the command line.
    CommandLine {
        /// The option, as the user writes it.
        option: &'static str,
    },
}

impl Origin {
    /// Whether it is outside the file, where all values are text.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Environment { .. } | Self::CommandLine { .. })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, position: Some(Position { line, column }) } => write!(f, "{name}:{line}:{column}"),
            Self::File { name, position: None } => f.write_str(name),
            Self::Environment { variable } => write!(f, "environment {variable}"),
            Self::CommandLine { option } => f.write_str(option),
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

/// The problems found so far.
#[derive(Default)]
pub(super) struct Findings {
    problems: RefCell<First>,
    /// Values that are valid and probably not meant.
    doubts: RefCell<First>,
    /// The first line with a syntax error. From there on the tree is a guess.
    broken: Option<usize>,
}

impl Findings {
    /// Notes a syntax error.
    pub(super) fn malformed(&mut self, name: &Arc<str>, position: Position, message: &str) {
        self.broken = Some(self.broken.map_or(position.line, |line| line.min(position.line)));
        let origin = Origin::File { name: Arc::clone(name), position: Some(position) };
        self.problems.get_mut().note(&origin, "", message);
    }

    /// Notes something wrong, unless the tree is a guess there.
    pub(super) fn wrong(&self, origin: &Origin, key: impl AsRef<str>, message: impl AsRef<str>) {
        if !self.is_a_guess(origin) {
            self.problems.borrow_mut().note(origin, key.as_ref(), message.as_ref());
        }
    }

    /// The same for messages that take work: a problem that is not shown needs no message.
    pub(super) fn wrong_by<K: AsRef<str>, M: AsRef<str>>(&self, origin: &Origin, tell: impl FnOnce() -> (K, M)) {
        if self.is_a_guess(origin) {
            return;
        }
        let mut problems = self.problems.borrow_mut();
        if problems.can_show(origin) {
            let (key, message) = tell();
            problems.note(origin, key.as_ref(), message.as_ref());
        } else {
            problems.more += 1;
        }
    }

    /// Notes a value that is valid and probably not meant.
    pub(super) fn doubtful(&self, origin: &Origin, key: impl AsRef<str>, message: impl AsRef<str>) {
        self.doubts.borrow_mut().note(origin, key.as_ref(), message.as_ref());
    }

    fn is_a_guess(&self, origin: &Origin) -> bool {
        let Origin::File { position: Some(position), .. } = origin else { return false };
        self.broken.is_some_and(|broken| position.line >= broken)
    }

    /// Notes something that is missing, unless it may be in text that could not be parsed.
    pub(super) fn missing(&self, origin: &Origin, key: impl AsRef<str>, message: impl AsRef<str>) {
        if self.broken.is_none() {
            self.problems.borrow_mut().note(origin, key.as_ref(), message.as_ref());
        }
    }

    /// The problems, or if there are none the warnings.
    pub(super) fn into_result(self) -> Result<Vec<String>, ConfigErrors> {
        let First { kept, more } = self.problems.into_inner();
        if kept.is_empty() {
            let First { kept, more } = self.doubts.into_inner();
            let more = (more > 0).then(|| format!("... and {more} more"));
            return Ok(kept.iter().map(Problem::to_string).chain(more).collect());
        }
        Err(ConfigErrors { shown: kept.into_iter().collect(), more })
    }
}

/// The first problems in the order of [`Problem`], and how many others there are. A new problem may replace the last one,
/// because they are found in the order of reading. This bounds memory for any file.
#[derive(Default)]
struct First {
    kept: BTreeSet<Problem>,
    more: usize,
}

impl First {
    fn note(&mut self, origin: &Origin, key: &str, message: &str) {
        let key = shortened(key, LONGEST_KEY);
        let message = shortened(message, LONGEST_MESSAGE);
        self.kept.insert(Problem { origin: origin.clone(), key, message });
        if self.kept.len() > MOST_SHOWN {
            self.kept.pop_last();
            self.more += 1;
        }
    }

    /// Whether a problem there may be shown.
    fn can_show(&self, origin: &Origin) -> bool {
        self.kept.len() < MOST_SHOWN || self.kept.last().is_some_and(|last| *origin <= last.origin)
    }
}

/// The beginning of a text that is too long.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
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
