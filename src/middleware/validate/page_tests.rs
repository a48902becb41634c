//! The rules of the catalogue against what is known of real payloads: the samples and types of Zoho's pages
//! (`tests/data/parameters.jsonl`), what public clients send (`clients.toml`), and one payload for each rule that it
//! refuses (`refused.tsv`).

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use oauth2::url::form_urlencoded;
use proptest::{prelude::*, strategy::ValueTree};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Content, check, weaker};
use crate::{
    message::payload_error::Fault,
    zoho::catalogue::{Catalogue, Parameter, Route, Validation},
};

const PAGES: &str = include_str!("../../../tests/data/parameters.jsonl");
const CLIENTS: &str = include_str!("../../../tests/it/payloads/clients.toml");
const REFUSED: &str = include_str!("../../../tests/it/payloads/refused.tsv");

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::published().expect("the catalogue"));

/// A call as its page describes it.
#[derive(Debug, Deserialize)]
struct Page {
    row: PageRow,
    trust: String,
    #[serde(default)]
    parameters: Vec<PageParameter>,
    #[serde(default)]
    sample: Value,
}

#[derive(Debug, Deserialize)]
struct PageRow {
    product: String,
    method: String,
    path: String,
}

#[derive(Debug, Clone, Deserialize)]
struct PageParameter {
    name: String,
    r#in: String,
    mandatory: Value,
    r#type: String,
    allowed: Option<Vec<String>>,
    min: Value,
    max: Value,
    json_shape: Value,
}

/// What a call carries.
#[derive(Debug, Default)]
struct Payload {
    query: Option<String>,
    form: Option<String>,
    json: Option<String>,
    multipart: Option<String>,
}

impl Payload {
    fn faults(&self, parameters: &[Parameter]) -> Vec<Fault> {
        let parts = self.multipart.as_ref().map(|body| body.trim_start().replace('\n', "\r\n"));
        let body = match (&self.form, &self.json, &parts) {
            (Some(form), _, _) => Content::Form(form.as_bytes()),
            (_, Some(json), _) => Content::Json(json.as_bytes()),
            (_, _, Some(parts)) => Content::Multipart { body: parts.as_bytes(), boundary: "XBOUNDARYX" },
            _ => Content::None,
        };
        check(parameters, Validation::Documented, self.query.as_deref(), body).err().unwrap_or_default()
    }
}

fn pages() -> Vec<Page> {
    let pages = PAGES.lines().map(|line| serde_json::from_str::<Page>(line).expect("a page"));
    pages.filter(|page| page.trust == "page" && page.row.product != "accounts").collect()
}

/// The catalogue's call with this method and path; the most literal one, as the gateway matches.
fn route_of(row: &PageRow) -> Option<&'static Route> {
    let segments = |path: &str| {
        path.trim_start_matches("/people").trim_matches('/').split('/').map(str::to_owned).collect::<Vec<_>>()
    };
    let is_open = |segment: &String| segment.starts_with(['{', '<']);
    let wanted = segments(&row.path);
    let open_segments = |template: &str| {
        let known = segments(template);
        let fits = |(known, wanted): (&String, &String)| is_open(known) || known.eq_ignore_ascii_case(wanted);
        let all = known.len() == wanted.len() && known.iter().zip(&wanted).all(fits);
        all.then(|| known.iter().filter(|segment| is_open(segment)).count())
    };
    let takes = |route: &&Route| {
        route.product.as_str() == row.product
            && (route.methods.is_empty() || route.methods.iter().any(|method| method.as_str() == row.method))
    };
    let candidates = CATALOGUE.routes.iter().filter(takes);
    let matched = candidates.filter_map(|route| Some((route.templates().filter_map(open_segments).min()?, route)));
    matched.min_by_key(|(open, _)| *open).map(|(_, route)| route)
}

// === samples ===

/// The payloads that a sample shows. A sample that is cut shows none.
fn payloads(sample: &Value) -> Vec<Payload> {
    match sample {
        Value::Object(sample) if !sample.is_empty() => vec![of_pairs(sample)],
        Value::String(text) if text.contains("cut)") || text.contains("not visible") => Vec::new(),
        Value::String(text) if text.contains("application/json") => {
            let json = text.find('{').map(|at| text[at..].replace(", ...]", "]"));
            vec![Payload { json, ..Payload::default() }]
        }
        Value::String(text) => text.split("; ").filter(|text| !text.trim().starts_with("answer")).map(of_url).collect(),
        _ => Vec::new(),
    }
}

