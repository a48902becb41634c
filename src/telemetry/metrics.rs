//! Every metric, by name. All begin with `zoho_gateway_`.

use std::{
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::{audit_writer, log, plain};
use crate::{
    call::{CacheOutcome, RequestSummary},
    ledger::{Key, LockHit},
    problem::Cause,
    zoho::{account::AccountName, catalogue::RouteId},
};

/// The counters and their registry.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Histogram,
    waited: Family<RouteLabels, Histogram>,
    refusals: Family<RefusalLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    issuers: Family<IssuerLabels, Counter>,
    locks: Family<RouteLabels, Counter>,
    external_use: Family<RouteLabels, Counter>,
    cache: Family<CacheLabels, Counter>,
    cache_bytes: Gauge,
    state_available: Gauge,
    waiting: Gauge,
    dropped_lines: Counter,
    audit_unconfirmed: Counter,
    /// No number at all where there is no certificate: zero would be one that ended long ago.
    certificate_end: Family<NoLabels, Gauge>,
}

/// Label values come from the configuration and the catalogue, never from a request, so their number is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    account: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    account: String,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    problem: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    account: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerLabels {
    issuer: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoLabels {}

/// Of how many accounts' routes the series of rare events are made at the start: those of five accounts that may make
/// every call. The others are made when their route is called first.
const MOST_FORESEEN: usize = 2_500;

/// What a token request may end with.
const TOKEN_OUTCOMES: [&str; 8] =
    ["granted", "unauthorised", "wrong_data_center", "throttled", "unreachable", "timeout", "unintelligible", "failed"];

/// What may happen, as far as the configuration tells.
#[derive(Debug)]
pub struct Foreseen<'a> {
    /// The names of all problems.
    pub problems: &'a [&'static str],
    /// The names of the issuers of callers' tokens.
    pub issuers: Vec<String>,
    /// The accounts.
    pub accounts: Vec<AccountName>,
    /// With which account which call may be made.
    pub calls: Vec<(AccountName, RouteId)>,
}

