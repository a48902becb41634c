//! Decides what a 401 answer means for an account's token.
//!
//! A token can become invalid at any time; then another one helps. But a route may answer 401 to every token, for example
//! because its scope was revoked or its deployment is broken. Tokens fetched for such a route would use up the few requests
//! that the accounts server answers, and stop every other route of the account. So the decision depends on what is known:
//!
//! - A second attempt got 401 with another, fresh token: the token is not the reason. For one window, no token is fetched
//!   for this route, nor for this form of answer if it is unclear.
//! - The route accepted a token before: the token is most likely dead.
//! - Nothing is known about the route: another token is fetched too, but the present one stays in use, and only a part of
//!   the requests may be used so.
//!
//! Each fetched token counts as wasted until a call succeeds with it.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::limits::TokenLimits;
use crate::zoho::{account::AccountName, catalogue::RouteId, reply::TokenRefusal};

/// The number of unclear forms of answer that are remembered. Beyond it, no token is fetched for an unclear answer.
const MOST_UNCLEAR_ANSWERS: usize = 32;

/// A call that Zoho rejected with 401.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rejection<'a> {
    /// The generation of its token.
    pub(super) generation: u64,
    /// Whether the token is so fresh that it can only be invalid because Zoho revoked it.
    pub(super) fresh: bool,
    pub(super) route: &'a RouteId,
    pub(super) refusal: TokenRefusal,
    /// A time before it was sent.
    pub(super) since: Instant,
    /// Whether this is the second attempt, after a 401 to another token.
    pub(super) second: bool,
}

/// What to do about the token of a rejected call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Keep it: it is not the reason, or enough other tokens were tried.
    Keep,
    /// Fetch another one, and use this one meanwhile.
    Renew,
    /// Fetch another one, because this one is dead.
    Replace,
}

/// What one account's calls have shown about its tokens. Bounded by the number of routes.
#[derive(Debug)]
pub(super) struct Rejections {
    account: AccountName,
    limits: TokenLimits,
    /// The routes whose last known answer accepted the token.
    working: BTreeSet<RouteId>,
    /// The routes, and the unclear forms of answer, for which another token did not help, and since when.
    stopped_routes: BTreeMap<RouteId, Instant>,
    unclear_answers: BTreeMap<u64, Instant>,
    /// The generation that Zoho accepted last, and the time of the answer.
    accepted: Option<(u64, Instant)>,
    /// The generations replaced within the last window, unless the next one helped, and the time.
    replaced: BTreeMap<u64, Instant>,
}

impl Rejections {
    pub(super) fn new(account: AccountName, limits: TokenLimits) -> Self {
        Self {
            account,
            limits,
            working: BTreeSet::new(),
            stopped_routes: BTreeMap::new(),
            unclear_answers: BTreeMap::new(),
            accepted: None,
            replaced: BTreeMap::new(),
        }
    }

    /// Zoho accepted a call with the token of this generation; `second` as in [`Rejection`].
    pub(super) fn accepted(&mut self, route: &RouteId, generation: u64, second: bool, now: Instant) {
        if second {
            // The replacement helped.
            self.replaced.remove(&generation.saturating_sub(1));
        }
        self.accepted = Some((generation, now));
        if !self.working.contains(route) {
            self.working.insert(route.clone());
        }
    }

    /// Decides about a call that was rejected with the newest token, or about a second attempt with any token.
    pub(super) fn remedy(&mut self, rejection: &Rejection<'_>, now: Instant) -> Remedy {
        self.forget(now);
        let dead = rejection.refusal == TokenRefusal::Dead;
        // An old token may have expired, perhaps on the way to Zoho. The next one is fresh for long enough.
        if !rejection.fresh {
            let was_accepted = self.working.remove(rejection.route);
            return if dead && was_accepted { Remedy::Replace } else { Remedy::Renew };
        }
        if rejection.second {
            self.stop(rejection, now);
            return Remedy::Keep;
        }
        if self.gets_no_token(rejection, now) {
            return Remedy::Keep;
        }
        if self.replaced.contains_key(&rejection.generation) {
            return Remedy::Renew;
        }
        let was_accepted = self.working.remove(rejection.route);
        if self.replaced.len() >= self.max_replaced(was_accepted) {
            return Remedy::Keep;
        }
        self.replaced.insert(rejection.generation, now);
        let lives =
            self.accepted.is_some_and(|(generation, at)| generation == rejection.generation && at > rejection.since);
        if dead && was_accepted && !lives { Remedy::Replace } else { Remedy::Renew }
    }

