//! `/status`: what the gateway does, what it waits for and why, as data. `docs/status.schema.json` describes it.
//!
//! [`page`] has the form. Each span in it counts from `at`; [`moments`] adds the moment that it names.

pub mod moments;
pub mod page;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use self::page::{
    AccountStatus, Booking, Bucket, CallerStatus, CallersCalls, GatewayStatus, JobsStatus, LockStatus, NextCall,
    PausedCalls, PostMortem, Remaining, StatusPage, WaitingCaller, explanation,
};
use super::Admin;
use crate::{
    ledger::{self, CallSelector, CallerBookings, CallerQueue, Health, LimiterStatus, LockCause, Pause, Quota},
    middleware::{caller::Callers, token::Source},
    os::{clock, process_name},
};

/// How long the page waits for the server of a shared ledger.
const SERVER_WAIT: Duration = Duration::from_millis(500);

impl Admin {
    /// The page of this gateway, at once, and what other gateways share with it as far as the server says it in time.
    pub(super) async fn status(&self) -> StatusPage {
        let context = self.limiters.context();
        let shared = context.backend.shared_status(clock::now() + SERVER_WAIT).await;
        let buckets: Vec<_> = self.limiters.status().into_iter().map(Bucket::from).collect();
        let (ready, checks) = self.checks();
        StatusPage {
            at: moments::now().to_string(),
            gateway: self.gateway(),
            ready,
            checks,
            state: state(&context.backend.health()),
            waiting: context.capacity.waiting(),
            callers: callers(&self.callers, &buckets),
            buckets,
            accounts: self.accounts(),
            jobs: self.jobs.as_ref().map(|jobs| JobsStatus {
                states: jobs.counts().into_iter().map(|(state, jobs)| (state.as_str().to_owned(), jobs)).collect(),
                failure: jobs.failure(),
            }),
            paused: self.limiters.pauses().into_iter().map(PausedCalls::from).collect(),
            refusals: self.refusals.recent(),
            last_lock: context.history.last_lock().as_ref().map(PostMortem::from),
            incidents: context.history.incidents(),
            shared,
            reload: self.reloads.last(),
        }
    }

    fn gateway(&self) -> GatewayStatus {
        GatewayStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: Some(env!("ZOHO_GATEWAY_COMMIT").to_owned()).filter(|commit| !commit.is_empty()),
            name: process_name::of_this_process(),
            process: std::process::id(),
            started_seconds_ago: clock::now().saturating_duration_since(self.started).as_secs_f64(),
            draining: self.shutdown.is_out_of_service(),
            in_flight: self.shutdown.requests(),
        }
    }

    /// Sorted by name.
    fn accounts(&self) -> Vec<AccountStatus> {
        let account = |source: &Arc<Source>| AccountStatus {
            account: source.account().name.to_string(),
            data_center: source.account().data_center.to_string(),
            share: source.account().share.to_string(),
            token: source.status(),
        };
        let mut accounts: Vec<_> = self.sources.values().map(account).collect();
        accounts.sort_by(|one, other| one.account.cmp(&other.account));
        accounts
    }
}

/// The configured callers, and those that wait although they are not configured.
fn callers(known: &Callers, buckets: &[Bucket]) -> Vec<CallerStatus> {
    let mut callers: BTreeMap<&str, CallerStatus> = BTreeMap::new();
    for caller in known.callers() {
        callers.entry(caller.who.name()).or_insert_with(|| CallerStatus::named(caller.who.name()));
    }
    for bucket in buckets {
        for one in &bucket.callers {
            callers.entry(&one.caller).or_insert_with(|| CallerStatus::named(&one.caller)).add(one);
        }
        for one in &bucket.bookings {
            callers.entry(&one.caller).or_insert_with(|| CallerStatus::named(&one.caller)).booked += one.booked;
        }
    }
    callers.into_values().collect()
}

/// The state of the store in a few words; `ok` if it is good.
pub(super) fn state(health: &Health) -> String {
    match health {
        Health::Good => "ok".to_owned(),
        Health::InMemory => "in memory".to_owned(),
        Health::Failing(reason) => format!("state-unavailable: {reason}"),
    }
}

