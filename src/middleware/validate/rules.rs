//! The checks of a payload, in their order.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use crate::{
    message::payload_error::Fault,
    zoho::catalogue::{Kind, Parameter, Place, Validation},
};

use super::{
    findings::Findings,
    parameters::{self, Given},
    scalar,
    shape::{self, Context},
    wording,
};

/// Checks a payload against its route's documented parameters.
///
/// `query` is the target's query without its `?`, `form` the body of a request with the type
/// `application/x-www-form-urlencoded`; both as received.
///
/// # Errors
/// All faults found, in a stable order; never an empty list.
pub fn check(
    parameters: &[Parameter],
    validation: Validation,
    query: Option<&str>,
    form: Option<&[u8]>,
) -> Result<(), Vec<Fault>> {
    if validation == Validation::Off {
        return Ok(());
    }
    let strict = validation == Validation::Strict;
    let mut findings = Findings::default();
    let all = parameters::read(query, form, &mut findings);
    let given = by_name(&all, &mut findings);
    for parameter in parameters {
        check_parameter(parameter, parameters, &given, strict, &mut findings);
    }
    if strict {
        reject_unknown(parameters, &all, &mut findings);
    }
    findings.into_result()
}

/// The given parameters by name; `None`: given twice or more, and reported.
type ByName<'g, 'a> = HashMap<&'g str, Option<&'g Given<'a>>>;

/// Sorts the given parameters by name, and reports every name that is given more than once.
///
/// Zoho does not document which of two values counts; so this holds for every name, in the catalogue or not.
fn by_name<'g, 'a>(given: &'g [Given<'a>], findings: &mut Findings) -> ByName<'g, 'a> {
    let mut names = HashMap::with_capacity(given.len());
    for second in given {
        match names.entry(second.name.as_ref()) {
            Entry::Vacant(entry) => {
                entry.insert(Some(second));
            }
            Entry::Occupied(mut entry) => {
                if let Some(first) = entry.insert(None) {
                    findings.about(&wording::name(&second.name)).add("", twice(first.place, second.place));
                }
            }
        }
    }
    names
}

fn check_parameter(
    parameter: &Parameter,
    siblings: &[Parameter],
    all: &ByName<'_, '_>,
    strict: bool,
    findings: &mut Findings,
) {
    let mut about = findings.about(&parameter.name);
    let value_of = |name: &str| value_of(siblings.iter().find(|sibling| sibling.name == name)?, all);
    match all.get(parameter.name.as_str()) {
        Some(None) => {}
        Some(Some(given)) if parameter.places.contains(&given.place) => {
            // A value that cannot be decoded is reported by `parameters::read`.
            let Some(value) = &given.value else { return };
            let optional = !parameter.terms.demands(value_of);
            match &parameter.kind {
                Kind::Plain(scalar) => scalar::check_text(scalar, value, given.had_plus, &mut about),
                Kind::Json(shape) => {
                    shape::check(shape, value, optional, Context { strict, had_plus: given.had_plus }, &mut about);
                }
            }
            if let (Some(except), Kind::Plain(scalar)) = (&parameter.terms.except, &parameter.kind)
                && let Some(detail) = wording::excepted(scalar.words(), except, value, value_of)
            {
                about.add("", detail);
            }
        }
        elsewhere => {
            let elsewhere = elsewhere.copied().flatten().map(|given| given.place);
            if parameter.terms.demands(value_of) {
                about.add("", missing(&parameter.places, elsewhere));
            } else if let (true, Some(found)) = (strict, elsewhere) {
                about.add("", misplaced(&parameter.places, found));
            }
        }
    }
}

/// A parameter's value, if it counts as given.
fn value_of<'g>(parameter: &Parameter, all: &'g ByName<'_, '_>) -> Option<&'g str> {
    let given = (*all.get(parameter.name.as_str())?)?;
    given.value.as_deref().filter(|_| parameter.places.contains(&given.place))
}

/// Reports each unknown name once, in the order of the request.
fn reject_unknown(parameters: &[Parameter], all: &[Given<'_>], findings: &mut Findings) {
    let known: Vec<_> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let mut reported = HashSet::new();
    for given in all {
        let name = given.name.as_ref();
        let shown = wording::name(name);
        let mut about = findings.about(&shown);
        if about.is_full() {
            break;
        }
        if !known.contains(&name) && reported.insert(name) {
            about.add("", wording::unknown("parameter", &known, name));
        }
    }
}

fn twice(first: Place, second: Place) -> String {
    if first == second {
        format!("expected once, but given twice in the {}", wording::place(first))
    } else {
        "expected once, but given in the query and again in the form body".to_owned()
    }
}

/// The detail for a documented parameter in the wrong part of the request.
fn misplaced(places: &[Place], found: Place) -> String {
    format!("expected {}, but given in the {}", wanted(places), wording::place(found))
}

fn wanted(places: &[Place]) -> String {
    let places: Vec<_> = places.iter().map(|&place| format!("in the {}", wording::place(place))).collect();
    places.join(" or ")
}

fn missing(places: &[Place], found: Option<Place>) -> String {
    let wanted = wanted(places);
    match found {
        None => format!("this parameter is mandatory but missing; send it {wanted}"),
        Some(place) => {
            format!("this parameter is mandatory and is not read from the {}; send it {wanted}", wording::place(place))
        }
    }
}
