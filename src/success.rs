//! Whether an answer under 200 tells of success (zoho-facts, section 2).
//!
//! Only JSON that bears none of the marks of Zoho's failures does. When in doubt it does not: the cache then keeps an
//! answer too few, which costs a call, and the audit takes a call for failed only where the marks say so.

use serde_json::Value;

/// Whether a whole body says that the call was executed.
#[must_use]
pub fn tells_of_success(body: &[u8]) -> bool {
    judge(body) == Some(true)
}

/// Whether a whole body says that the call was not executed, or not all of it. One that is no JSON says nothing.
#[must_use]
pub fn tells_of_failure(body: &[u8]) -> bool {
    judge(body) == Some(false)
}

fn judge(body: &[u8]) -> Option<bool> {
    // Some servers put a byte order mark before JSON.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    Some(match serde_json::from_slice::<Value>(body).ok()? {
        Value::Array(entries) => !entries.iter().any(bears_an_error),
        Value::Object(members) => {
            // Calendar's answers are one list under one name.
            let lists = members.values().filter_map(Value::as_array).flatten();
            let body = Value::Object(members.clone());
            let response = match &body["response"] {
                Value::Array(entries) => entries.iter().any(fails),
                one => fails(one),
            };
            has_good_code(&body) && !fails(&body) && !response && !lists.into_iter().any(bears_an_error)
        }
        // Zoho's answers are objects or lists; anything else is a message.
        _ => return None,
    })
}

/// Whether an object is one of Zoho's reports, and a bad one.
fn fails(report: &Value) -> bool {
    bears_an_error(report) || {
        // People's reports count: 0 is good, 1 a failure, 2 a half success. Of the holidays 1 is good, with the data.
        let status = match &report["status"] {
            Value::Number(status) => Some(status.to_string()),
            Value::String(status) if status.bytes().all(|byte| byte.is_ascii_digit()) => Some(status.clone()),
            _ => None,
        };
        let has_data = ["result", "data"].iter().any(|name| filled(report.get(*name)));
        status.is_some_and(|status| status == "2" || (status != "0" && !has_data))
    }
}

/// Whether an object says by name that something went wrong.
fn bears_an_error(report: &Value) -> bool {
    let bad = ["failure", "failed", "error"];
    let status = report["status"].as_str().unwrap_or_default();
    ["error", "errors", "error_code"].iter().any(|name| filled(report.get(*name)))
        || bad.iter().any(|word| status.eq_ignore_ascii_case(word))
}

fn filled(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(entries)) => !entries.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

/// The learning pages' code is 200 as a text or a number; elsewhere there is none, or the name of an error.
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

    #[test]
    fn successes_of_every_family() {
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
            assert!(tells_of_success(body.as_bytes()) && !tells_of_failure(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn failures_of_every_family() {
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
            r#"{"code":404}"#,
            r#"{"code":null}"#,
            r#"{"message":"x","status":"Failure"}"#,
            r#"{"status":"error"}"#,
        ] {
            assert!(!tells_of_success(body.as_bytes()) && tells_of_failure(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn what_is_no_report_tells_nothing() {
        for body in [r#"{"code":"200","sharedUsers":["#, "", "<html>", "\"OK\"", "7209", "\u{fffd}\u{0}"] {
            assert!(!tells_of_success(body.as_bytes()) && !tells_of_failure(body.as_bytes()), "{body}");
        }
    }
}
