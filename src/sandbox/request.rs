//! A request as received, decoded only as far as the answer needs.

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

/// The largest body that is read: a file of 10 MB with its form. The limit keeps a mistake from filling the memory.
const MOST_BODY: usize = 16 * 1024 * 1024;

/// The authorization schemes that Zoho accepts; its pages show the first, and the second works too.
const SCHEMES: [&str; 2] = ["Zoho-oauthtoken", "Bearer"];

/// A request with its body read.
pub(super) struct Arrival {
    pub(super) method: Method,
    /// Path and query, byte for byte as received.
    pub(super) target: String,
    /// The path alone, as received.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<Bytes, BodyError>,
    query: String,
    segments: Vec<String>,
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge,
    Broken,
}

impl Arrival {
    /// Reads the body. If it is incomplete, the request counts as arrived: its first part did reach Zoho.
    pub(super) async fn read(request: Request<Incoming>) -> Self {
        let (head, body) = request.into_parts();
        let body = read_body(body).await;
        let path = head.uri.path().to_owned();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let target = head.uri.path_and_query().map_or_else(|| path.clone(), ToString::to_string);
        let segments = path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect();
        Self { method: head.method, target, path, headers: head.headers, body, query, segments }
    }

    /// The decoded, non-empty segments of the path.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// The access token, if the request has one in an accepted scheme.
    pub(super) fn access_token(&self) -> Option<&str> {
        let (scheme, token) = self.headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
        let known = SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
        Some(token.trim()).filter(|token| known && !token.is_empty())
    }

    /// A parameter from the query or, if it is missing there, from a form body. Zoho's pages show both for the same
    /// call.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        find(&self.query, name).or_else(|| find(self.form()?, name))
    }

    fn form(&self) -> Option<&str> {
        let content_type = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return None;
        }
        std::str::from_utf8(self.body.as_ref().ok()?).ok()
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, BodyError> {
    // An announced length is trusted, so that callers need not send what will not be read.
    if body.size_hint().lower() > MOST_BODY as u64 {
        return Err(BodyError::TooLarge);
    }
    match Limited::new(body, MOST_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Broken),
    }
}

fn find(pairs: &str, name: &str) -> Option<String> {
    pairs
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| decode_form(key) == name)
        .map(|(_, value)| decode_form(value))
}

/// Decodes a name or value of a query or form, in which a plus sign means a space.
fn decode_form(text: &str) -> String {
    decode(&text.replace('+', " "))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_in_any_encoding() {
        assert_eq!(find("a=1&erecnosList=%5B58%2C59%5D", "erecnosList").as_deref(), Some("[58,59]"));
        assert_eq!(find("erecnos%4Cist=[58]", "erecnosList").as_deref(), Some("[58]"));
        assert_eq!(find("q=a+b%2Bc", "q").as_deref(), Some("a b+c"));
        assert_eq!(find("flag", "flag").as_deref(), Some(""));
        assert_eq!(find("", "flag"), None);
    }
}
