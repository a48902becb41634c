//! The token endpoint's threshold, which the same ledger enforces as for calls.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use crate::{
    ledger::{Attempt, Limiters, Quota, Refused, RouteLimiter, SlotRequest},
    os::clock,
    problem::Cause,
    zoho::{
        account::Account,
        catalogue::{Pace, Threshold},
        share::Share,
    },
};

/// How many token requests Zoho allows per window, and how many of them are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimits {
    /// The number of requests per refresh token that Zoho answers in any `window`.
    pub requests: NonZeroU32,
    /// Ten minutes at Zoho.
    pub window: Duration,
    /// The number of them reserved for replacing a token that Zoho revoked early; less than `requests`.
    pub reserve: u32,
}

impl TokenLimits {
    /// The part of these limits that one of several gateways uses. At least one request is outside the reserve.
    #[must_use]
    pub fn part(self, share: Share) -> Self {
        let requests = share.of(self.requests);
        Self { requests, reserve: share.part_of(self.reserve).min(requests.get() - 1), ..self }
    }

    /// The number of requests without the reserve.
    pub(super) fn usual(self) -> NonZeroU32 {
        NonZeroU32::new(self.requests.get().saturating_sub(self.reserve)).unwrap_or(NonZeroU32::MIN)
    }
}

/// Why a token is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// There is no token, or it expires soon.
    Renewal,
    /// Zoho called the token dead, so no call can be sent without another one.
    Replacement,
}

/// The slots of one account's token requests.
#[derive(Debug)]
pub struct TokenLedger {
    limits: TokenLimits,
    usual: Arc<RouteLimiter>,
    /// The rest of the same threshold.
    reserve: Option<Arc<RouteLimiter>>,
}

impl TokenLedger {
    /// Starts with the state in the store. `limits` are those of the login, of which the account has its share.
    #[must_use]
    pub fn new(limiters: &Limiters, account: &Account, limits: TokenLimits) -> Self {
        let limits = limits.part(account.share);
        let (usual, reserve) = parts(limits);
        Self {
            limits,
            usual: limiters.token_limiter(account, "token-requests", usual),
            reserve: reserve.map(|reserve| limiters.token_limiter(account, "token-requests.reserve", reserve)),
        }
    }

    /// The shortest time for which a token is used, whatever its answer says: long enough that the remaining requests last
    /// until slots are free again. Zero while many requests remain.
    pub(super) fn shortest_life(&self) -> Duration {
        let Quota { remaining, reset, .. } = self.usual.allowance().route;
        if remaining > self.limits.usual().get() / 4 {
            return Duration::ZERO;
        }
        reset.unwrap_or_default() / (remaining + 1)
    }

    /// How many of all requests are used now, the reserve among them, and when the next one is free again.
    pub(super) fn used(&self) -> (u32, Option<Duration>) {
        let quotas = [Some(&self.usual), self.reserve.as_ref()].into_iter().flatten();
        let quotas: Vec<Quota> = quotas.map(|limiter| limiter.allowance().route).collect();
        let used = quotas.iter().map(|quota| quota.requests.get() - quota.remaining.min(quota.requests.get())).sum();
        (used, quotas.iter().filter_map(|quota| quota.reset).min())
    }

    /// How long Zoho answers no request.
    pub(super) fn blocked(&self) -> Option<Duration> {
        let parts = [Some(&self.usual), self.reserve.as_ref()].into_iter().flatten();
        parts.filter_map(|limiter| limiter.locked(clock::now())).max()
    }

    /// The limits that it enforces.
    pub(super) fn limits(&self) -> TokenLimits {
        self.limits
    }

    /// Takes a slot for a request, without waiting.
    pub(super) async fn attempt(&self, purpose: Purpose) -> Result<Attempt, Cause> {
        // A block holds for all requests, whichever part met it.
        if let Some(retry_after) = self.blocked() {
            return Err(Cause::TokenThrottled { retry_after });
        }
        let refused = match self.usual.attempt(SlotRequest::plain(clock::now())).await {
            Ok(attempt) => return Ok(attempt),
            Err(refused) => refused,
        };
        match (refused, purpose, &self.reserve) {
            (Refused::Saturated { .. } | Refused::Full { .. }, Purpose::Replacement, Some(reserve)) => {
                reserve.attempt(SlotRequest::plain(clock::now())).await.map_err(throttled)
            }
            _ => Err(throttled(refused)),
        }
    }
}

fn parts(limits: TokenLimits) -> (Threshold, Option<Threshold>) {
    // The answer that reports a block says how long it lasts.
    let of = |requests| Threshold { requests, window: limits.window, lock: Duration::ZERO, pace: Pace::Burst };
    (of(limits.usual()), NonZeroU32::new(limits.reserve).map(of))
}

fn throttled(refused: Refused) -> Cause {
    match refused {
        Refused::Saturated { retry_after, .. }
        | Refused::Locked { retry_after }
        | Refused::Full { retry_after, .. } => Cause::TokenThrottled { retry_after },
        Refused::Unrecorded => Cause::StateUnavailable,
        refused @ (Refused::Closing | Refused::Paused { .. } | Refused::Cancelled) => Cause::from(refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_leaves_a_request_outside_the_reserve() {
        let part = |requests, reserve, share: &str| {
            let limits = TokenLimits { requests: NonZeroU32::new(requests).unwrap(), window: Duration::ZERO, reserve };
            let part = limits.part(share.parse().unwrap());
            (part.requests.get(), part.reserve, part.usual().get())
        };
        assert_eq!(part(10, 2, "1/1"), (10, 2, 8));
        assert_eq!(part(10, 2, "1/2"), (5, 1, 4));
        assert_eq!(part(10, 2, "1/3"), (3, 0, 3));
        assert_eq!(part(10, 2, "1/10"), (1, 0, 1));
        assert_eq!(part(3, 2, "1/2"), (1, 0, 1), "half of the reserve is a request, and the only one");
    }
}
