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
    /// Whether it may also be empty, which counts as absent.
    pub empty: bool,
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
    /// One of these words.
    OneOf(Words),
    /// An e-mail address as a person types it.
    Email,
    /// A date or a moment in one of these forms.
    Date(Vec<DateFormat>),
    /// `true` or `false`.
    Boolean,
}

/// The words of a `one-of`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// As the page writes them.
    pub list: Vec<String>,
    /// Whether other letter cases are accepted too.
    pub any_case: bool,
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
    /// An object.
    Object(Object),
}

/// A JSON object. Keys that are not among its fields pass, unless the route is validated strictly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its documented keys.
    pub fields: Vec<Field>,
    /// Whether the page has more keys than these, so that others pass in any case.
    pub open: bool,
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
    /// Other spellings of the key, of which Zoho takes any.
    pub aliases: Vec<String>,
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
    /// Siblings without which it may not be given.
    pub only_with: Vec<String>,
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
    /// It must be present unless one of these siblings is.
    Unless(Vec<String>),
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
            ScalarKind::OneOf(words) => &words.list,
            _ => &[],
        }
    }
}

// === impl Field ===

impl Field {
    /// Whether this is a spelling of its key.
    #[must_use]
    pub fn is_called(&self, key: &str) -> bool {
        self.name == key || self.aliases.iter().any(|alias| alias == key)
    }
}

// === impl Terms ===

impl Terms {
    /// Whether it is required, given the valid siblings' values, and which siblings are given at all.
    pub fn demands<'v>(&self, value_of: impl Fn(&str) -> Option<&'v str>, is_given: impl Fn(&str) -> bool) -> bool {
        match &self.required {
            Required::Never => false,
            Required::Always => true,
            Required::When(condition) => condition.holds(value_of),
            Required::Unless(siblings) => !siblings.iter().any(|sibling| is_given(sibling)),
        }
    }

    /// The first sibling that is missing although this is given.
    pub fn lacks(&self, is_given: impl Fn(&str) -> bool) -> Option<&str> {
        self.only_with.iter().map(String::as_str).find(|sibling| !is_given(sibling))
    }

    /// Whether it is required whatever its siblings are.
    #[must_use]
    pub fn is_mandatory(&self) -> bool {
        self.required == Required::Always
    }
}

// === impl Words ===

impl Words {
    /// Whether this is one of them.
    #[must_use]
    pub fn contain(&self, word: &str) -> bool {
        self.list.iter().any(|known| if self.any_case { known.eq_ignore_ascii_case(word) } else { known == word })
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
