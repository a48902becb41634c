//! Checks arrays and objects in JSON against their shape in the catalogue.
//!
//! Each part is checked in the catalogue's order: an array's length before its elements, each field's value before the
//! conditions on its siblings, unknown keys last.

use std::{borrow::Cow, collections::BTreeMap};

use crate::zoho::catalogue::{Array, Field, Object, Shape};

use super::{
    findings::About,
    json::{self, Value},
    pointer::Path,
    scalar, wording,
};

/// Facts about the whole payload that every check needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    /// Whether keys that are not in the shape are rejected.
    pub(super) strict: bool,
    /// Whether a `+` was decoded to a space.
    pub(super) had_plus: bool,
}

/// Checks that a parameter's text is JSON of this shape; an `optional` parameter may be `null`.
pub(super) fn check(shape: &Shape, text: &str, optional: bool, context: Context, about: &mut About<'_>) {
    let value = json::read(text, shape, about);
    if !(optional && value == Value::Null) {
        check_value(&value, shape, &Path::Root, context, about);
    }
}

fn check_value(value: &Value<'_>, shape: &Shape, path: &Path<'_>, context: Context, about: &mut About<'_>) {
    if about.is_full() {
        return;
    }
    match (shape, value) {
        (Shape::Any, _) | (_, Value::Invalid) => {}
        (Shape::Scalar(scalar), _) => scalar::check_value(scalar, value, context.had_plus, path, about),
        (Shape::Array(array), Value::List(list)) => check_array(list, array, path, context, about),
        (Shape::Object(Object { fields, open }), Value::Object(object)) => {
            check_fields(object, fields, path, context, about);
            if context.strict && !open {
                reject_unknown(object, fields, path, about);
            }
        }
        (Shape::Array(array), other) => {
            let of = plural(&array.items).map(|items| format!(" of {items}")).unwrap_or_default();
            about.add(path.pointer(), format!("expected {} array{of}, but found {other}", article(path, "an")));
        }
        (Shape::Object(_), other) => {
            about.add(path.pointer(), format!("expected {} object, but found {other}", article(path, "an")));
        }
    }
}

fn check_array(list: &[Value<'_>], array: &Array, path: &Path<'_>, context: Context, about: &mut About<'_>) {
    let items = |number: usize| match (number, singular(&array.items)) {
        (1, noun) => format!("one {}", noun.unwrap_or_else(|| "element".into())),
        _ => format!("{number} {}", plural(&array.items).unwrap_or_else(|| "elements".to_owned())),
    };
    let found = || if list.is_empty() { "is empty".to_owned() } else { format!("has {}", list.len()) };
    if list.len() < array.min {
        about.add(path.pointer(), format!("expected at least {}, but the array {}", items(array.min), found()));
    }
    if list.len() > array.max {
        about.add(path.pointer(), format!("expected at most {}, but the array {}", items(array.max), found()));
    }
    for (index, value) in list.iter().enumerate() {
        if about.is_full() {
            break;
        }
        check_value(value, &array.items, &Path::Index(path, index), context, about);
    }
}

fn check_fields(
    object: &BTreeMap<String, Value<'_>>,
    fields: &[Field],
    path: &Path<'_>,
    context: Context,
    about: &mut About<'_>,
) {
    // Conditions compare text and booleans only; a value of another type meets none of them.
    let value_of = |name: &str| match object.get(name) {
        Some(Value::Text(text)) => Some(text.as_str()),
        Some(Value::Bool(true)) => Some("true"),
        Some(Value::Bool(false)) => Some("false"),
        _ => None,
    };
    // Typed clients write null for a field that they omit. In a field of any kind it is a value like others.
    let given = |field: &Field| {
        let spellings = std::iter::once(&field.name).chain(&field.aliases);
        let mut found = spellings.filter_map(|spelling| object.get_key_value(spelling));
        let value = found.next().filter(|(_, value)| **value != Value::Null || field.shape == Shape::Any);
        (value, found.next())
    };
    let is_given = |name: &str| fields.iter().any(|field| field.name == name && given(field).0.is_some());
    for field in fields {
        let Field { name, terms, shape, .. } = field;
        let (value, second) = given(field);
        if let Some((second, _)) = second.filter(|_| !about.is_full()) {
            about.add(Path::Key(path, second).pointer(), format!("expected one spelling of {name}, but found two"));
        }
        let Some((key, value)) = value else {
            if terms.demands(value_of, is_given) && !about.is_full() {
                let what = terms.missing.as_deref().map_or_else(|| missing(shape), Cow::Borrowed);
                let found = if object.contains_key(name) { "null" } else { "missing" };
                let path = Path::Key(path, name);
                about.add(path.pointer(), format!("expected {what}, but {name} is {found}{}", wording::or_else(terms)));
            }
            continue;
        };
        let path = Path::Key(path, key);
        check_value(value, shape, &path, context, about);
        if let Some(sibling) = terms.lacks(is_given).filter(|_| !about.is_full()) {
            about.add(path.pointer(), wording::only_with(sibling));
        }
        if let (Some(except), Value::Text(word)) = (&terms.except, value)
            && let Some(detail) = wording::excepted(shape_words(shape), except, word, value_of)
        {
            about.add(path.pointer(), detail);
        }
    }
}

fn reject_unknown(object: &BTreeMap<String, Value<'_>>, fields: &[Field], path: &Path<'_>, about: &mut About<'_>) {
    for key in object.keys().filter(|&key| !fields.iter().any(|field| field.is_called(key))) {
        if about.is_full() {
            break;
        }
        let known: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
        about.add(Path::Key(path, key).pointer(), wording::unknown("key", &known, key));
    }
}

fn shape_words(shape: &Shape) -> &[String] {
    match shape {
        Shape::Scalar(scalar) => scalar.words(),
        _ => &[],
    }
}

/// The article, with "JSON" for the whole value; deeper inside that is clear.
fn article(path: &Path<'_>, inside: &'static str) -> &'static str {
    if matches!(path, Path::Root) { "a JSON" } else { inside }
}

fn missing(shape: &Shape) -> Cow<'_, str> {
    match shape {
        Shape::Any => "a value".into(),
        Shape::Scalar(scalar) => scalar::missing(scalar).into(),
        Shape::Array(_) => "an array".into(),
        Shape::Object(_) => "an object".into(),
    }
}

fn singular(shape: &Shape) -> Option<Cow<'_, str>> {
    match shape {
        Shape::Any => None,
        Shape::Scalar(scalar) => Some(scalar::noun(scalar).into()),
        Shape::Array(_) => Some("array".into()),
        Shape::Object(_) => Some("object".into()),
    }
}

fn plural(shape: &Shape) -> Option<String> {
    singular(shape).map(|noun| format!("{noun}{}", if noun.ends_with('s') { "es" } else { "s" }))
}
