//! One limiter per account and route, created when it is first needed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::{
    AfterLoss, CallSelector, Caller, DAY, Key, LimitSpec, LimiterContext, LimiterStatus, Limits, Pause, Refused,
    Reserves, RouteLimiter, SlotRequest, Unlimited,
};
use crate::{
    os::clock,
    zoho::{
        account::{Account, AccountName},
        catalogue::{Pace, Route, RouteId, Threshold},
    },
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
    /// By the kind of request.
    tokens: Mutex<HashMap<Key, Arc<RouteLimiter>>>,
    /// When the gateway stops, once that is known.
    closes: Mutex<Option<Instant>>,
    rules: RwLock<Rules>,
}

/// What the configuration says about limits. Accounts and routes that it does not have keep the limits of their first call.
#[derive(Debug, Default)]
pub struct Rules {
    /// Every account.
    pub accounts: BTreeMap<AccountName, Arc<Account>>,
    /// Every route.
    pub routes: HashMap<RouteId, Arc<Route>>,
    /// Who keeps slots, or may not use all.
    pub reserves: Option<Arc<dyn Reserves>>,
}

/// The limits of one route's calls, and the callers that keep slots or may not use all.
struct RouteLimits {
    own: LimitSpec,
    wider: Vec<LimitSpec>,
    callers: Vec<Caller>,
}

