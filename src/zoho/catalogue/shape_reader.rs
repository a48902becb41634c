//! Converts the tables of the catalogue's files to parameters and shapes.
//!
//! Every table (a parameter, a field, an element) is read with the same keys. Its kind then takes the keys that it
//! uses; the rest is rejected by name, and so is a rule that no value can satisfy. The deserializer adds file and line.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Table;

use super::{
    date::DateFormat,
    parameter::{Kind, List, Parameter, Parameters, Place},
    shape::{Array, Condition, Except, Field, Object, Required, Scalar, ScalarKind, Shape, Terms, Words},
    siblings::{self, Sibling},
};

/// The most digits a long can have.
const DIGITS: usize = 19;

/// Every key that a table may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    kind: Word,
    name: Option<String>,
    aliases: Option<Vec<String>>,
    r#in: Option<Vec<Place>>,
    required: Option<bool>,
    required_when: Option<Table>,
    required_unless: Option<Vec<String>>,
    only_with: Option<Vec<String>>,
    missing: Option<String>,
    except: Option<RawExcept>,
    called: Option<String>,
    min: Option<i64>,
    max: Option<i64>,
    values: Option<Vec<String>>,
    any_case: Option<bool>,
    empty: Option<bool>,
    format: Option<OneOrMany>,
    value: Option<Box<Shape>>,
    items: Option<Box<Shape>>,
    fields: Option<Vec<Field>>,
    open: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExcept {
    values: Vec<String>,
    when: Table,
    because: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Text,
    Integer,
    Digits,
    OneOf,
    EMail,
    Date,
    Boolean,
    Json,
    List,
    File,
    Array,
    Object,
    Any,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Parameters {
    /// A complete list.
    ///
    /// # Errors
    /// A name appears twice, or a condition names no sibling.
    pub fn checked(parameters: Vec<Parameter>) -> Result<Self, String> {
        siblings::check(&parameters.iter().map(Sibling::from).collect::<Vec<_>>())?;
        Ok(Self::documented(parameters))
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::checked(Vec::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Parameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        table(deserializer, parameter)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        table(deserializer, field)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        table(deserializer, |mut raw| raw.shape())
    }
}

/// Reads a table and builds from it while the deserializer still knows its position.
fn table<'de, D: Deserializer<'de>, T>(deserializer: D, build: fn(Raw) -> Result<T, String>) -> Result<T, D::Error> {
    struct InPlace<T>(fn(Raw) -> Result<T, String>);

    impl<'de, T> Visitor<'de> for InPlace<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table such as { kind = \"digits\" }")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            let raw = Raw::deserialize(MapAccessDeserializer::new(map))?;
            (self.0)(raw).map_err(A::Error::custom)
        }
    }

    deserializer.deserialize_map(InPlace(build))
}

fn parameter(mut raw: Raw) -> Result<Parameter, String> {
    let name = raw.named()?;
    let about = |message: String| format!("{name}: {message}");
    let places = raw.r#in.take().unwrap_or_else(|| Place::ALL.into());
    if places.is_empty() || places.iter().enumerate().any(|(index, place)| places[..index].contains(place)) {
        return Err(about(
            "expected `in` to name \"query\", \"form\", \"json\" or \"multipart\", each once".to_owned(),
        ));
    }
    if raw.missing.is_some() {
        return Err(about("`missing` belongs to the fields of an object".to_owned()));
    }
    let (terms, aliases) = (raw.terms().map_err(about)?, raw.aliases().map_err(about)?);
    let kind = match raw.kind {
        Word::Json => {
            let shape = raw.value.take().map_or(Shape::Any, |shape| *shape);
            raw.nothing_left().map(|()| Kind::Json(shape))
        }
        Word::List => raw.list().map(Kind::List),
        Word::File if places != [Place::Multipart] => Err("a file is a part; expected in = [\"multipart\"]".to_owned()),
        Word::File => {
            let max = raw.lengths(usize::MAX).map(|(_, max)| max);
            max.and_then(|max| raw.nothing_left().map(|()| Kind::File { max }))
        }
        Word::Array | Word::Object | Word::Any => {
            Err("a parameter is text; expected kind = \"json\" with this as its `value`".to_owned())
        }
        _ => raw.scalar().map(Kind::Plain),
    };
    Ok(Parameter { kind: kind.map_err(about)?, aliases, places, terms, name })
}

fn field(mut raw: Raw) -> Result<Field, String> {
    let name = raw.named()?;
    let about = |message: String| format!("{name}: {message}");
    let (terms, aliases) = (raw.terms().map_err(about)?, raw.aliases().map_err(about)?);
    Ok(Field { shape: raw.shape().map_err(about)?, aliases, terms, name })
}

