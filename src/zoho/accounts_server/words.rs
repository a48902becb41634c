//! The error words of the accounts server, their meanings, and advice for each.

/// A client that this data centre does not know; another one may.
pub const UNKNOWN_CLIENT: &str = "invalid_client";

/// The meaning of a known error word.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning {
    Unauthorised,
    Throttled,
}

/// Every error word whose meaning has a source. Other words say nothing about the credentials.
const WORDS: [(&str, Meaning); 9] = [
    // At Zoho under HTTP 200: asciisd/zoho#18. In RFC 6749 section 5.2 too.
    (UNKNOWN_CLIENT, Meaning::Unauthorised),
    // At Zoho under HTTP 200: guanguans/notify, ZohoCliq/Authenticator.php.
    ("invalid_client_secret", Meaning::Unauthorised),
    // At Zoho under HTTP 200: for a used code, and for a revoked refresh token.
    ("invalid_code", Meaning::Unauthorised),
    // Only for codes; Zoho's users know it, no page lists it.
    ("invalid_redirect_uri", Meaning::Unauthorised),
    // RFC 6749 section 5.2: other servers' word for `invalid_code`, and for a client that may not use this grant.
    ("invalid_grant", Meaning::Unauthorised),
    ("unauthorized_client", Meaning::Unauthorised),
    // Zoho CRM v8, token-validity: too many requests.
    ("access_denied", Meaning::Throttled),
    // Zoho's page on devices, and RFC 8628 section 3.5.
    ("slow_down", Meaning::Throttled),
    // Kaizen #43: under HTTP 200, without a description.
    ("Access Denied", Meaning::Throttled),
];

/// Looks up a word, ignoring case.
pub(super) fn known(error: &str) -> Option<(&'static str, Meaning)> {
    WORDS.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(error))
}

/// Whether a stored reason is one of Zoho's words for refused credentials.
#[must_use]
pub fn is_unauthorised(reason: &str) -> bool {
    WORDS.iter().any(|(word, meaning)| *word == reason && matches!(meaning, Meaning::Unauthorised))
}

/// Advice for a person who logs in with a code; `redirect_uri` is `None` for a self client's code.
#[must_use]
pub fn advice(reason: &str, redirect_uri: Option<&str>) -> String {
    let advice = match (reason, redirect_uri) {
        (UNKNOWN_CLIENT, _) => "this data centre does not know client_id; compare it with the API console",
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

/// An error code that may be shown. Anyone can write text into a redirect, so other text is not repeated.
#[must_use]
pub fn identifier(error: &str) -> String {
    let sound =
        (1..=64).contains(&error.len()) && error.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if sound { error.to_owned() } else { "something that is not an error code".to_owned() }
}
