//! One limiter per account and route, created when it is first needed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::{AfterLoss, DAY, Key, LimitSpec, LimiterContext, LimiterStatus, Limits, Reserves, RouteLimiter, Unlimited};
use crate::zoho::{
    account::{Account, AccountName},
    catalogue::{Catalogue, Pace, Route, RouteId, Threshold},
};

/// The name of an account's daily limit; every route id has a dot.
const DAILY: &str = "daily";

/// The limit of a route's calls.
#[derive(Debug, Clone)]
pub enum RouteLimit {
    /// Each call needs a slot.
    Limited(Arc<RouteLimiter>),
    /// The route has no threshold.
    Unlimited(Unlimited),
}

/// All limiters of the process.
#[derive(Debug)]
pub struct Limiters {
    limits: RwLock<HashMap<(AccountName, RouteId), RouteLimit>>,
    context: LimiterContext,
    /// When the gateway stops, once that is known.
    closes: Mutex<Option<Instant>>,
    reserves: Option<Arc<dyn Reserves>>,
}

impl RouteLimit {
    /// The limiter, if the route has a threshold.
    #[must_use]
    pub fn limiter(&self) -> Option<&Arc<RouteLimiter>> {
        match self {
            Self::Limited(limiter) => Some(limiter),
            Self::Unlimited(_) => None,
        }
    }
}

impl Limiters {
    /// An empty set of limiters.
    #[must_use]
    pub fn new(context: LimiterContext) -> Self {
        Self { limits: RwLock::default(), context, closes: Mutex::default(), reserves: None }
    }

    /// The same, with slots that some callers keep for themselves.
    #[must_use]
    pub fn with_reserves(self, reserves: Arc<dyn Reserves>) -> Self {
        Self { reserves: Some(reserves), ..self }
    }

    /// Limiters whose windows are not stored.
    #[must_use]
    pub fn in_memory(limits: Limits) -> Self {
        Self::new(LimiterContext::in_memory(limits))
    }

    /// The limit of calls of this account and route.
    #[must_use]
    pub fn limit(&self, account: &Account, route: &Route) -> RouteLimit {
        let key = (account.name.clone(), route.id.clone());
        if let Some(limit) = self.limits.read().get(&key) {
            return limit.clone();
        }
        // Created under the lock: two limiters of one route would count separately.
        self.limits.write().entry(key).or_insert_with(|| self.new_limit(account, route)).clone()
    }

    fn new_limit(&self, account: &Account, route: &Route) -> RouteLimit {
        let key = Key { account: account.name.to_string(), limit: route.id.to_string() };
        let context = self.context.clone();
        let Some(threshold) = account.threshold(route) else {
            return RouteLimit::Unlimited(Unlimited::new(key, context));
        };
        let daily = account.daily_limit(route.product).map(|requests| LimitSpec {
            key: Key { account: account.name.to_string(), limit: DAILY.to_owned() },
            threshold: Threshold { requests, window: DAY, lock: Duration::ZERO, pace: Pace::Burst },
            shared: true,
            after_loss: AfterLoss::All,
        });
        let callers = self.reserves.as_ref().map(|all| all.limited_callers(&account.name, route)).unwrap_or_default();
        let wider = daily.into_iter().collect();
        let limiter = RouteLimiter::new(LimitSpec::own(key, threshold), wider, &callers, context);
        if let Some(at) = *self.closes.lock() {
            limiter.close(at);
        }
        RouteLimit::Limited(limiter)
    }

    /// Creates the limiter of an account's token requests of this kind; call it once for each. After a lost store, all
    /// but one of its calls count as sent: if all did, ten minutes without a token would be certain, and one request
    /// too many costs at most that.
    #[must_use]
    pub fn token_limiter(&self, account: &Account, kind: &str, threshold: Threshold) -> Arc<RouteLimiter> {
        let key = Key { account: account.name.to_string(), limit: kind.to_owned() };
        let own = LimitSpec { after_loss: AfterLoss::AllButOne, ..LimitSpec::own(key, threshold) };
        // The token's own metrics report its locks.
        RouteLimiter::new(own, Vec::new(), &[], LimiterContext { observers: Arc::default(), ..self.context.clone() })
    }

    /// Creates the limiters that an earlier process had, so that operators see their state at once.
    pub fn recall(&self, accounts: &BTreeMap<AccountName, Arc<Account>>, catalogue: &Catalogue) {
        for key in self.context.backend.left() {
            let account = accounts.get(&AccountName::new(&key.account));
            let route = catalogue.iter().find(|route| route.id.as_str() == key.limit);
            if let (Some(account), Some(route)) = (account, route) {
                let _ = self.limit(account, route);
            }
        }
    }

    /// The gateway stops at this moment. A call that waits for a slot and cannot get one before is refused at once, or
    /// as soon as this is known. Token requests continue: calls that have a slot need a token.
    pub fn close(&self, at: Instant) {
        // Must come first: a limiter that is created meanwhile either reads this or is among those below.
        *self.closes.lock() = Some(at);
        self.all().iter().for_each(|limiter| limiter.close(at));
    }

    /// How many calls wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.context.capacity.waiting()
    }

    /// What all limiters share.
    #[must_use]
    pub fn context(&self) -> &LimiterContext {
        &self.context
    }

    /// The state of each limiter, sorted by account and route.
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
