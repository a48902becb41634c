//! The shape that distinguishes Zoho's error reports from records (zoho-facts, section 2).
//!
//! A record may have members named `code`, `error` or `response` like any other name. So a member says something about
//! the call only if everything around it belongs to a report too.

use serde_json::{Map, Value};

/// The members of one entry of `errors` or `error`.
const ENTRY: [&str; 9] =
    ["code", "desc", "description", "details", "error_code", "error_message", "errorcode", "message", "status"];

/// The other members of reports, in all of Zoho's families.
const REPORT: [&str; 6] = ["data", "error", "errors", "response", "result", "uri"];

/// The members with data. If they are empty they say nothing; with content something was executed.
const CONTENT: [&str; 3] = ["data", "details", "result"];

/// The words for a failure in `status`, in any case.
pub(super) const BAD: [&str; 3] = ["failure", "failed", "error"];

/// Every error code of an answer whose status is a failure, from the places where Zoho puts them.
pub(super) fn all_codes(body: &Value) -> Vec<String> {
    let places = [body, &body["error"], &body["errors"], &body["response"], &body["response"]["errors"]];
    places.into_iter().flat_map(entries).flat_map(codes).collect()
}

/// The codes of an answer that reports an error and nothing else; empty for an answer that may be a record.
///
/// The shapes are `{"response":{"errors":…}}`, `{"error":…}` or `{"errors":…}`, each with an object or a list of
/// objects, and an object of `code` and `message`.
pub(super) fn error_codes(body: &Value) -> Vec<String> {
    let Some(members) = body.as_object() else { return Vec::new() };
    if let Some(response) = body["response"].as_object() {
        return match members.len() {
            1 => named_errors(response).unwrap_or_default(),
            _ => Vec::new(),
        };
    }
    named_errors(members).unwrap_or_else(|| if is_bare_error(body) { codes(body) } else { Vec::new() })
}

/// Whether a value has only members of reports.
pub(super) fn is_report(value: &Value) -> bool {
    value.as_object().is_some_and(|members| has_only(members, &[&ENTRY, &REPORT]))
}

/// Whether the object consists of a `code` and a `message`. A `message` about a success is not an error. With empty
/// data it could be a record, unless a `status` says that it failed.
pub(super) fn is_bare_error(body: &Value) -> bool {
    let Some(members) = body.as_object() else { return false };
    let says_success = |message: &str| message.to_ascii_lowercase().contains("success");
    let message = members.get("message").and_then(Value::as_str);
    has_only(members, &[&["code", "message", "status"]])
        && members.contains_key("code")
        && message.is_some_and(|message| !says_success(message))
        && may_be_failure(members.get("status"))
        && (members.len() == 2 || members.get("status").is_some_and(|status| !status.is_null()))
}

/// The codes below `errors` or `error`; `None` where the object has neither.
fn named_errors(members: &Map<String, Value>) -> Option<Vec<String>> {
    let errors = members.get("errors").or_else(|| members.get("error"))?;
    let pure = has_only(members, &[&["error", "errors", "message", "status", "uri"]])
        && !(members.contains_key("errors") && members.contains_key("error"))
        && may_be_failure(members.get("status"));
    let entries = entries(errors);
    let is_entry = |entry: &Value| entry.as_object().is_some_and(|members| has_only(members, &[&ENTRY]));
    let codes = entries.iter().flat_map(codes);
    Some(if pure && entries.iter().all(is_entry) { codes.collect() } else { Vec::new() })
}

/// The codes of one object.
fn codes(entry: &Value) -> Vec<String> {
    let code = |field: &Value| match field {
        Value::String(code) => Some(code.clone()),
        Value::Number(code) => Some(code.to_string()),
        _ => None,
    };
    ["code", "error_code", "errorcode"].iter().filter_map(|name| code(entry.get(name)?)).collect()
}

/// The objects of a value that is one object or a list of them.
fn entries(place: &Value) -> &[Value] {
    match place {
        Value::Array(entries) => entries,
        one => std::slice::from_ref(one),
    }
}

/// Whether a member exists and is not empty.
pub(super) fn filled(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(entries)) => !entries.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

fn has_only(members: &Map<String, Value>, names: &[&[&str]]) -> bool {
    let is_empty = |name: &str, value| CONTENT.contains(&name) && !filled(Some(value));
    members
        .iter()
        .all(|(name, value)| names.iter().any(|names| names.contains(&name.as_str())) || is_empty(name, value))
}

/// Whether a `status` next to an error is consistent with it. Success is 0, and partial success is 2.
fn may_be_failure(status: Option<&Value>) -> bool {
    match status {
        None | Some(Value::Null) => true,
        Some(Value::Number(status)) => status.as_u64().is_some_and(is_failure),
        Some(Value::String(status)) => {
            BAD.iter().any(|word| status.eq_ignore_ascii_case(word)) || status.parse().is_ok_and(is_failure)
        }
        Some(_) => false,
    }
}

