//! Zoho's answers to calls, read once: the kind of an answer decides what happens to its call, its token and the cache.
//!
//! A lock can come under any status, 200 included, and in four shapes: People's `response.errors` as an object or an
//! array, People's bare `error`, Calendar's `error` array, and an object of `code` and `message` (zoho-facts, sections
//! 1 to 3).
//!
//! An answer below 400 may also be a record with a member named `code`. A call whose answer counts as a lock is sent
//! again, so below 400 the whole body has to be an error report (`report`): a missed lock costs one more answer, a
//! write that is sent twice costs the user's data.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod outcome;
mod report;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::message::retry_after;

/// Zoho's error answers take a few hundred bytes; a longer body is content.
pub const LARGEST_ERROR: usize = 4 * 1024;

/// Longer than any of Zoho's codes, which are numbers and words such as `less-than-min-occurrence`.
const LONGEST_CODE: usize = 64;

/// Longer than any lock that Zoho documents; a larger `Retry-After` would be a mistake or a daily limit.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The meaning of an answer for its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyKind {
    /// The call is locked.
    Locked,
    /// Zoho rejected the access token: it is dead, or may be.
    TokenRefused(TokenRefusal),
    /// The access token is alive but lacks the scope that the call needs; the code.
    ScopeMissing(String),
    /// The call failed, wholly or in part. The status says so, or under a good status an error report.
    Failed,
    /// JSON under a status below 400 without any mark of a failure.
    Succeeded,
    /// A status below 400 and a body that says neither.
    Unknown,
}

/// The meaning of an answer that rejects a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// The answer has one of the codes of a dead token.
    Dead,
    /// A 401 of an unknown shape, which may mean the same; answers of one shape have the same number.
    Unclear(u64),
}

impl ReplyKind {
    /// Whether Zoho rejected the call before it executed any of it.
    #[must_use]
    pub fn is_unexecuted(&self) -> bool {
        matches!(self, Self::Locked | Self::TokenRefused(_) | Self::ScopeMissing(_))
    }
}

/// Reads an answer. `body` is its decoded body, empty when that is longer than [`LARGEST_ERROR`] and the caller only
/// looks for errors.
#[must_use]
pub fn read(status: StatusCode, body: &[u8]) -> ReplyKind {
    // Some servers put a byte order mark before JSON.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let json = serde_json::from_slice::<Value>(body).ok();
    // A status of no class is a failure too (RFC 9110 section 15).
    let failed = status.as_u16() >= 400;
    let codes = match &json {
        Some(json) if failed => report::all_codes(json),
        Some(json) => report::error_codes(json),
        None => Vec::new(),
    };
    if status == StatusCode::TOO_MANY_REQUESTS || codes.iter().any(|code| Code::of(code) == Code::Locked) {
        return ReplyKind::Locked;
    }
    match json {
        _ if failed => {
            let shape = || shape(body.trim_ascii().is_empty(), json.is_some(), &codes);
            token_or_scope(status, &codes, shape).unwrap_or(ReplyKind::Failed)
        }
        Some(json) => outcome::judge(&json),
        None => ReplyKind::Unknown,
    }
}

/// Whether an answer rejects the payload of its call, and none of it was executed: so a part of it may be accepted.
#[must_use]
pub fn rejects_payload(status: StatusCode, body: &[u8]) -> bool {
    let json = serde_json::from_slice::<Value>(body).unwrap_or_default();
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            report::all_codes(&json).iter().all(|code| Code::of(code) != Code::Request)
        }
        status if is_too_long(status) => true,
        status if status.as_u16() < 400 => {
            let codes = report::error_codes(&json);
            let of_payload = |code: &String| matches!(Code::of(code), Code::Application | Code::Payload);
            !codes.is_empty() && codes.iter().all(of_payload)
        }
        _ => false,
    }
}

/// The reason for which an answer rejects the payload of its call: Zoho's code, or else the status. `None` for other answers.
#[must_use]
pub fn payload_code(status: StatusCode, body: &[u8]) -> Option<String> {
    if !rejects_payload(status, body) {
        return None;
    }
    let json = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let is_plain = |code: &String| code.len() <= LONGEST_CODE && code.bytes().all(|byte| byte.is_ascii_graphic());
    let code = report::all_codes(&json).into_iter().find(is_plain);
    Some(code.unwrap_or_else(|| status.as_u16().to_string()))
}

/// Whether a status says that a payload is too long: 422 is "Maximum limit exceeded" on the pages of LMS.
#[must_use]
pub fn is_too_long(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::URI_TOO_LONG)
}

/// The value of `Retry-After`, limited to a day.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    retry_after::read(headers, now).map(|span| span.min(LONGEST_RETRY_AFTER))
}

/// The meaning of an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    Locked,
    DeadToken,
    ScopeMissing,
    /// A code of People's forms, leave or timesheets, which check a call after its token was accepted.
    Application,
    /// One of People's codes for a parameter or its value.
    Payload,
    /// A code that says that nothing of the payload was read: no token, no such URL, another method.
    Request,
    Unknown,
}

