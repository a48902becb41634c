//! The JSON Schema of the configuration file, for editors and for checks before a deployment.
//!
//! It accepts every file that the reader accepts. Any key may also come from the environment, so the schema requires only
//! keys of lists, which the environment cannot set.

use serde_json::{Map, Value, json};

use super::keys::{Key, Keys, Kind, ROOT, Shown};

/// A number with a unit, as jiff reads it; the range is in the description.
const DURATION: &str = "^\\+?[0-9].*[a-zµμ:]";
const SIZE: &str = "^[0-9]+(B|KiB|MiB|GiB)$";

/// The schema, of JSON Schema 2020-12.
#[must_use]
pub fn schema() -> Value {
    let mut schema = table(ROOT);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "The configuration of zoho-gateway".into();
    schema
}

fn table(keys: Keys) -> Value {
    let properties: Map<_, _> =
        keys.iter().copied().flatten().map(|key| (key.name.to_owned(), property(key))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn property(key: &Key) -> Value {
    let text = json!({ "type": "string" });
    let list = |least| json!({ "type": "array", "items": text, "minItems": least });
    let mut schema = match &key.kind {
        Kind::Duration(_) => json!({ "type": "string", "pattern": DURATION }),
        Kind::Size(_) => json!({ "type": "string", "pattern": SIZE }),
        Kind::Integer(range) => json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Word(words) => json!({ "enum": words() }),
        Kind::Text(_) | Kind::File(_) => text,
        Kind::List(_) => json!({ "anyOf": [text, list(1)] }),
        Kind::ListOrNone(_) => json!({ "anyOf": [text, list(0)] }),
        Kind::Secret => json!({ "anyOf": [text, table(key.kind.keys())] }),
        Kind::Hashes => json!({ "anyOf": [text, list(1), table(key.kind.keys())] }),
        Kind::Table(..) | Kind::Endpoints => table(key.kind.keys()),
        Kind::Named(keys) => json!({ "type": "object", "additionalProperties": table(keys) }),
        Kind::Rules => json!({ "type": "array", "items": { "type": "object", "required": ["name", "kind"] } }),
        Kind::Listed(keys) => {
            let mut item = table(keys);
            let required = |key: &&Key| !key.missing.is_empty();
            item["required"] = keys.iter().copied().flatten().filter(required).map(|key| key.name).collect();
            json!({ "type": "array", "items": item })
        }
    };
    if !key.doc.is_empty() {
        schema["description"] = key.description().into();
    }
    let (keyword, text) = match key.value {
        Shown::Default(text) => ("default", text),
        Shown::Required(text) | Shown::Example(text) => ("examples", text),
    };
    // Tables differ between TOML and JSON; strings, numbers, booleans and lists do not.
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        schema[keyword] = if keyword == "default" { value } else { json!([value]) };
    }
    schema
}
