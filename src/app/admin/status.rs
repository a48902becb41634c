//! `/status`: the state of every limiter, and locks that point to external use.

use serde_json::{Value, json};

use crate::ledger::{Health, LimiterStatus, Limiters, Quota};

/// The whole page.
pub(super) fn status(limiters: &Limiters) -> Value {
    let context = limiters.context();
    json!({
        "state": state(&context.backend.health()),
        "waiting": context.capacity.waiting(),
        "buckets": limiters.status().iter().map(limiter).collect::<Vec<_>>(),
        "incidents": context.history.incidents(),
    })
}

/// The state of the store in a few words; `ok` if it is good.
pub(super) fn state(health: &Health) -> String {
    match health {
        Health::Good => "ok".to_owned(),
        Health::InMemory => "in memory".to_owned(),
        Health::Failing(reason) => format!("state-unavailable: {reason}"),
    }
}

fn limiter(status: &LimiterStatus) -> Value {
    let LimiterStatus { key, allowance, locked, waiting, expected, external_locks } = status;
    json!({
        "account": key.account,
        "route": key.limit,
        "threshold": quota(&allowance.route),
        "daily": allowance.daily.as_ref().map(quota),
        "locked_for_seconds": locked.map(|locked| locked.as_secs_f64()),
        "waiting": waiting,
        "expected_wait_seconds": expected.as_secs_f64(),
        "external_use": external_locks,
    })
}

fn quota(quota: &Quota) -> Value {
    json!({
        "requests": quota.requests,
        "window_seconds": quota.window.as_secs_f64(),
        "remaining": quota.remaining,
        "next_slot_in_seconds": quota.reset.map(|reset| reset.as_secs_f64()),
    })
}
