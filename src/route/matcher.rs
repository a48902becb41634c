//! From a path to the catalogue's row.

use std::{collections::HashMap, sync::Arc};

use http::Method;

use super::Path;
use crate::catalogue::{Catalogue, Product, Route};

/// The catalogue, arranged for look-up.
#[derive(Debug)]
pub struct Matcher {
    products: HashMap<Product, Table>,
}

#[derive(Debug)]
struct Table {
    templates: matchit::Router<Vec<Arc<Route>>>,
    other: Option<Arc<Route>>,
}

/// Two rows that would fit the same request.
#[derive(Debug, thiserror::Error)]
#[error("route {id}: {message}")]
pub struct AmbiguousRoutes {
    id: String,
    message: String,
}

impl Matcher {
    /// Arranges the catalogue.
    ///
    /// # Errors
    /// When two rows would fit the same request, or a template is malformed.
    pub fn new(catalogue: &Catalogue) -> Result<Self, AmbiguousRoutes> {
        let table = |product| Ok((product, Table::new(catalogue, product)?));
        Ok(Self { products: Product::ALL.into_iter().map(table).collect::<Result<_, _>>()? })
    }

    /// The row of a known call.
    #[must_use]
    pub fn known(&self, product: Product, method: &Method, path: &Path) -> Option<Arc<Route>> {
        let path = match product {
            // People answers under both roots (zoho-facts, section 0): one call, so one bucket.
            Product::People => path.as_str().strip_prefix("/people").filter(|rest| rest.starts_with("/api/")),
            Product::Calendar => None,
        }
        .unwrap_or(path.as_str());
        let routes = self.products.get(&product)?.templates.at(path).ok()?.value;
        let route = routes.iter().find(|route| answers(route, method));
        // Zoho serves HEAD as the GET it is without a body (RFC 9110 section 9.3.2), and may well count it as one.
        let as_get = || routes.iter().find(|route| *method == Method::HEAD && answers(route, &Method::GET));
        route.or_else(as_get).cloned()
    }

    /// The row that stands for every call the catalogue does not know.
    #[must_use]
    pub fn other(&self, product: Product) -> Option<Arc<Route>> {
        self.products.get(&product)?.other.clone()
    }
}

impl Table {
    fn new(catalogue: &Catalogue, product: Product) -> Result<Self, AmbiguousRoutes> {
        let mut by_template: HashMap<&str, Vec<Arc<Route>>> = HashMap::new();
        for route in catalogue.routes.iter().filter(|route| route.product == product) {
            let routes = by_template.entry(route.path.as_deref().unwrap_or("/")).or_default();
            if let Some(other) = routes.iter().find(|other| overlap(other, route)) {
                let message = format!("answers to the same method and path as {}", other.id);
                return Err(AmbiguousRoutes { id: route.id.to_string(), message });
            }
            routes.push(Arc::new(route.clone()));
        }
        let mut templates = matchit::Router::new();
        for (template, routes) in by_template {
            let id = routes.first().map_or_else(String::new, |route| route.id.to_string());
            templates
                .insert(template, routes)
                .map_err(|error| AmbiguousRoutes { id, message: format!("path {template}: {error}") })?;
        }
        let other = catalogue.others.iter().find(|route| route.product == product).cloned().map(Arc::new);
        Ok(Self { templates, other })
    }
}

fn answers(route: &Route, method: &Method) -> bool {
    route.methods.is_empty() || route.methods.contains(method)
}

fn overlap(one: &Route, other: &Route) -> bool {
    one.methods.is_empty() || other.methods.is_empty() || one.methods.iter().any(|method| answers(other, method))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(product: Product, method: Method, path: &str) -> Option<String> {
        let matcher = Matcher::new(&Catalogue::published().unwrap()).unwrap();
        matcher.known(product, &method, &Path::parse(path).unwrap()).map(|route| route.id.to_string())
    }

    #[test]
    fn finds_the_calls_around_sharing() {
        let share = "/api/v1/courses/588882000000289003/share";
        for (product, method, path, expected) in [
            (Product::People, Method::PUT, share, Some("people.lms.share-course")),
            (Product::People, Method::GET, share, Some("people.lms.get-shared-users")),
            (Product::People, Method::DELETE, share, Some("people.lms.remove-shared-user")),
            (Product::People, Method::GET, "/people/api/v1/courses/1/share", Some("people.lms.get-shared-users")),
            (Product::People, Method::HEAD, share, Some("people.lms.get-shared-users")),
            (Product::People, Method::POST, share, None),
            (Product::People, Method::GET, "/api/v1/courses/share", None),
            (Product::People, Method::GET, "/api/v1/courses/1/2/share", None),
            (Product::People, Method::GET, "/people/people/api/v1/courses/1/share", None),
            (Product::Calendar, Method::PUT, "/api/v1/calendars/a/share", Some("calendar.calendars.share-calendar")),
            (
                Product::Calendar,
                Method::GET,
                "/api/v1/calendars/a/share/",
                Some("calendar.calendars.get-share-details"),
            ),
            (Product::Calendar, Method::PUT, share, None),
        ] {
            assert_eq!(id(product, method, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn two_rows_for_one_request_are_an_error() {
        let mut catalogue = Catalogue::published().unwrap();
        let mut twin = catalogue.routes[0].clone();
        twin.id = crate::catalogue::RouteId::new("people.lms.twin");
        catalogue.routes.push(twin);
        assert!(Matcher::new(&catalogue).unwrap_err().to_string().contains("people.lms.twin"));
    }
}
