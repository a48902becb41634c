//! Checks the rules that parameters, or the fields of an object, have about each other.

use super::{
    parameter::{Kind, Parameter},
    shape::{Field, Required, ScalarKind, Shape, Terms},
};

/// The part of a parameter or a field that concerns its siblings.
pub(super) struct Sibling<'s> {
    name: &'s str,
    terms: &'s Terms,
    /// Its values, where a condition can distinguish them.
    scalar: Option<&'s ScalarKind>,
}

impl<'s> From<&'s Parameter> for Sibling<'s> {
    fn from(Parameter { name, terms, kind, .. }: &'s Parameter) -> Self {
        let scalar = match kind {
            Kind::Plain(scalar) => Some(&scalar.kind),
            Kind::Json(_) => None,
        };
        Self { name, terms, scalar }
    }
}

impl<'s> From<&'s Field> for Sibling<'s> {
    fn from(Field { name, terms, shape }: &'s Field) -> Self {
        let scalar = match shape {
            Shape::Scalar(scalar) => Some(&scalar.kind),
            _ => None,
        };
        Self { name, terms, scalar }
    }
}

/// Checks that names are unique, and that conditions name existing siblings and values.
pub(super) fn check(all: &[Sibling<'_>]) -> Result<(), String> {
    for (index, sibling) in all.iter().enumerate() {
        if all[..index].iter().any(|earlier| earlier.name == sibling.name) {
            return Err(format!("{} appears twice", sibling.name));
        }
        let required = match &sibling.terms.required {
            Required::When(condition) => Some(("required-when", condition)),
            Required::Never | Required::Always => None,
        };
        let except = sibling.terms.except.as_ref().map(|except| ("except.when", &except.when));
        for (key, condition) in required.into_iter().chain(except) {
            for (name, values) in &condition.0 {
                let other = all.iter().find(|other| other.name == name && other.name != sibling.name);
                if !other.is_some_and(|other| values.iter().all(|value| can_be(other.scalar, value))) {
                    return Err(format!(
                        "{}: expected `{key}` to name a sibling that is one-of or boolean, and its values; \
                         found {name} = {}",
                        sibling.name,
                        values.join(" or ")
                    ));
                }
            }
        }
    }
    Ok(())
}

fn can_be(scalar: Option<&ScalarKind>, value: &String) -> bool {
    match scalar {
        Some(ScalarKind::OneOf(words)) => words.contains(value),
        Some(ScalarKind::Boolean) => value == "true" || value == "false",
        _ => false,
    }
}
