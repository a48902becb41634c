//! Zoho's token answers, made into what RFC 6749 says they should be.
//!
//! Zoho reports errors under HTTP 200, throttles with a localised `error`, and has given lifetimes in milliseconds
//! (zoho-facts, section 4). Answers are therefore told apart by their shape and by the identifiers in them, never by
//! their words or their status alone.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

/// Zoho's documented lifetime of an access token, and the longest we believe.
const HOUR: u64 = 60 * 60;

/// A lifetime above this many "seconds" is in milliseconds: no token of Zoho's lives longer than an hour.
const SURELY_MILLISECONDS: u64 = 24 * HOUR;

/// What a token answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TokenAnswer {
    /// A token; the body is a well-formed answer by RFC 6749 section 5.1.
    Granted(Vec<u8>),
    /// The credentials are not (or no longer) valid; Zoho's identifier for why.
    Unauthorised(String),
    /// Too many token requests.
    Throttled,
    /// Neither; in words for the log, without the body.
    Unintelligible(String),
}

/// Reads an answer of the token endpoint.
pub(super) fn read(status: StatusCode, body: &[u8]) -> TokenAnswer {
    let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(body) else {
        return TokenAnswer::Unintelligible(format!(
            "status {status}, a body of {} bytes that is no JSON object",
            body.len()
        ));
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("access_token") {
        // It goes into a field, where a space would end it (RFC 6750 section 2.1).
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return TokenAnswer::Unintelligible(format!("status {status}, an access_token that is none"));
        }
        let mut clean = json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": lifetime(&fields).as_secs(),
        });
        if let Some(token) = text("refresh_token") {
            clean["refresh_token"] = token.into();
        }
        if let Some(scopes) = text("scope").and_then(scopes) {
            clean["scope"] = scopes.into();
        }
        return TokenAnswer::Granted(clean.to_string().into_bytes());
    }
    let error = fields.get("error").and_then(Value::as_str).unwrap_or_default();
    let failure = fields.get("status").and_then(Value::as_str) == Some("failure");
    // Error codes are identifiers; "Access Denied" and its translations are sentences.
    let identifier = !error.is_empty() && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match error {
        "access_denied" | "slow_down" => TokenAnswer::Throttled,
        "general_error" | "server_error" | "temporarily_unavailable" => {
            TokenAnswer::Unintelligible(format!("status {status}, error {error}"))
        }
        _ if identifier => TokenAnswer::Unauthorised(error.to_owned()),
        _ if failure || status == StatusCode::TOO_MANY_REQUESTS || !error.is_empty() => TokenAnswer::Throttled,
        _ => TokenAnswer::Unintelligible(format!("status {status}, neither access_token nor error")),
    }
}

