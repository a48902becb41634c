//! What Zoho's answers say about the catalogue: which payloads it rejects although the rules accept them, and how many calls
//! of a route it answers within a window, or had got when it locked the route.
//!
//! It names no account, no caller and no payload, so `zoho-gateway report` prints text that a person may share.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    ledger::{AttemptOf, Key, Observer, Step},
    os::clock,
    zoho::catalogue::{Catalogue, Provenance, Route},
};

/// How many kinds of rejections are told apart; Zoho has some dozen codes.
const MOST_CODES: usize = 1000;

/// The longest span that is looked at: the other reading of Zoho's pages is that the limit holds for the time of a lock.
const LONG: Duration = Duration::from_secs(5 * 60);

/// Routes with a larger threshold are not of Zoho's, and their calls would need much memory.
const LARGEST: u32 = 2000;

/// Observes the attempts of all accounts.
#[derive(Debug)]
pub struct Observations {
    since: String,
    /// The thresholds in force, by route.
    routes: RwLock<Arc<HashMap<String, Believed>>>,
    seen: Mutex<Seen>,
}

/// What the configuration in force says about a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Believed {
    requests: u32,
    window: Duration,
    /// Whether that is the number of Zoho's page or of the catalogue.
    is_published: bool,
}

#[derive(Debug, Default)]
struct Seen {
    /// By account and route.
    recent: HashMap<Key, Recent>,
    limits: BTreeMap<String, LimitSeen>,
    payloads: BTreeMap<(String, String), PayloadSeen>,
}

/// The calls of an account and a route that Zoho answered, by the time when they were sent.
#[derive(Debug, Default)]
struct Recent {
    within_window: VecDeque<Instant>,
    within_long: VecDeque<Instant>,
    /// How many of them have an answer that is not read yet.
    pending: u32,
    /// When the last full window was counted.
    full_at: Option<Instant>,
    locked_until: Option<Instant>,
}

/// What was seen of a route's limit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct LimitSeen {
    most: u32,
    most_within_long: u32,
    full_windows: u32,
    locks: u32,
    fewest_before_lock: Option<u32>,
}

#[derive(Debug)]
struct PayloadSeen {
    times: u64,
    last: String,
}

/// All observations since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Since when, as RFC 3339.
    pub since: String,
    /// The version of the gateway.
    pub version: String,
    /// Payloads that Zoho rejected although the rules accepted them, the most frequent first.
    pub payloads: Vec<RejectedPayloads>,
    /// Routes whose calls used a whole window, or that Zoho locked.
    pub limits: Vec<ObservedLimit>,
}

/// Rejections of one route for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedPayloads {
    /// The route.
    pub route: String,
    /// Zoho's code, or the status of an answer without one.
    pub code: String,
    /// How often.
    pub times: u64,
    /// When it was the last time, as RFC 3339.
    pub last: String,
}

/// What was seen of a route's limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedLimit {
    /// The route.
    pub route: String,
    /// The threshold in force.
    pub requests: u32,
    /// Its window, in seconds.
    pub window_seconds: f64,
    /// Whether the threshold is that of the catalogue.
    pub is_published: bool,
    /// The most calls that certainly arrived within one window, and were answered without a lock.
    pub most_answered: u32,
    /// The same within five minutes.
    pub most_answered_in_5m: u32,
    /// How many windows used the threshold up without a lock.
    pub full_windows: u32,
    /// How often Zoho locked the route.
    pub locks: u32,
    /// The fewest calls of our own that had been sent within the window when it did.
    pub fewest_before_lock: Option<u32>,
}

// === impl Observations ===