fn of_pairs(sample: &Map<String, Value>) -> Payload {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let encoded = |pairs: &Map<String, Value>| {
        let mut encoded = form_urlencoded::Serializer::new(String::new());
        encoded.extend_pairs(pairs.iter().map(|(name, value)| (name, text(value)))).finish()
    };
    match (sample.get("form"), sample.get("json-body"), sample.get("path")) {
        (Some(Value::Object(form)), ..) => Payload { form: Some(encoded(form)), ..Payload::default() },
        (_, Some(json), _) => Payload { json: Some(json.to_string()), ..Payload::default() },
        (.., Some(_)) => Payload::default(),
        _ => Payload { query: Some(encoded(sample)), ..Payload::default() },
    }
}

/// The query of an address as the page prints it, without the remarks behind it.
fn of_url(text: &str) -> Payload {
    let remark = [", header", " (", " ;"].iter().filter_map(|remark| text.find(remark)).min();
    let query = text[..remark.unwrap_or(text.len())].split_once('?').map(|(_, query)| query.to_owned());
    Payload { query, ..Payload::default() }
}

#[test]
fn every_page_belongs_to_a_call_with_its_parameters() {
    let mut unknown = Vec::new();
    for page in pages() {
        match route_of(&page.row) {
            None => unknown.push(page.row.path),
            Some(route) => assert!(route.parameters.are_documented(), "{}", route.id),
        }
    }
    // Pages of authtoken, which no longer exists.
    assert_eq!(
        unknown,
        ["/people/api/leave/records", "/people/api/files/json/uploadFile", "/people/api/files/json/addFile"]
    );
}

#[test]
fn every_sample_of_a_page_passes_byte_for_byte() {
    let mut passed = 0;
    for page in pages() {
        let Some(route) = route_of(&page.row) else { continue };
        for payload in payloads(&page.sample) {
            assert_eq!(payload.faults(&route.parameters), [], "{}: {payload:?}", route.id);
            passed += 1;
        }
    }
    assert!(passed > 100, "{passed}");
}

// === clients ===

#[derive(Deserialize)]
struct Clients {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    route: String,
    query: Option<String>,
    form: Option<String>,
    json: Option<String>,
    multipart: Option<String>,
}

