//! Any answer of a token endpoint: no token without a text or with a life of more than an hour.

use http::StatusCode;
use oauth2::{TokenResponse, basic::BasicTokenResponse};

use super::{TokenAnswer, read};

/// Stands in an answer for what may be a token, and must not turn up in the words about it.
const SECRET: &str = "8675309";

/// Reads a line with the status, and the body from there on.
pub fn answer(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let (Some(status), Some(body)) = (lines.next(), lines.next()) else { return };
    let Ok(status) = StatusCode::from_bytes(status) else { return };
    match read(status, body) {
        TokenAnswer::Granted(clean) => {
            // By the crate that reads it in the end.
            let granted: BasicTokenResponse = serde_json::from_slice(&clean).expect("an answer by RFC 6749");
            assert!(!granted.access_token().secret().is_empty(), "an empty access token");
            assert!(granted.expires_in().is_some_and(|life| life.as_secs() <= 3600), "{:?}", granted.expires_in());
            let empty = granted.refresh_token().is_some_and(|token| token.secret().is_empty());
            assert!(!empty, "an empty refresh token");
            assert_eq!(read(status, &clean), TokenAnswer::Granted(clean), "read again it says the same");
        }
        TokenAnswer::Unauthorised(reason) => {
            let of_identifiers = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(!reason.is_empty() && reason.bytes().all(of_identifiers), "{reason:?} is no identifier");
        }
        TokenAnswer::Throttled => {}
        TokenAnswer::Unusable(words) => {
            assert!(!words.contains(SECRET) && words.len() < 200, "{words}");
        }
    }
}
