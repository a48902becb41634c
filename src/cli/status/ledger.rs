//! A shared ledger: its members, what each holds, what is shut, and until when.

use super::{
    lists::{count, shortened},
    moment::{Clock, span},
};
use crate::ledger::{
    Holding, LockReason, LockStatus, MemberState, MemberStatus, OwnStatus, RecordStatus, SharedStatus, Shut,
};

pub(super) fn lines(shared: &SharedStatus, clock: Clock) -> Vec<String> {
    let mut lines = vec![String::new()];
    match &shared.record {
        Some(record) => {
            lines.push(format!(
                "Shared ledger of account {}: {}, epoch of {}.",
                shared.account,
                count(record.members.len() as u64, "gateway"),
                span(record.age_seconds)
            ));
            lines.extend(shared.own.failure.as_ref().map(|reason| cannot_send(reason)));
            lines.extend(members(record, clock));
        }
        None => {
            let reason = shared.record_missing.as_deref().unwrap_or("the record is not known");
            lines.push(format!("Shared ledger of account {}: {reason}. This gateway alone knows:", shared.account));
            lines.extend(own(&shared.own, clock));
        }
    }
    lines
}

fn members(record: &RecordStatus, clock: Clock) -> Vec<String> {
    let mut lines: Vec<_> = record.members.iter().flat_map(|one| member(one, clock)).collect();
    lines.extend(shut(&record.shut, clock));
    if !record.locks.is_empty() {
        lines.push("  Locks:".to_owned());
        lines.extend(shortened(record.locks.iter().map(|one| lock(one, clock)).collect()));
    }
    lines
}

/// What a gateway knows while the record cannot be read.
fn own(own: &OwnStatus, clock: Clock) -> Vec<String> {
    let mut lines = vec![match own.lease_left_seconds {
        left if left > 0.0 => {
            format!("  {}: it may send calls until {} without Redis.{}", own.gateway, clock.end(left), sum(&own.holds))
        }
        _ => format!("  {}: it sends nothing without Redis.{}", own.gateway, sum(&own.holds)),
    }];
    lines.extend(in_use(&own.holds));
    lines.extend(shut(&own.shut, clock));
    lines
}

fn cannot_send(reason: &str) -> String {
    format!("  This gateway sends nothing: Redis {reason}.")
}

fn member(member: &MemberStatus, clock: Clock) -> Vec<String> {
    let this = if member.this { ", this gateway" } else { "" };
    let silent = span(member.silent_seconds);
    let state = match (member.state, member.gone_in_seconds) {
        (MemberState::Live, _) => format!("live.{}", sum(&member.holds)),
        (MemberState::Silent, Some(gone)) => {
            format!(
                "silent for {silent}. It counts as gone at {}, unless it speaks before.{}",
                clock.end(gone),
                sum(&member.holds)
            )
        }
        (MemberState::Silent, None) => format!("silent for {silent}.{}", sum(&member.holds)),
        (MemberState::Gone, _) => format!("gone, silent for {silent}.{}", sum(&member.holds)),
        (MemberState::Left, _) => format!("stopped {silent} ago.{}", sum(&member.holds)),
    };
    let mut lines = vec![format!("  {}{this}: {state}", member.gateway)];
    lines.extend(match member.state {
        MemberState::Live => in_use(&member.holds),
        _ => shortened(member.holds.iter().map(|holding| free(holding, clock)).collect()),
    });
    // The callers of a gateway that does not speak may have left.
    let waiting = member.waiting.iter().filter(|_| member.state == MemberState::Live).map(|one| {
        let whose = if one.caller.is_empty() { String::new() } else { format!(" of {}", one.caller) };
        format!("    {}: {}{whose} in the queue", one.route, count(one.calls, "call"))
    });
    lines.extend(shortened(waiting.collect()));
    lines
}

/// What is held altogether.
fn sum(holds: &[Holding]) -> String {
    let (held, sealed): (u64, u64) =
        (holds.iter().map(|one| u64::from(one.held)).sum(), holds.iter().map(|one| u64::from(one.sealed)).sum());
    let sealed = if sealed > 0 { format!(" and {sealed} in reserve") } else { String::new() };
    match holds.len() {
        0 => " It holds no slot.".to_owned(),
        limits => format!(" It holds {}{sealed}, of {}.", count(held, "slot"), count(limits as u64, "limit")),
    }
}

/// The limits of which slots are in use.
fn in_use(holds: &[Holding]) -> Vec<String> {
    let used = holds.iter().filter(|one| one.in_use > 0);
    shortened(used.map(|one| format!("    {}: {} in use of {} held", one.limit, one.in_use, one.held)).collect())
}

/// When slots of a member that does not speak come free.
fn free(one: &Holding, clock: Clock) -> String {
    let free = one.free_in_seconds.map_or_else(String::new, |free| format!(", free at {}", clock.end(free)));
    format!("    {}: {}{free}", one.limit, count(one.held, "slot"))
}

fn shut(shut: &[Shut], clock: Clock) -> Vec<String> {
    if shut.is_empty() {
        return Vec::new();
    }
    let line =
        |one: &Shut| format!("    {}: {} until {}", one.limit, count(one.slots, "slot"), clock.end(one.for_seconds));
    let title = "  Shut, because gateways that are not in the record may use them:".to_owned();
    [title].into_iter().chain(shortened(shut.iter().map(line).collect())).collect()
}

fn lock(one: &LockStatus, clock: Clock) -> String {
    let why = match (one.reason, one.for_seconds) {
        (LockReason::Zoho, rest) if rest > 0.0 => {
            return format!("    {}: locked by Zoho until {}, then one call goes alone", one.route, clock.end(rest));
        }
        (LockReason::Zoho, _) => "Zoho's lock has ended",
        (LockReason::NewEpoch, _) => "the epoch is new",
        (LockReason::MemberGone, _) => "a gateway is gone",
    };
    let probe = one.probe.as_ref().map_or_else(|| "one call".to_owned(), |gateway| format!("a call of {gateway}"));
    format!("    {}: {probe} goes alone first, because {why}", one.route)
}
