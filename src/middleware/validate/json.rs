//! JSON (RFC 8259) read without ambiguity.
//!
//! Built on serde_json's [`RawValue`], for two reasons: a number keeps its digits as text (record numbers exceed
//! 2^53, and a float would quietly round them to someone else's), and every key passes through our hands, so that one
//! given twice is noticed where most readers quietly take the first or the last.
//!
//! A value is scanned once for each array or object around it, at most [`DEEPEST`] times in all.

use std::{collections::BTreeMap, fmt};

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::zoho::catalogue::Shape;

use super::{findings::About, pointer::Path, wording::quoted};

/// How deep arrays and objects may nest. No page documents more than one level; the rest is for keys we do not know.
const DEEPEST: usize = 32;

/// A JSON value, as far as the rules need it: an array or an object that its shape describes keeps its content, others
/// have been read and checked but come back empty, so that a megabyte of brackets occupies no more than that.
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
    /// Something already reported while reading: not JSON, given twice, too deep. Nobody needs to judge it again.
    Refused,
}

/// Reads `text` and reports what is wrong with it as JSON. Whether it has this shape is not looked at.
pub(super) fn read<'a>(text: &'a str, shape: &Shape, about: &mut About<'_>) -> Value<'a> {
    let mut reader = Reader { about };
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => reader.value(raw, Some(shape), &Path::Root),
        Err(error) => reader.refuse(&Path::Root, malformed(text, &error)),
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

struct Reader<'r, 'f> {
    about: &'r mut About<'f>,
}

/// What is inside an array or an object.
struct Inside<'i, 'r, 'f> {
    reader: &'i mut Reader<'r, 'f>,
    /// What it is to look like, where that is documented.
    shape: Option<&'i Shape>,
    path: &'i Path<'i>,
}

// === impl Value ===

/// What stands there, to be read after "but found".
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
            Self::Refused => f.write_str("something unreadable"),
        }
    }
}

// === impl Reader ===

impl Reader<'_, '_> {
    /// Reads a value whose grammar serde_json has already confirmed; left to find are lone surrogates, which are
    /// grammatical, and what goes beyond the grammar: keys given twice and depth.
    fn value<'a>(&mut self, raw: &'a RawValue, shape: Option<&Shape>, path: &Path<'_>) -> Value<'a> {
        let text = raw.get();
        match text.as_bytes() {
            [b'n', ..] => Value::Null,
            [b't', ..] => Value::Bool(true),
            [b'f', ..] => Value::Bool(false),
            [b'"', ..] => match serde_json::from_str(text) {
                Ok(unescaped) => Value::Text(unescaped),
                Err(_) => {
                    self.refuse(path, format!("expected Unicode, but {} contains half a surrogate pair", quoted(text)))
                }
            },
            [b'[' | b'{', ..] if path.depth() >= DEEPEST => self.refuse(
                path,
                format!("expected at most {DEEPEST} arrays and objects inside one another, but found more"),
            ),
            [b'[' | b'{', ..] => {
                let inside = Inside { reader: self, shape, path };
                match serde_json::Deserializer::from_str(text).deserialize_any(inside) {
                    Ok(value) => value,
                    Err(_) => {
                        self.refuse(path, "expected Unicode, but a key contains half a surrogate pair".to_owned())
                    }
                }
            }
            _ => Value::Number(text),
        }
    }

    fn refuse<'a>(&mut self, path: &Path<'_>, detail: String) -> Value<'a> {
        // A pointer costs as much as the keys above it are long; not one more than will be listed.
        if !self.about.is_full() {
            self.about.add(path.pointer(), detail);
        }
        Value::Refused
    }
}

// === impl Inside ===

impl<'de> Visitor<'de> for Inside<'_, '_, '_> {
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
            let value = self.reader.value(raw, items, &Path::Index(self.path, index));
            index += 1;
            if items.is_some() {
                list.push(value);
            }
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        let fields = match self.shape {
            Some(Shape::Object(fields)) => Some(fields.as_slice()),
            _ => None,
        };
        let mut object = BTreeMap::new();
        while let Some((key, raw)) = map.next_entry::<String, &'de RawValue>()? {
            let path = Path::Key(self.path, &key);
            let field = fields.and_then(|fields| fields.iter().find(|field| field.name == key));
            let value = self.reader.value(raw, field.map(|field| &field.shape), &path);
            let value = match object.get(&key) {
                None => value,
                Some(Value::Refused) => Value::Refused,
                Some(_) => {
                    self.reader.refuse(&path, format!("expected each key once, but {} is given twice", quoted(&key)))
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
