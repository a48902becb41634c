//! All metrics. All names start with `zoho_gateway_`.

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

/// All metrics and their registry.
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
    merged: Family<RouteLabels, Counter>,
    cache: Family<CacheLabels, Counter>,
    cache_bytes: Gauge,
    state_available: Gauge,
    waiting: Gauge,
    jobs: Family<JobLabels, Gauge>,
    dropped_lines: Counter,
    audit_unconfirmed: Counter,
    /// No value without a certificate: zero would mean one that expired long ago.
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
struct JobLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoLabels {}

/// For how many calls the series of rare events exist from the start: those of five accounts that may make every call.
/// The others are created when their route is called first.
const MAX_KNOWN_CALLS: usize = 2_500;

/// The possible outcomes of a token request.
const TOKEN_OUTCOMES: [&str; 8] =
    ["granted", "unauthorised", "wrong_data_center", "throttled", "unreachable", "timeout", "unintelligible", "failed"];

/// The label values that can occur, as far as the configuration tells.
#[derive(Debug)]
pub struct KnownLabels<'a> {
    /// The names of all problems.
    pub problems: &'a [&'static str],
    /// The names of the issuers of callers' tokens.
    pub issuers: Vec<String>,
    /// The accounts.
    pub accounts: Vec<AccountName>,
    /// The calls that each account may make.
    pub calls: Vec<(AccountName, RouteId)>,
}

/// A rendered page of metrics.
#[derive(Debug)]
pub struct Exposition {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its content.
    pub text: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        // From half a millisecond to half a minute and beyond.
        let histogram = || Histogram::new(exponential_buckets(0.0005, 4.0, 9));
        let mut metrics = Self {
            registry: Registry::with_prefix("zoho_gateway"),
            requests: Family::default(),
            seconds: histogram(),
            waited: Family::new_with_constructor(histogram),
            refusals: Family::default(),
            tokens: Family::default(),
            issuers: Family::default(),
            locks: Family::default(),
            external_use: Family::default(),
            merged: Family::default(),
            cache: Family::default(),
            cache_bytes: Gauge::default(),
            state_available: Gauge::default(),
            waiting: Gauge::default(),
            jobs: Family::default(),
            dropped_lines: Counter::default(),
            audit_unconfirmed: Counter::default(),
            certificate_end: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Answered requests", self.requests.clone());
        let help = "Time from a request's head to its answer's head";
        registry.register_with_unit("request", help, Unit::Seconds, self.seconds.clone());
        registry.register_with_unit("wait", "Time spent waiting for a slot", Unit::Seconds, self.waited.clone());
        registry.register("refusals", "Answers by the gateway itself", self.refusals.clone());
        registry.register("token_requests", "Requests to the accounts server", self.tokens.clone());
        registry.register("issuer_requests", "Requests for the keys of token issuers", self.issuers.clone());
        registry.register("locks", "Locks that Zoho reported", self.locks.clone());
        let help = "Locks although the ledger had free slots; most likely another gateway uses the login";
        registry.register("external_use", help, self.external_use.clone());
        registry.register("merged_calls", "Calls that were sent in the call of another", self.merged.clone());
        registry.register("cache", "Reads of cacheable routes, by outcome", self.cache.clone());
        registry.register_with_unit("cache", "Memory of all cached answers", Unit::Bytes, self.cache_bytes.clone());
        registry.register("state_available", "Whether calls can be recorded", self.state_available.clone());
        registry.register("waiting", "Callers waiting for a slot", self.waiting.clone());
        registry.register("jobs", "Jobs that are kept, by state", self.jobs.clone());
        let help = "Lines of log and audit that were not written, because their reader stalls or the disk is full";
        registry.register("log_lines_dropped", help, self.dropped_lines.clone());
        let help = "Audit lines that were not confirmed before their call went on";
        registry.register("audit_unconfirmed", help, self.audit_unconfirmed.clone());
        let (name, help) = ("tls_certificate_expiry_timestamp", "The expiry of the certificate for callers");
        registry.register_with_unit(name, help, Unit::Seconds, self.certificate_end.clone());
    }

