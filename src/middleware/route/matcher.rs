//! Finds the catalogue's route of a path.

use std::{collections::HashMap, sync::Arc};

use http::Method;

use super::Path;
use crate::zoho::{
    catalogue::{Catalogue, Route, RouteId, template},
    product::Product,
};

/// The catalogue's routes, indexed by path template.
#[derive(Debug)]
pub struct Matcher {
    products: HashMap<Product, Table>,
}

#[derive(Debug)]
struct Table {
    templates: matchit::Router<Vec<Arc<Route>>>,
    default_route: Option<Arc<Route>>,
}

/// All pairs of routes that match the same request.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct AmbiguousRoutes(Vec<Ambiguity>);

impl AmbiguousRoutes {
    /// The pairs; at least one.
    pub fn iter(&self) -> impl Iterator<Item = &Ambiguity> {
        self.0.iter()
    }
}

/// Two routes that match the same request.
#[derive(Debug, thiserror::Error)]
#[error("{id} answers to the same method and path as {other}: {template}")]
pub struct Ambiguity {
    /// The later route.
    pub id: RouteId,
    /// The earlier route.
    pub other: RouteId,
    /// The path template of the later route.
    pub template: String,
}

impl Matcher {
    /// Indexes the catalogue.
    ///
    /// # Errors
    /// All pairs of routes that match the same request.
    pub fn new(catalogue: &Catalogue) -> Result<Self, AmbiguousRoutes> {
        let mut ambiguities = Vec::new();
        let mut table = |product| (product, Table::new(catalogue, product, &mut ambiguities));
        let products = Product::ALL.into_iter().map(&mut table).collect();
        if ambiguities.is_empty() { Ok(Self { products }) } else { Err(AmbiguousRoutes(ambiguities)) }
    }

    /// The route of a known call. If several templates match a path, the one wins that first has a literal where the
    /// others have a parameter. The method does not matter for this, so each path belongs to one template.
    #[must_use]
    pub fn known(&self, product: Product, method: &Method, path: &Path) -> Option<Arc<Route>> {
        // A path under both roots is the same call, so it has one window.
        let path = product.below_first_root(path.as_str());
        let routes = self.products.get(&product)?.templates.at(path).ok()?.value;
        let route = routes.iter().find(|route| answers(route, method));
        // HEAD is GET without the body (RFC 9110 section 9.3.2), and Zoho may count it as GET.
        let as_get = || routes.iter().find(|route| *method == Method::HEAD && answers(route, &Method::GET));
        route.or_else(as_get).cloned()
    }

    /// The route that all calls of a product share that the catalogue does not know.
    #[must_use]
    pub fn default_route(&self, product: Product) -> Option<Arc<Route>> {
        self.products.get(&product)?.default_route.clone()
    }
}

impl Table {
    fn new(catalogue: &Catalogue, product: Product, ambiguities: &mut Vec<Ambiguity>) -> Self {
        let mut by_shape: HashMap<String, (&str, Vec<Arc<Route>>)> = HashMap::new();
        let of_product = |route: &&Route| route.product == product;
        for route in catalogue.routes.iter().filter(of_product) {
            let shared = Arc::new(route.clone());
            for template in route.templates() {
                let (_, routes) = by_shape.entry(template::shape(template)).or_insert((template, Vec::new()));
                if let Some(other) = routes.iter().find(|other| overlap(other, route)) {
                    let (id, other) = (route.id.clone(), other.id.clone());
                    ambiguities.push(Ambiguity { id, other, template: template.to_owned() });
                }
                routes.push(Arc::clone(&shared));
            }
        }
        let mut templates = matchit::Router::new();
        for (template, routes) in by_shape.into_values() {
            // `template::parse` allows only whole segments as parameters, so different shapes never conflict.
            let inserted = templates.insert(template, routes);
            debug_assert!(inserted.is_ok(), "{template}: {inserted:?}");
        }
        let default_route = catalogue.default_routes.iter().find(of_product).cloned().map(Arc::new);
        Self { templates, default_route }
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
    fn finds_the_routes_for_sharing() {
        let share = "/api/v1/courses/588882000000289003/share";
        for (product, method, path, expected) in [
            (Product::People, Method::PUT, share, Some("people.lms.share-course")),
            (Product::People, Method::GET, share, Some("people.lms.get-shared-users")),
            (Product::People, Method::DELETE, share, Some("people.lms.remove-shared-user")),
            (Product::People, Method::GET, "/people/api/v1/courses/1/share", Some("people.lms.get-shared-users")),
            (Product::People, Method::HEAD, share, Some("people.lms.get-shared-users")),
            (Product::People, Method::PATCH, share, None),
            (Product::People, Method::GET, "/api/v1/courses/share", Some("people.lms.get-course")),
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

    /// A path that matches the template; the parameters' value is not a literal of the catalogue.
    fn example(template: &str) -> String {
        let segment =
            |segment: &str| if segment.starts_with('{') { "588882000000289003".into() } else { segment.into() };
        template.split('/').map(segment).collect::<Vec<String>>().join("/")
    }

    #[test]
    fn every_template_leads_to_its_own_route() {
        let catalogue = Catalogue::published().unwrap();
        let matcher = Matcher::new(&catalogue).unwrap();
        let mut seen = 0;
        for route in &catalogue.routes {
            let odd = [Method::from_bytes(b"BREW").unwrap()];
            let methods = if route.methods.is_empty() { &odd[..] } else { &route.methods };
            for (template, method) in route.templates().flat_map(|template| methods.iter().map(move |m| (template, m)))
            {
                for root in if route.product == Product::People { &["", "/people"][..] } else { &[""] } {
                    let path = Path::parse(&format!("{root}{}", example(template))).unwrap();
                    let found = matcher.known(route.product, method, &path);
                    assert_eq!(
                        found.map(|found| found.id.clone()),
                        Some(route.id.clone()),
                        "{method} {root}{template}"
                    );
                    seen += 1;
                }
            }
        }
        assert!(seen > 850, "{seen}");
    }

    #[test]
    fn two_routes_for_one_request_are_an_error() {
        let mut catalogue = Catalogue::published().unwrap();
        let share = catalogue.find("people.lms.share-course").unwrap().clone();
        let twin = |id: &str, path: &str| Route { id: RouteId::new(id), path: Some(path.into()), ..share.clone() };
        catalogue.routes.push(twin("people.lms.twin-one", "/api/v1/courses/{course}/share"));
        catalogue
            .routes
            .push(Route { aliases: vec!["/api/b/{y}".into()], ..twin("people.lms.twin-two", "/api/b/{x}") });
        let error = Matcher::new(&catalogue).unwrap_err().to_string();
        assert_eq!(
            error,
            "people.lms.twin-one answers to the same method and path as people.lms.share-course: \
             /api/v1/courses/{course}/share; people.lms.twin-two answers to the same method and path as \
             people.lms.twin-two: /api/b/{y}"
        );
    }
}
