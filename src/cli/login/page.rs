//! The page that the browser shows at the end.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};
use http_body_util::Full;

/// The page's address contains a code, so nobody stores it or sends it on, and the page loads nothing.
const HEADERS: [(http::HeaderName, &str); 6] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
];

/// A page with a heading and a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    status: StatusCode,
    heading: &'static str,
    text: String,
}

impl Page {
    /// The login succeeded.
    #[must_use]
    pub fn done(account: &str) -> Self {
        let text = format!("The account {account} is logged in. This window can be closed.");
        Self { status: StatusCode::OK, heading: "Logged in", text }
    }

    /// The login failed, for this reason.
    #[must_use]
    pub fn failed(reason: &str) -> Self {
        let text = format!("{reason}. The terminal says more; this window can be closed.");
        Self { status: StatusCode::BAD_REQUEST, heading: "Not logged in", text }
    }

    /// The request is not the expected redirect.
    pub(super) fn refused(status: StatusCode, text: &str) -> Self {
        Self { status, heading: "Not this login's redirect", text: text.to_owned() }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let Self { status, heading, text } = self;
        let html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{heading} - zoho-gateway</title>\
             </head>\n<body>\n<h1>{heading}</h1>\n<p>{}</p>\n</body>\n</html>\n",
            escaped(&text)
        );
        let mut response = Response::new(Full::from(html));
        *response.status_mut() = status;
        for (name, value) in HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn what_came_from_outside_is_text() {
        let response = Page::failed("<script>alert(1)</script>").into_response();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("&lt;script&gt;") && !body.contains("<script"), "{body}");
    }
}