impl Raw {
    fn named(&mut self) -> Result<String, String> {
        self.name.take().filter(|name| !name.is_empty()).ok_or_else(|| "expected a `name`".to_owned())
    }

    fn aliases(&mut self) -> Result<Vec<String>, String> {
        self.aliases.take().map_or(Ok(Vec::new()), |aliases| words(aliases, "aliases"))
    }

    fn terms(&mut self) -> Result<Terms, String> {
        let required = match (self.required.take(), self.required_when.take(), self.required_unless.take()) {
            (None | Some(false), None, None) => Required::Never,
            (Some(true), None, None) => Required::Always,
            (None, Some(when), None) => Required::When(condition(when)?),
            (None, None, Some(siblings)) => Required::Unless(words(siblings, "required-unless")?),
            _ => return Err("expected one of `required`, `required-when` and `required-unless`".to_owned()),
        };
        let only_with = self.only_with.take().map_or(Ok(Vec::new()), |siblings| words(siblings, "only-with"))?;
        let missing = self.missing.take();
        if missing.is_some() && required == Required::Never {
            return Err("`missing` has no effect on an optional field".to_owned());
        }
        let except = match self.except.take() {
            None => None,
            Some(RawExcept { values, when, because }) => {
                let known = self.values.as_deref().unwrap_or_default();
                if values.is_empty() || values.iter().any(|value| !known.contains(value)) {
                    return Err("expected `except.values` to be some of `values`".to_owned());
                }
                if known.iter().all(|value| values.contains(value)) {
                    return Err("`except.values` leaves none of `values`".to_owned());
                }
                Some(Except { values, when: condition(when)?, because })
            }
        };
        Ok(Terms { required, missing, except, only_with })
    }

    fn shape(&mut self) -> Result<Shape, String> {
        let shape = match self.kind {
            Word::Any => Shape::Any,
            Word::Array => {
                let (min, max) = self.lengths(usize::MAX)?;
                Shape::Array(Array { min, max, items: self.items.take().unwrap_or_else(|| Box::new(Shape::Any)) })
            }
            Word::Object => {
                let fields = self.fields.take().ok_or_else(|| "an object needs `fields`".to_owned())?;
                siblings::check(&fields.iter().map(Sibling::from).collect::<Vec<_>>())?;
                Shape::Object(Object { fields, open: self.open.take().unwrap_or_default() })
            }
            Word::Json => return Err("only a parameter can be \"json\"; its parts are JSON already".to_owned()),
            Word::List | Word::File => return Err("only a parameter can be a \"list\" or a \"file\"".to_owned()),
            _ => return self.scalar().map(Shape::Scalar),
        };
        self.nothing_left()?;
        Ok(shape)
    }

    fn list(&mut self) -> Result<List, String> {
        let (_, max) = self.lengths(usize::MAX)?;
        let items = match self.items.take().map(|items| *items) {
            None => Scalar { kind: ScalarKind::Text { min: 1, max: usize::MAX }, called: None, empty: false },
            Some(Shape::Scalar(items)) => items,
            Some(_) => return Err("the items of a list are text; expected a kind without parts".to_owned()),
        };
        self.nothing_left()?;
        Ok(List { max, items })
    }

    fn scalar(&mut self) -> Result<Scalar, String> {
        let empty = self.empty.take().unwrap_or_default();
        let kind = match self.kind {
            Word::Text => {
                let (min, max) = self.lengths(usize::MAX)?;
                ScalarKind::Text { min, max }
            }
            Word::Integer => {
                let (min, max) = (self.min.take().unwrap_or(i64::MIN), self.max.take().unwrap_or(i64::MAX));
                ordered(min, max)?;
                ScalarKind::Integer { min, max }
            }
            Word::Digits => {
                let (min, max) = self.lengths(DIGITS)?;
                ScalarKind::Digits { min: min.max(1), max }
            }
            Word::OneOf => {
                let (list, any_case) =
                    (self.values.take().unwrap_or_default(), self.any_case.take().unwrap_or_default());
                ScalarKind::OneOf(Words { list: words(list, "values")?, any_case })
            }
            Word::EMail => ScalarKind::Email,
            Word::Date => {
                let patterns = match self.format.take() {
                    None => return Err("a date needs a `format`, such as \"yyyy-MM-dd\"".to_owned()),
                    Some(OneOrMany::One(pattern)) => vec![pattern],
                    Some(OneOrMany::Many(patterns)) => words(patterns, "format")?,
                };
                ScalarKind::Date(patterns.iter().map(|pattern| DateFormat::new(pattern)).collect::<Result<_, _>>()?)
            }
            Word::Boolean => ScalarKind::Boolean,
            Word::Json | Word::List | Word::File | Word::Array | Word::Object | Word::Any => {
                return Err("expected a kind without parts".to_owned());
            }
        };
        // An error lists the words or the value that was found; no message would show a name for them.
        let called = match kind {
            ScalarKind::OneOf(_) | ScalarKind::Boolean => None,
            _ => self.called.take(),
        };
        self.nothing_left()?;
        Ok(Scalar { kind, called, empty })
    }

