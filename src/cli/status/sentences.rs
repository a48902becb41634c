//! The page as a whole: what waits, why, until when and for whom, what is locked and whose fault that is, and which
//! logins work.

use super::{
    ledger,
    lists::{count, shortened},
    logins,
    moment::{Clock, span},
};
use crate::{
    app::admin::{
        reload::{Outcome, ReloadReport},
        status::page::{Bucket, NextCall, PausedCalls, PostMortem, Remaining, StatusPage, WaitingCaller},
    },
    ledger::WaitReason,
};

/// How many of the last refusals are shown.
const REFUSALS: usize = 5;

/// The sentences for the JSON of `/status`.
pub(super) fn of(json: &str) -> Result<String, serde_json::Error> {
    let page: StatusPage = serde_json::from_str(json)?;
    let clock = Clock::at(&page.at);
    let mut lines = vec![gateway(&page), state(&page.state)];
    lines.extend(reload(&page));
    lines.extend(paused(&page, clock));
    lines.extend(waiting(&page, clock));
    lines.extend(locks(&page, clock));
    lines.extend(logins::lines(&page.accounts, clock));
    lines.extend(failed_checks(&page));
    lines.extend(used_windows(&page, clock));
    lines.extend(jobs(&page));
    lines.extend(last_lock(&page, clock));
    lines.extend(incidents(&page));
    lines.extend(refusals(&page, clock));
    lines.extend(page.shared.iter().flat_map(|shared| ledger::lines(shared, clock)));
    Ok(lines.join("\n") + "\n")
}

fn gateway(page: &StatusPage) -> String {
    let StatusPage { at, gateway, .. } = page;
    let up = span(gateway.started_seconds_ago);
    let in_flight = || count(gateway.in_flight as u64, "request");
    let drains = if gateway.draining {
        format!(". It drains: new calls are refused, {} in flight", in_flight())
    } else {
        String::new()
    };
    format!("Status at {at}: zoho-gateway {} on {}, up for {up}{drains}.", gateway.version, gateway.name)
}

fn state(state: &str) -> String {
    match state {
        "ok" | "in memory" => format!("State: {state}."),
        failing => format!("State: {failing}. No call is sent until this is over."),
    }
}

/// A reload that left something to do.
fn reload(page: &StatusPage) -> Option<String> {
    let ReloadReport { at, outcome, needs_restart, errors, .. } = page.reload.as_ref()?;
    match outcome {
        Outcome::Refused => {
            let first = errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            let more = errors.len().saturating_sub(1);
            let more = if more == 0 { String::new() } else { format!(" (and {})", count(more as u64, "more mistake")) };
            Some(format!("The reload of {at} was refused, the configuration before holds{first}{more}"))
        }
        Outcome::Applied if !needs_restart.is_empty() => {
            Some(format!("The old values hold until a restart: {}.", needs_restart.join(", ")))
        }
        Outcome::Applied => None,
    }
}

/// The route, with its account if there are several.
fn name(page: &StatusPage, account: &str, route: &str) -> String {
    if page.accounts.len() > 1 { format!("{route} of account {account}") } else { route.to_owned() }
}

/// What operators have stopped.
fn paused(page: &StatusPage, clock: Clock) -> Vec<String> {
    let pause = |PausedCalls { caller, account, route, for_seconds }: &PausedCalls| {
        let parts = [("caller", caller), ("account", account), ("route", route)];
        let parts = parts.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
        let end =
            for_seconds.map_or_else(|| "until it is resumed".to_owned(), |left| format!("until {}", clock.end(left)));
        format!("  {}: {end}", parts.collect::<Vec<_>>().join(", "))
    };
    let title = (!page.paused.is_empty()).then(|| "Operators have paused:".to_owned());
    title.into_iter().chain(shortened(page.paused.iter().map(pause).collect())).collect()
}

// === Who waits ===

