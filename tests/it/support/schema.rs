//! Checks JSON against a JSON Schema, as far as `docs/status.schema.json` uses it. Stricter than the standard: each member
//! of an object has to be described.

use serde_json::Value;

/// The faults of `value`, each with its place.
fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(schema, schema, value, "", &mut faults);
    faults
}

fn check(root: &Value, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    if let Some(target) = schema["$ref"].as_str() {
        let target = root.pointer(target.trim_start_matches('#')).unwrap_or_else(|| panic!("{target} is not defined"));
        return check(root, target, value, place, faults);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let ways: Vec<_> = any.iter().map(|way| of_way(root, way, value, place)).collect();
        if !ways.iter().any(Vec::is_empty) {
            faults.extend(ways.into_iter().min_by_key(Vec::len).unwrap_or_default());
        }
        return;
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        faults.push(format!("{place}: {value} is not among {}", schema["enum"]));
    }
    let types = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    if schema["enum"].is_null() && !types.iter().any(|kind| is_of(kind, value)) {
        faults.push(format!("{place}: {value} is not of type {}", schema["type"]));
    }
    if schema["format"] == "date-time" && value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_err()) {
        faults.push(format!("{place}: {value} is no moment"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            faults.push(format!("{place}/{name} is missing"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let place = format!("{place}/{name}");
        match (schema["properties"].get(name), schema.get("additionalProperties")) {
            (Some(schema), _) | (None, Some(schema)) => check(root, schema, member, &place, faults),
            (None, None) => faults.push(format!("{place} is not described")),
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(root, &schema["items"], item, &format!("{place}/{index}"), faults);
    }
}

fn of_way(root: &Value, way: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut faults = Vec::new();
    check(root, way, value, place, &mut faults);
    faults
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        other => panic!("the check knows no type {other:?}"),
    }
}

/// The faults of a page by `docs/status.schema.json`.
pub(crate) fn faults_of_status(page: &Value) -> Vec<String> {
    let schema = include_str!("../../../docs/status.schema.json");
    faults(&serde_json::from_str(schema).expect("JSON"), page)
}