impl RouteLimit {
    /// How long this request would wait if it came now, and whether it would be refused.
    pub fn verdict(&self, request: &SlotRequest) -> (Duration, Result<(), Refused>) {
        match self {
            Self::Limited(limiter) => limiter.verdict(request),
            Self::Unlimited(unlimited) => (Duration::ZERO, unlimited.verdict(request)),
        }
    }

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
        let (limits, tokens, closes, rules) = Default::default();
        Self { limits, tokens, context, closes, rules }
    }

    /// The configuration has other rules. They hold at once, for calls that wait too, and calls that were sent count under
    /// them. A route that has a threshold keeps one, and a route without a threshold stays without.
    pub fn change(&self, rules: Rules) {
        // No limiter is created meanwhile by the former rules.
        let limits = self.limits.write();
        *self.rules.write() = rules;
        let rules = self.rules.read();
        for ((account, route), limit) in &*limits {
            let (Some(account), Some(route)) = (rules.accounts.get(account), rules.routes.get(route)) else { continue };
            if let (RouteLimit::Limited(limiter), Some(limits)) = (limit, rules.limits(account, route)) {
                limiter.change(&limits.own, &limits.wider, &limits.callers);
            }
        }
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
        let (rules, context) = (self.rules.read(), self.context.clone());
        // A call may come with an earlier configuration.
        let account = rules.accounts.get(&account.name).map_or(account, |account| account);
        let route = rules.routes.get(&route.id).map_or(route, |route| route);
        let Some(RouteLimits { own, wider, callers }) = rules.limits(account, route) else {
            return RouteLimit::Unlimited(Unlimited::new(key(account, route.id.as_str()), context));
        };
        let limiter = RouteLimiter::new(own, wider, &callers, context);
        if let Some(at) = *self.closes.lock() {
            limiter.close(at);
        }
        RouteLimit::Limited(limiter)
    }

    /// The limiter of an account's token requests of this kind, from now on with this threshold. After a lost store, all
    /// but one of its calls count as sent: if all did, ten minutes without a token would be certain, and one request
    /// too many costs at most that.
    #[must_use]
    pub fn token_limiter(&self, account: &Account, kind: &str, threshold: Threshold) -> Arc<RouteLimiter> {
        let key = key(account, kind);
        let own = LimitSpec { after_loss: AfterLoss::AllButOne, ..LimitSpec::own(key.clone(), threshold) };
        let mut limiters = self.tokens.lock();
        if let Some(limiter) = limiters.get(&key) {
            limiter.change(&own, &[], &[]);
            return Arc::clone(limiter);
        }
        // The token's own metrics report its locks. A pause concerns calls, and one in flight may need a token.
        let context = LimiterContext { observers: Arc::default(), pauses: Arc::default(), ..self.context.clone() };
        let limiter = RouteLimiter::new(own, Vec::new(), &[], context);
        limiters.insert(key, Arc::clone(&limiter));
        limiter
    }

    /// Creates the limiters that an earlier process had, so that operators see their state at once.
    pub fn recall(&self) {
        for key in self.context.backend.left() {
            let known = {
                let rules = self.rules.read();
                let account = rules.accounts.get(&AccountName::new(&key.account)).cloned();
                account.zip(rules.routes.get(&RouteId::new(&key.limit)).cloned())
            };
            if let Some((account, route)) = known {
                let _ = self.limit(&account, &route);
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

    /// Pauses calls, for this span if there is one: nothing of them is sent any more, and those that wait are refused.
    /// Returns how many that were. Calls that have their slot already are sent.
    pub fn pause(&self, selector: CallSelector, span: Option<Duration>) -> usize {
        let now = clock::now();
        let pause = Pause { selector: selector.clone(), until: span.and_then(|span| now.checked_add(span)) };
        let retry_after = pause.left(now);
        // Must come first: a call that comes meanwhile either reads this or is among those that wait.
        self.context.pauses.begin(pause);
        self.refuse(&selector, Refused::Paused { retry_after })
    }

    /// Ends the pause of exactly these calls; `None` ends all. Gives those that have ended.
    pub fn resume(&self, selector: Option<&CallSelector>) -> Vec<Pause> {
        self.context.pauses.end(selector, clock::now())
    }

    /// The pauses in force.
    #[must_use]
    pub fn pauses(&self) -> Vec<Pause> {
        self.context.pauses.in_force(clock::now())
    }

    /// Cancels the calls that wait now. Returns their number.
    pub fn cancel(&self, selector: &CallSelector) -> usize {
        self.refuse(selector, Refused::Cancelled)
    }

    /// Ends the lock of an account's route although Zoho may still hold it. Returns whether it was locked.
    pub fn lift_lock(&self, account: &str, route: &str) -> bool {
        let key = Key { account: account.to_owned(), limit: route.to_owned() };
        self.all().iter().filter(|limiter| *limiter.key() == key).any(|limiter| limiter.lift_lock())
    }

    fn refuse(&self, selector: &CallSelector, refused: Refused) -> usize {
        self.all().iter().map(|limiter| limiter.refuse(selector, refused)).sum()
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

    /// The state of each limiter, sorted by account and route. Accounts and routes that the configuration no longer has are
    /// shown while calls wait for them.
    #[must_use]
    pub fn status(&self) -> Vec<LimiterStatus> {
        let mut status: Vec<_> = self.all().iter().map(|limiter| limiter.status()).collect();
        let rules = self.rules.read();
        status.retain(|limiter| limiter.waiting > 0 || rules.know(&limiter.key));
        status.sort_by(|one, other| one.key.cmp(&other.key));
        status
    }

    fn all(&self) -> Vec<Arc<RouteLimiter>> {
        self.limits.read().values().filter_map(RouteLimit::limiter).map(Arc::clone).collect()
    }
}

impl Rules {
    /// The limits of a route's calls. `None` if it has no threshold.
    fn limits(&self, account: &Account, route: &Route) -> Option<RouteLimits> {
        let own = LimitSpec::own(key(account, route.id.as_str()), account.threshold(route)?);
        let daily = account.daily_limit(route.product).map(|requests| LimitSpec {
            key: key(account, DAILY),
            threshold: Threshold { requests, window: DAY, lock: Duration::ZERO, pace: Pace::Burst },
            shared: true,
            after_loss: AfterLoss::All,
        });
        let further = account.further_limits(route).map(|threshold| LimitSpec {
            key: key(account, &format!("{}:{}", route.id, span(threshold.window))),
            ..LimitSpec::own(own.key.clone(), threshold)
        });
        let wider = further.chain(daily).collect();
        let callers = self.reserves.as_ref().map(|all| all.limited_callers(&account.name, route)).unwrap_or_default();
        Some(RouteLimits { own, wider, callers })
    }

    /// Whether they have this account and route; without any account, they are no configuration.
    fn know(&self, key: &Key) -> bool {
        self.accounts.is_empty()
            || self.accounts.contains_key(&AccountName::new(&key.account))
                && self.routes.contains_key(&RouteId::new(&key.limit))
    }
}

/// A window in the key of its limit: whole seconds, as all but those of tests are.
fn span(window: Duration) -> String {
    match window.as_millis() {
        milliseconds if milliseconds % 1000 == 0 => format!("{}s", milliseconds / 1000),
        milliseconds => format!("{milliseconds}ms"),
    }
}

fn key(account: &Account, limit: &str) -> Key {
    Key { account: account.name.to_string(), limit: limit.to_owned() }
}