fn waiting(page: &StatusPage, clock: Clock) -> Vec<String> {
    let mut lines = vec![match page.waiting {
        0 => "No call waits.".to_owned(),
        1 => "1 call waits:".to_owned(),
        calls => format!("{calls} calls wait:"),
    }];
    let with_waiters: Vec<_> = page.buckets.iter().filter(|bucket| bucket.waiting > 0).collect();
    lines.extend(shortened(with_waiters.iter().map(|bucket| waiting_for(page, bucket, clock)).collect()));
    let for_routes: usize = with_waiters.iter().map(|bucket| bucket.waiting).sum();
    if let others @ 1.. = page.waiting.saturating_sub(for_routes) {
        lines.push(format!("  {} to Zoho's accounts server", count(others as u64, "token request")));
    }
    let booked = page.buckets.iter().flat_map(|bucket| {
        let name = name(page, &bucket.account, &bucket.route);
        bucket.bookings.iter().map(move |one| {
            let turns = count(one.booked as u64, "turn");
            format!("  {name}: {turns} kept for {}, the first at {}", one.caller, clock.end(one.first_in_seconds))
        })
    });
    let booked = shortened(booked.collect());
    if !booked.is_empty() {
        lines.push("Refused calls keep their turns:".to_owned());
        lines.extend(booked);
    }
    lines
}

fn waiting_for(page: &StatusPage, bucket: &Bucket, clock: Clock) -> String {
    let Bucket { account, route, waiting, callers, .. } = bucket;
    let mut who: Vec<_> = callers.iter().map(|one| in_queue(one, clock)).collect();
    if let again @ 1.. = again(bucket) {
        who.push(format!("{again} to be sent again"));
    }
    let why = bucket.next_call.as_ref().map_or_else(String::new, |next| why(bucket, next, clock));
    let calls = count(*waiting as u64, "call");
    format!("  {}: {calls} ({}). {why}", name(page, account, route), who.join(", "))
}

fn in_queue(one: &WaitingCaller, clock: Clock) -> String {
    let last = one.last_in_seconds.filter(|_| one.waiting > 1);
    let last = last.map_or_else(String::new, |last| format!(", the last until {}", clock.end(last)));
    format!("{} of {} for up to {}{last}", one.waiting, one.caller, span(one.waited_seconds))
}

/// How many calls had a slot before.
fn again(bucket: &Bucket) -> usize {
    bucket.waiting.saturating_sub(bucket.callers.iter().map(|one| one.waiting).sum())
}

fn why(bucket: &Bucket, next: &NextCall, clock: Clock) -> String {
    let at = clock.end(next.in_seconds);
    let limit = |limit: &Remaining| format!("{} per {}", limit.requests, span(limit.window_seconds));
    match next.waits_for {
        WaitReason::State => "They wait until the state can be used.".to_owned(),
        WaitReason::Lock => format!("Zoho has locked the route; the next call goes at {at}."),
        WaitReason::DailyLimit => {
            let daily = bucket.daily.as_ref().map_or_else(String::new, limit);
            format!("The daily limit ({daily}) is used up; the next call goes at {at}.")
        }
        WaitReason::Answer => {
            let threshold = limit(&bucket.threshold);
            format!(
                "The threshold ({threshold}) is used up; the next call goes when an answer has come, at about {at}."
            )
        }
        WaitReason::Slot => {
            format!("The threshold ({}) is used up; the next call goes at {at}.", limit(&bucket.threshold))
        }
    }
}

// === What is locked, and whose fault that is ===

fn locks(page: &StatusPage, clock: Clock) -> Vec<String> {
    let locked = |bucket: &Bucket| {
        let lock = bucket.lock.as_ref()?;
        let (name, end) = (name(page, &bucket.account, &bucket.route), clock.end(lock.ends_in_seconds));
        let who = who_waits(bucket).map_or_else(String::new, |who| format!("; {who}"));
        Some(format!("  {name} is locked until {end}: {}{who}", lock.explanation))
    };
    let locked: Vec<_> = page.buckets.iter().filter_map(locked).collect();
    if locked.is_empty() {
        return vec!["No route is locked.".to_owned()];
    }
    let title = format!("Zoho has locked {}:", count(locked.len() as u64, "route"));
    let end = "  When a lock ends, one call goes alone, and the others follow if Zoho accepts it.".to_owned();
    [title].into_iter().chain(shortened(locked)).chain([end]).collect()
}

