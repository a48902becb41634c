//! What a caller asks of the cache: `Cache-Control` in a request (RFC 9111 section 5.2.1) and `If-None-Match`.

use std::time::Duration;

use http::{HeaderMap, header};

/// A request's directives.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// Nothing of this exchange is kept, and nothing kept is used.
    pub(super) no_store: bool,
    /// Nothing kept is used without asking Zoho.
    pub(super) no_cache: bool,
    /// Nothing kept is sent to Zoho for; it answers at once or not at all.
    pub(super) only_if_cached: bool,
    /// Nothing older than this is used.
    pub(super) max_age: Option<Duration>,
    /// Nothing that keeps for less than this is used.
    pub(super) min_fresh: Duration,
}

impl Directives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        for directive in values.flat_map(|value| value.split(',')) {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = || argument.trim().trim_matches('"').parse().ok().map(Duration::from_secs);
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" => directives.no_store = true,
                "no-cache" => directives.no_cache = true,
                "only-if-cached" => directives.only_if_cached = true,
                // A malformed age is none: the stricter reading.
                "max-age" => directives.max_age = Some(seconds().unwrap_or_default()),
                "min-fresh" => directives.min_fresh = seconds().unwrap_or(Duration::MAX),
                _ => {}
            }
        }
        directives
    }

    /// Whether an answer of this age, kept for `keeps`, may be used.
    pub(super) fn accept(&self, age: Duration, keeps: Duration) -> bool {
        !self.no_cache && age < keeps && self.max_age.is_none_or(|max| age <= max) && keeps - age >= self.min_fresh
    }
}

/// Whether `If-None-Match` names this entity tag, by weak comparison (RFC 9110 section 13.1.2).
pub(super) fn none_match_names(headers: &HeaderMap, etag: &str) -> bool {
    let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|tag| tag.trim() == "*" || weak(tag) == weak(etag))
}
