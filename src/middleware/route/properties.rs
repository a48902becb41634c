//! Compares the matcher with a naive one that checks all templates segment by segment, on random paths similar to the
//! catalogue's and with everything that two servers could read differently.

use http::Method;
use proptest::prelude::*;

use super::{Matcher, Path};
use crate::zoho::{
    catalogue::{Catalogue, Route},
    product::Product,
};

/// The segments of a path in a naive reading; `None` for a path to be rejected.
fn segments(raw: &str) -> Option<Vec<String>> {
    let raw = raw.strip_prefix('/').unwrap_or(raw);
    let raw = raw.strip_suffix('/').unwrap_or(raw);
    if raw.is_empty() {
        return Some(Vec::new());
    }
    raw.split('/').map(segment).collect()
}

fn segment(raw: &str) -> Option<String> {
    let mut decoded = Vec::new();
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
                u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?
            }
            byte => byte,
        });
    }
    let decoded = String::from_utf8(decoded).ok()?;
    let hex = |text: &str| text.len() >= 2 && text.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    let twice = decoded.contains('%') && decoded.split('%').skip(1).all(hex);
    let misread = decoded.is_empty() || decoded == "." || decoded == ".." || twice;
    let ambiguous = decoded.chars().any(|c| c == '/' || c == '\\' || c == ';' || c.is_control());
    (!misread && !ambiguous).then_some(decoded)
}

/// The route of a path, by checking every template; `Err` for a path to be rejected.
fn naive(catalogue: &Catalogue, product: Product, method: &Method, raw: &str) -> Result<Option<String>, ()> {
    let mut path = segments(raw).ok_or(())?;
    if product == Product::People && path.len() > 2 && path[0] == "people" && path[1] == "api" {
        path.remove(0);
    }
    let fits = |template: &str| -> Option<Vec<bool>> {
        let wanted: Vec<&str> = template[1..].split('/').collect();
        let parameter = |wanted: &&str| wanted.starts_with('{');
        let all = wanted.len() == path.len()
            && wanted.iter().zip(&path).all(|(wanted, segment)| parameter(wanted) || wanted == segment);
        all.then(|| wanted.iter().map(parameter).collect())
    };
    let of_product = catalogue.routes.iter().filter(|route| route.product == product);
    let fitting: Vec<(Vec<bool>, &Route)> = of_product
        .flat_map(|route| route.templates().filter_map(move |template| Some((fits(template)?, route))))
        .collect();
    // `false`, a literal, comes before `true`, a parameter.
    let Some(best) = fitting.iter().map(|(parameters, _)| parameters).min() else { return Ok(None) };
    let routes: Vec<&Route> =
        fitting.iter().filter(|(parameters, _)| parameters == best).map(|(_, route)| *route).collect();
    let of = |method: &Method| {
        let answers = |route: &&&Route| route.methods.is_empty() || route.methods.contains(method);
        routes.iter().find(answers).map(|route| route.id.to_string())
    };
    Ok(of(method).or_else(|| (method == Method::HEAD).then(|| of(&Method::GET)).flatten()))
}

/// A change to a path.
#[derive(Debug, Clone)]
enum Mutation {
    /// Replaces a segment by an unusual text.
    Replace(String),
    /// Replaces a segment by one of another template.
    FromTemplate(usize),
    /// Inserts a segment.
    Insert(String),
    Drop,
    /// Percent-encodes a byte of a segment.
    Encode(u8),
    Uppercase,
    TrailingSlash,
    OtherRoot,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let odd = prop_oneof![
        prop::sample::select(vec![
            "",
            ".",
            "..",
            "%2e",
            "%2E%2e",
            ".%2e",
            "%2F",
            "a%2fb",
            "a\\b",
            "%5c",
            "a;b",
            "%3B",
            "%",
            "%2",
            "%zz",
            "%25",
            "%252e",
            "%25zz",
            "%00",
            "%0a",
            "%7f",
            "%ff",
            "%c0%af",
            "%C3%A9",
            "é",
            "%20",
            " ",
            "{id}",
            "*",
            "people",
            "api",
            "json",
            "employee",
            "leave",
            "Candidate",
            "schedulers",
            "mycourses",
            "freebusy",
            "cancel",
            "1",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9%./;{}é-]{0,8}",
    ];
    prop_oneof![
        odd.clone().prop_map(Mutation::Replace),
        any::<usize>().prop_map(Mutation::FromTemplate),
        odd.prop_map(Mutation::Insert),
        Just(Mutation::Drop),
        any::<u8>().prop_map(Mutation::Encode),
        Just(Mutation::Uppercase),
        Just(Mutation::TrailingSlash),
        Just(Mutation::OtherRoot),
    ]
}

fn mutate(segments: &mut Vec<String>, mutation: &Mutation, at: usize, templates: &[&str]) {
    let at = at % segments.len().max(1);
    let other_segment = |number: usize| {
        let template: Vec<&str> = templates[number % templates.len()][1..].split('/').collect();
        template[at % template.len()].to_owned()
    };
    match (mutation, segments.get_mut(at)) {
        (Mutation::Replace(with), Some(segment)) => *segment = with.clone(),
        (Mutation::FromTemplate(number), Some(segment)) => *segment = other_segment(*number),
        (Mutation::Insert(with), _) => segments.insert(at, with.clone()),
        (Mutation::Drop, Some(_)) => drop(segments.remove(at)),
        (Mutation::Encode(byte), Some(segment)) => {
            let at = usize::from(*byte) % segment.len().max(1);
            if segment.is_char_boundary(at) && segment.is_char_boundary(at + 1) && at < segment.len() {
                let encoded = format!("%{:02x}", segment.as_bytes()[at]);
                segment.replace_range(at..=at, &encoded);
            }
        }
        (Mutation::Uppercase, Some(segment)) => *segment = segment.to_uppercase(),
        (Mutation::TrailingSlash, _) => segments.push(String::new()),
        (Mutation::OtherRoot, _) => segments.insert(0, "people".to_owned()),
        (_, None) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn finds_what_a_naive_search_finds(
        template in any::<usize>(),
        values in prop::collection::vec("[A-Za-z0-9_.-]{1,12}", 8),
        mutations in prop::collection::vec((mutation(), any::<usize>()), 0..4),
        method in prop::sample::select(vec!["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "MOVE", "BREW"]),
    ) {
        // Built once, because building it for each case would take most of the time.
        static FIXTURE: std::sync::LazyLock<(Catalogue, Matcher)> = std::sync::LazyLock::new(|| {
            let catalogue = Catalogue::published().unwrap();
            let matcher = Matcher::new(&catalogue).unwrap();
            (catalogue, matcher)
        });
        let (catalogue, matcher) = &*FIXTURE;
        let templates: Vec<&str> = catalogue.routes.iter().flat_map(Route::templates).collect();
        let mut values = values.into_iter();
        let mut path: Vec<String> = templates[template % templates.len()][1..]
            .split('/')
            .map(|segment| if segment.starts_with('{') { values.next().unwrap() } else { segment.to_owned() })
            .collect();
        for (mutation, at) in &mutations {
            mutate(&mut path, mutation, *at, &templates);
        }
        let raw = format!("/{}", path.join("/"));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        for product in Product::ALL {
            let found = match Path::parse(&raw) {
                Ok(path) => Ok(matcher.known(product, &method, &path).map(|route| route.id.to_string())),
                Err(_) => Err(()),
            };
            prop_assert_eq!(found, naive(catalogue, product, &method, &raw), "{} {} of {:?}", method, raw, product);
        }
    }
}
