//! A request's cache directives: `Cache-Control` (RFC 9111 section 5.2.1, RFC 5861 section 4), or the
//! `Pragma` of older clients (RFC 9111 section 5.4).

use std::time::Duration;

use http::{HeaderMap, header};

use crate::message::list::{Quotes, members};

/// A request's directives. If one is repeated, the stricter value counts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directives {
    /// Neither store this answer nor use a stored one.
    pub(super) no_store: bool,
    /// Use a stored answer only after asking Zoho.
    pub(super) no_cache: bool,
    /// Do not ask Zoho.
    pub(super) only_if_cached: bool,
    /// The greatest age of a stored answer.
    max_age: Option<Duration>,
    /// The shortest remaining lifetime of a stored answer.
    min_fresh: Option<Duration>,
    /// The longest acceptable time since an answer became stale.
    max_stale: Option<Duration>,
    /// The longest acceptable time since an answer became stale, if Zoho cannot answer.
    stale_if_error: Option<Duration>,
}

/// How long the operator allows a stored answer to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// As a fresh answer.
    pub(super) fresh: Duration,
    /// For how much longer when Zoho cannot answer.
    pub(super) grace: Duration,
}

impl Lifetime {
    /// The time after which the answer is never used.
    pub(super) fn whole(&self) -> Duration {
        self.fresh + self.grace
    }
}

impl Directives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        let stricter = |one: &mut Option<Duration>, other: Duration| {
            *one = Some(one.map_or(other, |one| one.min(other)));
        };
        for directive in members(headers, header::CACHE_CONTROL, Quotes::Strings) {
            let (name, argument) =
                directive.split_once('=').map_or((directive, None), |(name, argument)| (name, Some(argument)));
            let seconds = argument.map(seconds);
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" => directives.no_store = true,
                "no-cache" => directives.no_cache = true,
                "only-if-cached" => directives.only_if_cached = true,
                // A malformed value has the strictest meaning, here and below.
                "max-age" => stricter(&mut directives.max_age, seconds.flatten().unwrap_or_default()),
                "min-fresh" => {
                    let span = seconds.flatten().unwrap_or(Duration::MAX);
                    directives.min_fresh = directives.min_fresh.max(Some(span));
                }
                // Without an argument, any staleness is acceptable.
                "max-stale" => {
                    stricter(&mut directives.max_stale, seconds.map_or(Duration::MAX, Option::unwrap_or_default));
                }
                "stale-if-error" => stricter(&mut directives.stale_if_error, seconds.flatten().unwrap_or_default()),
                _ => {}
            }
        }
        if !headers.contains_key(header::CACHE_CONTROL) {
            let mut pragma = members(headers, header::PRAGMA, Quotes::Strings);
            directives.no_cache = pragma.any(|directive| directive.eq_ignore_ascii_case("no-cache"));
        }
        directives
    }

    /// Whether an answer of this age may be used without asking Zoho.
    pub(super) fn accept(&self, age: Duration, lifetime: Lifetime) -> bool {
        if self.no_cache || self.no_store || age >= lifetime.whole() {
            return false;
        }
        // Every answer has an age, so `max-age=0` accepts none.
        let young = self.max_age.is_none_or(|max| age <= max && !max.is_zero());
        if age < lifetime.fresh && young {
            return self.min_fresh.is_none_or(|least| lifetime.fresh - age >= least);
        }
        self.min_fresh.is_none() && self.max_stale.is_some_and(|most| self.staleness(age, lifetime) <= most)
    }

    /// Whether an answer of this age may be used when Zoho cannot answer. `max-age` without `max-stale` excludes stale
    /// answers (RFC 9111 section 5.2.1.1).
    pub(super) fn accept_stale(&self, age: Duration, lifetime: Lifetime) -> bool {
        let staleness = self.staleness(age, lifetime);
        let within = |most: Option<Duration>| most.is_none_or(|most| staleness <= most);
        !self.no_cache
            && !self.no_store
            && age < lifetime.whole()
            && self.min_fresh.is_none()
            && (self.max_age.is_none() || self.max_stale.is_some())
            && within(self.max_stale)
            && within(self.stale_if_error)
    }

    /// Whether only an answer to a new call is acceptable.
    pub(super) fn want_own_call(&self, lifetime: Lifetime) -> bool {
        let never_fresh_enough = self.min_fresh.is_some_and(|least| least > lifetime.fresh);
        self.no_cache || self.max_age == Some(Duration::ZERO) || never_fresh_enough
    }

    /// For how long an answer has been older than the operator or the caller wants.
    fn staleness(&self, age: Duration, lifetime: Lifetime) -> Duration {
        age.saturating_sub(self.max_age.map_or(lifetime.fresh, |max| max.min(lifetime.fresh)))
    }
}

/// Delta-seconds (RFC 9111 section 1.2.2), quoted or not; a number too large counts as the largest.
fn seconds(argument: &str) -> Option<Duration> {
    let argument = argument.trim();
    let argument = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(argument);
    let digits = !argument.is_empty() && argument.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(argument.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&'static str, &'static str)]) -> Directives {
        let headers = lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Directives::of(&headers)
    }

    #[test]
    fn reads_directives() {
        let span = |seconds| Some(Duration::from_secs(seconds));
        let none = Directives::default();
        for (lines, expected) in [
            (
                &[("cache-control", "No-Cache , only-if-cached")][..],
                Directives { no_cache: true, only_if_cached: true, ..none },
            ),
            (&[("cache-control", "max-age=\"5\"")], Directives { max_age: span(5), ..none }),
            (
                &[("cache-control", "max-age=5"), ("cache-control", "max-age=3")],
                Directives { max_age: span(3), ..none },
            ),
            (&[("cache-control", "max-age=x")], Directives { max_age: span(0), ..none }),
            (&[("cache-control", "max-age=99999999999999999999")], Directives { max_age: span(u64::MAX), ..none }),
            (&[("cache-control", "min-fresh")], Directives { min_fresh: Some(Duration::MAX), ..none }),
            (&[("cache-control", "max-stale")], Directives { max_stale: Some(Duration::MAX), ..none }),
            (&[("cache-control", "max-stale=-1")], Directives { max_stale: span(0), ..none }),
            (&[("cache-control", "x=\"no-store, no-cache\"")], none),
            (&[("pragma", "no-cache")], Directives { no_cache: true, ..none }),
            (&[("pragma", "no-cache"), ("cache-control", "max-age=5")], Directives { max_age: span(5), ..none }),
        ] {
            assert_eq!(of(lines), expected, "{lines:?}");
        }
    }
}
