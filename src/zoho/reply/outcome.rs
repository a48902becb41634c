//! Whether an answer under a good status says that its call was executed (zoho-facts, section 2).
//!
//! Only JSON without any mark of Zoho's failures says so. In doubt the call does not count as executed: then the cache
//! keeps one answer less, which costs a call, and the audit reports a failure only if the marks say so.

use serde_json::Value;

use super::{
    ReplyKind,
    report::{self, BAD, filled},
};

/// Judges a whole body. Zoho's answers are objects or lists; anything else says nothing.
pub(super) fn judge(body: &Value) -> ReplyKind {
    if succeeded(body) {
        ReplyKind::Succeeded
    } else if failed(body) {
        ReplyKind::Failed
    } else {
        ReplyKind::Unknown
    }
}

/// Whether a body says that the call was executed: JSON without any mark of a failure.
pub(super) fn succeeded(body: &Value) -> bool {
    (body.is_object() || body.is_array()) && has_good_code(body) && !is_marked(body, |_| true)
}

/// Whether a body says that the call was not executed, or not all of it: a report with the mark of a failure. A record
/// may have a member of the same name, so it says nothing.
pub(super) fn failed(body: &Value) -> bool {
    (!has_good_code(body) && report::is_bare_error(body)) || is_marked(body, report::is_report)
}

/// Whether a part of the body for which `counts` holds has the mark of a failure.
fn is_marked(body: &Value, counts: fn(&Value) -> bool) -> bool {
    let bad = |entry: &Value| counts(entry) && bears_an_error(entry);
    let members = match body {
        Value::Array(entries) => return entries.iter().any(bad),
        Value::Object(members) => members,
        _ => return false,
    };
    let response = || match &body["response"] {
        Value::Array(entries) => entries.iter().any(fails),
        one => fails(one),
    };
    // Calendar's answers are one list under one name.
    let mut lists = members.values().filter_map(Value::as_array).flatten();
    (counts(body) && (fails(body) || response())) || ((counts(body) || members.len() == 1) && lists.any(bad))
}

/// Whether an object is one of Zoho's reports of a failure.
fn fails(report: &Value) -> bool {
    bears_an_error(report) || {
        // People's status: 0 is success, 1 failure, 2 partial success. For holidays 1 with data is success.
        let status = match &report["status"] {
            Value::Number(status) => Some(status.to_string()),
            Value::String(status) if status.bytes().all(|byte| byte.is_ascii_digit()) => Some(status.clone()),
            _ => None,
        };
        let has_data = ["result", "data"].iter().any(|name| filled(report.get(*name)));
        status.is_some_and(|status| status == "2" || (status != "0" && !has_data))
    }
}

/// Whether an object has a member or a status that names an error.
fn bears_an_error(report: &Value) -> bool {
    let status = report["status"].as_str().unwrap_or_default();
    ["error", "errors", "error_code"].iter().any(|name| filled(report.get(*name)))
        || BAD.iter().any(|word| status.eq_ignore_ascii_case(word))
}

/// The learning pages use the code 200, as a text or a number. Elsewhere a code belongs to an error or a record.
fn has_good_code(body: &Value) -> bool {
    match body.get("code") {
        None => true,
        Some(Value::String(code)) => code == "200",
        Some(Value::Number(code)) => code.as_u64() == Some(200),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome of a body under status 200.
    fn outcome(body: &str) -> ReplyKind {
        let body = body.trim_start_matches('\u{feff}');
        serde_json::from_str(body).map_or(ReplyKind::Unknown, |body| judge(&body))
    }

    #[test]
    fn successes_of_every_family_are_recognised() {
        for body in [
            r#"{"response":{"result":[{"Name":"x"}],"message":"Data fetched successfully","uri":"/api/forms","status":0}}"#,
            r#"{"response":{"result":[],"status":0,"errors":[]}}"#,
            r#"{"data":[{"Name":"New Year"}],"message":"Data fetched","status":1}"#,
            r#"[{"erecno":"588882000000212025"}]"#,
            "[]",
            r#"{"message":"x","status":"success"}"#,
            r#"{"data":[],"message":"x","status":"success"}"#,
            r#"{"code":"200","message":"success","sharedUsers":[],"hasMoreRecords":false}"#,
            r#"{"code":200}"#,
            r#"{"share":[{"emailid":"user@domain.com","privilege":"view"}]}"#,
            "\u{feff}{\"code\":\"200\"}",
        ] {
            assert_eq!(outcome(body), ReplyKind::Succeeded, "{body}");
        }
    }

    #[test]
    fn failures_of_every_family_are_recognised() {
        for body in [
            r#"{"response":{"message":"Error occurred","errors":{"code":7024,"message":"No records"},"status":1}}"#,
            r#"{"response":{"errors":[{"code":9000,"message":"x"}],"status":1}}"#,
            r#"{"response":{"result":[{"a":1}],"errors":{"588882000000212025":"x"},"status":2}}"#,
            r#"{"response":{"result":[{"a":1}],"status":2}}"#,
            r#"{"response":{"message":"x","status":1}}"#,
            r#"{"response":{"message":"x","status":"1"}}"#,
            r#"{"response":[{"errors":{"code":1},"status":1}]}"#,
            r#"{"errors":{"code":7024}}"#,
            r#"{"error":{"code":7209,"message":"x"}}"#,
            r#"{"error":"invalid"}"#,
            r#"{"error":[{"description":"x","error_code":"INVALID_TICKET","message":"INVALID_TICKET"}]}"#,
            r#"[{"error":{"code":1}}]"#,
            r#"{"share":[{"message":"x","status":"failure"}]}"#,
            r#"{"code":"NOT_FOUND","message":"x"}"#,
            r#"{"code":"403","message":"x"}"#,
            r#"{"message":"x","status":"Failure"}"#,
            r#"{"data":[{"error":{"code":1}},{"id":"1"}],"message":"x"}"#,
            r#"{"status":"error"}"#,
        ] {
            assert_eq!(outcome(body), ReplyKind::Failed, "{body}");
        }
    }

    #[test]
    fn the_member_names_of_a_record_say_nothing() {
        for body in [
            r#"{"code":7209,"name":"x","recordId":"1"}"#,
            r#"[{"code":"7209","name":"x","error":"none"}]"#,
            r#"[{"id":"1","status":"failed"}]"#,
            r#"{"id":"1","status":"failed","message":"x"}"#,
            r#"{"id":"1","response":{"errors":{"code":1},"status":1}}"#,
            r#"{"id":"1","runs":[{"message":"x","status":"failure"}],"error":"x"}"#,
            r#"{"code":"7209","message":"Record added successfully"}"#,
            r#"{"code":404}"#,
            r#"{"code":null}"#,
        ] {
            assert_eq!(outcome(body), ReplyKind::Unknown, "{body}");
        }
    }

    #[test]
    fn anything_but_json_says_nothing() {
        for body in [r#"{"code":"200","sharedUsers":["#, "", "<html>", "\"OK\"", "7209", "\u{fffd}\u{0}"] {
            assert_eq!(outcome(body), ReplyKind::Unknown, "{body}");
        }
    }
}
