//! What 401 answers say of an account's token.
//!
//! A token can die at any time, and then another one helps. But a route may answer 401 whatever the token: its scope was
//! revoked, its deployment is broken, its path is nobody's. Then tokens fetched for it would only spend the few requests
//! that the accounts server answers, and with them every other route of the account. So each answer is weighed by what is
//! known:
//!
//! - A second attempt that got the same answer with another token, which is young: the token is not the reason. None is fetched for this
//!   route, or for this shape if it is unknown, for a while.
//! - A route on which Zoho took a token before has most likely met a dead one.
//! - Of all other routes nothing is known. They get another token too, but the one there is serves on meanwhile, and only
//!   a part of the requests is spent on them.
//!
//! A fetched token counts until it is known to have helped.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::limits::TokenLimits;
use crate::zoho::{account::AccountName, catalogue::RouteId, reply::TokenRefusal};

/// How many unknown shapes are remembered. For more than these none is fetched.
const MOST_SHAPES: usize = 32;

/// One call that was not let in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rejection<'a> {
    /// The token that it had.
    pub(super) generation: u64,
    /// That token is young, so that it can only have died because Zoho took it back.
    pub(super) fresh: bool,
    pub(super) route: &'a RouteId,
    pub(super) refusal: TokenRefusal,
    /// A moment before it was sent.
    pub(super) since: Instant,
    /// It is the second attempt, after the first was not let in with another token.
    pub(super) second: bool,
}

/// What to do about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// It is not the reason, as far as is known, or enough others were tried.
    Keep,
    /// Another one may help; this one serves meanwhile.
    Renew,
    /// It is dead.
    Replace,
}

/// What is known of one account's tokens. Bounded by the number of its routes.
#[derive(Debug)]
pub(super) struct Rejections {
    account: AccountName,
    limits: TokenLimits,
    /// The routes on which Zoho took a token, and has refused none since.
    working: BTreeSet<RouteId>,
    /// The routes and the unknown shapes that another token did not help, and since when.
    routes: BTreeMap<RouteId, Instant>,
    shapes: BTreeMap<u64, Instant>,
    /// The token that Zoho took last, and when its answer came.
    accepted: Option<(u64, Instant)>,
    /// The tokens that were refused and replaced of late, unless the next one helped.
    replaced: BTreeMap<u64, Instant>,
}

impl Rejections {
    pub(super) fn new(account: AccountName, limits: TokenLimits) -> Self {
        Self {
            account,
            limits,
            working: BTreeSet::new(),
            routes: BTreeMap::new(),
            shapes: BTreeMap::new(),
            accepted: None,
            replaced: BTreeMap::new(),
        }
    }

    /// Zoho let a call in with the token of this generation; `second` as in [`Rejection`].
    pub(super) fn accepted(&mut self, route: &RouteId, generation: u64, second: bool, now: Instant) {
        if second {
            // It came in place of the one before.
            self.replaced.remove(&generation.saturating_sub(1));
        }
        self.accepted = Some((generation, now));
        if !self.working.contains(route) {
            self.working.insert(route.clone());
        }
    }

    /// Weighs a call that was not let in with the newest token, or its second attempt with whichever.
    pub(super) fn weigh(&mut self, rejection: &Rejection<'_>, now: Instant) -> Remedy {
        self.forget(now);
        let dead = rejection.refusal == TokenRefusal::Dead;
        // An old token may have ended in any case, perhaps on its way to Zoho. The next one is young for long enough.
        if !rejection.fresh {
            let worked = self.working.remove(rejection.route);
            return if dead && worked { Remedy::Replace } else { Remedy::Renew };
        }
        if rejection.second {
            self.close(rejection, now);
            return Remedy::Keep;
        }
        if self.is_closed(rejection, now) {
            return Remedy::Keep;
        }
        if self.replaced.contains_key(&rejection.generation) {
            return Remedy::Renew;
        }
        let worked = self.working.remove(rejection.route);
        if self.replaced.len() >= self.most(worked) {
            return Remedy::Keep;
        }
        self.replaced.insert(rejection.generation, now);
        let lives =
            self.accepted.is_some_and(|(generation, at)| generation == rejection.generation && at > rejection.since);
        if dead && worked && !lives { Remedy::Replace } else { Remedy::Renew }
    }

    /// How many tokens may be tried within a window that did not help, so that some requests are left in any case.
    fn most(&self, worked: bool) -> usize {
        let usual = self.limits.usual().get() as usize;
        let part = if worked { usual * 3 / 4 } else { usual * 3 / 8 };
        part.max(1)
    }

    fn is_closed(&self, rejection: &Rejection<'_>, now: Instant) -> bool {
        // Where calls are let in all the same, the next that is not may have met a dead token after all.
        let while_closed = match self.working.contains(rejection.route) {
            true => self.a_moment(),
            false => self.a_while(),
        };
        let route = self.routes.get(rejection.route).is_some_and(|since| now < *since + while_closed);
        let shape = match rejection.refusal {
            TokenRefusal::Dead => false,
            TokenRefusal::Unclear(shape) => self.shapes.contains_key(&shape) || self.shapes.len() >= MOST_SHAPES,
        };
        route || shape
    }