/// A rendered page of metrics.
#[derive(Debug)]
pub struct Exposition {
    /// The `Content-Type` it has.
    pub content_type: &'static str,
    /// The page.
    pub text: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("zoho_gateway");
        // From half a millisecond to half a minute and beyond.
        let histogram = || Histogram::new(exponential_buckets(0.0005, 4.0, 9));
        let (requests, refusals, tokens) = (Family::default(), Family::default(), Family::default());
        let issuers = Family::default();
        let (locks, external_use) = (Family::default(), Family::default());
        let (seconds, waiting, state_available) = (histogram(), Gauge::default(), Gauge::default());
        let waited = Family::<RouteLabels, Histogram>::new_with_constructor(histogram);
        registry.register("requests", "Answered requests", requests.clone());
        registry.register_with_unit("request", "From a request's head to its answer's", Unit::Seconds, seconds.clone());
        registry.register_with_unit("wait", "Time spent waiting for a slot", Unit::Seconds, waited.clone());
        registry.register("refusals", "Answers the gateway made itself", refusals.clone());
        registry.register("token_requests", "Requests to the accounts server", tokens.clone());
        registry.register("issuer_requests", "Requests for the keys of issuers of callers' tokens", issuers.clone());
        registry.register("locks", "Answers that told of a lock", locks.clone());
        let external =
            "Locks that came while the ledger had free slots: another gateway on the login is the likeliest reason";
        registry.register("external_use", external, external_use.clone());
        let (cache, cache_bytes) = (Family::default(), Gauge::default());
        registry.register("cache", "Reads of routes whose answers are kept, by what the cache did", cache.clone());
        registry.register_with_unit("cache", "What all kept answers hold in memory", Unit::Bytes, cache_bytes.clone());
        registry.register("state_available", "Whether what is sent can be written down", state_available.clone());
        registry.register("waiting", "Callers waiting for a slot", waiting.clone());
        let dropped_lines = Counter::default();
        let dropped = "Lines of log and audit that were not written, because their reader stalls or the disk is full";
        registry.register("log_lines_dropped", dropped, dropped_lines.clone());
        let audit_unconfirmed = Counter::default();
        let unconfirmed = "Lines of the audit for which a call did not wait until they were written";
        registry.register("audit_unconfirmed", unconfirmed, audit_unconfirmed.clone());
        let certificate_end = Family::default();
        let (name, help) = ("tls_certificate_expiry_timestamp", "The end of the certificate that callers are shown");
        registry.register_with_unit(name, help, Unit::Seconds, certificate_end.clone());
        Self {
            registry,
            requests,
            seconds,
            waited,
            refusals,
            tokens,
            issuers,
            locks,
            external_use,
            cache,
            cache_bytes,
            state_available,
            waiting,
            dropped_lines,
            audit_unconfirmed,
            certificate_end,
        }
    }

    /// Makes the series of rare events, with the value 0: of a series that first appears with 1, `increase()` does not
    /// see the first event.
    pub fn foresee(&self, foreseen: &Foreseen<'_>) {
        for &problem in foreseen.problems {
            self.refusals.get_or_create(&RefusalLabels { problem }).inc_by(0);
        }
        for issuer in &foreseen.issuers {
            for outcome in ["given", "failed"] {
                self.issuers.get_or_create(&IssuerLabels { issuer: issuer.clone(), outcome }).inc_by(0);
            }
        }
        for account in &foreseen.accounts {
            for outcome in TOKEN_OUTCOMES {
                self.tokens.get_or_create(&TokenLabels { account: account.to_string(), outcome }).inc_by(0);
            }
        }
        for outcome in CacheOutcome::ALL {
            self.cache.get_or_create(&CacheLabels { outcome: outcome.as_str() }).inc_by(0);
        }
        for (account, route) in foreseen.calls.iter().take(MOST_FORESEEN) {
            self.called(account, route);
        }
    }

    /// A call is about to be made that may meet a lock.
    pub fn called(&self, account: &AccountName, route: &RouteId) {
        let labels = RouteLabels { account: account.to_string(), route: route.to_string() };
        self.locks.get_or_create(&labels).inc_by(0);
        self.external_use.get_or_create(&labels).inc_by(0);
    }

    /// A request was answered.
    pub fn answered(&self, summary: Option<&RequestSummary>, status: http::StatusCode, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
        let name = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let account = name(summary.map(|summary| summary.account.as_str()));
        let route = name(summary.map(|summary| summary.route.as_str()));
        let labels = RequestLabels { account: account.clone(), route: route.clone(), status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
        if let Some(waited) = summary.and_then(|summary| summary.waited) {
            self.waited.get_or_create(&RouteLabels { account, route }).observe(waited.as_secs_f64());
        }
    }

    /// The gateway answered by itself, with this problem.
    pub fn refused(&self, problem: &'static str) {
        self.refusals.get_or_create(&RefusalLabels { problem }).inc();
    }

    /// A token flight ended, with this cause if it brought none.
    pub fn token_request(&self, account: &AccountName, failure: Option<&Cause>) {
        let outcome = match failure {
            None => "granted",
            Some(Cause::AccountUnauthorised { .. }) => "unauthorised",
            Some(Cause::WrongDataCenter { .. }) => "wrong_data_center",
            Some(Cause::TokenThrottled { .. }) => "throttled",
            Some(Cause::UpstreamUnreachable(_)) => "unreachable",
            Some(Cause::UpstreamTimeout(_)) => "timeout",
            Some(Cause::UpstreamInvalidResponse(_)) => "unintelligible",
            Some(_) => "failed",
        };
        self.tokens.get_or_create(&TokenLabels { account: account.to_string(), outcome }).inc();
    }

    /// An issuer was asked for its keys, and gave some or not.
    pub fn issuer_asked(&self, issuer: &str, given: bool) {
        let outcome = if given { "given" } else { "failed" };
        self.issuers.get_or_create(&IssuerLabels { issuer: issuer.to_owned(), outcome }).inc();
    }

    /// Zoho answered that a call is locked.
    pub(super) fn locked(&self, key: &Key, hit: &LockHit) {
        let labels = RouteLabels { account: key.account.clone(), route: key.limit.clone() };
        self.locks.get_or_create(&labels).inc();
        if hit.external {
            self.external_use.get_or_create(&labels).inc();
        }
    }

    /// A read was answered by the cache, or past it.
    pub fn cache(&self, outcome: CacheOutcome) {
        self.cache.get_or_create(&CacheLabels { outcome: outcome.as_str() }).inc();
    }

    /// So many bytes are kept.
    pub fn cache_bytes(&self, bytes: u64) {
        self.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// The certificate that callers are shown is good until then, if that can be told.
    pub fn certificate_ends(&self, end: Option<SystemTime>) {
        match end.and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok()) {
            Some(end) => {
                let seconds = i64::try_from(end.as_secs()).unwrap_or(i64::MAX);
                self.certificate_end.get_or_create(&NoLabels {}).set(seconds);
            }
            None => self.certificate_end.clear(),
        }
    }

    /// The page as it stands now; `waiting` callers wait, and the state store is available or not.
    #[must_use]
    pub fn expose(&self, waiting: usize, state_available: bool, openmetrics: bool) -> Exposition {
        self.state_available.set(state_available.into());
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        // The logger keeps the counts.
        self.dropped_lines.inner().store(log::dropped_lines(), Ordering::Relaxed);
        self.audit_unconfirmed.inner().store(audit_writer::unconfirmed_lines(), Ordering::Relaxed);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        if openmetrics {
            return Exposition { content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8", text };
        }
        Exposition { content_type: "text/plain; version=0.0.4; charset=utf-8", text: plain::plain(&text) }
    }
}
