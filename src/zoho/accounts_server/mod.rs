//! The dialect of Zoho's accounts server: the addresses of its OAuth endpoints, what it wants to be asked, its answers, and
//! for how long it blocks.

mod answer;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod revocation;
mod words;

use std::time::Duration;

use oauth2::url::form_urlencoded::Serializer;

pub use answer::{TokenAnswer, is_throttling, read};
pub use revocation::{revocation, revoked};
pub use words::{UNKNOWN_CLIENT, advice, identifier, is_unauthorised};

use super::endpoint::Endpoint;

/// Its answers take a few hundred bytes; a larger one comes from something else.
pub const LARGEST_ANSWER: usize = 64 * 1024;

/// How long Zoho blocks a refresh token after too many token requests (accounts: "access token expiry"), where its answer
/// does not say.
const BLOCKED: Duration = Duration::from_secs(10 * 60);

/// What an answer may say instead: developers report blocks of up to half an hour, and more would be a mistake that costs
/// an account its token.
const SHORTEST_BLOCK: Duration = Duration::from_secs(1);
const LONGEST_BLOCK: Duration = Duration::from_secs(60 * 60);

/// How long token requests are blocked, by the `Retry-After` of the answer.
#[must_use]
pub fn block(retry_after: Option<Duration>) -> Duration {
    retry_after.map_or(BLOCKED, |stated| stated.clamp(SHORTEST_BLOCK, LONGEST_BLOCK))
}

/// Where tokens are granted.
#[must_use]
pub fn token_url(server: &Endpoint) -> String {
    format!("{server}/oauth/v2/token")
}

/// The page on which a person consents (RFC 6749 section 4.1.1, as Zoho's pages have it), for exactly these scopes.
#[must_use]
pub fn authorization_url(
    server: &Endpoint,
    client_id: &str,
    scopes: &[&str],
    redirect_uri: &str,
    state: &str,
) -> String {
    let mut query = Serializer::new(String::new());
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id)
        // Commas, where RFC 6749 has spaces.
        .append_pair("scope", &scopes.join(","))
        .append_pair("redirect_uri", redirect_uri)
        // A refresh token comes only with the first, and for a second time only with the second.
        .append_pair("access_type", "offline")
        .append_pair("prompt", "consent")
        .append_pair("state", state);
    format!("{server}/oauth/v2/auth?{}", query.finish())
}