    /// `min` and `max` as lengths.
    fn lengths(&mut self, most: usize) -> Result<(usize, usize), String> {
        let length = |given: Option<i64>, otherwise| match given.map(usize::try_from) {
            None => Ok(otherwise),
            Some(Ok(length)) if length <= most => Ok(length),
            Some(_) => Err(format!("expected `min` and `max` from 0 to {most}")),
        };
        let (min, max) = (length(self.min.take(), 0)?, length(self.max.take(), most)?);
        ordered(min, max)?;
        Ok((min, max))
    }

    /// Rejects the first key that was not used.
    fn nothing_left(&self) -> Result<(), String> {
        let left = [
            ("name", self.name.is_some()),
            ("aliases", self.aliases.is_some()),
            ("in", self.r#in.is_some()),
            ("required", self.required.is_some()),
            ("required-when", self.required_when.is_some()),
            ("required-unless", self.required_unless.is_some()),
            ("only-with", self.only_with.is_some()),
            ("missing", self.missing.is_some()),
            ("except", self.except.is_some()),
            ("called", self.called.is_some()),
            ("min", self.min.is_some()),
            ("max", self.max.is_some()),
            ("values", self.values.is_some()),
            ("any-case", self.any_case.is_some()),
            ("empty", self.empty.is_some()),
            ("format", self.format.is_some()),
            ("value", self.value.is_some()),
            ("items", self.items.is_some()),
            ("fields", self.fields.is_some()),
            ("open", self.open.is_some()),
        ];
        match left.iter().find(|(_, is_left)| *is_left) {
            Some((key, _)) => Err(format!("`{key}` has no effect with this kind")),
            None => Ok(()),
        }
    }
}

fn ordered<N: Ord>(min: N, max: N) -> Result<(), String> {
    if min <= max { Ok(()) } else { Err("`min` is greater than `max`".to_owned()) }
}

/// A list that is not empty and has no value twice.
fn words(words: Vec<String>, key: &str) -> Result<Vec<String>, String> {
    let mut sorted: Vec<&String> = words.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    if words.is_empty() || sorted.len() < words.len() {
        return Err(format!("expected `{key}` to list at least one word, and none twice"));
    }
    Ok(words)
}

fn condition(table: Table) -> Result<Condition, String> {
    let malformed =
        || "expected a condition such as { type = \"group\" } or { type = [\"user\", \"group\"] }".to_owned();
    let mut siblings = Vec::new();
    for (name, value) in table {
        let values = match value {
            toml::Value::String(word) => vec![word],
            value => words(value.try_into().map_err(|_| malformed())?, &name)?,
        };
        siblings.push((name, values));
    }
    if siblings.is_empty() { Err(malformed()) } else { Ok(Condition(siblings)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        #[expect(dead_code, reason = "only its errors are checked")]
        parameters: Parameters,
    }

    fn error(parameter: &str) -> String {
        // The error is in line 3, after a valid parameter.
        let text = format!("parameters = [\n{{ name = \"a\", in = [\"query\"], kind = \"text\" }},\n{parameter},\n]");
        toml::from_str::<File>(&text).unwrap_err().to_string()
    }

    #[test]
    fn an_error_names_line_and_key() {
        for (parameter, expected) in [
            (r#"{ name = "b", in = ["query"], kind = "txt" }"#, "unknown variant `txt`"),
            (r#"{ name = "b", in = ["query"] }"#, "missing field `kind`"),
            (r#"{ name = "b", in = ["query"], kind = "text", mni = 1 }"#, "unknown field `mni`"),
            (r#"{ name = "b", in = ["query"], kind = "text", values = ["x"] }"#, "b: `values` has no effect"),
            (r#"{ name = "b", in = ["query"], kind = "date" }"#, "b: a date needs a `format`"),
            (r#"{ name = "b", in = ["query"], kind = "date", format = "d.m.y" }"#, "\"d\" in the date format"),
            (r#"{ name = "b", in = ["query"], kind = "integer", min = 2, max = 1 }"#, "b: `min` is greater than `max`"),
            (r#"{ name = "b", in = ["query"], kind = "integer", min = "1" }"#, "invalid type"),
            (r#"{ name = "b", in = ["query"], kind = "text", min = -1 }"#, "`min` and `max` from 0"),
            (r#"{ name = "b", in = ["query"], kind = "digits", max = 20 }"#, "from 0 to 19"),
            (r#"{ name = "b", in = ["query"], kind = "one-of" }"#, "expected `values` to list"),
            (r#"{ name = "b", in = ["query"], kind = "one-of", values = ["x", "x"] }"#, "none twice"),
            (
                r#"{ name = "b", in = ["query"], kind = "one-of", values = ["x"], called = "a" }"#,
                "`called` has no effect",
            ),
            (r#"{ name = "b", in = [], kind = "text" }"#, "b: expected `in`"),
            (r#"{ name = "b", in = ["query", "query"], kind = "text" }"#, "b: expected `in`"),
            (r#"{ name = "b", kind = "file" }"#, "b: a file is a part"),
            (r#"{ name = "b", kind = "list", items = { kind = "any" } }"#, "b: the items of a list are text"),
            (
                r#"{ name = "b", kind = "text", only-with = ["c"] }"#,
                "b: expected `only-with` to name siblings, found c",
            ),
            (r#"{ name = "b", kind = "text", required-unless = ["b"] }"#, "b: expected `required-unless` to name"),
            (r#"{ name = "b", aliases = ["a"], kind = "text" }"#, "a appears twice"),
            (r#"{ name = "b", kind = "text", any-case = true }"#, "b: `any-case` has no effect"),
            (r#"{ name = "b", in = ["head"], kind = "text" }"#, "unknown variant `head`"),
            (r#"{ name = "", in = ["query"], kind = "text" }"#, "expected a `name`"),
            (r#"{ name = "b", in = ["query"], kind = "object", fields = [] }"#, "expected kind = \"json\""),
            (r#"{ name = "b", in = ["query"], kind = "json", value = { kind = "json" } }"#, "only a parameter"),
            (r#"{ name = "b", in = ["query"], kind = "json", value = { kind = "object" } }"#, "needs `fields`"),
            (
                r#"{ name = "b", in = ["query"], kind = "json", value = { kind = "array", items = { kind = "x" } } }"#,
                "unknown variant `x`",
            ),
            (
                r#"{ name = "b", in = ["query"], kind = "json", value = { kind = "array", name = "c" } }"#,
                "`name` has no effect",
            ),
            (
                r#"{ name = "b", in = ["query"], kind = "json", value = { kind = "object", fields = [{ name = "c", in = ["query"], kind = "text" }] } }"#,
                "c: `in` has no effect",
            ),
            (
                r#"{ name = "b", in = ["query"], kind = "json", value = { kind = "object", fields = [{ name = "c", kind = "text" }, { name = "c", kind = "any" }] } }"#,
                "c appears twice",
            ),
            (
                r#"{ name = "b", in = ["query"], kind = "json", value = { kind = "object", fields = [{ name = "c", kind = "text", required-when = { d = "x" } }] } }"#,
                "c: expected `required-when` to name a sibling",
            ),
            (
                r#"{ name = "b", in = ["query"], kind = "json", value = { kind = "object", fields = [{ name = "c", kind = "text", required-when = { d = "y" } }, { name = "d", kind = "one-of", values = ["x"] }] } }"#,
                "found d = y",
            ),
            (
                r#"{ name = "b", in = ["query"], required = true, kind = "text", required-when = { a = "x" } }"#,
                "expected one of `required`, `required-when`",
            ),
            (r#"{ name = "b", in = ["query"], kind = "text", required-when = {} }"#, "expected a condition"),
            (r#"{ name = "b", in = ["query"], kind = "text", missing = "the b" }"#, "belongs to the fields"),
            (
                r#"{ name = "b", in = ["query"], kind = "one-of", values = ["x"], except = { values = ["y"], when = { a = "z" } } }"#,
                "some of `values`",
            ),
            (
                r#"{ name = "b", in = ["query"], kind = "one-of", values = ["x"], except = { values = ["x"], when = { a = "z" } } }"#,
                "leaves none",
            ),
        ] {
            let error = error(parameter);
            assert!(error.contains(expected), "{parameter}: {error}");
        }
    }

    #[test]
    fn an_error_names_the_line_of_the_innermost_table() {
        let inner = "{ name = \"b\", in = [\"query\"], kind = \"json\", value = { kind = \"object\", fields = [\n\
                     { name = \"c\", kind = \"text\" },\n{ name = \"d\", kind = \"text\", format = \"x\" },\n] } }";
        let error = error(inner);
        assert!(error.contains("line 5") && error.contains("d: `format` has no effect"), "{error}");
    }

    #[test]
    fn a_repeated_name_is_an_error() {
        let error = error(r#"{ name = "a", in = ["form"], kind = "text" }"#);
        assert!(error.contains("a appears twice") && error.contains("line 1"), "{error}");
    }
}
