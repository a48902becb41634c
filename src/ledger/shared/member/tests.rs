//! Rules whose break the simulation shows too rarely.

use std::{collections::BTreeMap, time::Duration};

use super::{
    super::{
        limit::{Limit, LimitSettings},
        message::{Granted, Reply, Silence, Status},
    },
    Member, Now, Timing,
};
use crate::{ledger::tests::threshold_of, os::clock, zoho::catalogue::Pace};

fn at(start: Now, millis: u64) -> Now {
    let later = Duration::from_millis(millis);
    Now { monotonic: start.monotonic + later, boot: start.boot + later }
}

fn reply(number: u64, silences: &[(&str, Silence)]) -> Reply {
    let granted =
        Granted { held: 1, sealed: 0, requests: 1, window: 1000, shut: 0, reserved: 0, waiting: 0, ends: Vec::new() };
    Reply {
        status: Status::Ok,
        number,
        life: "life".to_owned(),
        epoch: Some("epoch".to_owned()),
        age: 0,
        limits: BTreeMap::from([("route".to_owned(), granted)]),
        locks: BTreeMap::new(),
        wanted: BTreeMap::new(),
        silences: silences.iter().map(|(id, silence)| ((*id).to_owned(), *silence)).collect(),
    }
}

fn member() -> (Member, Now) {
    let part = Duration::from_secs(1);
    let timing = Timing { lease: part, longest: part, frozen: part, grace: part, beat: part };
    let start = Now { monotonic: clock::now(), boot: Duration::from_secs(100) };
    (Member::new("one".to_owned(), String::new(), timing, true), start)
}

/// The other member may have spoken just before the answer was written, however long that took.
#[test]
fn others_are_silent_from_the_answer_on_and_never_shorter_for_a_later_one() {
    let (mut member, start) = member();
    let seen = Silence { number: 7, silent: 0 };
    let mut says = Vec::new();
    // It looks, enters, and asks twice; each answer takes 400 ms.
    for (asks, answered) in [(0, 400), (400, 800), (800, 1200), (1200, 1600)] {
        let request = member.request(BTreeMap::new(), String::new(), at(start, asks));
        says.push(request.silences.get("other").map(|silence| silence.silent));
        let heard = if request.number == 1 { reply(1, &[]) } else { reply(request.number, &[("other", seen)]) };
        member.receive(heard, true, at(start, answered)).expect("a usable server");
    }
    assert_eq!(says, [None, None, Some(0), Some(400)]);
}

/// Opening a connection may take longer than the rest of the lease.
#[test]
fn a_call_that_took_its_slot_in_time_is_held_back_when_the_lease_is_over() {
    let (mut member, start) = member();
    let threshold = threshold_of(1, Duration::from_secs(1), Pace::Burst);
    member.set_limit("route", LimitSettings { threshold, spare: 0, alone: false }, start.monotonic);
    for number in 1..=2 {
        member.request(BTreeMap::new(), String::new(), at(start, 0));
        member.receive(reply(number, &[]), true, at(start, 600)).expect("a usable server");
    }
    let grant = member.take(&["route".to_owned()], at(start, 900)).expect("a slot within the lease");
    let held_back = |millis: u64| member.held_back("route", grant, at(start, millis)).is_some();
    assert_eq!([999, 1000].map(held_back), [false, true], "the lease counts from the request");
}

/// The call that goes alone after a lock may wait at another member, and the only slot may be here.
#[test]
fn a_slot_that_no_call_here_may_use_goes_back_although_calls_wait_here() {
    let now = clock::now();
    let threshold = threshold_of(1, Duration::from_secs(1), Pace::Burst);
    let mut limit = Limit::new(LimitSettings { threshold, spare: 0, alone: true }, 0, now);
    let granted = reply(1, &[]).limits.remove("route").expect("it is in each reply");
    for (reserved, goes_back) in [(1, false), (0, true)] {
        limit.granted(&Granted { reserved, ..granted.clone() }, true, now);
        limit.wanted = true;
        assert_eq!(limit.has_to_give(now), goes_back, "{reserved} reserved");
    }
    assert_eq!(limit.report(true, false, now).held, 0);
}
