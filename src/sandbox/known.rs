//! The calls that Zoho's pages document. The sandbox reads the catalogue's data files with its own code: it shares the
//! data with the gateway, but not the judgement.

use std::{collections::HashMap, sync::LazyLock};

use http::Method;
use serde::Deserialize;

use super::api::Product;

/// Whether a call is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Path and method are documented.
    Call,
    /// The path is documented, but with other methods.
    Path,
    /// The path is not documented.
    Nothing,
}

/// Looks up a call by the decoded segments of its path. People's pages use two roots for the same calls, `/api/` and
/// `/people/api/`.
pub(super) fn look_up(product: Product, method: &Method, segments: &[&str]) -> Known {
    let segments = match segments {
        ["people", rest @ ..] if product == Product::People && rest.first() == Some(&"api") => rest,
        all => all,
    };
    let documented = |template: &&Template| template.product == product && template.fits(segments);
    let mut known = Known::Nothing;
    for template in TEMPLATES.get(&segments.len()).into_iter().flatten().filter(documented) {
        if template.takes(method) {
            return Known::Call;
        }
        known = Known::Path;
    }
    known
}

/// A path and its methods.
#[derive(Debug)]
struct Template {
    product: Product,
    /// `None` matches any text.
    segments: Vec<Option<&'static str>>,
    /// Empty for older pages, which name the action in the path; Zoho accepts several methods for them.
    methods: Vec<String>,
}

impl Template {
    fn fits(&self, segments: &[&str]) -> bool {
        self.segments.iter().zip(segments).all(|(template, segment)| template.is_none_or(|word| word == *segment))
    }

    fn takes(&self, method: &Method) -> bool {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.methods.is_empty() || self.methods.iter().any(|known| known == method.as_str())
    }
}

/// The fields of a catalogue file that are needed here.
#[derive(Deserialize)]
struct File {
    #[serde(default, rename = "route", borrow)]
    routes: Vec<Row<'static>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    methods: Vec<String>,
    #[serde(borrow)]
    path: &'a str,
    #[serde(default, borrow)]
    aliases: Vec<&'a str>,
}

/// Every documented path, by its number of segments.
static TEMPLATES: LazyLock<HashMap<usize, Vec<Template>>> = LazyLock::new(|| {
    let mut templates: HashMap<usize, Vec<Template>> = HashMap::new();
    for (product, text) in FILES {
        // The tests below find a malformed file; here it would have no calls.
        let Ok(File { routes }) = toml::from_str(text) else { continue };
        for Row { methods, path, aliases } in routes {
            for path in std::iter::once(path).chain(aliases) {
                let words = path.split('/').filter(|segment| !segment.is_empty());
                let segments: Vec<_> = words.map(|word| (!word.starts_with('{')).then_some(word)).collect();
                let methods = methods.clone();
                templates.entry(segments.len()).or_default().push(Template { product, segments, methods });
            }
        }
    }
    templates
});

macro_rules! files {
    ($($product:ident $name:literal,)*) => {
        [$((Product::$product, include_str!(concat!("../../config/catalogue/", $name))),)*]
    };
}

const FILES: [(Product, &str); 27] = files! {
    People "people/announcements.toml",
    People "people/attendance.toml",
    People "people/cases.toml",
    People "people/compensation.toml",
    People "people/files.toml",
    People "people/forms.toml",
    People "people/leave.toml",
    People "people/lms.toml",
    People "people/onboarding.toml",
    People "people/other.toml",
    People "people/timesheet.toml",
    People "people/v3-attendance.toml",
    People "people/v3-files.toml",
    People "people/v3-functions.toml",
    People "people/v3-leave.toml",
    People "people/v3-organization.toml",
    People "people/v3-performance.toml",
    People "people/v3-surveys.toml",
    People "people/v3-time-attendance.toml",
    People "people/v3-timesheet.toml",
    People "people/v3-variables.toml",
    Calendar "calendar/calendars.toml",
    Calendar "calendar/events.toml",
    Calendar "calendar/free-busy.toml",
    Calendar "calendar/other.toml",
    Calendar "calendar/resources.toml",
    Calendar "calendar/settings.toml",
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::api::Part;

    fn judged(method: &str, path: &str) -> Known {
        let segments: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        let Part::Product(product) = Part::of(&segments) else { panic!("{path}") };
        look_up(product, &method.parse().unwrap(), &segments)
    }

    /// Every file is read.
    #[test]
    fn every_call_of_the_catalogue_is_known() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/catalogue");
        let mut calls = 0;
        for product in ["people", "calendar"] {
            for file in std::fs::read_dir(format!("{folder}/{product}")).unwrap() {
                let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
                let table: toml::Table = text.parse().unwrap();
                for row in table.get("route").and_then(toml::Value::as_array).into_iter().flatten() {
                    let path = row["path"].as_str().unwrap();
                    let methods = row["methods"].as_array().unwrap();
                    let any = toml::Value::String("DELETE".to_owned());
                    for method in if methods.is_empty() { std::slice::from_ref(&any) } else { methods } {
                        let filled = path.replace(['{', '}'], "");
                        let method = method.as_str().unwrap();
                        assert_eq!(judged(method, &filled), Known::Call, "{method} {path}");
                        calls += 1;
                    }
                }
            }
        }
        assert!(calls > 400, "{calls}");
    }

    #[test]
    fn typos_differ_from_wrong_methods() {
        for (method, path, expected) in [
            ("PUT", "/api/v1/courses/1/share", Known::Call),
            ("HEAD", "/api/v1/courses/1/share", Known::Call),
            ("GET", "/people/api/v1/courses/1/share", Known::Call),
            ("POST", "/api/v1/courses/1/share", Known::Path),
            ("PUT", "/api/v1/corses/1/share", Known::Nothing),
            ("PUT", "/api/v1/courses/1/shaer", Known::Nothing),
            ("PUT", "/api/v1/courses/1/share/more", Known::Nothing),
            ("PUT", "/people/people/api/v1/courses/1/share", Known::Nothing),
            // Older pages state no method, and Zoho accepts several.
            ("GET", "/people/api/forms/json/employee/insertRecord", Known::Call),
            ("POST", "/people/api/forms/json/employee/insertRecord", Known::Call),
            ("POST", "/people/api/forms/employee/getRecord", Known::Nothing),
            ("PUT", "/api/v1/calendars/1/share", Known::Call),
            ("PUT", "/people/api/v1/calendars/1/share", Known::Nothing),
            ("DELETE", "/api/v1/calendars/1/share", Known::Path),
            ("GET", "/api/v1/calendars/1/shaer", Known::Nothing),
        ] {
            assert_eq!(judged(method, path), expected, "{method} {path}");
        }
    }
}
