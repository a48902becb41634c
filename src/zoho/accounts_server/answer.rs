//! Zoho's token answers, translated into the form of RFC 6749.
//!
//! Zoho reports errors under HTTP 200, throttles with a localised `error`, and has given lifetimes in milliseconds
//! (zoho-facts, section 4). So the status alone decides little. An answer says something about the credentials, or
//! about the rate of token requests, only if its meaning is known: `words` and [`is_throttled`] list these. Every other
//! answer without a token is a temporary fault of the server or of something on the way to it.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::words::{Meaning, known};

/// Zoho's documented lifetime of an access token, which is also the longest accepted lifetime.
const HOUR: u64 = 60 * 60;

/// A lifetime above this many "seconds" is in milliseconds: no token of Zoho's lives longer than an hour.
const SURELY_MILLISECONDS: f64 = 24.0 * 3600.0;

/// The longest error text that is repeated; Zoho's words are shorter.
const LONGEST_WORD: usize = 64;

/// The longest name of a scope, and the longest list of them; Zoho's are shorter by far.
const LONGEST_SCOPE: usize = 100;
const LONGEST_SCOPES: usize = 8 * 1024;

/// The meaning of a token answer.
#[derive(Debug, PartialEq, Eq)]
pub enum TokenAnswer {
    /// A token; the body is a well-formed answer by RFC 6749 section 5.1.
    Granted(Vec<u8>),
    /// The credentials are not (or no longer) valid; Zoho's error word.
    Unauthorised(&'static str),
    /// Too many token requests.
    Throttled,
    /// Anything else: a temporary fault, in words for the log, short and without secrets.
    Unusable(String),
}

/// Texts of a server's own failure, in the shape that Zoho uses for throttling too.
const SERVER_FAILURES: [&str; 8] =
    ["error", "server", "unavailable", "gateway", "timeout", "timed out", "maintenance", "overload"];

/// Whether the status alone says that there are too many requests, even if the body cannot be read.
#[must_use]
pub fn is_throttling(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
}

/// Reads an answer of the token endpoint.
#[must_use]
pub fn read(status: StatusCode, body: &[u8]) -> TokenAnswer {
    // Some servers put a byte order mark before JSON.
    let json = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let fields = match serde_json::from_slice::<Value>(json) {
        Ok(Value::Object(fields)) => fields,
        _ if is_throttling(status) => return TokenAnswer::Throttled,
        _ => {
            let length = body.len();
            return TokenAnswer::Unusable(format!(
                "status {status}, a body of {length} bytes that is not a JSON object"
            ));
        }
    };
    if let Some(token) = text(&fields, "access_token") {
        return granted(status, token, &fields);
    }
    let error = text(&fields, "error").unwrap_or_default();
    match known(error) {
        _ if is_throttling(status) => TokenAnswer::Throttled,
        // A failing server has judged nothing, whatever its answer says.
        _ if status.is_server_error() => TokenAnswer::Unusable(fault(status, error)),
        Some((word, Meaning::Unauthorised)) => TokenAnswer::Unauthorised(word),
        Some((_, Meaning::Throttled)) => TokenAnswer::Throttled,
        None if is_throttled(&fields, error) => TokenAnswer::Throttled,
        None => TokenAnswer::Unusable(fault(status, error)),
    }
}

/// Zoho's answer to too many requests, by its shape, because its texts come in the language of the login. Words in the
/// form of an identifier are not translated, so they are another error.
fn is_throttled(fields: &Map<String, Value>, error: &str) -> bool {
    let identifier = !error.bytes().any(|byte| byte == b' ') && error.is_ascii();
    let lower = error.to_ascii_lowercase();
    text(fields, "status") == Some("failure")
        && text(fields, "error_description").is_some()
        && !identifier
        && !SERVER_FAILURES.iter().any(|failure| lower.contains(failure))
}

fn granted(status: StatusCode, token: &str, fields: &Map<String, Value>) -> TokenAnswer {
    // It goes into a header field, where a space would end it (RFC 6750 section 2.1).
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return TokenAnswer::Unusable(format!("status {status}, an access_token that no header can carry"));
    }
    let mut clean = json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": lifetime(fields).as_secs(),
    });
    if let Some(token) = text(fields, "refresh_token") {
        clean["refresh_token"] = token.into();
    }
    if let Some(scopes) = text(fields, "scope").and_then(scopes) {
        clean["scope"] = scopes.into();
    }
    TokenAnswer::Granted(clean.to_string().into_bytes())
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Option<&'f str> {
    fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A fault for log and `/readyz`. The error text is the server's: it is repeated only where it is short and consists of