impl Observations {
    /// Starts to observe.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let since = clock::rfc3339(clock::wall());
        Arc::new(Self { since, routes: RwLock::default(), seen: Mutex::default() })
    }

    /// These thresholds hold from now on.
    pub fn follow(&self, catalogue: &Catalogue) {
        let believed = |route: &Route| {
            let threshold = route.threshold.filter(|threshold| threshold.requests.get() <= LARGEST)?;
            let is_published = route.trust != Provenance::Configured;
            let (requests, window) = (threshold.requests.get(), threshold.window);
            Some((route.id.to_string(), Believed { requests, window, is_published }))
        };
        *self.routes.write() = Arc::new(catalogue.iter().filter_map(believed).collect());
    }

    /// What was seen so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let (routes, seen) = (Arc::clone(&self.routes.read()), self.seen.lock());
        let rejected = |((route, code), seen): (&(String, String), &PayloadSeen)| RejectedPayloads {
            route: route.clone(),
            code: code.clone(),
            times: seen.times,
            last: seen.last.clone(),
        };
        let mut payloads: Vec<_> = seen.payloads.iter().map(rejected).collect();
        payloads.sort_by_key(|rejected| std::cmp::Reverse(rejected.times));
        let limit = |(route, seen): (&String, &LimitSeen)| {
            let believed = routes.get(route).filter(|_| seen.locks > 0 || seen.full_windows > 0)?;
            Some(ObservedLimit {
                route: route.clone(),
                requests: believed.requests,
                window_seconds: believed.window.as_secs_f64(),
                is_published: believed.is_published,
                most_answered: seen.most,
                most_answered_in_5m: seen.most_within_long,
                full_windows: seen.full_windows,
                locks: seen.locks,
                fewest_before_lock: seen.fewest_before_lock,
            })
        };
        let limits = seen.limits.iter().filter_map(limit).collect();
        Report { since: self.since.clone(), version: env!("CARGO_PKG_VERSION").to_owned(), payloads, limits }
    }
}

impl Observer for Observations {
    fn step(&self, AttemptOf { key, .. }: &AttemptOf<'_>, step: &Step) {
        if let Step::PayloadRefused(code) = step {
            return self.seen.lock().payload(&key.limit, code);
        }
        let Some(believed) = self.routes.read().get(&key.limit).copied() else { return };
        let mut seen = self.seen.lock();
        match step {
            Step::Answered { sent_at, .. } => seen.of(key).0.answered(*sent_at),
            Step::Judged { .. } => {
                let (recent, limit) = seen.of(key);
                recent.judged(believed, limit);
            }
            Step::Locked(hit) => {
                let (recent, limit) = seen.of(key);
                recent.locked(believed, hit.until, limit);
            }
            Step::Unread => seen.of(key).0.unread(),
            _ => {}
        }
    }
}

// === impl Seen ===

impl Seen {
    fn of(&mut self, key: &Key) -> (&mut Recent, &mut LimitSeen) {
        (self.recent.entry(key.clone()).or_default(), self.limits.entry(key.limit.clone()).or_default())
    }

    fn payload(&mut self, route: &str, code: &str) {
        let key = (route.to_owned(), code.to_owned());
        if self.payloads.len() < MOST_CODES || self.payloads.contains_key(&key) {
            let seen = self.payloads.entry(key).or_insert_with(|| PayloadSeen { times: 0, last: String::new() });
            seen.times += 1;
            seen.last = clock::rfc3339(clock::wall());
        }
    }
}

// === impl Recent ===

impl Recent {
    fn answered(&mut self, sent_at: Instant) {
        self.pending += 1;
        for calls in [&mut self.within_window, &mut self.within_long] {
            let at = calls.iter().rposition(|earlier| *earlier <= sent_at).map_or(0, |at| at + 1);
            calls.insert(at, sent_at);
        }
    }

    /// An answer reports no lock. What was sent within the window before now and is answered has arrived within it.
    fn judged(&mut self, Believed { requests, window, .. }: Believed, limit: &mut LimitSeen) {
        self.pending = self.pending.saturating_sub(1);
        let now = clock::now();
        let within = self.count(now, window);
        limit.most = limit.most.max(within.0);
        limit.most_within_long = limit.most_within_long.max(within.1);
        if within.0 >= requests && self.full_at.is_none_or(|full| full + window <= now) {
            self.full_at = Some(now);
            limit.full_windows += 1;
        }
    }

