//! One limiter per account and route, made when first needed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::{AfterLoss, DAY, Key, LimitSpec, LimiterContext, LimiterStatus, Limits, RouteLimiter, Unlimited};
use crate::zoho::{
    account::{Account, AccountName},
    catalogue::{Catalogue, Pace, Route, RouteId, Threshold},
};

/// The name of an account's daily limit; every route id has a dot.
const DAILY: &str = "daily";

/// What a call is subject to.
#[derive(Debug, Clone)]
pub enum RouteLimit {
    /// It waits for a slot.
    Limited(Arc<RouteLimiter>),
    /// Its route has no threshold.
    Unlimited(Unlimited),
}

/// All limiters of the process.
#[derive(Debug)]
pub struct Limiters {
    limits: RwLock<HashMap<(AccountName, RouteId), RouteLimit>>,
    context: LimiterContext,
    /// When the gateway stops, once it is known.
    closes: Mutex<Option<Instant>>,
}

impl RouteLimit {
    /// The limiter, where the route has a threshold.
    #[must_use]
    pub fn limiter(&self) -> Option<&Arc<RouteLimiter>> {
        match self {
            Self::Limited(limiter) => Some(limiter),
            Self::Unlimited(_) => None,
        }
    }
}

impl Limiters {
    /// No limiters yet.
    #[must_use]
    pub fn new(context: LimiterContext) -> Self {
        Self { limits: RwLock::default(), context, closes: Mutex::default() }
    }

    /// Of a ledger that is forgotten with the process.
    #[must_use]
    pub fn in_memory(limits: Limits) -> Self {
        Self::new(LimiterContext::in_memory(limits))
    }

    /// What a call of this route is subject to.
    #[must_use]
    pub fn limit(&self, account: &Account, route: &Route) -> RouteLimit {
        let key = (account.name.clone(), route.id.clone());
        if let Some(limit) = self.limits.read().get(&key) {
            return limit.clone();
        }
        // A limiter that was made twice at once would count for itself, so this is done under the lock.
        self.limits.write().entry(key).or_insert_with(|| self.new_limit(account, route)).clone()
    }

    fn new_limit(&self, account: &Account, route: &Route) -> RouteLimit {
        let key = Key { account: account.name.to_string(), limit: route.id.to_string() };
        let context = self.context.clone();
        let Some(threshold) = route.threshold else {
            return RouteLimit::Unlimited(Unlimited::new(key, context));
        };
        let daily = account.daily_calls.filter(|_| route.product.has_daily_limit()).map(|requests| LimitSpec {
            key: Key { account: account.name.to_string(), limit: DAILY.to_owned() },
            threshold: Threshold { requests, window: DAY, lock: Duration::ZERO, pace: Pace::Burst },
            shared: true,
            after_loss: AfterLoss::All,
        });
        let limiter = RouteLimiter::new(LimitSpec::own(key, threshold), daily.into_iter().collect(), context);
        if let Some(at) = *self.closes.lock() {
            limiter.close(at);
        }
        RouteLimit::Limited(limiter)
    }

    /// A limiter for an account's token requests of this kind, to be made once. After a loss all but one of its calls
    /// count as made: to assume all would make sure of ten minutes without a token, which is the most that one request
    /// too many could lead to.
    #[must_use]
    pub fn token_limiter(&self, account: &Account, kind: &str, threshold: Threshold) -> Arc<RouteLimiter> {
        let key = Key { account: account.name.to_string(), limit: kind.to_owned() };
        let own = LimitSpec { after_loss: AfterLoss::AllButOne, ..LimitSpec::own(key, threshold) };
        // Its locks are told by the token's own metrics.
        RouteLimiter::new(own, Vec::new(), LimiterContext { observers: Arc::default(), ..self.context.clone() })
    }

    /// Makes the limiters that an earlier process had, so that operators see their state at once.
    pub fn recall(&self, accounts: &BTreeMap<AccountName, Arc<Account>>, catalogue: &Catalogue) {
        for key in self.context.backend.left() {
            let account = accounts.get(&AccountName::new(&key.account));
            let route = catalogue.iter().find(|route| route.id.as_str() == key.limit);
            if let (Some(account), Some(route)) = (account, route) {
                let _ = self.limit(account, route);
            }
        }
    }

    /// The gateway stops at this moment. A caller that waits for a slot of a route and cannot have one before is told so at
    /// once, or as soon as this is known. Tokens are still asked for: calls that have their slot need one.
    pub fn close(&self, at: Instant) {
        // First this: a limiter that is made meanwhile sees it, or is among those below.
        *self.closes.lock() = Some(at);
        self.all().iter().for_each(|limiter| limiter.close(at));
    }

    /// How many callers wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.context.room.waiting()
    }

    /// What all limiters share.
    #[must_use]
    pub fn context(&self) -> &LimiterContext {
        &self.context
    }

    /// The state of every limiter that was needed so far, by account and route.
    #[must_use]
    pub fn status(&self) -> Vec<LimiterStatus> {
        let mut status: Vec<_> = self.all().iter().map(|limiter| limiter.status()).collect();
        status.sort_by(|one, other| one.key.cmp(&other.key));
        status
    }

    fn all(&self) -> Vec<Arc<RouteLimiter>> {
        self.limits.read().values().filter_map(RouteLimit::limiter).map(Arc::clone).collect()
    }
}