/// Scopes as RFC 6749 parts them. They are shown to callers and in logs, so what is no scope of Zoho's is passed over.
fn scopes(text: &str) -> Option<String> {
    let fits = |scope: &&str| {
        !scope.is_empty()
            && scope.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    let scopes: Vec<_> = text.split([',', ' ']).filter(fits).collect();
    (!scopes.is_empty()).then(|| scopes.join(" "))
}

/// How long the token lives: `expires_in_sec` before `expires_in`, numbers as text accepted, an hour when in doubt.
fn lifetime(fields: &serde_json::Map<String, Value>) -> Duration {
    let seconds = |name: &str| match fields.get(name) {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let stated = seconds("expires_in_sec").or_else(|| seconds("expires_in")).unwrap_or(HOUR);
    let stated = if stated > SURELY_MILLISECONDS { stated / 1000 } else { stated };
    Duration::from_secs(stated.min(HOUR))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(expires_in: u64) -> TokenAnswer {
        granted_with(expires_in, &[])
    }

    fn granted_with(expires_in: u64, more: &[(&str, &str)]) -> TokenAnswer {
        let mut body = json!({"access_token": "1000.a.b", "token_type": "Bearer", "expires_in": expires_in});
        for (name, value) in more {
            body[name] = (*value).into();
        }
        TokenAnswer::Granted(body.to_string().into_bytes())
    }

    #[test]
    fn knows_zohos_answers_by_their_shape() {
        let unauthorised = |error: &str| TokenAnswer::Unauthorised(error.into());
        for (status, body, expected) in [
            (
                200,
                r#"{"access_token":"1000.a.b","scope":"x","api_domain":"https://www.zohoapis.com","token_type":"Bearer","expires_in":3600}"#,
                granted_with(3600, &[("scope", "x")]),
            ),
            (
                200,
                r#"{"access_token":"1000.a.b","refresh_token":"1000.c.d","scope":"a.b.ALL,c.d.READ","expires_in":3600}"#,
                granted_with(3600, &[("refresh_token", "1000.c.d"), ("scope", "a.b.ALL c.d.READ")]),
            ),
            (
                200,
                r#"{"access_token":"1000.a.b","scope":"a.b.ALL, \u001b[31m,client_secret=x a.b_c.READ"}"#,
                granted_with(3600, &[("scope", "a.b.ALL a.b_c.READ")]),
            ),
            (200, r#"{"access_token":"1000.a.b","scope":"grant_type=refresh_token&refresh_token=x"}"#, granted(3600)),
            (200, r#"{"access_token":"1000.a.b","scope":null,"refresh_token":7}"#, granted(3600)),
            (200, r#"{"access_token":"1000.a.b","scope":"","refresh_token":""}"#, granted(3600)),
            (200, r#"{"access_token":"1000.a.b","expires_in_sec":3600,"expires_in":3600000}"#, granted(3600)),
            (200, r#"{"access_token":"1000.a.b","expires_in":3600000}"#, granted(3600)),
            (200, r#"{"access_token":"1000.a.b","expires_in":"1800"}"#, granted(1800)),
            (200, r#"{"access_token":"1000.a.b"}"#, granted(3600)),
            (200, r#"{"error":"invalid_client"}"#, unauthorised("invalid_client")),
            (200, r#"{"error":"invalid_client_secret"}"#, unauthorised("invalid_client_secret")),
            (200, r#"{"error":"invalid_code"}"#, unauthorised("invalid_code")),
            (400, r#"{"error":"invalid_code"}"#, unauthorised("invalid_code")),
            (
                400,
                r#"{"error_description":"You have made too many requests continuously. Please try again after some time.","error":"Access Denied","status":"failure"}"#,
                TokenAnswer::Throttled,
            ),
            (200, r#"{"error_description":"x","error":"Access Denied","status":"failure"}"#, TokenAnswer::Throttled),
            (
                400,
                r#"{"error_description":"您已连续发出太多请求。请稍后再试。","error":"拒绝访问","status":"failure"}"#,
                TokenAnswer::Throttled,
            ),
            (200, r#"{"error":"access_denied"}"#, TokenAnswer::Throttled),
            (429, r#"{}"#, TokenAnswer::Throttled),
        ] {
            assert_eq!(read(StatusCode::from_u16(status).unwrap(), body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn what_is_no_token_answer_is_said_to_be_none() {
        for body in [
            "<html>Bad Gateway</html>",
            "",
            "[]",
            "null",
            "{}",
            r#"{"access_token":7}"#,
            r#"{"access_token":"1000.a b"}"#,
            r#"{"access_token":"é"}"#,
            // Found by fuzzing: every call was signed with nothing until Zoho had refused one.
            r#"{"access_token":"","expires_in":3600}"#,
            r#"{"error":"general_error"}"#,
            "\u{feff}{}",
        ] {
            let answer = read(StatusCode::OK, body.as_bytes());
            assert!(matches!(answer, TokenAnswer::Unintelligible(_)), "{body}: {answer:?}");
        }
    }

    #[test]
    fn never_repeats_the_body() {
        let TokenAnswer::Unintelligible(words) = read(StatusCode::OK, b"1000.secret") else { panic!() };
        assert!(!words.contains("secret"));
    }
}
