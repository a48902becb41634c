//! The page as a whole: what waits, why, until when and for whom, and what is locked.

use super::{
    ledger,
    lists::{count, shortened},
    moment::{Clock, span},
};
use crate::{
    app::admin::status::{Bucket, NextCall, PausedCalls, Remaining, StatusPage},
    ledger::WaitReason,
};

/// The sentences for the JSON of `/status`.
pub(super) fn of(json: &str) -> Result<String, serde_json::Error> {
    let page: StatusPage = serde_json::from_str(json)?;
    let clock = Clock::at(&page.at);
    let mut lines = vec![format!("Status at {}", page.at), state(&page.state)];
    lines.extend(paused(&page, clock));
    lines.extend(waiting(&page, clock));
    lines.extend(locks(&page, clock));
    lines.extend(incidents(&page));
    lines.extend(page.shared.iter().flat_map(|shared| ledger::lines(shared, clock)));
    Ok(lines.join("\n") + "\n")
}

fn state(state: &str) -> String {
    match state {
        "ok" | "in memory" => format!("State: {state}."),
        failing => format!("State: {failing}. No call is sent until this is over."),
    }
}

/// What an operator has stopped.
fn paused(page: &StatusPage, clock: Clock) -> Vec<String> {
    let drain = page.draining.then(|| {
        format!("The gateway drains: it refuses new calls, and {} in flight.", count(page.in_flight as u64, "request"))
    });
    let pause = |PausedCalls { caller, account, route, for_seconds }: &PausedCalls| {
        let parts = [("caller", caller), ("account", account), ("route", route)];
        let parts = parts.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?)));
        let end =
            for_seconds.map_or_else(|| "until it is resumed".to_owned(), |left| format!("until {}", clock.end(left)));
        format!("  {}: {end}", parts.collect::<Vec<_>>().join(", "))
    };
    let title = (!page.paused.is_empty()).then(|| "Operators have paused:".to_owned());
    drain.into_iter().chain(title).chain(shortened(page.paused.iter().map(pause).collect())).collect()
}

fn waiting(page: &StatusPage, clock: Clock) -> Vec<String> {
    let mut lines = vec![match page.waiting {
        0 => "No call waits.".to_owned(),
        1 => "1 call waits:".to_owned(),
        calls => format!("{calls} calls wait:"),
    }];
    let with_waiters: Vec<_> = page.buckets.iter().filter(|bucket| bucket.waiting > 0).collect();
    lines.extend(shortened(with_waiters.iter().map(|bucket| waiting_for(bucket, clock)).collect()));
    let for_routes: usize = with_waiters.iter().map(|bucket| bucket.waiting).sum();
    if let others @ 1.. = page.waiting.saturating_sub(for_routes) {
        lines.push(format!("  {} to Zoho's accounts server", count(others as u64, "token request")));
    }
    lines
}

fn waiting_for(bucket: &Bucket, clock: Clock) -> String {
    let Bucket { account, route, waiting, callers, .. } = bucket;
    let mut who: Vec<_> = (callers.iter())
        .map(|one| format!("{} of {} for up to {}", one.waiting, one.caller, span(one.waited_seconds)))
        .collect();
    if let again @ 1.. = waiting.saturating_sub(callers.iter().map(|one| one.waiting).sum()) {
        who.push(format!("{again} to be sent again"));
    }
    let why = bucket.next_call.as_ref().map_or_else(String::new, |next| why(bucket, next, clock));
    format!("  {account}, {route}: {} ({}). {why}", count(*waiting as u64, "call"), who.join(", "))
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

fn locks(page: &StatusPage, clock: Clock) -> Vec<String> {
    let locked = |bucket: &Bucket| {
        let end = clock.end(bucket.locked_for_seconds?);
        Some(format!("  {}, {}: until {end}, then one call goes alone", bucket.account, bucket.route))
    };
    let locked: Vec<_> = page.buckets.iter().filter_map(locked).collect();
    if locked.is_empty() {
        return vec!["No route is locked.".to_owned()];
    }
    let title = format!("Zoho has locked {}:", count(locked.len() as u64, "route"));
    [title].into_iter().chain(shortened(locked)).collect()
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