impl Code {
    /// The table of codes: People's number, Calendar's word, and the word of Zoho's other products. Calendar's word for
    /// a missing scope is not known.
    fn of(code: &str) -> Self {
        match code {
            "7209" => Self::Locked,
            "7213" | "INVALID_OAUTHTOKEN" | "INVALID_TOKEN" => Self::DeadToken,
            "7218" | "OAUTH_SCOPE_MISMATCH" => Self::ScopeMissing,
            "7203" | "7204" | "7205" => Self::Payload,
            "7201" | "7202" | "7207" | "7216" | "INVALID_TICKET" => Self::Request,
            _ => match code.parse::<u32>() {
                Ok(7010..=7199 | 8000..=8099 | 9000..=9099) => Self::Application,
                _ => Self::Unknown,
            },
        }
    }
}

/// The meaning of a 401 or 403 for token and scope.
fn token_or_scope(status: StatusCode, codes: &[String], shape: impl FnOnce() -> u64) -> Option<ReplyKind> {
    if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return None;
    }
    let unauthorised = status == StatusCode::UNAUTHORIZED;
    let first = |meaning| codes.iter().find(|code| Code::of(code) == meaning);
    if unauthorised && first(Code::DeadToken).is_some() {
        return Some(ReplyKind::TokenRefused(TokenRefusal::Dead));
    }
    if let Some(code) = first(Code::ScopeMissing) {
        return Some(ReplyKind::ScopeMissing(code.clone()));
    }
    if !codes.is_empty() && codes.iter().all(|code| Code::of(code) == Code::Application) {
        return None;
    }
    // RFC 9110 section 15.5.2: the request was not applied because it lacked valid credentials. Other statuses do not
    // say so: 400 with 7202 or INVALID_TICKET is Zoho's answer to a call without a token, and 403 to one without
    // permission.
    unauthorised.then(|| ReplyKind::TokenRefused(TokenRefusal::Unclear(shape())))
}

