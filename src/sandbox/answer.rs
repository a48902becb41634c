//! An answer: a status and a JSON body, with Zoho's headers.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, LOCATION, SET_COOKIE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::Full;
use serde_json::{Value, json};

use super::{api::Product, random::Random};

/// A status and a JSON body.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    /// The target of a redirect.
    location: Option<String>,
}

impl Answer {
    pub(super) fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body, location: None }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }

    pub(super) fn bad_request(body: Value) -> Self {
        Self::new(StatusCode::BAD_REQUEST, body)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, json!({"error": "method_not_allowed"}))
    }

    /// A redirect for the user's browser.
    pub(super) fn found(location: String) -> Self {
        Self { status: StatusCode::FOUND, body: json!({}), location: Some(location) }
    }

    /// The response of Accounts or the control plane.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.to_string().into()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(location) = self.location.and_then(|location| HeaderValue::try_from(location).ok()) {
            headers.insert(LOCATION, location);
        }
        response
    }

    /// The response of a product: each answer sets a cookie of the load balancer and an anti-forgery cookie. They
    /// concern only Zoho and the holder of the token, so the gateway must not pass them on.
    pub(super) fn with_cookies(self, product: Product, random: &mut Random) -> Response<Full<Bytes>> {
        let mut response = self.into_response();
        let (balancer, forgery) = match product {
            Product::People => ("zalb_c7cb34e6ac", "CSRF_TOKEN"),
            Product::Calendar => ("zalb_8b7213828d", "_zcsr_tmp"),
        };
        let cookies = [
            format!("{balancer}={}; Path=/; Secure; HttpOnly", random.hex()),
            format!("{forgery}={};path=/;SameSite=None;Secure;priority=high", random.hex()),
        ];
        for cookie in cookies {
            if let Ok(cookie) = HeaderValue::try_from(cookie) {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
        }
        response
    }
}