/// People's 1, or an HTTP status of 400 and above.
fn is_failure(status: u64) -> bool {
    status == 1 || (400..600).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Vec<String> {
        error_codes(&serde_json::from_str(body).unwrap())
    }

    #[test]
    fn an_error_of_zohos_families_has_its_code() {
        for body in [
            r#"{"response":{"message":"x","errors":{"code":7209,"message":"API access blocked"},"status":1}}"#,
            r#"{"response":{"message":"x","uri":"/api/forms","errors":[{"code":7209,"message":"x"}],"status":"1"}}"#,
            r#"{"response":{"errors":{"code":"7209"},"result":[],"status":1}}"#,
            r#"{"response":{"errors":{"code":7209,"message":"x"}}}"#,
            r#"{"error":{"code":7209,"message":"x"},"uri":"/api/v2/leavetracker"}"#,
            r#"{"error":[{"description":"x","error_code":"7209","message":"x"}]}"#,
            r#"{"error":{"code":"7209","details":{"limit":30}},"status":"failure"}"#,
            r#"{"errors":[{"code":7209,"message":"x"}],"message":"x","status":"error"}"#,
            r#"{"code":7209,"message":"API access blocked"}"#,
            r#"{"code":"7209","message":"x","status":"error","details":{}}"#,
            r#"{"code":"7209","message":"x","status":429,"data":null}"#,
        ] {
            assert_eq!(read(body), ["7209"], "{body}");
        }
        assert_eq!(read(r#"{"response":{"errors":[{"code":9000},{"code":7209}],"status":1}}"#), ["9000", "7209"]);
    }

    #[test]
    fn a_record_has_no_codes_whatever_its_names() {
        for body in [
            // Members of a record.
            r#"{"code":7209,"name":"x","recordId":"1"}"#,
            r#"[{"code":"7209","name":"x"}]"#,
            r#"[{"code":"7209","message":"x"}]"#,
            r#"{"code":"7209"}"#,
            r#"{"error_code":"7209","name":"x"}"#,
            r#"{"code":7209,"message":"x","id":1}"#,
            r#"{"code":7209,"message":"x","details":{"id":"1"}}"#,
            r#"{"code":7209,"message":"x","data":{}}"#,
            r#"{"code":7209,"message":"x","details":null,"status":null}"#,
            r#"{"code":7209,"message":5}"#,
            r#"{"code":{"code":7209},"message":"x"}"#,
            r#"{"code":7209,"message":"x","data":{"id":1}}"#,
            r#"{"name":"x","error":{"code":7209,"message":"x"}}"#,
            r#"{"id":1,"errors":[{"code":7209,"message":"x"}]}"#,
            r#"{"id":1,"response":{"errors":{"code":7209,"message":"x"},"status":1}}"#,
            r#"[{"response":{"errors":{"code":7209,"message":"x"},"status":1}}]"#,
            r#"[{"error":{"code":7209,"message":"x"}}]"#,
            // Deeper.
            r#"{"data":{"code":7209,"message":"x"}}"#,
            r#"{"data":{"error":{"code":7209}},"status":"success"}"#,
            r#"{"response":{"result":[{"code":7209,"message":"x"}],"status":0}}"#,
            r#"{"response":{"code":7209,"name":"x"}}"#,
            r#"{"response":{"response":{"errors":{"code":7209}}}}"#,
            r#"{"clients":[{"code":"7209","error":{"code":7209}}],"message":"x"}"#,
            // Something was executed, or the answer says so.
            r#"{"response":{"result":[{"id":1}],"errors":{"code":7209,"message":"x"},"status":1}}"#,
            r#"{"response":{"errors":{"code":7209,"message":"x"},"status":0}}"#,
            r#"{"response":{"errors":[{"code":7209,"message":"x"}],"status":2}}"#,
            r#"{"response":{"errors":{"588882000000212025":{"code":7209}},"status":2}}"#,
            r#"{"response":{"errors":[{"code":7209,"recordId":"1"}],"status":1}}"#,
            r#"{"response":{"errors":[{"code":7209},{"id":"1"}],"status":1}}"#,
            r#"{"error":{"code":7209},"result":[{"id":1}]}"#,
            r#"{"error":{"code":7209},"status":"success"}"#,
            r#"{"code":"7209","message":"success"}"#,
            r#"{"code":"7209","message":"Record added successfully"}"#,
            r#"{"code":"7209","message":"x","status":"success"}"#,
            r#"{"code":"7209","message":"x","status":0}"#,
            r#"{"code":"7209","message":"x","status":"Active"}"#,
            // Not a report.
            r#"{"error":"7209"}"#,
            r#"{"response":7209}"#,
            r#"{"error":{"code":7209},"errors":{"code":7209}}"#,
            "7209",
            r#""7209""#,
            "[7209]",
            "null",
            "{}",
        ] {
            assert_eq!(read(body), [""; 0], "{body}");
        }
    }
}
