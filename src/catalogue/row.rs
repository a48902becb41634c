//! The catalogue's rows as they stand in `config/catalogue/*.toml`, and their way into [`Route`]s.
//!
//! Each field is parsed while its file is, so that a slip of the pen is told with file, line and column.

use std::{num::NonZeroU32, time::Duration};

use http::Method;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{Catalogue, Pace, Parameters, Product, Route, RouteId, Threshold, Trust, Validation};

/// The catalogue's files, in the order in which their routes are listed.
const FILES: [(Product, &str, &str); 2] = [
    (Product::People, "people.toml", include_str!("../../config/catalogue/people.toml")),
    (Product::Calendar, "calendar.toml", include_str!("../../config/catalogue/calendar.toml")),
];

/// A malformed catalogue file.
#[derive(Debug, thiserror::Error)]
#[error("config/catalogue/{file}: {message}")]
pub struct CatalogueError {
    file: &'static str,
    message: String,
}

pub(super) fn parse_all() -> Result<Catalogue, CatalogueError> {
    let mut catalogue = Catalogue { routes: Vec::new(), others: Vec::new() };
    for (product, file, text) in FILES {
        parse_into(&mut catalogue, product, text).map_err(|message| CatalogueError { file, message })?;
    }
    Ok(catalogue)
}

/// Adds one file's rows.
fn parse_into(catalogue: &mut Catalogue, product: Product, text: &str) -> Result<(), String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let other = file.other.into_route(product);
    let routes = file.routes.into_iter().map(|row| row.into_route(product));
    for route in routes.chain([other]) {
        let id = &route.id;
        if id.as_str().split('.').next() != Some(product.as_str()) {
            return Err(format!("the id {id} does not begin with {}", product.as_str()));
        }
        if catalogue.iter().any(|earlier| earlier.id == *id) {
            return Err(format!("the id {id} stands there twice"));
        }
        match route.path {
            Some(_) => catalogue.routes.push(route),
            None => catalogue.others.push(route),
        }
    }
    Ok(())
}

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    other: Other,
    #[serde(rename = "route")]
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
    #[serde(deserialize_with = "scopes")]
    scopes: Vec<String>,
    requests: NonZeroU32,
    #[serde(deserialize_with = "window")]
    window: Duration,
    #[serde(deserialize_with = "duration")]
    lock: Duration,
    trust: Trust,
    #[serde(deserialize_with = "source")]
    source: String,
    #[serde(default)]
    parameters: Parameters,
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
    fn into_route(self, product: Product) -> Route {
        let Self { id, methods, path, scopes, requests, window, lock, trust, source, parameters } = self;
        Route {
            id,
            product,
            methods,
            path: Some(path),
            scopes,
            threshold: Some(Threshold { requests, window, lock, pace: Pace::Burst }),
            trust,
            validation: Validation::Documented,
            cache: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            parameters,
            source,
        }
    }
}

impl Other {
    fn into_route(self, product: Product) -> Route {
        let Self { id, requests, window, lock, source } = self;
        Route {
            id,
            product,
            methods: Vec::new(),
            path: None,
            scopes: Vec::new(),
            threshold: Some(Threshold { requests, window, lock, pace: Pace::Burst }),
            trust: Trust::Assumed,
            validation: Validation::Documented,
            cache: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            parameters: Parameters::default(),
            source,
        }
    }
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RouteId, D::Error> {
    let text = String::deserialize(deserializer)?;
    let named = |part: &str| !part.is_empty() && part.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'));
    let parts: Vec<&str> = text.split('.').collect();
    match parts.as_slice() {
        [product, section, verb_noun]
            if named(product) && named(section) && named(verb_noun) && verb_noun.contains('-') =>
        {
            Ok(RouteId::new(&text))
        }
        _ => Err(D::Error::custom("expected an id of the shape product.section.verb-noun")),
    }
}

fn methods<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Method>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    if names.is_empty() {
        return Err(D::Error::custom("expected at least one method"));
    }
    let method = |name: &String| match Method::from_bytes(name.as_bytes()) {
        Ok(method) if name.chars().all(|c| c.is_ascii_uppercase()) => Ok(method),
        _ => Err(D::Error::custom("expected a method in capitals, for example PUT")),
    };
    names.iter().map(method).collect()
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let path = String::deserialize(deserializer)?;
    if !path.starts_with('/') || path.contains(['<', '>', '?', '#']) {
        return Err(D::Error::custom("expected a path such as /api/v1/courses/{courseId}/share"));
    }
    Ok(path)
}

fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let scopes = Vec::<String>::deserialize(deserializer)?;
    if scopes.is_empty() || scopes.iter().any(|scope| scope.split('.').count() != 3) {
        return Err(D::Error::custom("expected scopes such as ZOHOPEOPLE.training.ALL"));
    }
    Ok(scopes)
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let source = String::deserialize(deserializer)?;
    if !source.starts_with("https://www.zoho.com/") {
        return Err(D::Error::custom("expected the address of one of Zoho's pages"));
    }
    Ok(source)
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

    fn error(text: &str) -> String {
        let mut catalogue = Catalogue { routes: Vec::new(), others: Vec::new() };
        parse_into(&mut catalogue, Product::People, text).unwrap_err()
    }

    #[test]
    fn the_published_files_load() {
        let catalogue = parse_all().unwrap();
        let ids: Vec<&str> = catalogue.iter().map(|route| route.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "people.lms.share-course",
                "people.lms.get-shared-users",
                "people.lms.remove-shared-user",
                "calendar.calendars.share-calendar",
                "calendar.calendars.get-share-details",
                "people.other.any-call",
                "calendar.other.any-call",
            ]
        );
        for route in catalogue.iter() {
            let threshold = route.threshold.unwrap();
            assert_eq!(threshold.requests.get(), 30, "{}", route.id);
            assert_eq!(threshold.window, Duration::from_secs(60), "{}", route.id);
            assert_eq!(threshold.lock, Duration::from_secs(300), "{}", route.id);
            assert_eq!(route.product.as_str(), route.id.as_str().split('.').next().unwrap());
        }
    }

    #[test]
    fn every_product_has_one_stand_in_for_its_unknown_calls() {
        let catalogue = parse_all().unwrap();
        let products: Vec<Product> = catalogue.others.iter().map(|route| route.product).collect();
        assert_eq!(products, Product::ALL);
        assert!(catalogue.others.iter().all(|route| route.path.is_none() && route.methods.is_empty()));
    }

    #[test]
    fn only_people_publishes_numbers() {
        for route in parse_all().unwrap().routes {
            let expected = if route.product == Product::People { Trust::Page } else { Trust::Assumed };
            assert_eq!(route.trust, expected, "{}", route.id);
        }
    }

    #[test]
    fn every_path_is_a_template_that_the_router_takes() {
        for route in parse_all().unwrap().routes {
            matchit::Router::new().insert(route.path.unwrap(), ()).unwrap();
        }
    }

    #[test]
    fn a_slip_is_told_with_its_line() {
        let good = include_str!("../../config/catalogue/people.toml");
        for (from, to, expected) in [
            ("id = \"people.lms.share-course\"", "id = \"people.share\"", "product.section.verb-noun"),
            ("\"PUT\"", "\"put\"", "in capitals"),
            ("{courseId}", "<courseId>", "expected a path"),
            ("trust = \"page\"", "trust = \"guess\"", "unknown variant"),
            ("lock = \"5m\"", "lock = \"soon\"", "expected a duration"),
            ("window = \"1m\"", "window = \"0s\"", "at least a millisecond"),
            ("lock = \"5m\"", "lok = \"5m\"", "unknown field `lok`"),
            ("requests = 30", "requests = 0", "nonzero"),
        ] {
            let error = error(&good.replacen(from, to, 1));
            assert!(error.contains(expected) && error.contains("line "), "{to}: {error}");
        }
    }

    #[test]
    fn ids_are_unique_and_of_their_own_product() {
        let good = include_str!("../../config/catalogue/people.toml");
        let twice = good.replace("people.lms.get-shared-users", "people.lms.share-course");
        assert_eq!(error(&twice), "the id people.lms.share-course stands there twice");
        let foreign = good.replace("people.lms.share-course", "calendar.lms.share-course");
        assert_eq!(error(&foreign), "the id calendar.lms.share-course does not begin with people");
    }
}
