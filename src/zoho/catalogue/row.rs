//! The catalogue's rows as written in `config/catalogue/`, and their conversion to [`Route`]s.
//!
//! The program reads them as JSON, which `build.rs` writes from the files. A test reads the files themselves, so that its
//! errors name file, line and column.

use std::{collections::HashSet, num::NonZeroU32, time::Duration};

use http::Method;
use jiff::civil::Date;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{Catalogue, Limit, Merge, Pace, Parameters, Provenance, Route, RouteId, Threshold, stale::Links, template};
use crate::zoho::product::Product;

/// A file of `config/catalogue/`, as JSON.
macro_rules! file {
    ($product:ident, $name:literal) => {
        (
            Product::$product,
            concat!($name, ".toml"),
            include_str!(concat!(env!("OUT_DIR"), "/catalogue/", $name, ".json")),
        )
    };
}

/// The catalogue's files, in the order in which their routes are listed.
const FILES: [(Product, &str, &str); 27] = [
    file!(People, "people/announcements"),
    file!(People, "people/attendance"),
    file!(People, "people/cases"),
    file!(People, "people/compensation"),
    file!(People, "people/files"),
    file!(People, "people/forms"),
    file!(People, "people/leave"),
    file!(People, "people/lms"),
    file!(People, "people/onboarding"),
    file!(People, "people/timesheet"),
    file!(People, "people/v3-attendance"),
    file!(People, "people/v3-files"),
    file!(People, "people/v3-functions"),
    file!(People, "people/v3-leave"),
    file!(People, "people/v3-organization"),
    file!(People, "people/v3-performance"),
    file!(People, "people/v3-surveys"),
    file!(People, "people/v3-time-attendance"),
    file!(People, "people/v3-timesheet"),
    file!(People, "people/v3-variables"),
    file!(People, "people/other"),
    file!(Calendar, "calendar/calendars"),
    file!(Calendar, "calendar/events"),
    file!(Calendar, "calendar/free-busy"),
    file!(Calendar, "calendar/resources"),
    file!(Calendar, "calendar/settings"),
    file!(Calendar, "calendar/other"),
];

/// A malformed catalogue file.
#[derive(Debug, Clone, thiserror::Error)]
#[error("config/catalogue/{file}: {message}")]
pub struct CatalogueError {
    file: &'static str,
    message: String,
}

pub(super) fn parse_all() -> Result<Catalogue, CatalogueError> {
    let mut catalogue = Catalogue { routes: Vec::new(), default_routes: Vec::new() };
    let mut ids = HashSet::new();
    for (product, file, text) in FILES {
        let rows = serde_json::from_str(text).map_err(|error| error.to_string());
        let added = rows.and_then(|rows| add(&mut catalogue, &mut ids, product, rows));
        added.map_err(|message| CatalogueError { file, message })?;
    }
    let links = Links::parse().map_err(|message| CatalogueError { file: "stale.toml", message })?;
    catalogue.link(&links);
    Ok(catalogue)
}

/// Adds one file's rows.
fn add(catalogue: &mut Catalogue, ids: &mut HashSet<RouteId>, product: Product, file: File) -> Result<(), String> {
    let other = file.other.map(|other| Ok(other.into_route(product)));
    let routes = file.routes.into_iter().map(|row| row.into_route(product));
    for route in routes.chain(other) {
        let route = route?;
        let id = &route.id;
        if id.as_str().split('.').next() != Some(product.as_str()) {
            return Err(format!("the id {id} does not begin with {}", product.as_str()));
        }
        if !ids.insert(id.clone()) {
            return Err(format!("the id {id} appears twice"));
        }
        if let Some(Err(error)) = route.merge.as_ref().map(|merge| merge.check(&route.parameters)) {
            return Err(format!("the calls of {id} cannot merge: {error}"));
        }
        match route.path {
            Some(_) => catalogue.routes.push(route),
            None => catalogue.default_routes.push(route),
        }
    }
    Ok(())
}

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    other: Option<Other>,
    #[serde(rename = "route", default)]
    routes: Vec<Row>,
}

/// `[[route]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(deserialize_with = "id")]
    id: RouteId,
    #[serde(deserialize_with = "methods")]
    methods: Vec<Method>,
    #[serde(deserialize_with = "path")]
    path: String,
    #[serde(default, deserialize_with = "paths")]
    aliases: Vec<String>,
    #[serde(deserialize_with = "scopes")]
    scopes: Vec<String>,
    requests: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "some_window")]
    window: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    lock: Duration,
    limits: Option<Vec<LimitRow>>,
    trust: Provenance,
    #[serde(deserialize_with = "date")]
    read: Date,
    #[serde(deserialize_with = "source")]
    source: String,
    note: Option<String>,
    merge: Option<Merge>,
    #[serde(default)]
    parameters: Parameters,
    #[serde(default)]
    unchecked: Vec<String>,
}

