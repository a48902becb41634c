//! The live page at `/`: one document, its style and its script, which follows `/events`.

mod events;

use http::{HeaderValue, Response, StatusCode, header};

pub use events::Streams;

use super::answer;
use crate::message::body::Body;

/// The page loads nothing but its own files and runs nothing but its own script, and no page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The file of the page at this path.
pub(super) fn file(path: &str) -> Option<Response<Body>> {
    let (content_type, text) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("page.html")),
        "/page.css" => ("text/css; charset=utf-8", include_str!("page.css")),
        "/page.js" => ("text/javascript; charset=utf-8", include_str!("page.js")),
        "/parts.js" => ("text/javascript; charset=utf-8", include_str!("parts.js")),
        "/words.js" => ("text/javascript; charset=utf-8", include_str!("words.js")),
        "/icon.svg" => ("image/svg+xml", include_str!("icon.svg")),
        _ => return None,
    };
    let mut response = answer(StatusCode::OK, content_type, text.to_owned());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(response)
}
