//! Refused calls that keep their turns.

use std::{any::Any, collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Refused,
    bookings::KEPT,
    trial::{Arrived, Trial, caller, caller_with, seconds},
};
use crate::{
    ledger::{Caller, Identity, SlotRequest, caller::Terms, simulation::random::Random},
    zoho::catalogue::Pace,
};

const LATE: Duration = Duration::from_millis(1);

/// What `Retry-After` says.
fn whole(retry_after: Duration) -> Duration {
    seconds(retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0))
}

/// A thread that sends one call after the other and repeats a refused one after `Retry-After`, as urllib3 does with
/// `Retry(total=5, status_forcelist=[429, 503])`.
struct Client {
    caller: Caller,
    wait: Duration,
    pool: usize,
    fingerprint: u64,
    left: u32,
    repeats: u32,
    /// When it sends next; `None` while its call waits.
    next: Option<Instant>,
    /// That of the call that waits.
    connection: Connection,
}

type Connection = Arc<dyn Any + Send + Sync>;

/// The connections of a client and when they are idle, the one that was used last at the end.
#[derive(Default)]
struct Pool(Vec<(Instant, Connection)>);

impl Pool {
    fn connection(&mut self, now: Instant) -> Connection {
        let idle = self.0.iter().rposition(|(idle, _)| *idle <= now);
        idle.map_or_else(connection, |index| self.0.remove(index).1)
    }
}

impl Client {
    fn new(caller: &Caller, wait: Duration, calls: u32, fingerprint: u64, at: Instant) -> Self {
        let (caller, pool) = (caller.clone(), fingerprint as usize);
        Self { caller, wait, pool, fingerprint, left: calls, repeats: 0, next: Some(at), connection: connection() }
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
        self.next = Some(at + whole(retry_after).max(seconds(1)));
    }
}

/// Runs all clients to their end. Their calls take up to this time to come. Returns how often a call was repeated at most.
fn run(trial: &mut Trial, clients: &mut [Client], late: Duration) -> u32 {
    let mut pools: Vec<Pool> = clients.iter().map(|_| Pool::default()).collect();
    let (mut random, mut repeats) = (Random::new(1), 0);
    loop {
        let next = clients.iter().enumerate().filter_map(|(index, client)| Some((client.next?, index))).min();
        let Some(until) = next.map(|(at, _)| at).or((trial.waiting() > 0).then_some(trial.now + seconds(1000))) else {
            return repeats;
        };
        let mut ended: Vec<_> =
            trial.run_until_some_end(until).into_iter().map(|end| (end.number, end.at, end.refused)).collect();
        if ended.is_empty() {
            let Some((_, index)) = next else { continue };
            let (client, now) = (&mut clients[index], trial.now);
            client.next = None;
            client.connection = pools[client.pool].connection(now);
            match trial.request(client.request(now), index) {
                Arrived::Goes => ended.push((index, now, None)),
                Arrived::Waits => {}
                Arrived::Refused(refused) => ended.push((index, now, Some(refused))),
            }
        }
        for (index, at, refused) in ended {
            let client = &mut clients[index];
            let answered = if refused.is_none() { at + trial.trip } else { at };
            pools[client.pool].0.push((answered, Arc::clone(&client.connection)));
            match refused {
                None => client.served(answered),
                Some(refused) => client.refused(answered, refused),
            }
            repeats = repeats.max(client.repeats);
            let lateness = Duration::from_micros(random.below(late.as_micros() as u64));
            client.next = client.next.map(|next| next + lateness);
        }
    }
}

/// Ten times the allowance by thirty clients: the optimum is nine windows.
#[test]
fn thirty_clients_that_come_back_all_succeed() {
    let mut failed = Vec::new();
    for (wait, callers) in [(0, 1), (0, 5), (0, 30), (75, 5)] {
        for (equal, threads, late) in [(true, 1, 1), (true, 10, 60), (false, 10, 60)] {
            let mut trial = Trial::new(30, Pace::Fair, &[]).with_trip(Duration::from_millis(200));
            let names: Vec<Caller> = (0..callers).map(|name| caller(&name.to_string(), 1)).collect();
            let client = |number: u64| {
                let at = trial.start + Duration::from_millis(3 * number);
                let caller = &names[number as usize % names.len()];
                let client = Client::new(caller, seconds(wait), 10 / threads, number, at);
                let fingerprint = if equal { 0 } else { number };
                Client { pool: number as usize % 30, fingerprint, ..client }
            };
            let mut clients: Vec<Client> = (0..30 * u64::from(threads)).map(client).collect();
            let repeats = run(&mut trial, &mut clients, Duration::from_millis(late));
            let ended = trial.at(trial.sent.last().unwrap().0);
            let outcome = format!(
                "wait={wait}, {callers} callers, equal: {equal}, {threads} threads: {:.3} of the optimum, \
                 {repeats} repetitions",
                ended / 540.0
            );
            println!("{outcome}");
            assert_eq!(trial.sent.len(), 300);
            if ended > 540.0 * 1.15 || repeats > 5 {
                failed.push(outcome);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

fn request(caller: &Caller, wait: Duration, connection: &Connection, now: Instant) -> SlotRequest {
    let identity = Identity { fingerprint: 1, connection: Arc::downgrade(connection) };
    SlotRequest { caller: caller.clone(), identity: Some(identity), ..SlotRequest::plain(now + wait) }
}

fn connection() -> Connection {
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
    let different = |connection: &Connection, now: Instant| {
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
    assert_eq!(trial.at(ended[0].at), 60.0 + KEPT.as_secs_f64());
    assert_eq!(trial.state.next(trial.now), None);
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

#[test]
fn a_booking_of_others_keeps_no_slot_of_a_reserve() {
    let (keeper, other) = (caller_with("keeper", Terms { reserve: 2, ..Terms::default() }), caller("other", 1));
    let mut trial = Trial::new(4, Pace::Burst, std::slice::from_ref(&keeper));
    for at in [0, 30] {
        trial.run_until(trial.start + seconds(at));
        assert_eq!(trial.call(&other, seconds(0), 0), Arrived::Goes);
    }
    // Its time is 60, and the slot after that one is free at 90.
    assert_eq!(refused(trial.request(request(&other, seconds(0), &connection(), trial.now), 0)).0, seconds(30));
    trial.run_until(trial.start + Duration::from_millis(59_500));
    for _ in 0..2 {
        assert_eq!(trial.call(&keeper, seconds(0), 0), Arrived::Goes);
    }
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
        run(&mut trial, &mut clients, LATE);
    } else {
        for _ in 0..30 {
            trial.call(&hoarder, seconds(0), usize::MAX);
        }
        run(&mut trial, &mut clients, LATE);
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
    assert_eq!(trial.at(ended[0].at), 60.0 + KEPT.as_secs_f64());
}
