//! Zoho's documentation of its calls, as data: which calls exist, how often each may be made, which parameters it has.
//!
//! The rows live in `config/catalogue/` and are compiled in. [`Catalogue::published`] parses them; the configuration's
//! `[routes]` then overrides single fields, and its `[[extra_routes]]` add calls of their own. Which row a request
//! belongs to is decided in [`crate::middleware::route`]; [`crate::middleware::validate`] checks each [`Parameter`].
//!
//! ```
//! use zoho_gateway::zoho::catalogue::Catalogue;
//!
//! let catalogue = Catalogue::published()?;
//! let route = catalogue.find("people.lms.share-course").expect("a published row");
//! let threshold = route.threshold.expect("its page states one");
//! assert_eq!((threshold.requests.get(), threshold.window.as_secs()), (30, 60));
//! # Ok::<(), zoho_gateway::zoho::catalogue::CatalogueError>(())
//! ```

mod date;
mod glob;
mod merge;
mod parameter;
mod reads;
mod row;
mod shape;
mod shape_reader;
mod siblings;
mod stale;
pub mod template;
mod threshold;

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

pub use date::DateFormat;
pub use glob::{NoRouteGlob, RouteGlob};
pub use merge::{Merge, NotMergeable};
pub use parameter::{Kind, List, Parameter, Parameters, Place};
pub use row::CatalogueError;
pub use shape::{Array, Condition, Except, Field, Object, Required, Scalar, ScalarKind, Shape, Terms, Words};
pub use stale::Stale;
pub use threshold::{Limit, Pace, Threshold};

use http::Method;
use jiff::civil::Date;

use super::product::Product;

/// The calls in force, in the order of their files.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// Every known call.
    pub routes: Vec<Route>,
    /// One default route for each product, for calls that the catalogue does not know.
    pub default_routes: Vec<Route>,
}

impl Catalogue {
    /// The catalogue compiled into this program.
    ///
    /// # Errors
    /// When one of the files under `config/catalogue/` is malformed; a unit test prevents that.
    pub fn published() -> Result<Self, CatalogueError> {
        // Parsed once, because every start and hundreds of tests need it.
        static PUBLISHED: LazyLock<Result<Catalogue, CatalogueError>> = LazyLock::new(row::parse_all);
        PUBLISHED.clone()
    }

    /// The route with that id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Route> {
        self.iter().find(|route| route.id.as_str() == id)
    }

    /// Every route: those of known calls first, then the default routes.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().chain(&self.default_routes)
    }

    /// All calls are checked like this. Strict holds only for those whose parameters are documented: it would reject every
    /// payload of the others.
    pub fn validate(&mut self, validation: Validation) {
        for route in self.iter_mut() {
            if validation != Validation::Strict || route.parameters.are_documented() {
                route.validation = validation;
            }
        }
    }

    /// Every route, mutable, for overrides.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Route> {
        self.routes.iter_mut().chain(&mut self.default_routes)
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

    /// Takes an id from a file that people write.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<(Product, Self), String> {
        const SHAPE: &str = "expected an id of the shape product.section.verb-noun";
        let named = |part: &str| !part.is_empty() && part.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'));
        let parts: Vec<&str> = text.split('.').collect();
        let [product, section, verb_noun] = parts.as_slice() else {
            return Err(SHAPE.to_owned());
        };
        if !named(section) || !named(verb_noun) || !verb_noun.contains('-') {
            return Err(SHAPE.to_owned());
        }
        let beginning = |product: Product| format!("{}.", product.as_str());
        match Product::ALL.into_iter().find(|known| known.as_str() == *product) {
            Some(product) => Ok((product, Self::new(text))),
            None => Err(format!("expected an id that begins with {}", Product::list("or", beginning))),
        }
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

