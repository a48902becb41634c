//! Checks the rules that parameters, or the fields of an object, have about each other.

use super::{
    parameter::{Kind, Parameter},
    shape::{Field, Required, ScalarKind, Shape, Terms},
};

/// The part of a parameter or a field that concerns its siblings.
pub(super) struct Sibling<'s> {
    name: &'s str,
    aliases: &'s [String],
    terms: &'s Terms,
    /// Its values, where a condition can distinguish them.
    scalar: Option<&'s ScalarKind>,
}

impl<'s> From<&'s Parameter> for Sibling<'s> {
    fn from(Parameter { name, aliases, terms, kind, .. }: &'s Parameter) -> Self {
        let scalar = match kind {
            Kind::Plain(scalar) => Some(&scalar.kind),
            Kind::Json(_) | Kind::List(_) | Kind::File { .. } => None,
        };
        Self { name, aliases, terms, scalar }
    }
}

impl<'s> From<&'s Field> for Sibling<'s> {
    fn from(Field { name, aliases, terms, shape }: &'s Field) -> Self {
        let scalar = match shape {
            Shape::Scalar(scalar) => Some(&scalar.kind),
            _ => None,
        };
        Self { name, aliases, terms, scalar }
    }
}

impl<'s> Sibling<'s> {
    fn names(&self) -> impl Iterator<Item = &'s str> {
        std::iter::once(self.name).chain(self.aliases.iter().map(String::as_str))
    }
}

/// Checks that names are unique, and that conditions name existing siblings and values.
pub(super) fn check(all: &[Sibling<'_>]) -> Result<(), String> {
    for (index, sibling) in all.iter().enumerate() {
        for name in sibling.names() {
            if all[..index].iter().any(|earlier| earlier.names().any(|earlier| earlier == name)) {
                return Err(format!("{name} appears twice"));
            }
        }
        let unless = match &sibling.terms.required {
            Required::Unless(siblings) => siblings.as_slice(),
            Required::Never | Required::Always | Required::When(_) => &[],
        };
        for (key, names) in [("required-unless", unless), ("only-with", &sibling.terms.only_with)] {
            let is_other = |name: &&String| all.iter().any(|other| other.name == *name && other.name != sibling.name);
            if let Some(unknown) = names.iter().find(|name| !is_other(name)) {
                return Err(format!("{}: expected `{key}` to name siblings, found {unknown}", sibling.name));
            }
        }
        let required = match &sibling.terms.required {
            Required::When(condition) => Some(("required-when", condition)),
            Required::Never | Required::Always | Required::Unless(_) => None,
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
        Some(ScalarKind::OneOf(words)) => words.list.contains(value),
        Some(ScalarKind::Boolean) => value == "true" || value == "false",
        _ => false,
    }
}
