//! The schema accepts what the reader accepts, and rejects the usual mistakes.

use serde_json::Value;

use super::*;
use crate::config::{
    keys::{Key, ROOT, Shown},
    schema,
};

/// What a schema has against a value. It knows the keywords that ours uses, and no other.
fn faults(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let is_fine = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "examples" => true,
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_i64(),
                "boolean" => value.is_boolean(),
                other => panic!("an unknown type {other}"),
            },
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_i64() >= rule.as_i64(),
            "maximum" => value.as_i64() <= rule.as_i64(),
            "minItems" => value.as_array().is_none_or(|list| list.len() as u64 >= rule.as_u64().unwrap()),
            "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
            "required" => rule.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
            "anyOf" => rule.as_array().unwrap().iter().any(|one| self::faults(one, value, at).is_empty()),
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    faults.extend(self::faults(rule, item, at));
                }
                true
            }
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    if let Some(rule) = rule.get(key) {
                        faults.extend(self::faults(rule, value, &format!("{at}.{key}")));
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = |key: &String| schema.get("properties").is_some_and(|keys| keys.get(key).is_some());
                let others = value.as_object().into_iter().flatten().filter(|(key, _)| !known(key));
                for (key, value) in others {
                    match rule {
                        Value::Bool(false) => faults.push(format!("{at}.{key}: unknown")),
                        rule => faults.extend(self::faults(rule, value, &format!("{at}.{key}"))),
                    }
                }
                true
            }
            other => panic!("an unknown keyword {other}"),
        };
        if !is_fine {
            faults.push(format!("{at}: {keyword}"));
        }
    }
    faults
}

/// The two patterns of the schema.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        "^[0-9]+(B|KiB|MiB|GiB)$" => {
            let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
            unit.len() < text.len() && ["B", "KiB", "MiB", "GiB"].contains(&unit)
        }
        "^\\+?[0-9].*[a-zµμ:]" => {
            let text = text.strip_prefix('+').unwrap_or(text);
            text.starts_with(|c: char| c.is_ascii_digit())
                && text.contains(|c| matches!(c, 'a'..='z' | 'µ' | 'μ' | ':'))
        }
        other => panic!("an unknown pattern {other}"),
    }
}

fn faults_of(text: &str) -> Vec<String> {
    let value: Value = toml::from_str(text).unwrap();
    faults(&schema(), &value, "")
}

#[test]
fn the_schema_accepts_what_the_reader_accepts() {
    let example = include_str!("../../../config/gateway.example.toml");
    for text in ["", ACCOUNT, example, &with_account(EVERY_KEY), include_str!("../../cli/sandbox.toml")] {
        assert_eq!(faults_of(text), [""; 0], "{text}");
    }
    for text in ["no_proxy = []", "timeout = \"1m 30s\"", "timeout = \"1:30:00\"", "proxy_password = { env = \"X\" }"] {
        assert_eq!(faults_of(&format!("[upstream]\n{text}")), [""; 0], "{text}");
    }
}

#[test]
fn the_schema_rejects_the_usual_mistakes() {
    for (text, expected) in [
        ("prox.listen = 1", ".prox: unknown"),
        ("state.missing = \"lost\"", ".state.missing: unknown"),
        ("state.when_empty = \"lost\"", ".state.when_empty: enum"),
        ("queue.max_wait = 30", ".queue.max_wait: type"),
        ("queue.max_wait = \"30\"", ".queue.max_wait: pattern"),
        ("queue.max_wait = \"soon\"", ".queue.max_wait: pattern"),
        ("queue.max_waiting = 1000001", ".queue.max_waiting: maximum"),
        ("proxy.max_body = \"1MB\"", ".proxy.max_body: pattern"),
        ("proxy.max_headers = 7", ".proxy.max_headers: minimum"),
        ("proxy.listen = []", ".proxy.listen: anyOf"),
        ("audit.fsync = \"yes\"", ".audit.fsync: type"),
        ("accounts.main.client_secret = { path = \"x\" }", ".accounts.main.client_secret: anyOf"),
        ("accounts.main.endpoints.crm = \"x\"", ".accounts.main.endpoints.crm: unknown"),
        ("accounts = []", ".accounts: type"),
        ("routes.\"people.lms.share-course\".id = \"x\"", ".routes.people.lms.share-course.id: unknown"),
        ("[[extra_routes]]\nid = \"people.x.a-b\"", ".extra_routes: required"),
        ("[[extra_routes]]\nid = \"people.x.a-b\"\npath = \"/x\"\nrequest = 1", ".extra_routes.request: unknown"),
    ] {
        assert_eq!(faults_of(text), [expected], "{text}");
    }
}

/// A key that is in `keys` and that nothing reads is an unknown key. A key that is read and is not there is a panic.
#[test]
fn the_reader_takes_every_key() {
    let text = |Key { name, value, .. }: &Key| match value {
        Shown::Default(text) | Shown::Required(text) | Shown::Example(text) => {
            (*name, text.split_whitespace().collect::<Vec<_>>().join(" "))
        }
    };
    for table in ROOT.iter().copied().flatten() {
        let (_, header) = text(table);
        for key in table.kind.keys().iter().copied().flatten() {
            let (name, value) = text(key);
            let inner = key.kind.keys().iter().copied().flatten().map(text);
            let inner = inner.map(|(inner, value)| format!("{header}\n{name}.{inner} = {value}\n"));
            for text in inner.chain([format!("{header}\n{name} = {value}\n")]) {
                let said = parse("gateway.toml", &text, []).map_or_else(|errors| errors.to_string(), |_| String::new());
                assert!(!said.contains("unknown"), "{text}: {said}");
            }
        }
    }
}
