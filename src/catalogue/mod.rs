//! What Zoho publishes about its calls, as data: which calls there are, how often each may be made, what it takes.
//!
//! The rows live in `config/catalogue/*.toml` and are compiled in. [`Catalogue::published`] parses them; the
//! configuration's `[routes]` then overrides single fields. Which row a request belongs to is decided in
//! [`crate::route`], what a [`Parameter`] must look like in [`crate::validate`].

mod date;
mod parameter;
mod row;
mod shape;
mod shape_reader;
mod threshold;

use std::sync::Arc;

pub use date::DateFormat;
pub use parameter::{Kind, Parameter, Parameters, Place};
pub use row::CatalogueError;
pub use shape::{Array, Condition, Except, Field, Required, Scalar, ScalarKind, Shape, Terms};
pub use threshold::{Pace, Threshold};

use http::Method;

/// The calls in force, in the order of their files.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// Every known call.
    pub routes: Vec<Route>,
    /// Per product, the route that stands for every call the catalogue does not know.
    pub others: Vec<Route>,
}

impl Catalogue {
    /// The catalogue compiled into this program.
    ///
    /// # Errors
    /// When one of the files under `config/catalogue/` is malformed; a unit test holds them to it.
    pub fn published() -> Result<Self, CatalogueError> {
        row::parse_all()
    }

    /// Every route, known calls first, then the stand-ins for unknown ones.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().chain(&self.others)
    }

    /// The same, for applying overrides.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Route> {
        self.routes.iter_mut().chain(&mut self.others)
    }
}

/// Which of Zoho's products a call belongs to; each has a host of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// Zoho People, `people.zoho.com`.
    People,
    /// Zoho Calendar, `calendar.zoho.com`.
    Calendar,
}

impl Product {
    /// Every product, in the order of the catalogue's files.
    pub const ALL: [Self; 2] = [Self::People, Self::Calendar];

    /// The product's name in route ids and in the gateway's own paths: `people`, `calendar`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Calendar => "calendar",
        }
    }
}

/// A route's id: `product.section.verb-noun`, for example `people.lms.share-course`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(Arc<str>);

impl RouteId {
    /// Takes the id as written in the catalogue.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The id as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RouteId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One call of Zoho's, with everything the rooms need to know of it.
#[derive(Debug, Clone)]
pub struct Route {
    /// `product.section.verb-noun`.
    pub id: RouteId,
    /// Whose host serves it.
    pub product: Product,
    /// The methods it answers to; empty means every method.
    pub methods: Vec<Method>,
    /// The path template, for example `/api/v1/courses/{courseId}/share`; `None` for the stand-in of unknown calls.
    pub path: Option<String>,
    /// OAuth scopes, any one of which suffices.
    pub scopes: Vec<String>,
    /// How often it may be called; `None` with `throttle = "off"`.
    pub threshold: Option<Threshold>,
    /// Whether Zoho publishes that threshold.
    pub trust: Trust,
    /// Whether its payload is checked.
    pub validation: Validation,
    /// How long an answer may be served again without asking Zoho; zero: never.
    pub cache: std::time::Duration,
    /// For how much longer it may be served when Zoho cannot be asked; zero: never.
    pub stale_if_error: std::time::Duration,
    /// The parameters its page documents.
    pub parameters: Parameters,
    /// The page of Zoho's that all of this was read from.
    pub source: String,
}

/// Where a route's threshold comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// It stands on the route's page.
    Page,
    /// No page states it; the catalogue's file says why this number is safe.
    Assumed,
    /// The operator set it.
    #[serde(skip)]
    Configured,
}

impl Trust {
    /// As the catalogue's files and `routes` write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Assumed => "assumed",
            Self::Configured => "configured",
        }
    }
}

/// How strictly a payload is held to the route's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validation {
    /// Everything the page documents, and nothing it does not forbid.
    Documented,
    /// The same, and nothing else: what the page does not know is refused.
    Strict,
    /// Not looked at.
    Off,
}

impl Validation {
    /// Every degree by the word that configurations and `routes` have for it.
    pub const ALL: [(&str, Self); 3] = [("documented", Self::Documented), ("strict", Self::Strict), ("off", Self::Off)];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Strict => "strict",
            Self::Off => "off",
        }
    }
}
