//! JSON values with parts, held to the shape that the catalogue gives them.
//!
//! What [`super::json`] has read is sound JSON; here each part is looked at in the catalogue's order: an array's length
//! before its elements, each field's value before what its siblings say about it, unknown keys last.

use std::{borrow::Cow, collections::BTreeMap};

use crate::zoho::catalogue::{Array, Field, Shape};

use super::{
    findings::About,
    json::{self, Value},
    pointer::Path,
    scalar, wording,
};

/// What is known of a payload as a whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    /// Whether keys that the shape does not name are refused.
    pub(super) strict: bool,
    /// Whether a `+` was decoded to a space.
    pub(super) had_plus: bool,
}

/// Holds a parameter's text to be JSON of this shape; `null` will do for a parameter that may be left out.
pub(super) fn check(shape: &Shape, text: &str, optional: bool, context: Context, about: &mut About<'_>) {
    let value = json::read(text, shape, about);
    if !(optional && value == Value::Null) {
        look_at(&value, shape, &Path::Root, context, about);
    }
}

fn look_at(value: &Value<'_>, shape: &Shape, path: &Path<'_>, context: Context, about: &mut About<'_>) {
    if about.is_full() {
        return;
    }
    match (shape, value) {
        (Shape::Any, _) | (_, Value::Refused) => {}
        (Shape::Scalar(scalar), _) => scalar::check_value(scalar, value, context.had_plus, path, about),
        (Shape::Array(array), Value::List(list)) => look_at_list(list, array, path, context, about),
        (Shape::Object(fields), Value::Object(object)) => look_at_object(object, fields, path, context, about),
        (Shape::Array(array), other) => {
            let of = plural(&array.items).map(|items| format!(" of {items}")).unwrap_or_default();
            about.add(path.pointer(), format!("expected {} array{of}, but found {other}", article(path, "an")));
        }
        (Shape::Object(_), other) => {
            about.add(path.pointer(), format!("expected {} object, but found {other}", article(path, "an")));
        }
    }
}

fn look_at_list(list: &[Value<'_>], array: &Array, path: &Path<'_>, context: Context, about: &mut About<'_>) {
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
        look_at(value, &array.items, &Path::Index(path, index), context, about);
    }
}

fn look_at_object(
    object: &BTreeMap<String, Value<'_>>,
    fields: &[Field],
    path: &Path<'_>,
    context: Context,
    about: &mut About<'_>,
) {
    // A value that is neither text nor boolean meets no condition: whatever depends on it is left in peace.
    let value_of = |name: &str| match object.get(name) {
        Some(Value::Text(text)) => Some(text.as_str()),
        Some(Value::Bool(true)) => Some("true"),
        Some(Value::Bool(false)) => Some("false"),
        _ => None,
    };
    for Field { name, terms, shape } in fields {
        let path = Path::Key(path, name);
        // Typed clients write null for what they leave out. Where anything may stand, it is a value like others.
        let Some(value) = object.get(name).filter(|value| **value != Value::Null || *shape == Shape::Any) else {
            if terms.demands(value_of) && !about.is_full() {
                let what = terms.missing.as_deref().map_or_else(|| missing(shape), Cow::Borrowed);
                let found = if object.contains_key(name) { "null" } else { "missing" };
                about.add(path.pointer(), format!("expected {what}, but {name} is {found}"));
            }
            continue;
        };
        look_at(value, shape, &path, context, about);
        if let (Some(except), Value::Text(word)) = (&terms.except, value)
            && let Some(detail) = wording::excepted(shape_words(shape), except, word, value_of)
        {
            about.add(path.pointer(), detail);
        }
    }
    if context.strict {
        for key in object.keys().filter(|&key| fields.iter().all(|field| field.name != *key)) {
            if about.is_full() {
                break;
            }
            let known: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
            about.add(Path::Key(path, key).pointer(), wording::unknown("key", &known, key));
        }
    }
}

fn shape_words(shape: &Shape) -> &[String] {
    match shape {
        Shape::Scalar(scalar) => scalar.words(),
        _ => &[],
    }
}

/// Of the value as a whole we say that it is JSON; deeper inside that is clear.
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
