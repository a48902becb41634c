//! The revocation of a refresh token.

use http::{HeaderValue, Method, Request, StatusCode, Uri, header::CONTENT_TYPE};
use oauth2::url::form_urlencoded::Serializer;
use serde_json::Value;

use super::identifier;
use crate::{message::body::Body, secret::Secret, zoho::endpoint::Endpoint};

/// A request for the end of a refresh token, which goes into the body: a query would end up in logs.
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

/// Whether the answer confirms it. Zoho reports errors under status 200 too, so only its own word for success counts.
///
/// # Errors
/// What the answer says instead, for a person.
pub fn revoked(status: StatusCode, body: &[u8]) -> Result<(), String> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if status.is_success() && answer["status"] == "success" {
        return Ok(());
    }
    match answer["error"].as_str() {
        Some("invalid_code") => Err("Zoho says invalid_code; it is revoked already, or of another data centre".into()),
        Some(error) => Err(format!("Zoho says {}", identifier(error))),
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
        let request = revocation(&server, &Secret::from("1000.a+b")).unwrap();
        assert_eq!(request.uri(), "https://accounts.zoho.eu/oauth/v2/token/revoke");
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "token=1000.a%2Bb");
    }

    #[test]
    fn only_a_word_of_success_is_one() {
        assert_eq!(revoked(StatusCode::OK, br#"{"status":"success"}"#), Ok(()));
        for (status, body, expected) in [
            (200, r#"{"error":"invalid_code"}"#, "revoked already"),
            (400, r#"{"error":"invalid_token"}"#, "Zoho says invalid_token"),
            (200, r#"{"error":"1000.secret token","status":"failure"}"#, "no error code"),
            (500, r#"{"status":"success"}"#, "status 500"),
            (200, "", "status 200"),
            (200, "<html>", "status 200"),
        ] {
            let told = revoked(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap_err();
            assert!(told.contains(expected) && !told.contains("secret"), "{body}: {told}");
        }
    }
}
