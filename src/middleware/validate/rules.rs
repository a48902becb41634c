//! The checks of a payload, in their order.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use serde_json::value::RawValue;

use crate::{
    message::payload_error::Fault,
    zoho::catalogue::{Array, Kind, List, Object, Parameter, Place, Shape, Terms, Validation},
};

use super::{
    content::{Content, Value},
    findings::{About, Findings},
    json,
    parameters::{self, Given},
    scalar,
    shape::{self, Context},
    wording,
};

/// How much of a multipart body that streams may be other parts than its file. A file that exceeds its limit by less is
/// left to Zoho.
const BESIDE_A_FILE: u64 = 64 * 1024;

/// Checks a payload against its route's documented parameters.
///
/// `query` is the target's query without its `?`, as received.
///
/// # Errors
/// All faults found, in a stable order; never an empty list.
pub fn check<'a>(
    parameters: &[Parameter],
    validation: Validation,
    query: Option<&'a str>,
    body: impl Into<Content<'a>>,
) -> Result<(), Vec<Fault>> {
    if validation == Validation::Off {
        return Ok(());
    }
    let mut findings = Findings::default();
    let body = body.into();
    let request = parameters::read(query, body, &mut findings);
    let by_name = by_name(&request.given, parameters, &mut findings);
    let strict = validation == Validation::Strict;
    let check = Check { parameters, by_name, is_opaque: request.is_opaque, strict };
    for parameter in parameters {
        check.parameter(parameter, &mut findings);
        if let (Content::Opaque { of_parts: Some(length) }, Kind::File { max }) = (body, &parameter.kind)
            && length.saturating_sub(BESIDE_A_FILE) > *max as u64
        {
            let detail = format!("expected a file of at most {max} bytes, but the body has {length}");
            findings.about(&parameter.name).add("", detail);
        }
    }
    if let (Content::Json(text), true) = (body, request.is_opaque) {
        report_broken_json(parameters, text, &mut findings);
    }
    if strict {
        check.reject_unknown(&request.given, &mut findings);
    }
    findings.into_result()
}

/// The given parameters by name; `None`: given twice or more, and reported.
type ByName<'g, 'a> = HashMap<&'g str, Option<&'g Given<'a>>>;

/// Sorts the given parameters by name, and reports every name that is given more than once, except lists, which some
/// clients write so.
///
/// Zoho does not document which of two values counts; so this holds for every name, in the catalogue or not.
fn by_name<'g, 'a>(given: &'g [Given<'a>], parameters: &[Parameter], findings: &mut Findings) -> ByName<'g, 'a> {
    let is_list = |name: &str| {
        let is_called = |parameter: &&Parameter| parameter.names().any(|known| known == name);
        parameters.iter().find(is_called).is_some_and(|parameter| matches!(parameter.kind, Kind::List(_)))
    };
    let mut names = HashMap::with_capacity(given.len());
    for second in given {
        match names.entry(second.name.as_ref()) {
            Entry::Vacant(entry) => {
                entry.insert(Some(second));
            }
            Entry::Occupied(mut entry) => {
                if let Some(first) =
                    entry.get().filter(|first: &&Given<'_>| first.place != second.place || !is_list(&second.name))
                {
                    findings.about(&wording::name(&second.name)).add("", twice(first.place, second.place));
                    entry.insert(None);
                }
            }
        }
    }
    names
}

/// One payload and its rules.
struct Check<'c, 'g, 'a> {
    parameters: &'c [Parameter],
    by_name: ByName<'g, 'a>,
    is_opaque: bool,
    strict: bool,
}

/// Where a parameter was found.
enum Found<'g, 'a> {
    /// Where Zoho reads it.
    Here(&'g Given<'a>),
    /// In another part of the request.
    Elsewhere(Place),
    Nowhere,
    /// More than once, which is reported.
    Twice,
}

// === impl Check ===

