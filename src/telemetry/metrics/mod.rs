//! All metrics. Their names start with `zoho_gateway_`, except the figures of the process.
//!
//! Counters and histograms are kept here, and [`live`] reads the gauges of live state at each scrape.

mod bounded;
mod durations;
mod labels;
mod live;
mod plain;
mod process;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use self::{
    bounded::Bounded,
    durations::{OutcomeDurations, RouteDurations, observe},
    labels::{
        BuildLabels, CallerRefusalLabels, IssuerLabels, NoLabels, OutcomeLabels, PayloadLabels, RefusalLabels,
        RequestLabels, RouteLabels, TokenLabels,
    },
};
pub use self::{
    labels::KnownLabels,
    live::{LiveState, LoginState},
};
use super::{audit_writer, log};
use crate::{
    call::{CacheOutcome, RequestSummary},
    ledger::{Key, LockHit},
    os::{clock, process_usage::ProcessUsage, timer::Timer},
    problem::Cause,
    zoho::{account::AccountName, catalogue::RouteId},
};

/// All metrics and their registry.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    started: SystemTime,
    requests: Family<RequestLabels, Counter>,
    seconds: Histogram,
    waited: RouteDurations,
    upstream: RouteDurations,
    refusals: Family<RefusalLabels, Counter>,
    caller_refusals: Bounded<CallerRefusalLabels, Counter>,
    rejected_payloads: Bounded<PayloadLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    issuers: Family<IssuerLabels, Counter>,
    locks: Family<RouteLabels, Counter>,
    external_use: Family<RouteLabels, Counter>,
    merged: Family<RouteLabels, Counter>,
    reported: Family<RouteLabels, Counter>,
    cache: Family<OutcomeLabels, Counter>,
    cache_bytes: Gauge,
    state_writes: OutcomeDurations,
    redis: OutcomeDurations,
    dropped_lines: Counter,
    audit_unconfirmed: Counter,
    /// No value without a certificate: zero would mean one that expired long ago.
    certificate_end: Family<NoLabels, Gauge>,
}

/// How the names of all metrics start, except those of the process.
const PREFIX: &str = "zoho_gateway";

/// For how many pairs of caller and problem there are series. All other callers share one for each problem.
const MAX_CALLER_REFUSALS: usize = 2_000;

/// For how many pairs of route and code there are series; some dozen codes are known.
const MAX_REJECTED_PAYLOADS: usize = 1_000;

/// For how many calls the series of rare events exist from the start: those of five accounts that may make every call.
/// The others are created when their route is called first.
const MAX_KNOWN_CALLS: usize = 2_500;

