//! The order in which a payload is looked at.

use std::collections::{HashMap, hash_map::Entry};

use crate::{
    catalogue::{Kind, Parameter, Place},
    fault::Fault,
};

use super::{
    calendar_share, digits,
    findings::Findings,
    parameters::{self, Given},
    record_numbers, wording,
};

/// Holds a payload to its route's documented parameters.
///
/// `query` is the target's query without its `?`, `form` the body of a request that says it is
/// `application/x-www-form-urlencoded`; both as they came over the wire.
///
/// # Errors
/// All faults found, in a stable order; never an empty list.
pub fn check(parameters: &[Parameter], query: Option<&str>, form: Option<&[u8]>) -> Result<(), Vec<Fault>> {
    let mut findings = Findings::default();
    let given = parameters::read(query, form, &mut findings);
    let given = by_name(&given, &mut findings);
    for parameter in parameters {
        look_at(parameter, given.get(parameter.name.as_str()), &mut findings);
    }
    findings.into_result()
}

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
fn by_name<'g, 'a>(given: &'g [Given<'a>], findings: &mut Findings) -> HashMap<&'g str, Times<'g, 'a>> {
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

fn look_at(parameter: &Parameter, given: Option<&Times<'_, '_>>, findings: &mut Findings) {
    let mut about = findings.about(&parameter.name);
    match given {
        Some(Times::Several) => {}
        Some(Times::Once(given)) if parameter.places.contains(&given.place) => {
            // What could not be decoded has been reported where it was read.
            let Some(value) = &given.value else { return };
            match parameter.kind {
                Kind::RecordNumbers => record_numbers::check(value, &mut about),
                Kind::RecordNumber => digits::check_record_number(value, &mut about),
                Kind::Index => digits::check_index(value, &mut about),
                Kind::CalendarShare => calendar_share::check(value, given.had_plus, &mut about),
            }
        }
        Some(Times::Once(elsewhere)) if parameter.required => {
            about.add("", missing(&parameter.places, Some(elsewhere.place)));
        }
        None if parameter.required => about.add("", missing(&parameter.places, None)),
        // Optional, and absent or where Zoho does not look for it.
        Some(Times::Once(_)) | None => {}
    }
}

fn twice(first: Place, second: Place) -> String {
    if first == second {
        format!("expected once, but given twice in the {}", wording::place(first))
    } else {
        "expected once, but given in the query and again in the form body".to_owned()
    }
}

fn missing(places: &[Place], found: Option<Place>) -> String {
    let wanted: Vec<_> = places.iter().map(|&place| format!("in the {}", wording::place(place))).collect();
    let wanted = wanted.join(" or ");
    match found {
        None => format!("this parameter is mandatory but missing; send it {wanted}"),
        Some(place) => {
            format!("this parameter is mandatory and is not read from the {}; send it {wanted}", wording::place(place))
        }
    }
}
