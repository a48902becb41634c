//! Zoho's signs that a call was not executed: a lock, and a dead token.
//!
//! A lock can stand under any status, 200 included, and in four shapes: People's `response.errors` as an object or an
//! array, People's bare `error`, Calendar's `error` array, and an object of `code` and `message` (zoho-facts, sections 1
//! to 3).
//!
//! An answer below 400 may as well be a record with a member named `code`. What is taken for a lock is sent again, so
//! there the whole body has to be an error report ([`success::error_codes`]): a lock that is missed costs one more
//! answer, a write that is sent twice costs the user's data.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use http::{HeaderMap, StatusCode};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{call::TokenRefusal, message::retry_after, zoho::success};

/// People's code for a locked call.
const LOCKED: &str = "7209";

/// The codes of a dead access token: People's, Calendar's and the one of Zoho's other products.
const DEAD_TOKEN: [&str; 3] = ["7213", "INVALID_OAUTHTOKEN", "INVALID_TOKEN"];

/// The codes of a missing scope: People's, and that of Zoho's other products (what Calendar says is not known).
const SCOPE_MISSING: [&str; 2] = ["7218", "OAUTH_SCOPE_MISMATCH"];

/// Longer than any lock that Zoho documents; a larger `Retry-After` would be a mistake or a daily limit.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What an answer says beside its content.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReplyKind {
    /// The call was not let in: the access token is dead, or may be.
    TokenRefused(TokenRefusal),
    /// The access token lives but has not the scope that the call needs; the code.
    ScopeMissing(String),
    /// The call is locked, for at least this long if Zoho says so.
    Locked(Option<Duration>),
}

/// Reads an answer. `body` is its decoded body, empty when that is too long to be one of Zoho's error answers.
pub(super) fn read(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: std::time::SystemTime,
) -> Option<ReplyKind> {
    // Some servers put a byte order mark before JSON.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // A status of no class is a failure too (RFC 9110 section 15).
    let failed = status.as_u16() >= 400;
    let codes = match serde_json::from_slice::<Value>(body) {
        Ok(body) if failed => codes(&body),
        Ok(body) => success::error_codes(&body),
        Err(_) => Vec::new(),
    };
    if status == StatusCode::TOO_MANY_REQUESTS || codes.iter().any(|code| code == LOCKED) {
        return Some(ReplyKind::Locked(retry_after(headers, now)));
    }
    if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return None;
    }
    let unauthorised = status == StatusCode::UNAUTHORIZED;
    if unauthorised && codes.iter().any(|code| DEAD_TOKEN.contains(&code.as_str())) {
        return Some(ReplyKind::TokenRefused(TokenRefusal::Dead));
    }
    if let Some(code) = codes.iter().find(|code| SCOPE_MISSING.contains(&code.as_str())) {
        return Some(ReplyKind::ScopeMissing(code.clone()));
    }
    if !codes.is_empty() && codes.iter().all(|code| is_of_the_application(code)) {
        return None;
    }
    // RFC 9110 section 15.5.2: the request was not applied for want of valid credentials. Other statuses do not say so:
    // 400 with 7202 or INVALID_TICKET is Zoho's answer to a call without a token, and 403 to one without permission.
    unauthorised.then(|| ReplyKind::TokenRefused(TokenRefusal::Unclear(shape(body, &codes))))
}

/// Whether a code is one of People's forms, leave or timesheets, which look at a call after its token was taken.
fn is_of_the_application(code: &str) -> bool {
    let documented = |code: &u32| matches!(code, 7010..=7199 | 8000..=8099 | 9000..=9099);
    code.parse().is_ok_and(|code| documented(&code))
}

/// The same number for answers of the same shape: by their codes, which do not change from call to call as texts do.
fn shape(body: &[u8], codes: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (body.trim_ascii().is_empty(), serde_json::from_slice::<IgnoredAny>(body).is_ok(), codes).hash(&mut hasher);
    hasher.finish()
}