#[test]
fn what_public_clients_send_passes() {
    let Clients { case } = toml::from_str(CLIENTS).expect("clients.toml");
    assert!(case.len() >= 60, "{}", case.len());
    let mut refused = Vec::new();
    for Case { name, route, query, form, json, multipart } in case {
        let parameters = &CATALOGUE.find(&route).unwrap_or_else(|| panic!("{route}")).parameters;
        let faults = Payload { query, form, json, multipart }.faults(parameters);
        if !faults.is_empty() {
            refused.push(format!("{route}: {name}: {faults:?}"));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

// === the types of the pages ===

/// A value of the page's own type.
fn value(parameter: &PageParameter) -> BoxedStrategy<String> {
    let number = |bound: &Value, otherwise| bound.as_i64().unwrap_or(otherwise);
    let kind = parameter.r#type.to_ascii_lowercase();
    match &parameter.allowed {
        Some(allowed) if !allowed.is_empty() => proptest::sample::select(allowed.clone()).boxed(),
        _ if ["integer", "int", "long"].contains(&kind.as_str()) || kind.contains("milliseconds") => {
            let least = number(&parameter.min, 1);
            (least..=number(&parameter.max, 1_000_000).max(least)).prop_map(|number| number.to_string()).boxed()
        }
        _ if kind == "boolean" => prop_oneof![Just("true".to_owned()), Just("false".to_owned())].boxed(),
        _ if kind == "erecno" => "[0-9]{1,18}".boxed(),
        _ if kind.contains("comma") => "[0-9]{1,18}(, ?[0-9]{1,18}){0,5}".boxed(),
        _ if kind.contains("array") => "\\[[1-9][0-9]{0,17}(, ?\"[0-9]{1,18}\"){0,5}\\]".boxed(),
        _ if kind.contains("date") => "[0-3][0-9]-[A-Z][a-z]{2}-20[0-9]{2}".boxed(),
        _ => "[a-zA-Z0-9@.+ -]{1,50}".boxed(),
    }
}

fn payload(page: &Page, choice: usize, runner: &mut proptest::test_runner::TestRunner) -> String {
    let is_sent = |index: usize, parameter: &&PageParameter| {
        !["path", "header", "multipart"].contains(&parameter.r#in.as_str())
            // Objects have shapes, which the samples cover.
            && (parameter.json_shape.is_null() || parameter.r#type.contains("erecno"))
            && !parameter.r#type.to_ascii_lowercase().contains("object")
            && (parameter.mandatory == Value::Bool(true) || (choice >> (index % 16)) & 1 == 1)
    };
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    for (index, parameter) in page.parameters.iter().enumerate() {
        if is_sent(index, &parameter) {
            let value = value(parameter).new_tree(runner).expect("a value").current();
            pairs.append_pair(&parameter.name, &value);
        }
    }
    pairs.finish()
}

/// What the types on the page express is accepted: of a parameter, there is no fault but that others are missing, which
/// the page says in words.
#[test]
fn values_of_the_pages_own_types_pass() {
    let mut runner = proptest::test_runner::TestRunner::default();
    for page in pages() {
        let Some(route) = route_of(&page.row) else { continue };
        for choice in 0..64 {
            let query = payload(&page, choice * 1021, &mut runner);
            let faults = Payload { query: Some(query.clone()), ..Payload::default() }.faults(&route.parameters);
            let of_values: Vec<_> = faults.iter().filter(|fault| !fault.detail.contains("missing")).collect();
            assert!(of_values.is_empty(), "{}: {query}: {of_values:?}", route.id);
        }
    }
}

// === one payload for each rule ===

/// A payload that breaks one rule: the call, where its parameters are, the parameters, and the fault.
struct Refused {
    route: &'static Route,
    payload: Payload,
    fault: (&'static str, &'static str),
}

fn refused() -> Vec<Refused> {
    let parsed = |line: &'static str| {
        let [route, place, parameters, parameter, pointer] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("expected five columns: {line}");
        };
        let text = Some(parameters.to_owned());
        let payload = match place {
            "query" => Payload { query: text, ..Payload::default() },
            "json" => Payload { json: text, ..Payload::default() },
            "multipart" => Payload { multipart: Some(with_a_file(parameters)), ..Payload::default() },
            other => panic!("no such place: {other}"),
        };
        let route = CATALOGUE.find(route).unwrap_or_else(|| panic!("no such call: {route}"));
        Refused { route, payload, fault: (parameter, pointer) }
    };
    REFUSED.lines().map(parsed).collect()
}

fn with_a_file(parameters: &str) -> String {
    let field = |(name, value): (Cow<'_, str>, Cow<'_, str>)| {
        format!("--XBOUNDARYX\nContent-Disposition: form-data; name=\"{name}\"\n\n{value}\n")
    };
    let fields: String = form_urlencoded::parse(parameters.as_bytes()).map(field).collect();
    let file = "Content-Disposition: form-data; name=\"upload_file\"; filename=\"a\"\n\nx";
    format!("{fields}--XBOUNDARYX\n{file}\n--XBOUNDARYX--\n")
}

#[test]
fn every_payload_that_breaks_a_rule_has_exactly_that_fault() {
    let mut wrong = Vec::new();
    for Refused { route, payload, fault } in refused() {
        let faults = payload.faults(&route.parameters);
        let found: Vec<_> = faults.iter().map(|fault| (fault.parameter.as_str(), fault.pointer.as_str())).collect();
        if found != [fault] {
            wrong.push(format!("{}: {payload:?}: {fault:?}, found {faults:?}", route.id));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Without any one of its rules, a call accepts a payload that it refuses.
#[test]
fn every_rule_refuses_a_payload() {
    let mut payloads = HashMap::<&str, Vec<Payload>>::new();
    for Refused { route, payload, .. } in refused() {
        payloads.entry(route.id.as_str()).or_default().push(payload);
    }
    let (mut rules, mut unused) = (0, Vec::new());
    // The four calls with tables of their own are in bad.toml.
    for route in CATALOGUE.routes.iter().filter(|route| payloads.contains_key(route.id.as_str())) {
        for (rule, weaker) in weaker::without_each_rule(&route.parameters) {
            rules += 1;
            let notices = |payload: &Payload| payload.faults(&weaker) != payload.faults(&route.parameters);
            if !payloads[route.id.as_str()].iter().any(notices) {
                unused.push(format!("{}: {rule}", route.id));
            }
        }
    }
    assert!(rules > 800, "{rules}");
    assert!(unused.is_empty(), "{} of {rules} rules refuse nothing:\n{}", unused.len(), unused.join("\n"));
}

/// Every call whose page has a rule is in the table.
#[test]
fn every_call_with_rules_is_in_the_table() {
    const IN_BAD_TOML: [&str; 4] = [
        "people.lms.share-course",
        "people.lms.get-shared-users",
        "people.lms.remove-shared-user",
        "calendar.calendars.share-calendar",
    ];
    let refused = refused();
    for route in &CATALOGUE.routes {
        let is_there = refused.iter().any(|case| case.route.id == route.id) || IN_BAD_TOML.contains(&route.id.as_str());
        assert!(is_there || weaker::without_each_rule(&route.parameters).is_empty(), "{}", route.id);
    }
}
