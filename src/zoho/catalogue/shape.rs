//! What a value must look like, as data: the vocabulary in which the catalogue's rows write down what a page says.
//!
//! ```toml
//! { name = "shareData", in = ["query"], required = true, kind = "json", value = { kind = "object", fields = [
//!     { name = "type", required = true, kind = "one-of", values = ["user", "group"] },
//!     { name = "zgid", kind = "digits", required-when = { type = "group" } },
//! ] } }
//! ```
//!
//! These types cannot hold a rule that makes no sense, such as a condition on a field there is not; `shape_reader.rs`
//! sees to that while it reads. docs/rules.md explains every word of it.

use std::fmt;

use super::date::DateFormat;

/// A value without parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// Which values there are.
    pub kind: ScalarKind,
    /// What it is called in a fault, with its article: "a group's id".
    pub called: Option<String>,
}

/// The kinds of [`Scalar`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScalarKind {
    /// Any text of this many characters.
    Text {
        /// At least.
        min: usize,
        /// At most.
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
        /// At least.
        min: usize,
        /// At most.
        max: usize,
    },
    /// One of these words, compared with case.
    OneOf(Vec<String>),
    /// An e-mail address as one types it.
    Email,
    /// A date or a moment in one of these forms.
    Date(Vec<DateFormat>),
    /// `true` or `false`.
    Boolean,
}

/// What JSON must look like.
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

/// A JSON array of so many elements of one shape.
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
    /// Whether it must be there, and what its siblings have to do with it.
    pub terms: Terms,
    /// What its value must look like.
    pub shape: Shape,
}

/// What holds for a field or a parameter among its siblings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Whether it must be there.
    pub required: Required,
    /// What a fault says is missing, with its article: "the user's e-mail address".
    pub missing: Option<String>,
    /// Values that are not for every case.
    pub except: Option<Except>,
}

/// Whether something must be there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Required {
    /// It may be left out.
    #[default]
    Never,
    /// It may not.
    Always,
    /// It may not in this case.
    When(Condition),
}

/// Words of a `one-of` that are refused in some case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Except {
    /// Some of the words.
    pub values: Vec<String>,
    /// The case.
    pub when: Condition,
    /// Why, to be read after the word: "is for users, not for groups".
    pub because: Option<String>,
}

/// Siblings with their values, all of which must be met: `{ type = "group", mode = ["add", "edit"] }`.
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
    /// Whether it must be there, among siblings of which `value_of` tells the sound ones.
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
    /// Whether every sibling is there with one of its values. One that is missing or unsound meets nothing, so what
    /// depends on it is left in peace.
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
