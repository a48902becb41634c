//! Who may ask for which page of the admin listener.
//!
//! Without an operators' key, reading is free, and actions are taken only from this machine or from a client with a
//! certificate. With a key, both need it. A browser asks its user for it as the password of HTTP's basic authentication.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{Admin, text};
use crate::{
    call::peer::{Exposure, Peer},
    message::body::Body,
    middleware::caller::KeyHash,
};

/// How many digits of a key's hash name the key in the audit.
const DIGITS: usize = 8;

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody who reaches the listener, such as probes.
    Everybody,
    /// Those who may see what the gateway does.
    Reader,
    /// Those who may change what the gateway does.
    Operator,
}

impl Admin {
    /// Who asks, in words for the audit; or the answer to somebody who may not.
    pub(super) fn who(&self, access: Access, headers: &HeaderMap, peer: &Peer) -> Result<String, Box<Response<Body>>> {
        if access == Access::Everybody {
            return Ok(String::new());
        }
        if !self.keys.is_empty() {
            return self.by_key(headers);
        }
        match (peer.names.first(), peer.exposure) {
            (Some(name), _) => Ok(format!("certificate {name}")),
            (None, Exposure::Network) if access == Access::Operator => Err(Box::new(text(
                StatusCode::FORBIDDEN,
                "without a key, actions are taken on loopback only: set admin.key_sha256 (zoho-gateway key makes one)\n",
            ))),
            (None, Exposure::Network) => Ok("network".to_owned()),
            (None, Exposure::Loopback | Exposure::Unix) => Ok("this machine".to_owned()),
        }
    }

    fn by_key(&self, headers: &HeaderMap) -> Result<String, Box<Response<Body>>> {
        let Some(key) = presented(headers) else {
            return Err(unauthenticated("this page needs the operators' key (Authorization: Bearer KEY)\n"));
        };
        if self.keys.by_key(&key).is_none() {
            tracing::warn!("the admin listener refused an unknown key");
            return Err(unauthenticated("the key is not one of the operators' keys (admin.key_sha256)\n"));
        }
        let mut hash = KeyHash::of(&key).to_string();
        hash.truncate(DIGITS);
        Ok(format!("key {hash}"))
    }
}

/// The key of `Bearer KEY`, or of `Basic`, where it is the password (RFC 7617).
fn presented(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, rest) = field.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = BASE64_STANDARD.decode(rest).ok()?;
    let colon = credentials.iter().position(|byte| *byte == b':')?;
    Some(credentials[colon + 1..].to_vec())
}

fn unauthenticated(words: &str) -> Box<Response<Body>> {
    let mut response = text(StatusCode::UNAUTHORIZED, words);
    let challenge = HeaderValue::from_static("Bearer realm=\"zoho-gateway\", Basic realm=\"zoho-gateway\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    Box::new(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_as_bearer_or_as_password() {
        let key = |field: &'static str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(field))]);
            presented(&headers).map(|key| String::from_utf8(key).unwrap())
        };
        for (field, expected) in [
            ("Bearer zgw_1", Some("zgw_1")),
            ("bearer  zgw_1 ", Some("zgw_1")),
            // any:zgw_1, :zgw_1 and any
            ("Basic YW55Onpnd18x", Some("zgw_1")),
            ("basic Onpnd18x", Some("zgw_1")),
            ("Basic YW55", None),
            ("Basic !", None),
            ("Digest zgw_1", None),
            ("zgw_1", None),
        ] {
            assert_eq!(key(field).as_deref(), expected, "{field}");
        }
        let mut twice = HeaderMap::new();
        twice.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        twice.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer b"));
        assert_eq!(presented(&twice), None);
    }
}
