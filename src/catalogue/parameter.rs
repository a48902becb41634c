//! A documented parameter of a call, as the catalogue's rows write it.

use serde::Deserialize;

/// One parameter: `{ name = "startIndex", in = ["query"], kind = "index" }`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its name, compared byte for byte after decoding.
    pub name: String,
    /// Where it may stand. Given in two places at once it is refused.
    #[serde(rename = "in")]
    pub places: Vec<Place>,
    /// Whether a call without it is refused.
    #[serde(default)]
    pub required: bool,
    /// What its value must look like.
    pub kind: Kind,
}

/// Where a parameter may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the target's query.
    Query,
    /// In an `application/x-www-form-urlencoded` body.
    Form,
}

/// What a parameter's value must look like; the rules are in [`crate::validate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A JSON array of record numbers, not empty.
    RecordNumbers,
    /// One record number: digits.
    RecordNumber,
    /// An integer from 0.
    Index,
    /// Calendar's `shareData` object.
    CalendarShare,
}
