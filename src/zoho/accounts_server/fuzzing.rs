//! Fuzzes answers of a token endpoint: no token is empty or lives longer than an hour.

use http::StatusCode;
use oauth2::{TokenResponse, basic::BasicTokenResponse};

use super::{TokenAnswer, read};

/// Replaces text in an answer that may be a token, and must not occur in the words about it.
const SECRET: &str = "8675309";

/// Takes the first line as the status, and the rest as the body.
pub fn answer(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let (Some(status), Some(body)) = (lines.next(), lines.next()) else { return };
    let Ok(status) = StatusCode::from_bytes(status) else { return };
    match read(status, body) {
        TokenAnswer::Granted(clean) => {
            // Parsed by the crate that the gateway uses.
            let granted: BasicTokenResponse = serde_json::from_slice(&clean).expect("an answer by RFC 6749");
            assert!(!granted.access_token().secret().is_empty(), "an empty access token");
            assert!(granted.expires_in().is_some_and(|life| life.as_secs() <= 3600), "{:?}", granted.expires_in());
            let empty = granted.refresh_token().is_some_and(|token| token.secret().is_empty());
            assert!(!empty, "an empty refresh token");
            assert_eq!(read(status, &clean), TokenAnswer::Granted(clean), "a second reading agrees");
        }
        TokenAnswer::Unauthorised(reason) => {
            let of_identifiers = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(!reason.is_empty() && reason.bytes().all(of_identifiers), "{reason:?} is not an identifier");
        }
        TokenAnswer::Throttled => {}
        TokenAnswer::Unusable(words) => {
            assert!(!words.contains(SECRET) && words.len() < 200, "{words}");
        }
    }
}
