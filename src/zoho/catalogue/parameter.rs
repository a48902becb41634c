//! A documented parameter of a call, as the catalogue's rows write it.

use std::ops::Deref;

use serde::Deserialize;

use super::shape::{Scalar, Shape, Terms};

/// What is known of a call's parameters.
///
/// A page that documents none (`parameters = []`) is not the same as a page nobody has read for them (no `parameters`):
/// only of the first can be said that it knows no other.
#[derive(Debug, Clone, Default)]
pub struct Parameters(Option<Vec<Parameter>>);

/// One parameter: `{ name = "startIndex", in = ["query"], kind = "integer", min = 0 }`.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name, compared byte for byte after decoding.
    pub name: String,
    /// Where it may stand. Given in two places at once it is refused.
    pub places: Vec<Place>,
    /// Whether it must be there, and what its siblings have to do with it.
    pub terms: Terms,
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

/// What a parameter's value must look like; how it is held to it is in [`crate::middleware::validate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The text itself.
    Plain(Scalar),
    /// JSON of this shape.
    Json(Shape),
}

// === impl Parameters ===

impl Parameters {
    /// Exactly these.
    #[must_use]
    pub fn documented(parameters: Vec<Parameter>) -> Self {
        Self(Some(parameters))
    }

    /// Whether the list is known to be complete, so that anything else is unknown to the page.
    #[must_use]
    pub fn are_documented(&self) -> bool {
        self.0.is_some()
    }
}

impl Deref for Parameters {
    type Target = [Parameter];

    fn deref(&self) -> &[Parameter] {
        self.0.as_deref().unwrap_or_default()
    }
}