impl From<LimiterStatus> for Bucket {
    fn from(status: LimiterStatus) -> Self {
        let LimiterStatus { key, allowance, locked, last_lock, callers, bookings, next_call, .. } = status;
        let now = clock::now();
        let lock = locked.map(|locked| {
            let known = last_lock.filter(|lock| lock.until > now);
            LockStatus {
                ends_in_seconds: locked.as_secs_f64(),
                began_seconds_ago: known.map(|lock| now.saturating_duration_since(lock.at).as_secs_f64()),
                cause: known.map_or(LockCause::NotKnown, |lock| lock.cause),
                used: known.map(|lock| lock.used),
                requests: known.map(|lock| lock.requests),
                explanation: explanation(
                    known.map_or(LockCause::NotKnown, |lock| lock.cause),
                    known.map(|lock| (lock.used, lock.requests)),
                ),
            }
        });
        Self {
            account: key.account.clone(),
            route: key.limit.clone(),
            threshold: Remaining::of(&allowance.route),
            daily: allowance.daily.as_ref().map(Remaining::of),
            locked_for_seconds: locked.map(|locked| locked.as_secs_f64()),
            lock,
            waiting: status.waiting,
            booked: status.booked,
            callers: callers.into_iter().map(WaitingCaller::from).collect(),
            bookings: bookings.into_iter().map(Booking::from).collect(),
            next_call: next_call.map(|(after, waits_for)| NextCall { in_seconds: after.as_secs_f64(), waits_for }),
            expected_wait_seconds: status.expected.as_secs_f64(),
            external_use: status.external_locks,
        }
    }
}

impl Remaining {
    fn of(quota: &Quota) -> Self {
        Self {
            requests: quota.requests.get(),
            window_seconds: quota.window.as_secs_f64(),
            used: quota.used,
            remaining: quota.remaining,
            next_slot_in_seconds: quota.reset.map(|reset| reset.as_secs_f64()),
        }
    }
}

impl From<CallerQueue> for WaitingCaller {
    fn from(CallerQueue { caller, waiting, waited, first, last, request_ids }: CallerQueue) -> Self {
        Self {
            caller,
            waiting,
            waited_seconds: waited.as_secs_f64(),
            first_in_seconds: first.map(|first| first.as_secs_f64()),
            last_in_seconds: last.map(|last| last.as_secs_f64()),
            request_ids: request_ids.iter().map(|id| id.to_string()).collect(),
        }
    }
}

impl From<CallerBookings> for Booking {
    fn from(CallerBookings { caller, booked, first }: CallerBookings) -> Self {
        Self { caller, booked, first_in_seconds: first.as_secs_f64() }
    }
}

impl From<&ledger::PostMortem> for PostMortem {
    fn from(ledger::PostMortem { at, cause, incident }: &ledger::PostMortem) -> Self {
        let mut by_caller: BTreeMap<&str, usize> = BTreeMap::new();
        incident.calls.iter().for_each(|call| *by_caller.entry(&call.caller).or_default() += 1);
        let calls_of = |(caller, calls): (&str, usize)| CallersCalls { caller: caller.to_owned(), calls };
        Self {
            account: incident.account.clone(),
            route: incident.route.clone(),
            seconds_ago: clock::now().saturating_duration_since(*at).as_secs_f64(),
            lasts_seconds: incident.locked_for_seconds,
            cause: *cause,
            used: incident.charged,
            requests: incident.requests,
            window_seconds: incident.window_seconds,
            by_caller: by_caller.into_iter().map(calls_of).collect(),
            calls: incident.calls.clone(),
            calls_are_complete: incident.calls_are_complete,
            explanation: explanation(*cause, Some((incident.charged, incident.requests))),
        }
    }
}

impl From<Pause> for PausedCalls {
    fn from(Pause { selector: CallSelector { caller, account, route, .. }, until }: Pause) -> Self {
        let left = until.map(|until| until.saturating_duration_since(clock::now()).as_secs_f64());
        Self { caller, account, route: route.map(|route| route.to_string()), for_seconds: left }
    }
}