/// The possible outcomes of a token request.
const TOKEN_OUTCOMES: [&str; 8] =
    ["granted", "unauthorised", "wrong_data_center", "throttled", "unreachable", "timeout", "unintelligible", "failed"];

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
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            started: clock::wall(),
            requests: Family::default(),
            seconds: durations::requests(),
            waited: durations::waits(),
            upstream: durations::upstream(),
            refusals: Family::default(),
            caller_refusals: Bounded::new(Family::default(), MAX_CALLER_REFUSALS),
            rejected_payloads: Bounded::new(Family::default(), MAX_REJECTED_PAYLOADS),
            tokens: Family::default(),
            issuers: Family::default(),
            locks: Family::default(),
            external_use: Family::default(),
            merged: Family::default(),
            reported: Family::default(),
            cache: Family::default(),
            cache_bytes: Gauge::default(),
            state_writes: durations::stores(),
            redis: durations::stores(),
            dropped_lines: Counter::default(),
            audit_unconfirmed: Counter::default(),
            certificate_end: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let build = Info::new(BuildLabels { version: env!("CARGO_PKG_VERSION"), commit: env!("ZOHO_GATEWAY_COMMIT") });
        registry.register("build", "The version of the program", build);
        registry.register("requests", "Answered requests", self.requests.clone());
        let help = "Time from a request's head to its answer's head";
        registry.register_with_unit("request", help, Unit::Seconds, self.seconds.clone());
        registry.register_with_unit("wait", "Time spent waiting for a slot", Unit::Seconds, self.waited.family.clone());
        let help = "Time from sending a call to the head of Zoho's answer";
        registry.register_with_unit("upstream", help, Unit::Seconds, self.upstream.family.clone());
        registry.register("refusals", "Answers by the gateway itself", self.refusals.clone());
        let help = "Answers by the gateway itself to known callers";
        registry.register("caller_refusals", help, self.caller_refusals.family.clone());
        registry.register("token_requests", "Requests to the accounts server", self.tokens.clone());
        registry.register("issuer_requests", "Requests for the keys of token issuers", self.issuers.clone());
        registry.register("locks", "Locks that Zoho reported", self.locks.clone());
        let help = "Locks although the ledger had free slots; most likely another gateway uses the login";
        registry.register("external_use", help, self.external_use.clone());
        registry.register("merged_calls", "Calls that were sent in the call of another", self.merged.clone());
        let help = "Calls that broke a documented rule and passed, because their route is only reported";
        registry.register("reported", help, self.reported.clone());
        let help = "Payloads that Zoho rejected although the rules accepted them";
        registry.register("rejected_payloads", help, self.rejected_payloads.family.clone());
        registry.register("cache", "Reads of cacheable routes, by outcome", self.cache.clone());
        registry.register_with_unit("cache", "Memory of all cached answers", Unit::Bytes, self.cache_bytes.clone());
        let help = "Time of a commit to state.dir";
        registry.register_with_unit("state_write", help, Unit::Seconds, self.state_writes.0.clone());
        registry.register_with_unit("redis", "Time of a request to Redis", Unit::Seconds, self.redis.0.clone());
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
            self.cache.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }).inc_by(0);
        }
        for (account, route) in known.calls.iter().take(MAX_KNOWN_CALLS) {
            self.called(account, route);
        }
    }

    /// A call is about to be made; creates its series for locks.
    pub fn called(&self, account: &AccountName, route: &RouteId) {
        let labels = RouteLabels::new(account.as_str(), route.as_str());
        self.locks.get_or_create(&labels).inc_by(0);
        self.external_use.get_or_create(&labels).inc_by(0);
    }

    /// So many calls are sent in the call of another; zero creates the series.
    pub fn merged(&self, account: &AccountName, route: &RouteId, calls: usize) {
        let labels = RouteLabels::new(account.as_str(), route.as_str());
        self.merged.get_or_create(&labels).inc_by(calls as u64);
    }

    /// Zoho rejected a payload that the rules accepted, for this reason.
    pub(super) fn rejected_payload(&self, key: &Key, code: &str) {
        let labels = |code: &str| PayloadLabels { route: key.limit.clone(), code: code.to_owned() };
        self.rejected_payloads.update(labels(code), PayloadLabels::others, |counter| _ = counter.inc());
    }

    /// A call broke a documented rule and passed.
    pub fn reported(&self, account: &AccountName, route: &RouteId) {
        self.reported.get_or_create(&RouteLabels::new(account.as_str(), route.as_str())).inc();
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
            observe(&self.waited, RouteLabels { account, route }, waited);
        }
    }

    /// Zoho answered an attempt.
    pub(super) fn upstream_answered(&self, key: &Key, took: Duration) {
        observe(&self.upstream, RouteLabels::new(&key.account, &key.limit), took);
    }

    /// The gateway itself answered with this problem, to this caller if it is known.
    pub fn refused(&self, caller: Option<&str>, problem: &'static str) {
        self.refusals.get_or_create(&RefusalLabels { problem }).inc();
        let Some(caller) = caller else { return };
        let labels = CallerRefusalLabels { caller: caller.to_owned(), problem };
        self.caller_refusals.update(labels, || CallerRefusalLabels::other(problem), |counter| _ = counter.inc());
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
        let labels = RouteLabels::new(&key.account, &key.limit);
        self.locks.get_or_create(&labels).inc();
        if hit.external {
            self.external_use.get_or_create(&labels).inc();
        }
    }

    /// A read was answered by the cache or by Zoho.
    pub fn cache(&self, outcome: CacheOutcome) {
        self.cache.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }).inc();
    }

    /// The size of all cached answers.
    pub fn cache_bytes(&self, bytes: u64) {
        self.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// For the commits to `state.dir`.
    #[must_use]
    pub fn state_write_timer(&self) -> Arc<dyn Timer> {
        self.state_writes.create();
        Arc::new(self.state_writes.clone())
    }

    /// For the requests to Redis.
    #[must_use]
    pub fn redis_timer(&self) -> Arc<dyn Timer> {
        self.redis.create();
        Arc::new(self.redis.clone())
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

    /// Renders the page, with the live state of this moment.
    #[must_use]
    pub fn expose(&self, live: &LiveState, openmetrics: bool) -> Exposition {
        // The logger keeps these counts.
        self.dropped_lines.inner().store(log::dropped_lines(), Ordering::Relaxed);
        self.audit_unconfirmed.inner().store(audit_writer::unconfirmed_lines(), Ordering::Relaxed);
        let process = process::registry(&ProcessUsage::now(), self.started);
        let mut text = String::new();
        for registry in [&self.registry, &live::registry(live), &process] {
            // Writing to a String cannot fail.
            let _ = text::encode_registry(&mut text, registry);
        }
        let _ = text::encode_eof(&mut text);
        if openmetrics {
            return Exposition { content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8", text };
        }
        Exposition { content_type: "text/plain; version=0.0.4; charset=utf-8", text: plain::plain(&text) }
    }
}