/// One of Zoho's calls, with everything that the layers need to know about it.
#[derive(Debug, Clone)]
pub struct Route {
    /// `product.section.verb-noun`.
    pub id: RouteId,
    /// The product that serves it.
    pub product: Product,
    /// The methods that it accepts; empty means every method.
    pub methods: Vec<Method>,
    /// The path template, for example `/api/v1/courses/{courseId}/share`; `None` for a default route.
    pub path: Option<String>,
    /// Further templates of the same call, where pages or clients vary; all of them count together.
    pub aliases: Vec<String>,
    /// The reads that it makes stale, besides that of the same path.
    pub stale: Arc<Stale>,
    /// Whether it only reads: with a safe method, or one listed above, it changes nothing at Zoho.
    pub reads: bool,
    /// OAuth scopes, any one of which suffices.
    pub scopes: Vec<String>,
    /// How often it may be called; `None` with `throttle = "off"`.
    pub threshold: Option<Threshold>,
    /// What Zoho allows of it in longer windows, at the same time; nothing without `threshold`, which has the call's lock.
    pub further_limits: Vec<Threshold>,
    /// Whether Zoho publishes that threshold.
    pub trust: Provenance,
    /// Whether its payload is checked.
    pub validation: Validation,
    /// How long an answer may be served again without asking Zoho; zero means never.
    pub cache: Duration,
    /// How much longer it may be served when Zoho cannot be asked; zero means never.
    pub stale_if_error: Duration,
    /// Whether calls that wait may go as one, and how; never unless configured.
    pub merge: Option<Merge>,
    /// The parameters its page documents.
    pub parameters: Parameters,
    /// What the page demands and the rules cannot express, so that it is not checked: a clause each.
    pub unchecked: Vec<String>,
    /// The page of Zoho's documentation with these facts.
    pub source: String,
    /// When the page, or its transcription, was read.
    pub read: Option<Date>,
    /// A remark about the row.
    pub note: Option<String>,
}

impl Route {
    /// A call of which only the numbers are known. Older pages of Zoho write by GET too, so it counts as a write.
    #[must_use]
    pub fn new(product: Product, id: RouteId, threshold: Threshold, source: String) -> Self {
        Self {
            id,
            product,
            methods: Vec::new(),
            path: None,
            aliases: Vec::new(),
            stale: Arc::default(),
            reads: false,
            scopes: Vec::new(),
            threshold: Some(threshold),
            further_limits: Vec::new(),
            trust: Provenance::Assumed,
            validation: Validation::Documented,
            cache: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            merge: None,
            parameters: Parameters::default(),
            unchecked: Vec::new(),
            read: None,
            source,
            note: None,
        }
    }

    /// The first part that varies in every path of the call, by its name: `courseId`.
    #[must_use]
    pub fn main_variable(&self) -> Option<&str> {
        let mut variables = self.variables(self.path.as_deref()?).map(|(name, _)| name);
        variables.find(|name| self.templates().all(|template| self.variable(template, name).is_some()))
    }

    /// The value of a part of a path that varies, by its name in the template.
    #[must_use]
    pub fn variable<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        self.variables(path).find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn variables<'r, 'p>(&'r self, path: &'p str) -> impl Iterator<Item = (&'r str, &'p str)> {
        let path = self.product.below_first_root(path);
        let fits = |template: &&str| {
            let same = |(known, found): (&str, &str)| known.starts_with('{') || known.eq_ignore_ascii_case(found);
            template.split('/').count() == path.split('/').count() && template.split('/').zip(path.split('/')).all(same)
        };
        let pairs =
            self.templates().find(fits).into_iter().flat_map(|template| template.split('/').zip(path.split('/')));
        pairs.filter_map(|(segment, value)| Some((segment.strip_prefix('{')?.strip_suffix('}')?, value)))
    }

    /// Every template of the call.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        self.path.iter().chain(&self.aliases).map(String::as_str)
    }
}

/// Where a route's threshold comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// It was read on the route's page.
    Page,
    /// It was read in a public transcription of the route's page, which agreed with every page that was compared.
    Transcribed,
    /// No page states it; the catalogue's file says why this number is safe.
    Assumed,
    /// The operator set it.
    #[serde(skip)]
    Configured,
}

impl Provenance {
    /// The word in the catalogue's files and in `routes`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Transcribed => "transcribed",
            Self::Assumed => "assumed",
            Self::Configured => "configured",
        }
    }

    /// The source in words, for operators.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Page => "the numbers were read on the call's page",
            Self::Transcribed => "the numbers were read in a public transcription of the call's page",
            Self::Assumed => "no page states the numbers; these are the safe assumption",
            Self::Configured => "the configuration sets the numbers",
        }
    }
}

/// How strictly a payload is checked against the route's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validation {
    /// Rejects what the page forbids.
    Documented,
    /// Also rejects what the page does not list.
    Strict,
    /// Lets everything pass, and reports what the page forbids.
    Report,
    /// Not checked.
    Off,
}

impl Validation {
    /// Every degree and its word in configurations and `routes`.
    pub const ALL: [(&str, Self); 4] =
        [("documented", Self::Documented), ("strict", Self::Strict), ("report", Self::Report), ("off", Self::Off)];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Strict => "strict",
            Self::Report => "report",
            Self::Off => "off",
        }
    }
}
