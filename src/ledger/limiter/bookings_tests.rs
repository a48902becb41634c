//! Refused calls that keep their turns.

use std::{any::Any, collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Refused,
    bookings::LAPSE,
    trial::{Arrived, Trial, caller, seconds},
};
use crate::{
    ledger::{Caller, Identity, SlotRequest},
    zoho::catalogue::Pace,
};

/// What `Retry-After` says.
fn whole(retry_after: Duration) -> Duration {
    seconds(retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0))
}

/// A client that sends one call after the other and repeats a refused one after `Retry-After`, as urllib3 does with
/// `Retry(total=5, status_forcelist=[429, 503])`.
struct Client {
    caller: Caller,
    wait: Duration,
    connection: Arc<dyn Any + Send + Sync>,
    fingerprint: u64,
    left: u32,
    repeats: u32,
    /// When it sends next; `None` while its call waits.
    next: Option<Instant>,
}

impl Client {
    fn new(caller: &Caller, wait: Duration, calls: u32, fingerprint: u64, at: Instant) -> Self {
        let connection = Arc::new(fingerprint);
        Self { caller: caller.clone(), wait, connection, fingerprint, left: calls, repeats: 0, next: Some(at) }
    }

    fn request(&self, now: Instant) -> SlotRequest {
        let identity = Identity { fingerprint: self.fingerprint, connection: Arc::downgrade(&self.connection) };
        SlotRequest { caller: self.caller.clone(), identity: Some(identity), ..SlotRequest::plain(now + self.wait) }
    }

    fn served(&mut self, at: Instant) {
        self.left -= 1;
        self.repeats = 0;
        self.next = (self.left > 0).then_some(at);
    }

    fn refused(&mut self, at: Instant, refused: Refused) {
        let Refused::Saturated { retry_after, .. } = refused else { panic!("{refused:?}") };
        self.repeats += 1;
        assert!(self.repeats <= 5, "it gives up");
        self.next = Some(at + whole(retry_after).max(seconds(1)));
    }
}

/// Runs all clients to their end.
fn run(trial: &mut Trial, clients: &mut [Client]) {
    loop {
        let next = clients.iter().enumerate().filter_map(|(index, client)| Some((client.next?, index))).min();
        let Some(until) = next.map(|(at, _)| at).or((trial.waiting() > 0).then_some(trial.now + seconds(1000))) else {
            return;
        };
        let ended = trial.run_until_some_end(until);
        for end in &ended {
            match end.refused {
                None => clients[end.number].served(end.at),
                Some(refused) => clients[end.number].refused(end.at, refused),
            }
        }
        if !ended.is_empty() {
            continue;
        }
        let Some((_, index)) = next else { continue };
        let client = &mut clients[index];
        client.next = None;
        let now = trial.now;
        match trial.request(client.request(now), index) {
            Arrived::Goes => clients[index].served(now),
            Arrived::Waits => {}
            Arrived::Refused(refused) => clients[index].refused(now, refused),
        }
    }
}

/// Ten times the allowance by thirty clients: the optimum is nine windows.
#[test]
fn thirty_clients_that_come_back_all_succeed() {
    for (wait, several_callers, equal) in [
        (0, false, true),
        (0, false, false),
        (0, true, true),
        (0, true, false),
        (75, false, true),
        (75, true, false),
        (8, true, true),
    ] {
        let mut trial = Trial::new(30, Pace::Fair, &[]);
        let callers: Vec<Caller> =
            (0..if several_callers { 5 } else { 1 }).map(|name| caller(&name.to_string(), 1)).collect();
        let mut clients: Vec<Client> = (0..30)
            .map(|number| {
                let fingerprint = if equal { 0 } else { number };
                let caller = &callers[number as usize % callers.len()];
                Client::new(caller, seconds(wait), 10, fingerprint, trial.start + Duration::from_millis(7 * number))
            })
            .collect();
        run(&mut trial, &mut clients);
        let ended = trial.at(trial.sent.last().unwrap().0);
        println!("wait={wait}, {} callers, equal {equal}: {ended:.1} s of 540", callers.len());
        assert_eq!(trial.sent.len(), 300);
        assert!(ended <= 540.0 * 1.15, "{ended}");
    }
}

fn request(caller: &Caller, wait: Duration, connection: &Arc<dyn Any + Send + Sync>, now: Instant) -> SlotRequest {
    let identity = Identity { fingerprint: 1, connection: Arc::downgrade(connection) };
    SlotRequest { caller: caller.clone(), identity: Some(identity), ..SlotRequest::plain(now + wait) }
}