    /// Creates the series of rare events with the value 0: `increase()` misses the first event of a series that starts
    /// with 1.
    pub fn create_series(&self, known: &KnownLabels<'_>) {
        for &problem in known.problems {
            self.refusals.get_or_create(&RefusalLabels { problem }).inc_by(0);
        }
        for issuer in &known.issuers {
            for outcome in ["given", "failed"] {
                self.issuers.get_or_create(&IssuerLabels { issuer: issuer.clone(), outcome }).inc_by(0);
            }
        }
        for account in &known.accounts {
            for outcome in TOKEN_OUTCOMES {
                self.tokens.get_or_create(&TokenLabels { account: account.to_string(), outcome }).inc_by(0);
            }
        }
        for outcome in CacheOutcome::ALL {
            self.cache.get_or_create(&CacheLabels { outcome: outcome.as_str() }).inc_by(0);
        }
        for (account, route) in known.calls.iter().take(MAX_KNOWN_CALLS) {
            self.called(account, route);
        }
    }

    /// A call is about to be made; creates its series for locks.
    pub fn called(&self, account: &AccountName, route: &RouteId) {
        let labels = RouteLabels { account: account.to_string(), route: route.to_string() };
        self.locks.get_or_create(&labels).inc_by(0);
        self.external_use.get_or_create(&labels).inc_by(0);
    }

    /// So many calls are sent in the call of another; zero creates the series.
    pub fn merged(&self, account: &AccountName, route: &RouteId, calls: usize) {
        let labels = RouteLabels { account: account.to_string(), route: route.to_string() };
        self.merged.get_or_create(&labels).inc_by(calls as u64);
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

    /// The gateway itself answered with this problem.
    pub fn refused(&self, problem: &'static str) {
        self.refusals.get_or_create(&RefusalLabels { problem }).inc();
    }

    /// A token request ended, with this cause if it failed.
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

    /// An issuer was asked for its keys; `given` says whether it returned any.
    pub fn issuer_asked(&self, issuer: &str, given: bool) {
        let outcome = if given { "given" } else { "failed" };
        self.issuers.get_or_create(&IssuerLabels { issuer: issuer.to_owned(), outcome }).inc();
    }

    /// Zoho locked a route.
    pub(super) fn locked(&self, key: &Key, hit: &LockHit) {
        let labels = RouteLabels { account: key.account.clone(), route: key.limit.clone() };
        self.locks.get_or_create(&labels).inc();
        if hit.external {
            self.external_use.get_or_create(&labels).inc();
        }
    }

    /// A read was answered by the cache or by Zoho.
    pub fn cache(&self, outcome: CacheOutcome) {
        self.cache.get_or_create(&CacheLabels { outcome: outcome.as_str() }).inc();
    }

    /// The size of all cached answers.
    pub fn cache_bytes(&self, bytes: u64) {
        self.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// How many jobs there are in a state.
    pub fn jobs(&self, state: &'static str, jobs: usize) {
        self.jobs.get_or_create(&JobLabels { state }).set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }

    /// When the certificate for callers expires, if known.
    pub fn certificate_ends(&self, end: Option<SystemTime>) {
        match end.and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok()) {
            Some(end) => {
                let seconds = i64::try_from(end.as_secs()).unwrap_or(i64::MAX);
                self.certificate_end.get_or_create(&NoLabels {}).set(seconds);
            }
            None => self.certificate_end.clear(),
        }
    }

    /// Renders the page; `waiting` calls wait, and the state store is available or not.
    #[must_use]
    pub fn expose(&self, waiting: usize, state_available: bool, openmetrics: bool) -> Exposition {
        self.state_available.set(state_available.into());
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        // The logger keeps these counts.
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
