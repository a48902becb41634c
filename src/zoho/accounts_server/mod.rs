//! The dialect of Zoho's accounts server: the addresses of its OAuth endpoints, the form of its requests and answers,
//! and how long it blocks.

mod answer;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod words;

use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode, Uri, header::CONTENT_TYPE};
use oauth2::url::form_urlencoded::Serializer;
use serde_json::Value;

pub use answer::{TokenAnswer, is_throttling, read};
pub use words::{UNKNOWN_CLIENT, advice, identifier, is_unauthorised};

use super::{account::Account, endpoint::Endpoint};
use crate::{message::body::Body, secret::Secret};

/// Its answers take a few hundred bytes; a larger one comes from something else.
pub const LARGEST_ANSWER: usize = 64 * 1024;

/// How long Zoho blocks a refresh token after too many token requests (accounts: "access token expiry"), if its answer
/// does not say.
const BLOCKED: Duration = Duration::from_secs(10 * 60);

/// The limits for the answer's own value: developers report blocks of up to half an hour, and a longer one would be a
/// mistake that costs an account its token.
const SHORTEST_BLOCK: Duration = Duration::from_secs(1);
const LONGEST_BLOCK: Duration = Duration::from_secs(60 * 60);

/// How long token requests are blocked, by the `Retry-After` of the answer.
#[must_use]
pub fn block(retry_after: Option<Duration>) -> Duration {
    retry_after.map_or(BLOCKED, |stated| stated.clamp(SHORTEST_BLOCK, LONGEST_BLOCK))
}

/// The address of the token endpoint.
#[must_use]
pub fn token_url(server: &Endpoint) -> String {
    format!("{server}/oauth/v2/token")
}

/// The page on which a person consents (RFC 6749 section 4.1.1, as Zoho's pages have it), for exactly these scopes.
#[must_use]
pub fn authorization_url(account: &Account, scopes: &[&str], redirect_uri: &str, state: &str) -> String {
    let mut query = Serializer::new(String::new());
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &account.client_id)
        // Commas, where RFC 6749 has spaces.
        .append_pair("scope", &scopes.join(","))
        .append_pair("redirect_uri", redirect_uri)
        // A refresh token is granted only with the first, and again only with the second.
        .append_pair("access_type", "offline")
        .append_pair("prompt", "consent")
        .append_pair("state", state);
    format!("{}/oauth/v2/auth?{}", account.endpoints.accounts, query.finish())
}

/// A request that revokes a refresh token. The token is in the body, since queries end up in logs.
#[must_use]
pub fn revocation(server: &Endpoint, token: &Secret) -> Option<Request<Body>> {
    let form = Serializer::new(String::new()).append_pair("token", token.expose()).finish();
    let mut request = Request::new(Body::full(form));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("{server}/oauth/v2/token/revoke").parse::<Uri>().ok()?;
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, form);
    Some(request)
}

/// Whether the answer confirms the revocation. Zoho reports errors under status 200 too, so only its word for success
/// counts.
///
/// # Errors
/// The answer's error, in words for a person.
pub fn revoked(status: StatusCode, body: &[u8]) -> Result<(), String> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if status.is_success() && answer["status"] == "success" {
        return Ok(());
    }
    match answer["error"].as_str() {
        Some("invalid_code") => {
            Err("Zoho says invalid_code; it is revoked already, or belongs to another data centre".into())
        }
        Some(error) => Err(format!("Zoho says {}", identifier(error))),
        None => Err(format!("status {status}, without confirmation of success")),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn the_token_is_only_in_the_body() {
        let server = "https://accounts.zoho.eu".parse().unwrap();
        let request = revocation(&server, &Secret::from("1000.a+b")).unwrap();
        assert_eq!(request.uri(), "https://accounts.zoho.eu/oauth/v2/token/revoke");
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "token=1000.a%2Bb");
    }

    #[test]
    fn only_the_word_for_success_confirms() {
        assert_eq!(revoked(StatusCode::OK, br#"{"status":"success"}"#), Ok(()));
        for (status, body, expected) in [
            (200, r#"{"error":"invalid_code"}"#, "revoked already"),
            (400, r#"{"error":"invalid_token"}"#, "Zoho says invalid_token"),
            (200, r#"{"error":"1000.secret token","status":"failure"}"#, "not an error code"),
            (500, r#"{"status":"success"}"#, "status 500"),
            (200, "", "status 200"),
            (200, "<html>", "status 200"),
        ] {
            let message = revoked(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap_err();
            assert!(message.contains(expected) && !message.contains("secret"), "{body}: {message}");
        }
    }
}
