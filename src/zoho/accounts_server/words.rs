//! The error words of the accounts server: what they mean, and what to do about them.

/// A client that this data centre does not know; another one may.
pub const UNKNOWN_CLIENT: &str = "invalid_client";

/// What a known error word means.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning {
    Unauthorised,
    Throttled,
}

/// Every error word whose meaning has a source. No other word says anything about the credentials.
const WORDS: [(&str, Meaning); 9] = [
    // At Zoho under HTTP 200: asciisd/zoho#18. In RFC 6749 section 5.2 too.
    (UNKNOWN_CLIENT, Meaning::Unauthorised),
    // At Zoho under HTTP 200: guanguans/notify, ZohoCliq/Authenticator.php.
    ("invalid_client_secret", Meaning::Unauthorised),
    // At Zoho under HTTP 200: of a code that was used, and of a refresh token that was revoked.
    ("invalid_code", Meaning::Unauthorised),
    // Of codes only; Zoho's users know it, no page lists it.
    ("invalid_redirect_uri", Meaning::Unauthorised),
    // RFC 6749 section 5.2: what other servers say for `invalid_code`, and of a client that may not use this grant.
    ("invalid_grant", Meaning::Unauthorised),
    ("unauthorized_client", Meaning::Unauthorised),
    // Zoho CRM v8, token-validity: too many requests.
    ("access_denied", Meaning::Throttled),
    // Zoho's page on devices, and RFC 8628 section 3.5.
    ("slow_down", Meaning::Throttled),
    // Kaizen #43: under HTTP 200, without more.
    ("Access Denied", Meaning::Throttled),
];

/// Looks a word up, in any case.
pub(super) fn known(error: &str) -> Option<(&'static str, Meaning)> {
    WORDS.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(error))
}

/// Whether a stored reason is one of Zoho's words for refused credentials.
#[must_use]
pub fn is_unauthorised(reason: &str) -> bool {
    WORDS.iter().any(|(word, meaning)| *word == reason && matches!(meaning, Meaning::Unauthorised))
}

/// What a person can do who logs in with a code; `redirect_uri` is `None` for a self client's code.
#[must_use]
pub fn advice(reason: &str, redirect_uri: Option<&str>) -> String {
    let advice = match (reason, redirect_uri) {
        (UNKNOWN_CLIENT, _) => "client_id is none of this data centre's; compare it with the API console",
        ("invalid_client_secret", _) => {
            "client_secret is wrong; a client has another one in each data centre, unless it was set up with the same"
        }
        ("invalid_code", Some(_)) => "the code was used before or is older than two minutes; log in again",
        ("invalid_code", None) => {
            "the code was used before, is too old, or was made by another client or in another data centre; \
             let the API console make a new one"
        }
        ("invalid_redirect_uri", Some(uri)) => {
            return format!("Zoho says {reason}; register {uri} for the client in the API console");
        }
        ("invalid_redirect_uri", None) => "the code is not a self client's; log in without --code",
        _ => "compare client_id, client_secret and data_center with the API console",
    };
    format!("Zoho says {reason}; {advice}")
}

/// An error code as it may be shown. Anybody can write one into a redirect, so nothing else is repeated.
#[must_use]
pub fn identifier(error: &str) -> String {
    let sound =
        (1..=64).contains(&error.len()) && error.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if sound { error.to_owned() } else { "something that is no error code".to_owned() }
}
