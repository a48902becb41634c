//! The gauges of live state: read from the ledger and the tokens at each scrape, and kept nowhere else.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::{
    PREFIX,
    labels::{AccountLabels, CallerLabels, JobLabels, RouteLabels},
};
use crate::{ledger::LimiterStatus, os::clock, zoho::account::AccountName};

/// The state of the gateway at the moment of a scrape.
#[derive(Debug)]
pub struct LiveState {
    /// The limiters: one for each account and route that was used.
    pub limiters: Vec<LimiterStatus>,
    /// How many calls wait.
    pub waiting: usize,
    /// How many calls may wait.
    pub waiting_limit: usize,
    /// Whether calls can be recorded.
    pub state_available: bool,
    /// How many jobs there are in each state.
    pub jobs: Vec<(&'static str, usize)>,
    /// The logins at Zoho.
    pub logins: Vec<LoginState>,
}

/// The state of a login at Zoho.
#[derive(Debug)]
pub struct LoginState {
    /// Its account.
    pub account: AccountName,
    /// Whether Zoho rejects its credentials.
    pub rejected: bool,
    /// The age of its access token and the time until it expires, if it has one.
    pub token: Option<(Duration, Duration)>,
}

type RouteGauge = Family<RouteLabels, Gauge>;
type RouteSeconds = Family<RouteLabels, Gauge<f64, std::sync::atomic::AtomicU64>>;
type AccountGauge = Family<AccountLabels, Gauge>;

/// The series of this state.
pub(super) fn registry(live: &LiveState) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    let set = |value: usize| {
        let gauge = Gauge::<i64>::default();
        gauge.set(number(value));
        gauge
    };
    registry.register("state_available", "Whether calls can be recorded", set(live.state_available.into()));
    registry.register("waiting", "Callers waiting for a slot", set(live.waiting));
    registry.register("waiting_limit", "How many callers may wait for a slot", set(live.waiting_limit));
    register_jobs(&mut registry, live);
    register_logins(&mut registry, live);
    register_limiters(&mut registry, live);
    register_daily_calls(&mut registry, live);
    register_callers(&mut registry, live);
    registry
}

fn register_jobs(registry: &mut Registry, live: &LiveState) {
    let jobs = Family::<JobLabels, Gauge>::default();
    for &(state, count) in &live.jobs {
        jobs.get_or_create(&JobLabels { state }).set(number(count));
    }
    registry.register("jobs", "Jobs that are kept, by state", jobs);
}

fn register_logins(registry: &mut Registry, live: &LiveState) {
    let (rejected, age, expiry) = (AccountGauge::default(), AccountGauge::default(), AccountGauge::default());
    for login in &live.logins {
        let labels = AccountLabels { account: login.account.to_string() };
        rejected.get_or_create(&labels).set(login.rejected.into());
        if let Some((passed, left)) = login.token {
            age.get_or_create(&labels).set(seconds(passed));
            expiry.get_or_create(&labels).set(in_the_future(left));
        }
    }
    registry.register("login_rejected", "Whether Zoho rejects the credentials of the account", rejected);
    registry.register_with_unit("token_age", "Time since the access token was issued", Unit::Seconds, age);
    let help = "When the access token expires";
    registry.register_with_unit("token_expiry_timestamp", help, Unit::Seconds, expiry);
}

fn register_limiters(registry: &mut Registry, live: &LiveState) {
    let (used, allowed, waiting) = (RouteGauge::default(), RouteGauge::default(), RouteGauge::default());
    let (locked_until, expected) = (RouteGauge::default(), RouteSeconds::default());
    let external = Family::<RouteLabels, Counter>::default();
    for limiter in &live.limiters {
        let labels = RouteLabels::new(&limiter.key.account, &limiter.key.limit);
        used.get_or_create(&labels).set(limiter.allowance.route.used.into());
        allowed.get_or_create(&labels).set(limiter.allowance.route.requests.get().into());
        waiting.get_or_create(&labels).set(number(limiter.waiting));
        expected.get_or_create(&labels).set(limiter.expected.as_secs_f64());
        external.get_or_create(&labels).inc_by(limiter.external_calls);
        if let Some(left) = limiter.locked {
            locked_until.get_or_create(&labels).set(in_the_future(left));
        }
    }
    registry.register("slots_used", "Slots of the threshold that are in use", used);
    registry.register("slots_allowed", "The threshold of the route", allowed);
    registry.register("route_waiting", "Calls waiting for a slot of the route", waiting);
    registry.register_with_unit("expected_wait", "How long a new call would wait", Unit::Seconds, expected);
    let help = "When the lock of the route ends; absent without a lock";
    registry.register_with_unit("locked_until_timestamp", help, Unit::Seconds, locked_until);
    registry.register("external_calls", "Calls that others made of the login, at least", external);
}

fn register_daily_calls(registry: &mut Registry, live: &LiveState) {
    let (used, allowed) = (AccountGauge::default(), AccountGauge::default());
    for limiter in &live.limiters {
        if let Some(daily) = &limiter.allowance.daily {
            let labels = AccountLabels { account: limiter.key.account.clone() };
            used.get_or_create(&labels).set(daily.used.into());
            allowed.get_or_create(&labels).set(daily.requests.get().into());
        }
    }
    registry.register("daily_calls_used", "Calls of the account's daily limit that are in use", used);
    registry.register("daily_calls_allowed", "The daily limit of the account", allowed);
}

fn register_callers(registry: &mut Registry, live: &LiveState) {
    let mut waiting = HashMap::<&str, usize>::new();
    for queue in live.limiters.iter().flat_map(|limiter| &limiter.callers) {
        *waiting.entry(&queue.caller).or_default() += queue.waiting;
    }
    let callers = Family::<CallerLabels, Gauge>::default();
    for (caller, calls) in waiting {
        callers.get_or_create(&CallerLabels { caller: caller.to_owned() }).set(number(calls));
    }
    registry.register("caller_waiting", "Calls of the caller that wait for a slot; absent without any", callers);
}

/// A moment in seconds since 1970.
fn in_the_future(span: Duration) -> i64 {
    let now = clock::wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    seconds(now.saturating_add(span))
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
