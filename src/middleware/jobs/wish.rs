//! What a request says about jobs: `Prefer: respond-async` (RFC 7240) and `Idempotency-Key`
//! (draft-ietf-httpapi-idempotency-key-header-07).

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName};
use sfv::StringRef;

use crate::message::{
    list::{Quotes, members},
    payload_error::Fault,
};

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Far longer than any random number or record id, and short enough to keep ten thousand of them in memory.
const LONGEST_KEY: usize = 255;

/// The wishes of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// The call is to become a job: the caller does not wait for the answer.
    pub(super) asynchronous: bool,
    /// The caller says that the call may be repeated, although it may change something: `respond-async; idempotent`.
    pub(super) idempotent: bool,
    /// How long the caller waits before the call becomes a job.
    pub(super) wait: Option<Duration>,
    /// The key that makes a repeated request the same call.
    pub(super) key: Option<String>,
}

impl Wish {
    /// # Errors
    /// The fault of a malformed `Idempotency-Key`. A malformed preference is ignored, as RFC 7240 section 2 requires.
    pub(super) fn of(headers: &HeaderMap, wait: Option<Duration>) -> Result<Self, Fault> {
        let key = key(headers)?;
        let asynchronous = members(headers, "prefer", Quotes::Strings).find_map(respond_async);
        let idempotent = asynchronous == Some(Idempotent(true));
        Ok(Self { asynchronous: asynchronous.is_some(), idempotent, wait, key })
    }
}

/// Whether `respond-async` has the parameter `idempotent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Idempotent(bool);

fn respond_async(preference: &str) -> Option<Idempotent> {
    let mut parts = preference.split(';').map(str::trim);
    let is_named = parts.next()?.eq_ignore_ascii_case("respond-async");
    is_named.then(|| Idempotent(parts.any(|parameter| parameter.eq_ignore_ascii_case("idempotent"))))
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let mut fields = headers.get_all(IDEMPOTENCY_KEY).iter();
    let key = match (fields.next(), fields.next()) {
        (None, _) => return Ok(None),
        (Some(field), None) => sfv::Parser::new(field.as_bytes()).parse_item::<Cow<'_, StringRef>>().ok(),
        (Some(_), Some(_)) => None,
    };
    let key = key.map(|key| key.as_str().to_owned());
    key.filter(|key| (1..=LONGEST_KEY).contains(&key.len())).map(Some).ok_or_else(|| Fault {
        parameter: "Idempotency-Key".to_owned(),
        pointer: String::new(),
        detail: format!(
            "expected one string of 1 to {LONGEST_KEY} characters in double quotes, such as \"8e03978e-40d5\""
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn reads_the_preference() {
        for (value, asynchronous, idempotent) in [
            ("respond-async", true, false),
            ("Respond-Async", true, false),
            ("wait=10, respond-async", true, false),
            ("respond-async; idempotent", true, true),
            ("respond-async;wait=3;Idempotent", true, true),
            ("respond-async=1", false, false),
            ("x=\"respond-async\"", false, false),
            ("x=\"a, respond-async\"", false, false),
            ("respond", false, false),
            ("idempotent", false, false),
        ] {
            let wish = Wish::of(&headers(&[("prefer", value)]), None).unwrap();
            assert_eq!((wish.asynchronous, wish.idempotent), (asynchronous, idempotent), "{value}");
        }
    }

    #[test]
    fn the_key_is_one_string() {
        let key = |value: &str| Wish::of(&headers(&[("idempotency-key", value)]), None).map(|wish| wish.key);
        assert_eq!(key("\"a b\""), Ok(Some("a b".to_owned())));
        assert_eq!(key("\"a\\\"b\";x=1"), Ok(Some("a\"b".to_owned())));
        let long = format!("\"{}\"", "a".repeat(LONGEST_KEY + 1));
        for malformed in ["", "a", "\"\"", "\"a", "\"a\", \"b\"", "1", "?1", ":YQ==:", &long] {
            assert!(key(malformed).is_err(), "{malformed}");
        }
        let twice = headers(&[("idempotency-key", "\"a\""), ("idempotency-key", "\"a\"")]);
        assert!(Wish::of(&twice, None).is_err());
        assert_eq!(Wish::of(&HeaderMap::new(), None).unwrap().key, None);
    }
}
