//! The order in which a payload is looked at.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use crate::{
    message::payload_error::Fault,
    zoho::catalogue::{Kind, Parameter, Place, Validation},
};

use super::{
    findings::{About, Findings},
    parameters::{self, Given},
    scalar,
    shape::{self, Context},
    wording,
};

/// Holds a payload to its route's documented parameters.
///
/// `query` is the target's query without its `?`, `form` the body of a request that says it is
/// `application/x-www-form-urlencoded`; both as they came over the wire.
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
        look_at(parameter, parameters, &given, strict, &mut findings);
    }
    if strict {
        refuse_unknown(parameters, &all, &mut findings);
    }
    findings.into_result()
}

type ByName<'g, 'a> = HashMap<&'g str, Times<'g, 'a>>;

/// How often a name was given.
enum Times<'g, 'a> {
    Once(&'g Given<'a>),
    /// Twice or more, which has been reported.
    Several,
}

/// Sorts what was given by name, and reports every name that stands there more than once.
///
/// Which of two values counts is for Zoho to say, and its answer is not documented; so this holds for any name, also
/// for those the catalogue does not know.
fn by_name<'g, 'a>(given: &'g [Given<'a>], findings: &mut Findings) -> ByName<'g, 'a> {
    let mut names = HashMap::with_capacity(given.len());
    for second in given {
        match names.entry(second.name.as_ref()) {
            Entry::Vacant(entry) => {
                entry.insert(Times::Once(second));
            }
            Entry::Occupied(mut entry) => {
                if let Times::Once(first) = entry.insert(Times::Several) {
                    findings.about(&wording::name(&second.name)).add("", twice(first.place, second.place));
                }
            }
        }
    }
    names
}

fn look_at(parameter: &Parameter, siblings: &[Parameter], all: &ByName<'_, '_>, strict: bool, findings: &mut Findings) {
    let mut about = findings.about(&parameter.name);
    let value_of = |name: &str| value_of(siblings.iter().find(|sibling| sibling.name == name)?, all);
    match all.get(parameter.name.as_str()) {
        Some(Times::Several) => {}
        Some(Times::Once(given)) if parameter.places.contains(&given.place) => {
            // What could not be decoded has been reported where it was read.
            let Some(value) = &given.value else { return };
            let optional = !parameter.terms.demands(value_of);
            look_into(&parameter.kind, value, optional, Context { strict, had_plus: given.had_plus }, &mut about);
            if let (Some(except), Kind::Plain(scalar)) = (&parameter.terms.except, &parameter.kind)
                && let Some(detail) = wording::excepted(scalar.words(), except, value, value_of)
            {
                about.add("", detail);
            }
        }
        elsewhere => {
            let elsewhere = match elsewhere {
                Some(Times::Once(given)) => Some(given.place),
                _ => None,
            };
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
    match all.get(parameter.name.as_str()) {
        Some(Times::Once(given)) if parameter.places.contains(&given.place) => given.value.as_deref(),
        _ => None,
    }
}

fn look_into(kind: &Kind, value: &str, optional: bool, context: Context, about: &mut About<'_>) {
    match kind {
        Kind::Plain(scalar) => scalar::check_text(scalar, value, context.had_plus, about),
        Kind::Json(shape) => shape::check(shape, value, optional, context, about),
    }
}

/// Reports each name that is no parameter, once and in the order in which they came.
fn refuse_unknown(parameters: &[Parameter], all: &[Given<'_>], findings: &mut Findings) {
    let known: Vec<_> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let mut told = HashSet::new();
    for given in all {
        let name = given.name.as_ref();
        let shown = wording::name(name);
        let mut about = findings.about(&shown);
        if about.is_full() {
            break;
        }
        if !known.contains(&name) && told.insert(name) {
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

/// Of a parameter that the page knows, but not here.
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
