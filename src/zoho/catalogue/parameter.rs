//! A documented parameter of a call, in the form of the catalogue's rows.

use std::{ops::Deref, sync::Arc};

use serde::Deserialize;

use super::shape::{Scalar, Shape, Terms};

/// The known parameters of a call. Cheap to clone.
///
/// A page without parameters (`parameters = []`) differs from a page whose parameters were not recorded (no
/// `parameters`): only the first is known to have no others.
#[derive(Debug, Clone, Default)]
pub struct Parameters(Option<Arc<[Parameter]>>);

/// One parameter: `{ name = "startIndex", in = ["query"], kind = "integer", min = 0 }`.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name, compared byte for byte after decoding.
    pub name: String,
    /// Other spellings of its name, of which Zoho takes any. Two of them at once are rejected.
    pub aliases: Vec<String>,
    /// Where it may occur. A parameter that is given in two places is rejected.
    pub places: Vec<Place>,
    /// Whether it is required, and how that depends on its siblings.
    pub terms: Terms,
    /// The form of its value.
    pub kind: Kind,
}

/// Where a parameter may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the target's query.
    Query,
    /// In an `application/x-www-form-urlencoded` body.
    Form,
    /// A key of the object that is the `application/json` body.
    Json,
    /// A part of a `multipart/form-data` body (RFC 7578).
    Multipart,
}

/// The form of a parameter's value; [`crate::middleware::validate`] checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The text itself.
    Plain(Scalar),
    /// JSON of this shape.
    Json(Shape),
    /// Texts between commas.
    List(List),
    /// A file of at most this many bytes.
    File {
        /// The most.
        max: usize,
    },
}

/// A list as text: `1001,1002`. Blanks around its commas do not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// How many items at most.
    pub max: usize,
    /// Each of them.
    pub items: Scalar,
}

// === impl Place ===

impl Place {
    /// Every place: where a page does not say or contradicts its sample, any of them counts.
    pub const ALL: [Self; 4] = [Self::Query, Self::Form, Self::Json, Self::Multipart];
}

// === impl Parameter ===

impl Parameter {
    /// All spellings of its name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.aliases).map(String::as_str)
    }
}

// === impl Parameters ===

impl Parameters {
    /// A complete list; [`Self::checked`] makes it.
    pub(super) fn documented(parameters: Vec<Parameter>) -> Self {
        Self(Some(parameters.into()))
    }

    /// Whether the list is known to be complete.
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