/// One of several limits.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitRow {
    requests: NonZeroU32,
    #[serde(deserialize_with = "window")]
    window: Duration,
}

/// `[other]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Other {
    #[serde(deserialize_with = "id")]
    id: RouteId,
    requests: NonZeroU32,
    #[serde(deserialize_with = "window")]
    window: Duration,
    #[serde(deserialize_with = "duration")]
    lock: Duration,
    #[serde(deserialize_with = "source")]
    source: String,
}

impl Row {
    fn into_route(self, product: Product) -> Result<Route, String> {
        let Self { id, methods, path, aliases, scopes, trust, source, note, merge, parameters, .. } = self;
        let Self { requests, window, lock, limits, read, unchecked, .. } = self;
        let read = Some(read);
        let reads = Route::reads_by_its_name(&id, &methods);
        let limits = match (requests, window, limits) {
            (Some(requests), Some(window), None) => vec![Limit { requests, window, lock: None }],
            (None, None, Some(limits)) => limits.into_iter().map(LimitRow::limit).collect(),
            _ => return Err(format!("{id}: expected `requests` and `window`, or `limits` instead")),
        };
        let (threshold, further_limits) =
            Threshold::of_limits(limits, lock).map_err(|error| format!("{id}: limits: {error}"))?;
        let path = Some(path);
        let numbers = Route::new(product, id, threshold, source);
        let limits = Route { further_limits, ..numbers };
        Ok(Route { methods, path, aliases, reads, scopes, trust, merge, parameters, unchecked, read, note, ..limits })
    }
}

impl LimitRow {
    fn limit(self) -> Limit {
        Limit { requests: self.requests, window: self.window, lock: None }
    }
}

impl Other {
    fn into_route(self, product: Product) -> Route {
        let Self { id, requests, window, lock, source } = self;
        Route::new(product, id, Threshold { requests, window, lock, pace: Pace::default() }, source)
    }
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RouteId, D::Error> {
    RouteId::parse(&String::deserialize(deserializer)?).map(|(_, id)| id).map_err(D::Error::custom)
}

fn methods<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Method>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let method = |name: &String| match Method::from_bytes(name.as_bytes()) {
        Ok(method) if name.chars().all(|c| c.is_ascii_uppercase()) => Ok(method),
        _ => Err(D::Error::custom("expected a method in capitals, for example PUT")),
    };
    names.iter().map(method).collect()
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    one_path(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Vec::<String>::deserialize(deserializer)?.iter().map(|path| one_path(path).map_err(D::Error::custom)).collect()
}

fn one_path(text: &str) -> Result<String, &'static str> {
    if Product::ALL.into_iter().any(|product| product.below_first_root(text) != text) {
        return Err("expected a path below /api; it covers both roots of the product");
    }
    template::parse(text)
}

fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let scopes = Vec::<String>::deserialize(deserializer)?;
    if scopes.iter().any(|scope| scope.split('.').count() != 3) {
        return Err(D::Error::custom("expected scopes such as ZOHOPEOPLE.training.ALL"));
    }
    Ok(scopes)
}

fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(|_| D::Error::custom("expected a date such as \"2026-11-30\""))
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let source = String::deserialize(deserializer)?;
    if !source.starts_with("https://www.zoho.com/") {
        return Err(D::Error::custom("expected the address of one of Zoho's pages"));
    }
    Ok(source)
}

fn some_window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    window(deserializer).map(Some)
}

