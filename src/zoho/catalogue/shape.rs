//! The form of a value as data: the vocabulary in which the catalogue's rows record the rules of a page.
//!
//! ```toml
//! { name = "shareData", in = ["query"], required = true, kind = "json", value = { kind = "object", fields = [
//!     { name = "type", required = true, kind = "one-of", values = ["user", "group"] },
//!     { name = "zgid", kind = "digits", required-when = { type = "group" } },
//! ] } }
//! ```
//!
//! `shape_reader.rs` rejects rules that make no sense, such as a condition on a field that does not exist, so these
//! types never hold one. docs/rules.md explains every word.

use std::fmt;

use super::date::DateFormat;

/// A value without parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The values it allows.
    pub kind: ScalarKind,
    /// Its name in an error, with its article: "a group's id".
    pub called: Option<String>,
}

/// The kinds of [`Scalar`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScalarKind {
    /// Any text of this many characters.
    Text {
        /// The fewest.
        min: usize,
        /// The most.
        max: usize,
    },
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A record number: a long from 0, written with this many digits.
    Digits {
        /// The fewest.
        min: usize,
        /// The most.
        max: usize,
    },
    /// One of these words, compared with case.
    OneOf(Vec<String>),
    /// An e-mail address as a person types it.
    Email,
    /// A date or a moment in one of these forms.
    Date(Vec<DateFormat>),
    /// `true` or `false`.
    Boolean,
}

/// The form of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Anything that parses.
    Any,
    /// A number, a string or a boolean.
    Scalar(Scalar),
    /// An array.
    Array(Array),
    /// An object. Keys that are not among its fields pass, unless the route is validated strictly.
    Object(Vec<Field>),
}

/// A JSON array with a bounded number of elements of one shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    /// How many at least.
    pub min: usize,
    /// How many at most.
    pub max: usize,
    /// Each of them.
    pub items: Box<Shape>,
}

/// A key of a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The key.
    pub name: String,
    /// Whether it is required, and how that depends on its siblings.
    pub terms: Terms,
    /// The form of its value.
    pub shape: Shape,
}

/// The rules of a field or a parameter that depend on its siblings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Whether it is required.
    pub required: Required,
    /// Its name in the error that it is missing, with its article: "the user's e-mail address".
    pub missing: Option<String>,
    /// Values that some cases exclude.
    pub except: Option<Except>,
}

/// Whether something is required.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Required {
    /// It may be left out.
    #[default]
    Never,
    /// It must be present.
    Always,
    /// It must be present in this case.
    When(Condition),
}

/// Words of a `one-of` that are rejected in one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Except {
    /// Some of the words.
    pub values: Vec<String>,
    /// The case.
    pub when: Condition,
    /// The reason, to be read after the word: "is for users, not for groups".
    pub because: Option<String>,
}

/// Siblings with their values, all of which must match: `{ type = "group", mode = ["add", "edit"] }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition(pub(super) Vec<(String, Vec<String>)>);

// === impl Scalar ===

impl Scalar {
    /// The words of a `one-of`.
    #[must_use]
    pub fn words(&self) -> &[String] {
        match &self.kind {
            ScalarKind::OneOf(words) => words,
            _ => &[],
        }
    }
}

// === impl Terms ===

impl Terms {
    /// Whether it is required, given the valid siblings' values.
    pub fn demands<'v>(&self, value_of: impl Fn(&str) -> Option<&'v str>) -> bool {
        match &self.required {
            Required::Never => false,
            Required::Always => true,
            Required::When(condition) => condition.holds(value_of),
        }
    }
}

// === impl Condition ===

impl Condition {
    /// Whether every sibling has one of its values. A sibling that is missing or invalid matches nothing, so the rules
    /// that depend on it do not apply.
    pub fn holds<'v>(&self, value_of: impl Fn(&str) -> Option<&'v str>) -> bool {
        self.0
            .iter()
            .all(|(name, values)| value_of(name).is_some_and(|found| values.iter().any(|value| value == found)))
    }
}

/// The case in words: "type is group and mode is add or edit".
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, values)) in self.0.iter().enumerate() {
            let and = if index == 0 { "" } else { " and " };
            write!(f, "{and}{name} is {}", values.join(" or "))?;
        }
        Ok(())
    }
}