fn connection() -> Arc<dyn Any + Send + Sync> {
    Arc::new(0_u8)
}

fn refused(arrived: Arrived) -> (Duration, Option<usize>) {
    match arrived {
        Arrived::Refused(Refused::Saturated { retry_after, position, .. }) => (retry_after, position),
        other => panic!("{other:?}"),
    }
}

/// A route of one call a minute, whose slot is used now.
fn used_up() -> (Trial, Caller) {
    let (mut trial, caller) = (Trial::new(1, Pace::Fair, &[]), caller("one", 1));
    assert_eq!(trial.call(&caller, seconds(0), 0), Arrived::Goes);
    (trial, caller)
}

#[test]
fn each_refusal_has_its_own_time_and_keeps_it() {
    let (mut trial, caller) = used_up();
    let connections = [connection(), connection(), connection()];
    for (index, connection) in connections.iter().enumerate() {
        let told = refused(trial.request(request(&caller, seconds(0), connection, trial.now), 0));
        assert_eq!(told, (seconds(60 * (1 + index as u64)), Some(index)));
    }
    trial.run_until(trial.start + seconds(20));
    // Early returns keep the bookings, and no second ones come about.
    for (index, connection) in connections.iter().enumerate().rev() {
        let told = refused(trial.request(request(&caller, seconds(0), connection, trial.now), 0));
        assert_eq!(told, (seconds(60 * (1 + index as u64) - 20), Some(index)));
    }
    assert_eq!(trial.state.booked(), 3);
    // With a wait it takes its booking and waits there.
    assert_eq!(trial.request(request(&caller, seconds(100), &connections[1], trial.now), 7), Arrived::Waits);
    trial.run_until(trial.start + seconds(60));
    assert_eq!(trial.request(request(&caller, seconds(0), &connections[0], trial.now), 0), Arrived::Goes);
    let ended = trial.run_until(trial.start + seconds(130));
    assert_eq!((ended.len(), ended[0].number, trial.at(ended[0].at)), (1, 7, 120.0));
}

#[test]
fn a_fast_client_does_not_get_the_bookings_of_others() {
    let (mut trial, one) = used_up();
    let (patient, fast) = (connection(), connection());
    refused(trial.request(request(&one, seconds(0), &patient, trial.now), 0));
    for second in 1..60 {
        trial.run_until(trial.start + seconds(second));
        let (told, position) = refused(trial.request(request(&one, seconds(0), &fast, trial.now), 0));
        assert_eq!((told, position), (seconds(120 - second), Some(1)));
    }
    // Nor does another caller.
    trial.run_until(trial.start + seconds(60));
    refused(trial.request(request(&one, seconds(0), &fast, trial.now), 0));
    trial.run_until(trial.start + seconds(61));
    assert_eq!(trial.request(request(&one, seconds(0), &patient, trial.now), 0), Arrived::Goes);
}

#[test]
fn an_equal_call_takes_over_what_its_owner_left() {
    for leaves in [true, false] {
        let (mut trial, one) = used_up();
        let (owner, other) = (connection(), connection());
        refused(trial.request(request(&one, seconds(0), &owner, trial.now), 0));
        if leaves {
            drop(owner);
        }
        trial.run_until(trial.start + Duration::from_millis(60_000 + if leaves { 0 } else { 600 }));
        assert_eq!(trial.request(request(&one, seconds(0), &other, trial.now), 0), Arrived::Goes);
    }
}

/// The threads of a client share its connections, so a call comes again by any of them.
#[test]
fn a_call_finds_its_booking_whatever_connection_its_client_uses() {
    let one = caller("one", 1);
    let mut trial = Trial::new(2, Pace::Burst, &[]);
    for _ in 0..2 {
        assert_eq!(trial.call(&one, seconds(0), 0), Arrived::Goes);
    }
    let connections = [connection(), connection()];
    for connection in connections.iter().cycle().take(4) {
        refused(trial.request(request(&one, seconds(0), connection, trial.now), 0));
    }
    // Two bookings are due, one of each connection, and both calls come by the second one.
    trial.run_until(trial.start + seconds(60));
    for _ in 0..2 {
        assert_eq!(trial.request(request(&one, seconds(0), &connections[1], trial.now), 0), Arrived::Goes);
    }
    // A call without an equal one needs no connection.
    let different = |connection: &Arc<dyn Any + Send + Sync>, now: Instant| {
        let identity = Identity { fingerprint: 2, connection: Arc::downgrade(connection) };
        SlotRequest { identity: Some(identity), ..request(&one, seconds(0), connection, now) }
    };
    let told = refused(trial.request(different(&connections[0], trial.now), 0)).0;
    trial.run_until(trial.now + told);
    trial.request(request(&one, seconds(0), &connections[0], trial.now), 0);
    assert_eq!(trial.request(different(&connections[1], trial.now), 0), Arrived::Goes);
}