fn window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let window = duration(deserializer)?;
    if window < Duration::from_millis(1) {
        return Err(D::Error::custom("expected a window of at least a millisecond"));
    }
    Ok(window)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    jiff::fmt::friendly::SpanParser::new()
        .parse_unsigned_duration(&text)
        .map_err(|_| D::Error::custom("expected a duration such as \"1m\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LMS: &str = include_str!("../../../config/catalogue/people/lms.toml");

    fn parse(catalogue: &mut Catalogue, product: Product, text: &str) -> Result<(), String> {
        let rows = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut ids = catalogue.iter().map(|route| route.id.clone()).collect();
        add(catalogue, &mut ids, product, rows)
    }

    fn error(text: &str) -> String {
        parse(&mut empty(), Product::People, text).unwrap_err()
    }

    fn empty() -> Catalogue {
        Catalogue { routes: Vec::new(), default_routes: Vec::new() }
    }

    /// An error here names file, line and key; one in the JSON could not.
    #[test]
    fn the_files_are_what_the_program_reads() {
        let mut catalogue = empty();
        for (product, file, _) in FILES {
            let path = format!("{}/config/catalogue/{file}", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&path).unwrap();
            parse(&mut catalogue, product, &text).unwrap_or_else(|error| panic!("config/catalogue/{file}: {error}"));
        }
        catalogue.link(&Links::parse().unwrap());
        assert_eq!(format!("{:?}", parse_all().unwrap()), format!("{catalogue:?}"));
    }

    #[test]
    fn every_call_has_numbers_and_their_page() {
        let catalogue = parse_all().unwrap();
        assert_eq!(catalogue.routes.len(), 493);
        for route in catalogue.iter() {
            let threshold = route.threshold.unwrap();
            assert!((10..=400).contains(&threshold.requests.get()), "{}", route.id);
            assert_eq!(threshold.window, Duration::from_secs(60), "{}", route.id);
            assert!([2, 5, 10].map(|minutes| minutes * 60).contains(&threshold.lock.as_secs()), "{}", route.id);
            assert!(route.source.starts_with("https://www.zoho.com/") && !route.source.contains(' '), "{}", route.id);
            assert_eq!(route.product.as_str(), route.id.as_str().split('.').next().unwrap());
        }
    }

    #[test]
    fn every_product_has_one_default_route() {
        let catalogue = parse_all().unwrap();
        let products: Vec<Product> = catalogue.default_routes.iter().map(|route| route.product).collect();
        assert_eq!(products, Product::ALL);
        assert!(catalogue.default_routes.iter().all(|route| route.path.is_none() && route.methods.is_empty()));
    }

    #[test]
    fn assumed_numbers_of_people_have_a_reason() {
        for route in parse_all().unwrap().routes {
            if route.product == Product::People {
                assert!(route.trust != Provenance::Assumed || route.note.is_some(), "{}", route.id);
            } else {
                assert_eq!(route.trust, Provenance::Assumed, "{}", route.id);
            }
        }
    }

    #[test]
    fn an_error_names_its_line() {
        for (from, to, expected) in [
            ("id = \"people.lms.share-course\"", "id = \"people.share\"", "product.section.verb-noun"),
            ("\"PUT\"", "\"put\"", "in capitals"),
            ("{courseId}", "<courseId>", "expected a path"),
            ("path = \"/api/", "path = \"/people/api/", "below /api"),
            ("trust = \"page\"", "trust = \"guess\"", "unknown variant"),
            ("read = \"2026-", "read = \"26-", "expected a date"),
            ("lock = \"5m\"", "lock = \"soon\"", "expected a duration"),
            ("window = \"1m\"", "window = \"0s\"", "at least a millisecond"),
            ("lock = \"5m\"", "lok = \"5m\"", "unknown field `lok`"),
            ("requests = 30", "requests = 0", "nonzero"),
        ] {
            let error = error(&LMS.replacen(from, to, 1));
            assert!(error.contains(expected) && error.contains("line "), "{to}: {error}");
        }
    }

    #[test]
    fn a_row_merges_only_by_a_list_of_its_own() {
        let row = |merge: &str| {
            let source = "source = \"https://www.zoho.com/people/api/LMS/share_course_actions.html\"";
            LMS.replacen(source, &format!("merge = {merge}\n{source}"), 1)
        };
        let mut catalogue = empty();
        let good = row("{ parameter = \"erecnosList\", max = 50 }");
        parse(&mut catalogue, Product::People, &good).unwrap();
        let merge = catalogue.find("people.lms.share-course").unwrap().merge.clone();
        assert_eq!(merge, Some(Merge { parameter: "erecnosList".to_owned(), max: 50 }));
        assert!(error(&row("{ parameter = \"erecnos\", max = 50 }")).contains("people.lms.share-course cannot merge"));
        assert!(error(&row("{ parameter = \"erecnosList\", most = 50 }")).contains("unknown field `most`"));
        assert!(parse_all().unwrap().iter().all(|route| route.merge.is_none()), "off by default");
    }

    #[test]
    fn ids_are_unique_and_begin_with_their_product() {
        let twice = LMS.replace("people.lms.get-shared-users", "people.lms.share-course");
        assert_eq!(error(&twice), "the id people.lms.share-course appears twice");
        let foreign = LMS.replace("people.lms.share-course", "calendar.lms.share-course");
        assert_eq!(error(&foreign), "the id calendar.lms.share-course does not begin with people");
    }
}