/// The waiting calls in a few words: `1 call of course-sync waits`.
fn who_waits(bucket: &Bucket) -> Option<String> {
    let mut who: Vec<_> =
        bucket.callers.iter().map(|one| format!("{} of {}", count(one.waiting as u64, "call"), one.caller)).collect();
    if let again @ 1.. = again(bucket) {
        who.push(format!("{} to be sent again", count(again as u64, "call")));
    }
    let verb = if bucket.waiting == 1 { "waits" } else { "wait" };
    (!who.is_empty()).then(|| format!("{} {verb}", who.join(" and ")))
}

fn last_lock(page: &StatusPage, clock: Clock) -> Option<String> {
    let lock = page.last_lock.as_ref()?;
    let PostMortem { seconds_ago, lasts_seconds, explanation, by_caller, .. } = lock;
    let calls: Vec<_> = by_caller.iter().map(|one| format!("{} of {}", one.calls, one.caller)).collect();
    let calls = if calls.is_empty() { "none".to_owned() } else { calls.join(", ") };
    Some(format!(
        "The last lock: {} at {} for {}: {explanation}. Our calls in the {} before: {calls}.",
        name(page, &lock.account, &lock.route),
        clock.start(*seconds_ago),
        span(*lasts_seconds),
        span(lock.window_seconds),
    ))
}

fn incidents(page: &StatusPage) -> Option<String> {
    let last = page.incidents.last()?;
    let field = |name: &str| last[name].as_str().unwrap_or("unknown");
    let (at, account, route) = (field("at"), field("account"), field("route"));
    Some(format!(
        "Another client used an account {}, at last at {at}: {account}, {route}; --json has the calls.",
        match page.incidents.len() {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        }
    ))
}

// === The rest ===

/// What `/readyz` names, without what the other sentences say.
fn failed_checks(page: &StatusPage) -> Vec<String> {
    let said = |name: &str| ["listener", "state"].contains(&name) || name.starts_with("account ");
    let failed = page.checks.iter().filter(|(name, words)| !said(name) && *words != "ok");
    failed.map(|(name, words)| format!("{name}: {words}.")).collect()
}

fn used_windows(page: &StatusPage, clock: Clock) -> Vec<String> {
    // During a lock all slots count as used.
    let used = page.buckets.iter().filter(|bucket| bucket.threshold.used > 0 && bucket.lock.is_none()).map(|bucket| {
        let Remaining { requests, window_seconds, used, next_slot_in_seconds, .. } = bucket.threshold;
        let next = next_slot_in_seconds.map(|next| format!("; the next slot is free at {}", clock.end(next)));
        let name = name(page, &bucket.account, &bucket.route);
        format!("  {name}: {used} of {requests} per {}{}", span(window_seconds), next.unwrap_or_default())
    });
    let used = shortened(used.collect());
    let title = (!used.is_empty()).then(|| "Slots in use:".to_owned());
    title.into_iter().chain(used).collect()
}

fn jobs(page: &StatusPage) -> Option<String> {
    let states = page.jobs.as_ref()?.states.iter().filter(|(_, jobs)| **jobs > 0);
    let states: Vec<_> = states.map(|(state, jobs)| format!("{jobs} {state}")).collect();
    (!states.is_empty()).then(|| format!("Jobs: {}.", states.join(", ")))
}

fn refusals(page: &StatusPage, clock: Clock) -> Vec<String> {
    let line = |refusal: &crate::telemetry::RecentRefusal| {
        let whose = refusal.caller.as_ref().map_or_else(String::new, |caller| format!(" of {caller}"));
        let route = refusal.route.as_ref().map_or_else(String::new, |route| format!(", {route}"));
        let at = clock.start(refusal.seconds_ago);
        format!("  {at}: a {}{whose}{route}: {}: {}", refusal.method, refusal.problem, refusal.detail)
    };
    let last: Vec<_> = page.refusals.iter().take(REFUSALS).map(line).collect();
    let title = (!last.is_empty()).then(|| "The last refusals, newest first:".to_owned());
    title.into_iter().chain(last).collect()
}