    /// How many tokens may be replaced in vain within a window, so that some requests are always left.
    fn max_replaced(&self, was_accepted: bool) -> usize {
        let usual = self.limits.usual().get() as usize;
        let part = if was_accepted { usual * 3 / 4 } else { usual * 3 / 8 };
        part.max(1)
    }

    fn gets_no_token(&self, rejection: &Rejection<'_>, now: Instant) -> bool {
        // If the route has accepted calls since, the next 401 may mean a dead token after all.
        let window = self.limits.window;
        let duration = if self.working.contains(rejection.route) { window / 5 } else { window };
        let route = self.stopped_routes.get(rejection.route).is_some_and(|since| now < *since + duration);
        let unclear = &self.unclear_answers;
        let form = matches!(rejection.refusal, TokenRefusal::Unclear(form)
            if unclear.contains_key(&form) || unclear.len() >= MOST_UNCLEAR_ANSWERS);
        route || form
    }

    fn stop(&mut self, rejection: &Rejection<'_>, now: Instant) {
        self.working.remove(rejection.route);
        if let TokenRefusal::Unclear(form) = rejection.refusal
            && self.unclear_answers.len() < MOST_UNCLEAR_ANSWERS
        {
            self.unclear_answers.insert(form, now);
        }
        if self.stopped_routes.insert(rejection.route.clone(), now).is_none() {
            tracing::warn!(account = %self.account, route = %rejection.route, "Zoho answers 401 to this call with a new access token too, so the token is not the reason, and the answer goes to the caller; check data_center and the login's scopes");
        }
    }