impl<'g, 'a> Check<'_, 'g, 'a> {
    fn parameter(&self, parameter: &Parameter, findings: &mut Findings) {
        let Parameter { name, places, terms, .. } = parameter;
        let found = self.find(parameter, findings);
        let mut about = findings.about(name);
        let is_required = terms.demands(|name| self.word(name), |name| self.may_have(name));
        match found {
            Found::Twice => {}
            Found::Here(given) => {
                self.value(parameter, given, !is_required, &mut about);
                if let Some(sibling) = terms.lacks(|name| self.may_have(name)) {
                    about.add("", wording::only_with(sibling));
                }
            }
            Found::Nowhere | Found::Elsewhere(_) if self.may_be_hidden(parameter) => {}
            Found::Nowhere if is_required => about.add("", missing(terms, places, None)),
            Found::Elsewhere(place) if is_required => about.add("", missing(terms, places, Some(place))),
            Found::Elsewhere(place) if self.strict => about.add("", misplaced(places, place)),
            Found::Nowhere | Found::Elsewhere(_) => {}
        }
    }

    /// Finds a parameter under any of its spellings, and reports two of them.
    fn find(&self, parameter: &Parameter, findings: &mut Findings) -> Found<'g, 'a> {
        let mut all = parameter.names().filter_map(|name| self.by_name.get(name));
        match (all.next(), all.next()) {
            (None, _) => Found::Nowhere,
            (Some(None), _) => Found::Twice,
            (Some(Some(first)), None) if parameter.places.contains(&first.place) => Found::Here(first),
            (Some(Some(first)), None) => Found::Elsewhere(first.place),
            (Some(Some(first)), Some(_)) => {
                let spellings: Vec<_> = parameter.names().collect();
                let detail = format!("expected one of the spellings {}, but found two", spellings.join(", "));
                findings.about(&first.name).add("", detail);
                Found::Twice
            }
        }
    }

    fn value(&self, parameter: &Parameter, given: &Given<'_>, optional: bool, about: &mut About<'_>) {
        let context = Context { strict: self.strict, had_plus: given.had_plus };
        match (&parameter.kind, &given.value) {
            // A value that cannot be decoded is reported by `parameters::read`.
            (_, Value::Undecodable) => {}
            (Kind::File { max }, Value::File(size)) => {
                if size > max {
                    about.add("", format!("expected a file of at most {max} bytes, but found one of {size}"));
                }
            }
            (Kind::Plain(scalar), Value::Text(text)) => scalar::check_text(scalar, text, given.had_plus, about),
            (Kind::Json(shape), Value::Text(text)) => shape::check(shape, text, optional, context, about),
            (Kind::List(list), Value::Text(text)) => scalar::check_list(list, text, given.had_plus, about),
            // Typed clients write null for what they omit.
            (_, Value::Json(raw)) if optional && raw.get() == "null" => {}
            (kind, Value::Json(raw)) => check_member(kind, raw, context, about),
            // A file where text is expected, and text without a file's name: what it holds is Zoho's to judge.
            (Kind::File { .. }, Value::Text(_)) | (_, Value::File(_)) => {}
        }
        if let (Some(except), Kind::Plain(scalar), Value::Text(word)) =
            (&parameter.terms.except, &parameter.kind, &given.value)
            && let Some(detail) = wording::excepted(scalar.words(), except, word, |name| self.word(name))
        {
            about.add("", detail);
        }
    }

    /// A parameter's value as a word, if it counts as given.
    fn word(&self, name: &str) -> Option<&'g str> {
        self.given(self.known(name)?)?.word()
    }

    /// Whether a parameter counts as given, or is perhaps in a body that is not read.
    fn may_have(&self, name: &str) -> bool {
        self.known(name).is_some_and(|parameter| self.given(parameter).is_some() || self.may_be_hidden(parameter))
    }

    fn may_be_hidden(&self, parameter: &Parameter) -> bool {
        self.is_opaque && [Place::Json, Place::Multipart].iter().any(|place| parameter.places.contains(place))
    }

    fn known(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    fn given(&self, parameter: &Parameter) -> Option<&'g Given<'a>> {
        let mut given = parameter.names().filter_map(|name| *self.by_name.get(name)?);
        given.find(|given| parameter.places.contains(&given.place))
    }

    /// Reports each unknown name once, in the order of the request.
    fn reject_unknown(&self, all: &[Given<'_>], findings: &mut Findings) {
        let known: Vec<_> = self.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        let is_known =
            |name: &str| self.parameters.iter().any(|parameter| parameter.names().any(|known| known == name));
        let mut reported = HashSet::new();
        for given in all {
            let name = given.name.as_ref();
            let shown = wording::name(name);
            let mut about = findings.about(&shown);
            if about.is_full() {
                break;
            }
            if !is_known(name) && reported.insert(name) {
                about.add("", wording::unknown("parameter", &known, name));
            }
        }
    }
}

/// Checks a member of a JSON body: the JSON itself, or text as a form would have it.
fn check_member(kind: &Kind, raw: &RawValue, context: Context, about: &mut About<'_>) {
    let text = json::scalar_text(raw);
    let shape = match (kind, &text) {
        (Kind::File { .. }, _) => return,
        (Kind::Plain(scalar), Some(text)) => return scalar::check_text(scalar, text, false, about),
        (Kind::List(list), Some(text)) => return scalar::check_list(list, text, false, about),
        // Some clients put the JSON into a string, as it would be in a query.
        (Kind::Json(shape @ (Shape::Array(_) | Shape::Object(_))), Some(text)) if raw.get().starts_with('"') => {
            return shape::check(shape, text, false, context, about);
        }
        (Kind::Json(shape), _) => shape.clone(),
        (Kind::Plain(scalar), None) => Shape::Scalar(scalar.clone()),
        (Kind::List(List { max, items }), None) => {
            Shape::Array(Array { min: 0, max: *max, items: Box::new(Shape::Scalar(items.clone())) })
        }
    };
    shape::check(&shape, raw.get(), false, context, about);
}

/// Reports a JSON body that does not parse where the page says that the parameters are in it, and nowhere else.
fn report_broken_json(parameters: &[Parameter], text: &[u8], findings: &mut Findings) {
    if let Some(parameter) = parameters.iter().find(|parameter| parameter.places == [Place::Json]) {
        let text = String::from_utf8_lossy(text);
        let shape = Shape::Object(Object { fields: Vec::new(), open: true });
        let context = Context { strict: false, had_plus: false };
        shape::check(&shape, &text, false, context, &mut findings.about(&parameter.name));
    }
}

fn twice(first: Place, second: Place) -> String {
    if first == second {
        format!("expected once, but given twice in the {}", wording::place(first))
    } else {
        format!("expected once, but given in the {} and again in the {}", wording::place(first), wording::place(second))
    }
}

/// The detail for a documented parameter in the wrong part of the request.
fn misplaced(places: &[Place], found: Place) -> String {
    format!("expected {}, but given in the {}", wanted(places), wording::place(found))
}

fn wanted(places: &[Place]) -> String {
    if places == Place::ALL {
        return "in the query or in the body".to_owned();
    }
    let places: Vec<_> = places.iter().map(|&place| format!("in the {}", wording::place(place))).collect();
    places.join(" or ")
}

fn missing(terms: &Terms, places: &[Place], found: Option<Place>) -> String {
    let (wanted, unless) = (wanted(places), wording::or_else(terms));
    match found {
        None => format!("this parameter is mandatory but missing{unless}; send it {wanted}"),
        Some(place) => {
            let place = wording::place(place);
            format!("this parameter is mandatory and is not read from the {place}{unless}; send it {wanted}")
        }
    }
}