/// letters, so that neither a page nor a secret gets there.
fn fault(status: StatusCode, error: &str) -> String {
    let letters = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b' ');
    match error {
        "" => format!("status {status}, neither access_token nor error"),
        word if word.len() <= LONGEST_WORD && word.bytes().all(letters) => format!("status {status}, error \"{word}\""),
        long => format!("status {status}, an error text of {} bytes", long.len()),
    }
}

/// Scopes as RFC 6749 separates them. Callers and logs see them, so anything but a scope of Zoho's is left out, and a
/// list that is longer than any of Zoho's counts as absent.
fn scopes(text: &str) -> Option<String> {
    let fits = |scope: &&str| {
        (1..=LONGEST_SCOPE).contains(&scope.len())
            && scope.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    if text.len() > LONGEST_SCOPES {
        return None;
    }
    let scopes: Vec<_> = text.split([',', ' ']).filter(fits).collect();
    (!scopes.is_empty()).then(|| scopes.join(" "))
}

/// The token's lifetime: `expires_in_sec` before `expires_in`, as a number or a text. Anything but a positive number
/// means the documented hour; a token that expires earlier is replaced when Zoho refuses it.
fn lifetime(fields: &Map<String, Value>) -> Duration {
    let seconds = |name: &str| {
        let stated = match fields.get(name) {
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            _ => None,
        };
        stated.filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0)
    };
    let Some(stated) = seconds("expires_in_sec").or_else(|| seconds("expires_in")) else {
        return Duration::from_secs(HOUR);
    };
    let stated = if stated > SURELY_MILLISECONDS { stated / 1000.0 } else { stated };
    // Whole seconds, as RFC 6749 writes them; the conversion saturates.
    Duration::from_secs((stated.ceil() as u64).min(HOUR))
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
    fn zohos_answers_are_recognised_by_their_shape() {
        let unauthorised = TokenAnswer::Unauthorised;
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
            (
                400,
                r#"{"error_description":"Zu viele Anfragen.","error":"Zugriff verweigert","status":"failure"}"#,
                TokenAnswer::Throttled,
            ),
            (200, r#"{"error":"access_denied"}"#, TokenAnswer::Throttled),
            (200, r#"{"error":"Access Denied"}"#, TokenAnswer::Throttled),
            (429, r#"{}"#, TokenAnswer::Throttled),
            (429, "<html>Too Many Requests</html>", TokenAnswer::Throttled),
            (429, "", TokenAnswer::Throttled),
            (429, r#"{"error":"invalid_client"}"#, TokenAnswer::Throttled),
            (400, r#"{"error":"invalid_grant","error_description":"x"}"#, unauthorised("invalid_grant")),
            (401, r#"{"error":"invalid_client"}"#, unauthorised("invalid_client")),
        ] {
            assert_eq!(read(StatusCode::from_u16(status).unwrap(), body.as_bytes()), expected, "{status} {body}");
        }
    }

    /// One bad answer made an account unauthorised or throttled for up to ten minutes.
    #[test]
    fn an_answer_of_unknown_meaning_is_a_temporary_fault() {
        let bodies = [
            r#"{"error":"Internal Server Error"}"#,
            r#"{"error":"service_unavailable"}"#,
            r#"{"error":"internal_error"}"#,
            r#"{"error":"server_error"}"#,
            r#"{"error":"temporarily_unavailable"}"#,
            r#"{"error":"general_error"}"#,
            r#"{"error":"invalid_request"}"#,
            r#"{"error":"Internal Server Error","error_description":"Please try again later","status":"failure"}"#,
            r#"{"error":"Service Unavailable","error_description":"x","status":"failure"}"#,
            r#"{"error":"Bad Gateway","status":502}"#,
            r#"{"error":"some_new_word","error_description":"x","status":"failure"}"#,
            r#"{"status":"failure"}"#,
            r#"{"error":{"code":"invalid_client"}}"#,
            r#"{"message":"Internal Server Error"}"#,
            "<html>Bad Gateway</html>",
            "",
            "[]",
            "null",
            "{}",
            r#"{"access_token":7}"#,
            r#"{"access_token":"1000.a b"}"#,
            r#"{"access_token":"é"}"#,
            // Found by fuzzing: every call was signed with an empty token until Zoho had refused one.
            r#"{"access_token":"","expires_in":3600}"#,
            "\u{feff}{}",
        ];
        for status in [200, 302, 400, 401, 403, 404, 500, 502, 503, 504, 599] {
            for body in bodies {
                let answer = read(StatusCode::from_u16(status).unwrap(), body.as_bytes());
                assert!(matches!(answer, TokenAnswer::Unusable(_)), "{status} {body}: {answer:?}");
            }
        }
        for body in [r#"{"error":"invalid_client"}"#, r#"{"error":"invalid_code"}"#, r#"{"error":"access_denied"}"#] {
            let answer = read(StatusCode::INTERNAL_SERVER_ERROR, body.as_bytes());
            assert!(matches!(answer, TokenAnswer::Unusable(_)), "{body}: {answer:?}");
        }
    }

    #[test]
    fn an_unreadable_lifetime_means_the_hour() {
        for (fields, expected) in [
            (r#""expires_in":0"#, 3600),
            (r#""expires_in":"0""#, 3600),
            (r#""expires_in":-1"#, 3600),
            (r#""expires_in":null"#, 3600),
            (r#""expires_in":true"#, 3600),
            (r#""expires_in":"soon""#, 3600),
            (r#""expires_in":"inf""#, 3600),
            (r#""expires_in":0.0"#, 3600),
            (r#""expires_in_sec":0,"expires_in":0"#, 3600),
            (r#""expires_in_sec":0,"expires_in":1800000"#, 1800),
            (r#""expires_in_sec":null,"expires_in":900"#, 900),
            (r#""expires_in":1e300"#, 3600),
            (r#""expires_in":18446744073709551615"#, 3600),
            (r#""expires_in":7200"#, 3600),
            (r#""expires_in":1800.5"#, 1801),
            (r#""expires_in":0.5"#, 1),
            (r#""expires_in":" 1800 ""#, 1800),
            (r#""expires_in":1"#, 1),
        ] {
            let body = format!(r#"{{"access_token":"1000.a.b",{fields}}}"#);
            assert_eq!(read(StatusCode::OK, body.as_bytes()), granted(expected), "{fields}");
        }
    }

    #[test]
    fn long_or_secret_texts_are_not_repeated() {
        let message = |error: &str| {
            let body = json!({ "error": error }).to_string();
            let TokenAnswer::Unusable(words) = read(StatusCode::BAD_GATEWAY, body.as_bytes()) else { panic!() };
            words
        };
        assert!(message("Internal Server Error").contains("\"Internal Server Error\""));
        for error in ["x".repeat(60_000), "a\u{1b}[31mred".into(), "line\nbreak".into(), "1000.ab12.cd34".into()] {
            let words = message(&error);
            assert!(words.len() < 100 && words.contains("an error text of"), "{words}");
        }
        let TokenAnswer::Unusable(words) = read(StatusCode::OK, b"1000.secret") else { panic!() };
        assert!(!words.contains("secret"));
        let long = "ZOHOPEOPLE.forms.ALL,".repeat(3000);
        let body = json!({ "access_token": "1000.a.b", "scope": long }).to_string();
        assert_eq!(read(StatusCode::OK, body.as_bytes()), granted(3600), "such a long list counts as absent");
    }
}