#[test]
fn an_unused_booking_lapses_and_its_slot_goes_to_who_waits() {
    let (mut trial, one) = used_up();
    refused(trial.request(request(&one, seconds(0), &connection(), trial.now), 0));
    let waiting = SlotRequest { identity: None, ..request(&one, seconds(300), &connection(), trial.now) };
    assert_eq!(trial.request(waiting, 1), Arrived::Waits);
    let ended = trial.run_until(trial.start + seconds(200));
    assert_eq!(trial.at(ended[0].at), 60.0 + LAPSE.as_secs_f64());
    assert_eq!(trial.state.booked(), 0);
}

#[test]
fn a_booking_of_later_leaves_a_free_slot_to_who_waits() {
    let one = caller("one", 1);
    let mut trial = Trial::new(2, Pace::Burst, &[]);
    for at in [0, 30] {
        trial.run_until(trial.start + seconds(at));
        assert_eq!(trial.call(&one, seconds(0), 0), Arrived::Goes);
    }
    // Bookings at 60 and 90, of which the first one's owner does not come.
    refused(trial.request(request(&one, seconds(0), &connection(), trial.now), 0));
    let second = connection();
    let different = Identity { fingerprint: 2, connection: Arc::downgrade(&second) };
    let booked = SlotRequest { identity: Some(different), ..request(&one, seconds(0), &second, trial.now) };
    assert_eq!(refused(trial.request(booked, 0)).0, seconds(60));
    trial.run_until(trial.start + seconds(63));
    assert_eq!(trial.call(&one, seconds(0), 0), Arrived::Goes, "the second booking has its slot at 90");
}

/// The slots that each caller gets within half an hour, next to one that keeps bookings and never returns.
fn next_to_a_hoarder(hoards: bool, wait: u64) -> BTreeMap<String, usize> {
    let (hoarder, one) = (caller("hoarder", 1), caller("one", 1));
    let mut trial = Trial::new(30, Pace::Fair, &[]);
    let mut clients: Vec<Client> =
        (0..30).map(|number| Client::new(&one, seconds(wait), 30, number, trial.start + seconds(1))).collect();
    if hoards {
        let mut connections = Vec::new();
        for number in 0..1030 {
            let mut client = Client::new(&hoarder, seconds(0), 1, number, trial.start);
            trial.request(client.request(trial.start), usize::MAX);
            client.next = None;
            connections.push(client.connection);
        }
        assert_eq!(trial.state.booked(), 1000);
        run(&mut trial, &mut clients);
    } else {
        for _ in 0..30 {
            trial.call(&hoarder, seconds(0), usize::MAX);
        }
        run(&mut trial, &mut clients);
    }
    let end = trial.at(trial.sent.last().unwrap().0);
    println!("hoards {hoards}, wait={wait}: ended after {end} s");
    BTreeMap::from([("end".to_owned(), end as usize)])
}

#[test]
fn who_hoards_bookings_hardly_delays_others() {
    for wait in [0, 75] {
        let (with, without) = (next_to_a_hoarder(true, wait)["end"], next_to_a_hoarder(false, wait)["end"]);
        assert!(with as f64 <= without as f64 * 1.05, "{with} instead of {without}");
    }
}

/// More bookings are before it than a schedule has steps.
#[test]
fn a_call_behind_very_many_bookings_is_served_when_they_lapse() {
    let one = caller("one", 1);
    let mut trial = Trial::new(30, Pace::Fair, &[]);
    let kept: Vec<_> = (0..930).map(|_| connection()).collect();
    for connection in &kept {
        trial.request(request(&one, seconds(0), connection, trial.now), 0);
    }
    assert_eq!(trial.state.booked(), 900);
    let waiting = SlotRequest { identity: None, ..request(&one, seconds(3600), &connection(), trial.now) };
    assert_eq!(trial.request(waiting, 1), Arrived::Waits);
    let ended = trial.run_until(trial.start + seconds(600));
    // The first thirty lapse together, and with them all others.
    assert_eq!(trial.at(ended[0].at), 60.0 + LAPSE.as_secs_f64());
}
