//! One line per account and route, made when first needed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::{
    CallHistory, Journal, Limits, QueueCapacity, Recovered, RouteLimiter, Standing, Window,
    daily::{DAY, Daily},
};
use crate::{
    ledger::store::Key,
    os::clock,
    zoho::{
        account::{Account, AccountName},
        catalogue::{Catalogue, Pace, Route, RouteId, Threshold},
    },
};

/// The name of an account's daily bucket; no route id is without dots.
const DAILY: &str = "daily";

/// What all lines share.
#[derive(Debug, Clone)]
pub struct LimiterContext {
    /// Where those sit who wait.
    pub room: Arc<QueueCapacity>,
    /// The way to the store.
    pub journal: Journal,
    /// What was sent of late.
    pub history: Arc<CallHistory>,
}

impl LimiterContext {
    /// Of a ledger that is forgotten with the process.
    #[must_use]
    pub fn in_memory(limits: Limits) -> Self {
        Self { room: QueueCapacity::new(limits), journal: Journal::in_memory(), history: Arc::default() }
    }
}

/// All lines of the process.
#[derive(Debug)]
pub struct Limiters {
    limiters: RwLock<HashMap<(AccountName, RouteId), Arc<RouteLimiter>>>,
    dailies: Mutex<HashMap<AccountName, Arc<Daily>>>,
    past: Arc<Recovered>,
    context: LimiterContext,
    /// When the gateway stops, once it is known.
    closes: Mutex<Option<Instant>>,
}

impl Limiters {
    /// No lines yet; those to come begin where the past ended.
    #[must_use]
    pub fn new(past: Arc<Recovered>, context: LimiterContext) -> Self {
        Self { limiters: RwLock::default(), dailies: Mutex::default(), past, context, closes: Mutex::default() }
    }

    /// Of a ledger that is forgotten with the process.
    #[must_use]
    pub fn in_memory(limits: Limits) -> Self {
        Self::new(Arc::new(Recovered::none()), LimiterContext::in_memory(limits))
    }

    /// The line a call has to stand in; `None` when its route has no threshold.
    #[must_use]
    pub fn limiter(&self, account: &Account, route: &Route) -> Option<Arc<RouteLimiter>> {
        let threshold = route.threshold?;
        let key = (account.name.clone(), route.id.clone());
        if let Some(limiter) = self.limiters.read().get(&key) {
            return Some(Arc::clone(limiter));
        }
        let daily = if route.product.has_daily_limit() { self.daily(account) } else { None };
        let new = || {
            let key = Key { account: account.name.to_string(), meter: route.id.to_string() };
            let window = self.past.window(&key, threshold, clock::now());
            let limiter = RouteLimiter::new(key, window, daily, self.context.clone());
            if let Some(at) = *self.closes.lock() {
                limiter.close(at);
            }
            limiter
        };
        Some(Arc::clone(self.limiters.write().entry(key).or_insert_with(new)))
    }

    /// A line for an account's token requests of this kind, to be made once.
    #[must_use]
    pub fn token_line(&self, account: &Account, kind: &str, threshold: Threshold) -> Arc<RouteLimiter> {
        let key = Key { account: account.name.to_string(), meter: kind.to_owned() };
        let window = self.past.token_bucket(&key, threshold, clock::now());
        RouteLimiter::new(key, window, None, self.context.clone())
    }

    /// Makes the lines that an earlier process had, so that operators see at once how they stand.
    pub fn recall(&self, accounts: &BTreeMap<AccountName, Arc<Account>>, catalogue: &Catalogue) {
        for (key, _) in self.past.left() {
            let account = accounts.get(&AccountName::new(&key.account));
            let route = catalogue.iter().find(|route| route.id.as_str() == key.meter);
            if let (Some(account), Some(route)) = (account, route) {
                let _ = self.limiter(account, route);
            }
        }
    }

    /// The gateway stops at this moment. Who waits for a slot of a route and cannot have one before is told so at once, or
    /// as soon as it shows. A token is still asked for: calls that have their slot need one.
    pub fn close(&self, at: Instant) {
        // First this: a line that is made meanwhile sees it, or is among those below.
        *self.closes.lock() = Some(at);
        let limiters: Vec<_> = self.limiters.read().values().map(Arc::clone).collect();
        for limiter in limiters {
            limiter.close(at);
        }
    }

    /// How many callers wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.context.room.waiting()
    }

    /// What all lines share.
    #[must_use]
    pub fn context(&self) -> &LimiterContext {
        &self.context
    }

    /// How every line stands that was needed so far, by account and route.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let limiters: Vec<_> = self.limiters.read().values().map(Arc::clone).collect();
        let mut standings: Vec<_> = limiters.iter().map(|limiter| limiter.standing()).collect();
        standings.sort_by(|one, other| one.key.cmp(&other.key));
        standings
    }

    fn daily(&self, account: &Account) -> Option<Arc<Daily>> {
        let requests = account.daily_calls?;
        let new = || {
            let key = Key { account: account.name.to_string(), meter: DAILY.to_owned() };
            let threshold = Threshold { requests, window: DAY, lock: std::time::Duration::ZERO, pace: Pace::Burst };
            let window: Window = self.past.window(&key, threshold, clock::now());
            Daily::new(window, key, self.context.journal.clone())
        };
        Some(Arc::clone(self.dailies.lock().entry(account.name.clone()).or_insert_with(new)))
    }
}
