//! Fuzzes answers: a lock is always detected, and a record does not count as one.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{ReplyKind, outcome, read};

/// Checks the properties of an answer, and of the same answer with a lock added.
pub fn reply(status: StatusCode, body: &[u8]) {
    let kind = read(status, body);
    assert!(status != StatusCode::TOO_MANY_REQUESTS || kind == ReplyKind::Locked, "{kind:?}");
    let of_the_token = matches!(kind, ReplyKind::TokenRefused(_) | ReplyKind::ScopeMissing(_));
    assert!(!of_the_token || [401, 403].contains(&status.as_u16()), "{status}: {kind:?}");
    let Ok(json) = serde_json::from_slice::<Value>(body) else { return };
    assert!(!(outcome::succeeded(&json) && outcome::failed(&json)));
    if let Value::Object(members) = json {
        a_lock_is_seen(status, &members);
        a_record_is_not_a_lock(status, &members);
    }
}

/// A lock is detected in each of Zoho's shapes: next to anything under a bad status, alone under a good status.
fn a_lock_is_seen(status: StatusCode, members: &Map<String, Value>) {
    let surroundings = if status.as_u16() < 400 { Map::new() } else { members.clone() };
    for shape in locks(&surroundings) {
        let mut members = surroundings.clone();
        members.extend(shape.clone());
        let (body, alone) = (Value::Object(members), Value::Object(shape));
        assert!(is_locked(status, &body), "{status} {body}");
        assert!(!outcome::succeeded(&body) && outcome::failed(&alone));
    }
}

/// Tries objects with a member that reports do not have, and lists, under a good status.
fn a_record_is_not_a_lock(status: StatusCode, members: &Map<String, Value>) {
    if status.as_u16() >= 400 {
        return;
    }
    for shape in locks(members) {
        let mut record = members.clone();
        record.extend(shape.clone());
        record.insert("recordId".to_owned(), json!("1"));
        for body in [Value::Object(record), json!([shape])] {
            assert!(!is_locked(status, &body), "{status} {body}");
        }
    }
}

fn is_locked(status: StatusCode, body: &Value) -> bool {
    read(status, body.to_string().as_bytes()) == ReplyKind::Locked
}

/// A lock in each of Zoho's shapes, next to these members.
fn locks(members: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let listed = |there: &Value, entry: Value| match there {
        Value::Array(entries) => Value::Array(entries.iter().cloned().chain([entry]).collect()),
        _ => json!([entry]),
    };
    let none = Value::Null;
    let error = members.get("error").unwrap_or(&none);
    let response = members.get("response").and_then(Value::as_object).cloned().unwrap_or_default();
    let errors = response.get("errors").unwrap_or(&none);
    let within = |errors: Value| {
        let mut response = response.clone();
        response.insert("errors".to_owned(), errors);
        Value::Object(response)
    };
    let shapes = [
        json!({ "response": within(json!({ "code": 7209, "message": "x" })) }),
        json!({ "response": within(listed(errors, json!({ "code": "7209" }))) }),
        json!({ "error": { "code": 7209 } }),
        json!({ "error": listed(error, json!({ "error_code": "7209" })) }),
        json!({ "code": "7209", "message": "x" }),
    ];
    shapes.into_iter().filter_map(|shape| shape.as_object().cloned()).collect()
}
