//! Revoking a refresh token.

use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode, Uri, header::CONTENT_TYPE};
use oauth2::url::form_urlencoded::Serializer;
use serde_json::Value;

use super::callback;
use crate::{
    message::body::Body,
    problem::{Cause, respond},
    secret::Secret,
    upstream::{Client, Fetch},
    zoho::{account::Account, endpoint::Endpoint},
};

/// The longest answer; Zoho sends a few words.
const LARGEST_ANSWER: usize = 64 * 1024;

/// The token may still be valid.
#[derive(Debug, thiserror::Error)]
#[error("{server} did not revoke the refresh token: {words}")]
pub struct NotRevoked {
    server: Endpoint,
    words: String,
}

/// Revokes a refresh token and the access tokens that were granted for it.
///
/// # Errors
/// [`NotRevoked`], also when the answer is unclear.
pub async fn revoke(client: &Client, timeout: Duration, account: &Account, token: &Secret) -> Result<(), NotRevoked> {
    let server = &account.endpoints.accounts;
    let failed = |words: String| NotRevoked { server: server.clone(), words };
    let request = request(server, token).ok_or_else(|| failed(respond::for_operators(&Cause::Internal)))?;
    let fetch = Fetch { client, server: server.authority().as_str(), timeout, max_body: LARGEST_ANSWER };
    let answer = fetch.send(request, |_| true).await;
    let (head, body) = answer.map_err(|failure| failed(respond::for_operators(&failure.cause)))?;
    success(head.status, &body).map_err(failed)
}

/// The token is in the body, because a query ends up in logs.
fn request(server: &Endpoint, token: &Secret) -> Option<Request<Body>> {
    let form = Serializer::new(String::new()).append_pair("token", token.expose()).finish();
    let mut request = Request::new(Body::full(form));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("{server}/oauth/v2/token/revoke").parse::<Uri>().ok()?;
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, form);
    Some(request)
}

/// Zoho reports errors under status 200 too, so only its own word for success counts.
fn success(status: StatusCode, body: &[u8]) -> Result<(), String> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if status.is_success() && answer["status"] == "success" {
        return Ok(());
    }
    match answer["error"].as_str() {
        Some("invalid_code") => Err("Zoho says invalid_code; it is revoked already, or of another data centre".into()),
        Some(error) => Err(format!("Zoho says {}", callback::identifier(error))),
        None => Err(format!("status {status}, without a word of success")),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn the_token_stands_in_the_body_alone() {
        let server = "https://accounts.zoho.eu".parse().unwrap();
        let request = request(&server, &Secret::from("1000.a+b")).unwrap();
        assert_eq!(request.uri(), "https://accounts.zoho.eu/oauth/v2/token/revoke");
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "token=1000.a%2Bb");
    }

    #[test]
    fn only_a_word_of_success_is_one() {
        assert_eq!(success(StatusCode::OK, br#"{"status":"success"}"#), Ok(()));
        for (status, body, expected) in [
            (200, r#"{"error":"invalid_code"}"#, "revoked already"),
            (400, r#"{"error":"invalid_token"}"#, "Zoho says invalid_token"),
            (200, r#"{"error":"1000.secret token","status":"failure"}"#, "no error code"),
            (500, r#"{"status":"success"}"#, "status 500"),
            (200, "", "status 200"),
            (200, "<html>", "status 200"),
        ] {
            let told = success(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap_err();
            assert!(told.contains(expected) && !told.contains("secret"), "{body}: {told}");
        }
    }
}