/// The same number for answers of the same shape: by their codes, which do not change from call to call as texts do.
fn shape(is_empty: bool, is_json: bool, codes: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (is_empty, is_json, codes).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> ReplyKind {
        read(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn a_rejected_payload_has_zohos_code_or_the_status() {
        let long = format!(r#"{{"code":"{}","message":"x"}}"#, "9".repeat(65));
        for (status, body, expected) in [
            (400, r#"{"response":{"errors":{"code":7052,"message":"x"},"status":1}}"#, Some("7052")),
            (200, r#"{"response":{"message":"x","errors":{"code":"7204","message":"x"},"status":1}}"#, Some("7204")),
            (400, r#"{"code":"400","message":"Invalid parameter value"}"#, Some("400")),
            (422, r#"{"code":"422","message":"Maximum limit exceeded"}"#, Some("422")),
            (
                400,
                r#"{"error":[{"description":"x","error_code":"LESS_THAN_MIN_OCCURRENCE","message":"x"}]}"#,
                Some("LESS_THAN_MIN_OCCURRENCE"),
            ),
            (400, "<html>", Some("400")),
            (422, &long, Some("422")),
            (413, "", Some("413")),
            // Nothing of the payload was read.
            (400, r#"{"response":{"errors":{"code":7202,"message":"x"},"status":1}}"#, None),
            (200, r#"{"response":{"result":[],"status":0}}"#, None),
            (500, "", None),
            (404, "", None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(payload_code(status, body.as_bytes()).as_deref(), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_lock_is_detected_under_any_status_in_every_shape() {
        for (status, body) in [
            (429, ""),
            (429, "<html>"),
            (200, r#"{"response":{"message":"x","errors":{"code":7209,"message":"API access blocked"},"status":1}}"#),
            (400, r#"{"response":{"errors":[{"code":7209,"message":"x"}],"status":1}}"#),
            (403, r#"{"response":{"errors":[{"code":9000},{"code":"7209"}],"status":1}}"#),
            (200, r#"{"error":{"code":7209,"message":"x"}}"#),
            (403, r#"{"error":[{"error_code":"7209","message":"x"}]}"#),
            (403, r#"{"error":[{"code":null,"error_code":"7209","message":"x"}]}"#),
            (400, r#"{"code":"7209","message":"x"}"#),
            (400, r#"{"code":"7209","name":"x"}"#),
            (629, r#"{"code":"7209","name":"x"}"#),
            (500, r#"[{"code":7209}]"#),
            (200, "\u{feff}{\"code\":\"7209\",\"message\":\"x\"}"),
        ] {
            assert_eq!(kind(status, body), ReplyKind::Locked, "{status} {body}");
        }
    }

    #[test]
    fn a_dead_token_is_detected_only_under_401() {
        let people = r#"{"response":{"message":"Error occurred","errors":{"code":7213,"message":"The provided OAuth token is invalid."},"status":1}}"#;
        let calendar = r#"{"error":[{"description":"Invalid OAuth token.","error_code":"INVALID_OAUTHTOKEN","message":"INVALID_OAUTHTOKEN"}]}"#;
        assert_eq!(kind(401, people), ReplyKind::TokenRefused(TokenRefusal::Dead));
        assert_eq!(kind(401, calendar), ReplyKind::TokenRefused(TokenRefusal::Dead));
        assert_eq!(kind(200, people), ReplyKind::Failed);
    }

    #[test]
    fn an_unknown_401_has_the_shape_of_its_codes() {
        let shape = |body: &str| match kind(401, body) {
            ReplyKind::TokenRefused(TokenRefusal::Unclear(shape)) => shape,
            other => panic!("{body}: {other:?}"),
        };
        let shapes = ["<html>1</html>", "", "{}", r#"{"code":1}"#, r#"{"error":[{"error_code":"NO"}]}"#].map(shape);
        for (index, one) in shapes.iter().enumerate() {
            assert!(!shapes[..index].contains(one), "{index}");
        }
        assert_eq!(shape("<html>1</html>"), shape("Unauthorized, request 2"));
        assert_eq!(shape(r#"{"code":1,"id":"a"}"#), shape(r#"{"message":"x","code":"1"}"#));
        assert_eq!(
            kind(401, r#"{"response":{"errors":{"code":7048,"message":"No such user"},"status":1}}"#),
            ReplyKind::Failed
        );
        assert_eq!(kind(401, r#"{"error":[{"code":9000}]}"#), ReplyKind::Failed);
        shape(r#"{"errors":[{"code":9000},{"code":7200}]}"#);
        let no_token = r#"{"response":{"errors":{"code":7202,"message":"x"},"status":1}}"#;
        for (status, body) in [(400, no_token), (403, "<html>"), (400, "")] {
            assert_eq!(kind(status, body), ReplyKind::Failed, "{status} {body}");
        }
    }

    #[test]
    fn a_missing_scope_is_detected_under_401_and_403() {
        let missing = |code: &str| ReplyKind::ScopeMissing(code.to_owned());
        let crm = r#"{"code":"OAUTH_SCOPE_MISMATCH","details":{},"message":"Unauthorized","status":"error"}"#;
        let people = r#"{"response":{"errors":{"code":7218,"message":"Invalid OAuth Scope"},"status":1}}"#;
        let calendar = r#"{"error":[{"error_code":"OAUTH_SCOPE_MISMATCH","message":"x"}]}"#;
        for status in [401, 403] {
            assert_eq!(kind(status, crm), missing("OAUTH_SCOPE_MISMATCH"));
            assert_eq!(kind(status, people), missing("7218"));
            assert_eq!(kind(status, calendar), missing("OAUTH_SCOPE_MISMATCH"));
        }
        assert_eq!(kind(200, people), ReplyKind::Failed);
        assert_eq!(kind(400, crm), ReplyKind::Failed);
    }

    #[test]
    fn only_a_rejected_payload_may_be_accepted_in_parts() {
        let invalid = r#"{"response":{"message":"x","errors":{"code":7204,"message":"x"},"status":1}}"#;
        let partly = r#"{"response":{"result":[{"id":1}],"errors":{"code":7204,"message":"x"},"status":2}}"#;
        let no_token = r#"{"response":{"errors":{"code":7202,"message":"x"},"status":1}}"#;
        let denied = r#"{"error":{"code":7200,"message":"x"}}"#;
        for (status, body, expected) in [
            (400, invalid, true),
            (400, "", true),
            (422, "<html>", true),
            (413, "", true),
            (414, "", true),
            (200, invalid, true),
            (200, r#"{"error":{"code":7049,"message":"x"}}"#, true),
            (400, no_token, false),
            (200, partly, false),
            (200, denied, false),
            (200, r#"{"sharedUsers":[],"code":"200","message":"success"}"#, false),
            (200, "", false),
            (401, invalid, false),
            (403, invalid, false),
            (404, invalid, false),
            (500, invalid, false),
        ] {
            assert_eq!(
                rejects_payload(StatusCode::from_u16(status).unwrap(), body.as_bytes()),
                expected,
                "{status} {body}"
            );
        }
    }

    #[test]
    fn a_record_is_not_a_lock() {
        for body in [
            r#"[{"code":"7209","name":"x"}]"#,
            r#"{"code":7209,"name":"x","recordId":"1"}"#,
            r#"{"name":"x","error":{"code":7209}}"#,
            r#"{"id":"1","response":{"errors":{"code":7209},"status":1}}"#,
            r#"{"sharedUsers":[{"erecno":"7209"}],"code":"200","message":"success"}"#,
            r#"{"response":{"result":[{"code":7209}],"status":0}}"#,
            r#"{"data":{"code":7209}}"#,
            "7209",
            "[7209]",
        ] {
            for status in [200, 201, 202, 207, 303] {
                let kind = kind(status, body);
                assert!(!kind.is_unexecuted(), "{status} {body}: {kind:?}");
            }
        }
    }

    #[test]
    fn reads_retry_after_as_seconds_or_date() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 10:00:00 GMT").unwrap();
        for (value, expected) in [
            ("120", Some(120)),
            ("Sun, 22 Nov 2026 10:05:00 GMT", Some(300)),
            ("Sun, 22 Nov 2026 09:00:00 GMT", Some(0)),
            ("99999999999", Some(86_400)),
            ("soon", None),
            ("-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{value}");
        }
    }
}
