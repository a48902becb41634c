//! Any answer of Zoho's: a lock is seen, a record is not taken for one, and a small answer unfolds into no large one.

use std::{io::Write, time::SystemTime};

use flate2::{Compression, write};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

use super::super::{
    coding,
    signs::{self, ReplyKind},
};
use crate::zoho::success;

/// What is decoded of an answer at most.
const LARGEST: usize = 64 * 1024;

/// Reads a line with the status, one with `Content-Encoding` or what a caller would like it to be, one with
/// `Retry-After`, and the body from there on.
pub fn answers(data: &[u8]) {
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let (Some(status), Some(codings), Some(retry_after), Some(body)) =
        (lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return;
    };
    let (Ok(status), Ok(codings)) = (StatusCode::from_bytes(status), std::str::from_utf8(codings)) else { return };
    let mut headers = HeaderMap::new();
    if let Ok(value) = retry_after.try_into() {
        headers.insert(header::RETRY_AFTER, value);
    }
    can_be_looked_into(codings);
    let decoded = coding::decode(codings, body);
    for body in decoded.iter().map(Vec::as_slice).chain([body]) {
        assert!(body.len() <= LARGEST.max(data.len()), "{} bytes", body.len());
        judged(status, &headers, body);
        if let Ok(Value::Object(members)) = serde_json::from_slice(body) {
            a_lock_is_seen(status, &headers, &members);
            a_record_is_no_lock(status, &headers, &members);
        }
    }
}

/// What is asked of Zoho by a caller's wish is what can be decoded, in the same order.
fn can_be_looked_into(wish: &str) {
    let Ok(wish) = wish.parse() else { return };
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_ENCODING, wish);
    coding::without_unreadable(&mut headers);
    let asked = headers[header::ACCEPT_ENCODING].to_str().unwrap_or_default().to_ascii_lowercase();
    for member in asked.split(',') {
        let coding = member.split(';').next().unwrap_or_default().trim();
        assert!(["identity", "gzip", "x-gzip", "deflate", "br"].contains(&coding), "{asked}");
    }
}

fn judged(status: StatusCode, headers: &HeaderMap, body: &[u8]) {
    assert!(!(success::tells_of_success(body) && success::tells_of_failure(body)));
    match signs::read(status, headers, body, SystemTime::UNIX_EPOCH) {
        Some(ReplyKind::Locked(span)) => assert!(span.is_none_or(|span| span.as_secs() <= 24 * 3600), "{span:?}"),
        other => {
            assert_ne!(status, StatusCode::TOO_MANY_REQUESTS, "{other:?}");
            assert!(other.is_none() || [401, 403].contains(&status.as_u16()), "{status}: {other:?}");
        }
    }
}

/// In each of Zoho's shapes, whatever else an answer of a bad status says, and alone in an answer of a good one;
/// compressed too.
fn a_lock_is_seen(status: StatusCode, headers: &HeaderMap, members: &Map<String, Value>) {
    let surroundings = if status.as_u16() < 400 { Map::new() } else { members.clone() };
    for shape in locks(&surroundings) {
        let mut members = surroundings.clone();
        members.extend(shape.clone());
        let body = Value::Object(members).to_string().into_bytes();
        assert!(is_locked(status, headers, &body), "{status} {}", String::from_utf8_lossy(&body));
        let alone = Value::Object(shape).to_string().into_bytes();
        assert!(!success::tells_of_success(&body) && success::tells_of_failure(&alone));
        if body.len() < LARGEST {
            let mut gzip = write::GzEncoder::new(Vec::new(), Compression::fast());
            let written = gzip.write_all(&body).and_then(|()| gzip.finish());
            let compressed = written.expect("memory does not fail");
            assert_eq!(coding::decode("gzip", &compressed).as_ref(), Some(&body));
        }
    }
}

/// Under a good status, an object with a member that reports do not have, and a list of anything.
fn a_record_is_no_lock(status: StatusCode, headers: &HeaderMap, members: &Map<String, Value>) {
    if status.as_u16() >= 400 {
        return;
    }
    for shape in locks(members) {
        let mut record = members.clone();
        record.extend(shape.clone());
        record.insert("recordId".to_owned(), json!("1"));
        for body in [Value::Object(record), json!([shape])] {
            assert!(!is_locked(status, headers, body.to_string().as_bytes()), "{status} {body}");
        }
    }
}

fn is_locked(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
    matches!(signs::read(status, headers, body, SystemTime::UNIX_EPOCH), Some(ReplyKind::Locked(_)))
}

/// A lock in each of Zoho's shapes, beside what an answer with these members says in the same place.
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