    fn forget(&mut self, now: Instant) {
        let window = self.limits.window;
        self.stopped_routes.retain(|_, since| now < *since + window);
        self.unclear_answers.retain(|_, since| now < *since + window);
        self.replaced.retain(|_, at| now < *at + window);
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;
    use crate::os::clock;

    const WINDOW: Duration = Duration::from_secs(600);

    /// A sequence of calls of one account.
    struct Scenario {
        rejections: Rejections,
        now: Instant,
        generation: u64,
        fresh: bool,
    }

    impl Scenario {
        fn new() -> Self {
            let limits = TokenLimits { requests: NonZeroU32::new(10).expect("not zero"), window: WINDOW, reserve: 2 };
            let rejections = Rejections::new(AccountName::new("main"), limits);
            Self { rejections, now: clock::now(), generation: 1, fresh: true }
        }

        fn rejected(&mut self, route: &str, refusal: TokenRefusal, second: bool) -> Remedy {
            let route = RouteId::new(route);
            let (generation, since) = (self.generation, self.now);
            let rejection = Rejection { generation, fresh: self.fresh, route: &route, refusal, since, second };
            self.now += Duration::from_millis(10);
            let remedy = self.rejections.remedy(&rejection, self.now);
            if remedy != Remedy::Keep {
                self.generation += 1;
            }
            remedy
        }

        fn dead(&mut self, route: &str) -> Remedy {
            self.rejected(route, TokenRefusal::Dead, false)
        }

        fn accepted(&mut self, route: &str, second: bool) {
            self.now += Duration::from_millis(10);
            self.rejections.accepted(&RouteId::new(route), self.generation, second, self.now);
        }

        /// A call that is always rejected, with its second attempt if it gets one.
        fn never(&mut self, route: &str, refusal: TokenRefusal) -> Remedy {
            let remedy = self.rejected(route, refusal, false);
            if remedy != Remedy::Keep {
                assert_eq!(self.rejected(route, refusal, true), Remedy::Keep);
            }
            remedy
        }
    }

    #[test]
    fn a_failing_route_costs_one_token_per_window() {
        for refusal in [TokenRefusal::Dead, TokenRefusal::Unclear(1)] {
            let mut scenario = Scenario::new();
            assert_eq!(scenario.never("a", refusal), Remedy::Renew);
            for _ in 0..100 {
                assert_eq!(scenario.never("a", refusal), Remedy::Keep);
            }
            scenario.now += WINDOW;
            assert_eq!(scenario.never("a", refusal), Remedy::Renew, "the route may work again");
        }
    }

    #[test]
    fn many_failing_routes_leave_most_of_the_requests() {
        let mut scenario = Scenario::new();
        for number in 0..100 {
            scenario.never(&format!("r{number}"), TokenRefusal::Dead);
        }
        assert_eq!(scenario.generation, 4, "three tokens were tried");
        scenario.accepted("good", false);
        assert_eq!(scenario.dead("good"), Remedy::Replace, "a dead token is still replaced");
    }

    #[test]
    fn a_route_that_breaks_costs_one_token() {
        let mut scenario = Scenario::new();
        scenario.accepted("a", false);
        assert_eq!(scenario.never("a", TokenRefusal::Dead), Remedy::Replace);
        for _ in 0..100 {
            assert_eq!(scenario.never("a", TokenRefusal::Dead), Remedy::Keep);
        }
    }

    #[test]
    fn tokens_that_die_repeatedly_are_replaced_each_time() {
        let mut scenario = Scenario::new();
        for _ in 0..50 {
            scenario.accepted("a", false);
            assert_eq!(scenario.dead("a"), Remedy::Replace);
            scenario.accepted("a", true);
        }
    }

    #[test]
    fn a_route_that_fails_every_second_call_leaves_requests() {
        let mut scenario = Scenario::new();
        for _ in 0..1000 {
            scenario.accepted("a", false);
            scenario.never("a", TokenRefusal::Dead);
            scenario.now += Duration::from_millis(500);
        }
        assert!(scenario.generation <= 7, "{} tokens within a window", scenario.generation);
        // A streamed call has no second attempt.
        let mut scenario = Scenario::new();
        for _ in 0..1000 {
            scenario.accepted("a", false);
            scenario.dead("a");
        }
        assert_eq!(scenario.generation, 7, "six tokens were tried");
    }

    /// On a busy machine the second token may be as old as the first.
    #[test]
    fn a_401_to_an_old_token_proves_nothing() {
        let mut scenario = Scenario::new();
        scenario.accepted("a", false);
        scenario.fresh = false;
        assert_eq!(scenario.rejected("a", TokenRefusal::Dead, true), Remedy::Replace);
        scenario.accepted("a", true);
        scenario.fresh = true;
        assert_eq!(scenario.never("a", TokenRefusal::Dead), Remedy::Replace);
        assert_eq!(scenario.dead("a"), Remedy::Keep);
        scenario.fresh = false;
        assert_eq!(scenario.dead("a"), Remedy::Renew, "the rule holds for fresh tokens only");
    }

    #[test]
    fn a_token_that_other_calls_use_stays_in_use() {
        let mut scenario = Scenario::new();
        scenario.accepted("a", false);
        let (generation, since, route) = (scenario.generation, scenario.now, RouteId::new("a"));
        scenario.accepted("b", false);
        let refusal = TokenRefusal::Dead;
        let rejection = Rejection { generation, fresh: true, route: &route, refusal, since, second: false };
        assert_eq!(scenario.rejections.remedy(&rejection, scenario.now), Remedy::Renew);
    }

    #[test]
    fn an_unclear_answer_gets_no_token_on_any_route() {
        let mut scenario = Scenario::new();
        let html = TokenRefusal::Unclear(1);
        assert_eq!(scenario.never("a", html), Remedy::Renew);
        scenario.accepted("b", false);
        assert_eq!(scenario.never("b", html), Remedy::Keep);
        scenario.accepted("b", false);
        assert_eq!(scenario.never("b", TokenRefusal::Unclear(2)), Remedy::Renew, "another form of answer");
        scenario.accepted("c", false);
        assert_eq!(scenario.dead("c"), Remedy::Replace, "a clear answer is not affected");
    }
}