/// Every error code of an answer whose status says that it failed, from the places where Zoho puts them.
fn codes(body: &Value) -> Vec<String> {
    let places = [body, &body["error"], &body["errors"], &body["response"], &body["response"]["errors"]];
    let entries = places.into_iter().flat_map(|place| match place {
        Value::Array(entries) => entries.as_slice(),
        one => std::slice::from_ref(one),
    });
    entries.flat_map(success::codes).collect()
}

/// `Retry-After`, within reason.
pub(super) fn retry_after(headers: &HeaderMap, now: std::time::SystemTime) -> Option<Duration> {
    retry_after::read(headers, now).map(|span| span.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(status: u16, body: &str) -> Option<ReplyKind> {
        read(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes(), std::time::UNIX_EPOCH)
    }

    #[test]
    fn sees_a_lock_under_any_status_and_in_every_shape() {
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
            assert_eq!(sign(status, body), Some(ReplyKind::Locked(None)), "{status} {body}");
        }
    }

    #[test]
    fn sees_a_dead_token_under_401_only() {
        let people = r#"{"response":{"message":"Error occurred","errors":{"code":7213,"message":"The provided OAuth token is invalid."},"status":1}}"#;
        let calendar = r#"{"error":[{"description":"Invalid OAuth token.","error_code":"INVALID_OAUTHTOKEN","message":"INVALID_OAUTHTOKEN"}]}"#;
        assert_eq!(sign(401, people), Some(ReplyKind::TokenRefused(TokenRefusal::Dead)));
        assert_eq!(sign(401, calendar), Some(ReplyKind::TokenRefused(TokenRefusal::Dead)));
        assert_eq!(sign(200, people), None);
    }

    #[test]
    fn an_unknown_401_has_the_shape_of_its_codes() {
        let shape = |body: &str| match sign(401, body) {
            Some(ReplyKind::TokenRefused(TokenRefusal::Unclear(shape))) => shape,
            other => panic!("{body}: {other:?}"),
        };
        let shapes = ["<html>1</html>", "", "{}", r#"{"code":1}"#, r#"{"error":[{"error_code":"NO"}]}"#].map(shape);
        for (index, one) in shapes.iter().enumerate() {
            assert!(!shapes[..index].contains(one), "{index}");
        }
        assert_eq!(shape("<html>1</html>"), shape("Unauthorized, request 2"));
        assert_eq!(shape(r#"{"code":1,"id":"a"}"#), shape(r#"{"message":"x","code":"1"}"#));
        assert_eq!(sign(401, r#"{"response":{"errors":{"code":7048,"message":"No such user"},"status":1}}"#), None);
        assert_eq!(sign(401, r#"{"error":[{"code":9000}]}"#), None);
        shape(r#"{"errors":[{"code":9000},{"code":7200}]}"#);
        let no_token = r#"{"response":{"errors":{"code":7202,"message":"x"},"status":1}}"#;
        assert_eq!((sign(400, no_token), sign(403, "<html>"), sign(400, "")), (None, None, None));
    }

    #[test]
    fn sees_a_missing_scope_under_401_and_403() {
        let missing = |code: &str| Some(ReplyKind::ScopeMissing(code.to_owned()));
        let crm = r#"{"code":"OAUTH_SCOPE_MISMATCH","details":{},"message":"Unauthorized","status":"error"}"#;
        let people = r#"{"response":{"errors":{"code":7218,"message":"Invalid OAuth Scope"},"status":1}}"#;
        let calendar = r#"{"error":[{"error_code":"OAUTH_SCOPE_MISMATCH","message":"x"}]}"#;
        for status in [401, 403] {
            assert_eq!(sign(status, crm), missing("OAUTH_SCOPE_MISMATCH"));
            assert_eq!(sign(status, people), missing("7218"));
            assert_eq!(sign(status, calendar), missing("OAUTH_SCOPE_MISMATCH"));
        }
        assert_eq!(sign(200, people), None);
        assert_eq!(sign(400, crm), None);
    }

    #[test]
    fn a_record_is_no_lock() {
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
                assert_eq!(sign(status, body), None, "{status} {body}");
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
            let locked = read(StatusCode::TOO_MANY_REQUESTS, &headers, b"", now);
            assert_eq!(locked, Some(ReplyKind::Locked(expected.map(Duration::from_secs))), "{value}");
        }
    }
}
