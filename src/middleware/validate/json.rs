//! JSON (RFC 8259) read without ambiguity.
//!
//! Uses serde_json's [`RawValue`] for two reasons: a number keeps its digits as text (record numbers exceed 2^53, and a
//! float would round them to other record numbers), and this code sees every key, so it finds a key given twice, where
//! most readers take the first or the last value without a word.
//!
//! A value is scanned once for each array or object that contains it, so at most [`MAX_DEPTH`] times.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::zoho::catalogue::Shape;

use super::{findings::About, pointer::Path, wording::quoted};

/// How deep arrays and objects may nest. No page documents more than one level; the other levels are for unknown keys.
const MAX_DEPTH: usize = 32;

/// A JSON value, as far as the rules need it: an array or an object with a documented shape keeps its content. Others
/// are read and checked too, but stay empty, so that a megabyte of brackets needs little memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, digit for digit as written.
    Number(&'a str),
    /// A string, unescaped.
    Text(String),
    /// An array.
    List(Vec<Value<'a>>),
    /// An object.
    Object(BTreeMap<String, Value<'a>>),
    /// A value that the reader has reported: not JSON, given twice, too deep. No rule checks it again.
    Invalid,
}

/// The members of an object, in their order and also if given twice; `None` if the text is not an object.
pub(super) fn members(text: &str) -> Option<Vec<(String, &RawValue)>> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Members).ok()?;
    deserializer.end().ok().map(|()| members)
}

/// A string or a number or a boolean as text; `None` for other JSON.
pub(super) fn scalar_text(raw: &RawValue) -> Option<Cow<'_, str>> {
    match raw.get().as_bytes() {
        [b'"', ..] => serde_json::from_str(raw.get()).ok().map(Cow::Owned),
        [b'[' | b'{' | b'n', ..] => None,
        _ => Some(raw.get().into()),
    }
}

/// Reads `text` and reports what is wrong with it as JSON. The shape only says which content to keep.
pub(super) fn read<'a>(text: &'a str, shape: &Shape, about: &mut About<'_>) -> Value<'a> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => read_value(raw, Some(shape), &Path::Root, about),
        Err(error) => report(&Path::Root, malformed(text, &error), about),
    }
}

fn malformed(text: &str, error: &serde_json::Error) -> String {
    if text.trim().is_empty() {
        "expected JSON, but the value is empty".to_owned()
    } else if text.starts_with('\u{feff}') {
        "expected JSON, but the value begins with a byte order mark".to_owned()
    } else {
        format!("expected JSON, but {} does not parse: {error}", quoted(text))
    }
}

/// Reads the content of an array or an object.
struct Content<'c, 'f> {
    about: &'c mut About<'f>,
    /// The documented shape of the array or object, if there is one.
    shape: Option<&'c Shape>,
    path: &'c Path<'c>,
}

// === impl Value ===

/// The value as text after "but found".
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "the boolean {value}"),
            Self::Number(digits) => write!(f, "the number {}", quoted(digits)),
            Self::Text(text) if text.is_empty() => f.write_str("an empty string"),
            Self::Text(text) => write!(f, "the string {}", quoted(text)),
            Self::List(_) => f.write_str("an array"),
            Self::Object(_) => f.write_str("an object"),
            Self::Invalid => f.write_str("something unreadable"),
        }
    }
}

/// Reads a value whose grammar serde_json has confirmed. It finds lone surrogates, which the grammar allows, and faults
/// beyond the grammar: keys given twice, and too many levels.
fn read_value<'a>(raw: &'a RawValue, shape: Option<&Shape>, path: &Path<'_>, about: &mut About<'_>) -> Value<'a> {
    let text = raw.get();
    let half = |found: &str| format!("expected Unicode, but {found} contains half a surrogate pair");
    match text.as_bytes() {
        [b'n', ..] => Value::Null,
        [b't', ..] => Value::Bool(true),
        [b'f', ..] => Value::Bool(false),
        [b'"', ..] => match serde_json::from_str(text) {
            Ok(unescaped) => Value::Text(unescaped),
            Err(_) => report(path, half(&quoted(text)), about),
        },
        [b'[' | b'{', ..] if path.depth() >= MAX_DEPTH => {
            let detail = format!("expected at most {MAX_DEPTH} arrays and objects inside one another, but found more");
            report(path, detail, about)
        }
        [b'[' | b'{', ..] => {
            let content = Content { about: &mut *about, shape, path };
            match serde_json::Deserializer::from_str(text).deserialize_any(content) {
                Ok(value) => value,
                Err(_) => report(path, half("a key"), about),
            }
        }
        _ => Value::Number(text),
    }
}

fn report<'a>(path: &Path<'_>, detail: String, about: &mut About<'_>) -> Value<'a> {
    // Writing a pointer takes as long as its keys are; a full list needs none.
    if !about.is_full() {
        about.add(path.pointer(), detail);
    }
    Value::Invalid
}

// === impl Content ===

impl<'de> Visitor<'de> for Content<'_, '_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let items = match self.shape {
            Some(Shape::Array(array)) => Some(&*array.items),
            _ => None,
        };
        let mut list = Vec::new();
        let mut index = 0;
        while let Some(raw) = seq.next_element::<&'de RawValue>()? {
            let value = read_value(raw, items, &Path::Index(self.path, index), self.about);
            index += 1;
            if items.is_some() {
                list.push(value);
            }
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let fields = match self.shape {
            Some(Shape::Object(object)) => Some(object.fields.as_slice()),
            _ => None,
        };
        let mut object = BTreeMap::new();
        while let Some((key, raw)) = map.next_entry::<String, &'de RawValue>()? {
            let path = Path::Key(self.path, &key);
            let field = fields.and_then(|fields| fields.iter().find(|field| field.is_called(&key)));
            let value = read_value(raw, field.map(|field| &field.shape), &path, self.about);
            let value = match object.get(&key) {
                None => value,
                Some(Value::Invalid) => Value::Invalid,
                Some(_) => {
                    let detail = format!("expected each key once, but {} is given twice", quoted(&key));
                    report(&path, detail, self.about)
                }
            };
            object.insert(key, value);
        }
        if fields.is_none() {
            object.clear();
        }
        Ok(Value::Object(object))
    }
}