    /// An answer reports a lock. Calls that were on the way when it began report it again.
    fn locked(&mut self, Believed { window, .. }: Believed, until: Instant, limit: &mut LimitSeen) {
        self.unread();
        let now = clock::now();
        if self.locked_until.is_none_or(|until| until <= now) {
            limit.locks += 1;
            let sent = self.count(now, window).0 + 1;
            limit.fewest_before_lock = Some(limit.fewest_before_lock.map_or(sent, |fewest| fewest.min(sent)));
        }
        self.locked_until = self.locked_until.max(Some(until));
    }

    /// The call that was answered last does not count.
    fn unread(&mut self) {
        self.pending = self.pending.saturating_sub(1);
        self.within_window.pop_back();
        self.within_long.pop_back();
    }

    /// How many calls without a lock were sent within the window, and within five minutes.
    fn count(&mut self, now: Instant, window: Duration) -> (u32, u32) {
        let count = |calls: &mut VecDeque<Instant>, span| {
            while calls.front().is_some_and(|sent_at| *sent_at + span < now) {
                calls.pop_front();
            }
            u32::try_from(calls.len()).unwrap_or(u32::MAX).saturating_sub(self.pending)
        };
        (count(&mut self.within_window, window), count(&mut self.within_long, LONG.max(window)))
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::ledger::{Caller, LockHit};

    const ROUTE: &str = "people.lms.share-course";

    fn observer() -> (Arc<Observations>, Key) {
        let observations = Observations::new();
        observations.follow(&Catalogue::published().unwrap());
        (observations, Key { account: "main".to_owned(), limit: ROUTE.to_owned() })
    }

    fn step(observations: &Observations, key: &Key, step: &Step) {
        observations.step(&AttemptOf { key, caller: &Caller::anonymous(), request_id: "1" }, step);
    }

    fn call(observations: &Observations, key: &Key, lock: Option<Duration>) {
        let sent_at = clock::now();
        step(observations, key, &Step::Answered { sent_at, status: StatusCode::OK });
        step(
            observations,
            key,
            &match lock {
                None => Step::Judged { executed: true },
                Some(lock) => Step::Locked(LockHit { until: sent_at + lock, external: true }),
            },
        );
    }

    #[tokio::test(start_paused = true)]
    async fn counts_what_certainly_arrived_within_a_window() {
        let (observations, key) = observer();
        for _ in 0..3 {
            for _ in 0..30 {
                call(&observations, &key, None);
            }
            tokio::time::advance(Duration::from_secs(61)).await;
        }
        let report = observations.report();
        let [limit] = report.limits.as_slice() else { panic!("one limit: {report:?}") };
        assert_eq!((limit.most_answered, limit.most_answered_in_5m, limit.full_windows), (30, 90, 3));
        assert_eq!((limit.locks, limit.fewest_before_lock), (0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn counts_the_calls_before_a_lock_once() {
        let (observations, key) = observer();
        let lock = Duration::from_secs(300);
        for _ in 0..11 {
            call(&observations, &key, None);
        }
        for _ in 0..3 {
            call(&observations, &key, Some(lock));
        }
        tokio::time::advance(lock).await;
        call(&observations, &key, None);
        call(&observations, &key, Some(lock));
        let limit = &observations.report().limits[0];
        assert_eq!((limit.most_answered, limit.locks, limit.fewest_before_lock), (11, 2, Some(2)));
    }

    #[test]
    fn counts_rejections_by_route_and_code() {
        let (observations, key) = observer();
        for code in ["7052", "422", "7052"] {
            step(&observations, &key, &Step::PayloadRefused(code.into()));
        }
        let rejected: Vec<_> =
            observations.report().payloads.into_iter().map(|seen| (seen.route, seen.code, seen.times)).collect();
        assert_eq!(rejected, [(ROUTE.to_owned(), "7052".to_owned(), 2), (ROUTE.to_owned(), "422".to_owned(), 1)]);
    }
}