    fn close(&mut self, rejection: &Rejection<'_>, now: Instant) {
        self.working.remove(rejection.route);
        if let TokenRefusal::Unclear(shape) = rejection.refusal
            && self.shapes.len() < MOST_SHAPES
        {
            self.shapes.insert(shape, now);
        }
        if self.routes.insert(rejection.route.clone(), now).is_none() {
            tracing::warn!(account = %self.account, route = %rejection.route, "Zoho answers 401 to this call with a new access token too, so the token is not the reason, and the answer goes to the caller; is data_center right, and has the login the call's scope?");
        }
    }

    fn forget(&mut self, now: Instant) {
        let a_while = self.a_while();
        self.routes.retain(|_, since| now < *since + a_while);
        self.shapes.retain(|_, since| now < *since + a_while);
        self.replaced.retain(|_, at| now < *at + a_while);
    }

    /// As long as the accounts server counts requests.
    fn a_while(&self) -> Duration {
        self.limits.window
    }

    fn a_moment(&self) -> Duration {
        self.limits.window / 5
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::os::clock;

    const WINDOW: Duration = Duration::from_secs(600);

    /// Calls of an account, each told by its route.
    struct Story {
        rejections: Rejections,
        now: Instant,
        generation: u64,
        fresh: bool,
    }

    impl Story {
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
            let remedy = self.rejections.weigh(&rejection, self.now);
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

        /// A call that is never let in, with its second attempt if it gets one.
        fn never(&mut self, route: &str, refusal: TokenRefusal) -> Remedy {
            let remedy = self.rejected(route, refusal, false);
            if remedy != Remedy::Keep {
                assert_eq!(self.rejected(route, refusal, true), Remedy::Keep);
            }
            remedy
        }
    }

    #[test]
    fn a_route_that_is_never_let_in_costs_one_token_a_window() {
        for refusal in [TokenRefusal::Dead, TokenRefusal::Unclear(1)] {
            let mut story = Story::new();
            assert_eq!(story.never("a", refusal), Remedy::Renew);
            for _ in 0..100 {
                assert_eq!(story.never("a", refusal), Remedy::Keep);
            }
            story.now += WINDOW;
            assert_eq!(story.never("a", refusal), Remedy::Renew, "it may be otherwise by now");
        }
    }

    #[test]
    fn many_such_routes_leave_most_of_the_requests() {
        let mut story = Story::new();
        for number in 0..100 {
            story.never(&format!("r{number}"), TokenRefusal::Dead);
        }
        assert_eq!(story.generation, 4, "three tokens were tried");
        story.accepted("good", false);
        assert_eq!(story.dead("good"), Remedy::Replace, "a token that worked and died is replaced all the same");
    }

    #[test]
    fn a_route_that_broke_costs_one_token() {
        let mut story = Story::new();
        story.accepted("a", false);
        assert_eq!(story.never("a", TokenRefusal::Dead), Remedy::Replace);
        for _ in 0..100 {
            assert_eq!(story.never("a", TokenRefusal::Dead), Remedy::Keep);
        }
    }

    #[test]
    fn tokens_that_die_again_and_again_are_replaced_each_time() {
        let mut story = Story::new();
        for _ in 0..50 {
            story.accepted("a", false);
            assert_eq!(story.dead("a"), Remedy::Replace);
            story.accepted("a", true);
        }
    }

    #[test]
    fn one_call_in_two_that_is_not_let_in_does_not_spend_all() {
        let mut story = Story::new();
        for _ in 0..1000 {
            story.accepted("a", false);
            story.never("a", TokenRefusal::Dead);
            story.now += Duration::from_millis(500);
        }
        assert!(story.generation <= 7, "{} tokens within a window", story.generation);
        // A streamed call has no second attempt.
        let mut story = Story::new();
        for _ in 0..1000 {
            story.accepted("a", false);
            story.dead("a");
        }
        assert_eq!(story.generation, 7, "six tokens were tried");
    }

    /// On a busy machine the second token may be as old as the first.
    #[test]
    fn an_old_token_that_is_refused_proves_nothing() {
        let mut story = Story::new();
        story.accepted("a", false);
        story.fresh = false;
        assert_eq!(story.rejected("a", TokenRefusal::Dead, true), Remedy::Replace);
        story.accepted("a", true);
        story.fresh = true;
        assert_eq!(story.never("a", TokenRefusal::Dead), Remedy::Replace);
        assert_eq!(story.dead("a"), Remedy::Keep);
        story.fresh = false;
        assert_eq!(story.dead("a"), Remedy::Renew, "closed for young tokens only");
    }

    #[test]
    fn a_token_that_others_are_let_in_with_serves_on() {
        let mut story = Story::new();
        story.accepted("a", false);
        let (generation, since, route) = (story.generation, story.now, RouteId::new("a"));
        story.accepted("b", false);
        let refusal = TokenRefusal::Dead;
        let rejection = Rejection { generation, fresh: true, route: &route, refusal, since, second: false };
        assert_eq!(story.rejections.weigh(&rejection, story.now), Remedy::Renew);
    }

    #[test]
    fn a_shape_that_another_token_did_not_help_is_closed_on_every_route() {
        let mut story = Story::new();
        let html = TokenRefusal::Unclear(1);
        assert_eq!(story.never("a", html), Remedy::Renew);
        story.accepted("b", false);
        assert_eq!(story.never("b", html), Remedy::Keep);
        story.accepted("b", false);
        assert_eq!(story.never("b", TokenRefusal::Unclear(2)), Remedy::Renew, "another shape is another matter");
        story.accepted("c", false);
        assert_eq!(story.dead("c"), Remedy::Replace, "and what is known to mean a dead token is known");
    }
}
