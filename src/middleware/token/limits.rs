//! The token endpoint's own threshold, behind the same ledger as every call.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use crate::{
    ledger::{Attempt, Limiters, Quota, Refused, RouteLimiter, SlotRequest},
    os::clock,
    problem::Cause,
    zoho::{
        account::Account,
        catalogue::{Pace, Threshold},
    },
};

/// What the accounts server answers before it blocks, and what of that is kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimits {
    /// How many requests per refresh token it answers in any `window`.
    pub requests: NonZeroU32,
    /// Ten minutes at Zoho.
    pub window: Duration,
    /// How many of them are kept for replacing a token that died before its time; fewer than `requests`.
    pub reserve: u32,
}

impl TokenLimits {
    /// How many requests are made without the reserve.
    pub(super) fn usual(self) -> NonZeroU32 {
        NonZeroU32::new(self.requests.get().saturating_sub(self.reserve)).unwrap_or(NonZeroU32::MIN)
    }
}

/// What a token is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// There is none, or the one there is nears its end.
    Renewal,
    /// Zoho said that the one there was is dead. Without another, no call goes at all.
    Replacement,
}

/// The slots of one account's token requests.
#[derive(Debug)]
pub struct TokenLedger {
    limits: TokenLimits,
    usual: Arc<RouteLimiter>,
    /// The same threshold's other part: together they are no more than the whole.
    reserve: Option<Arc<RouteLimiter>>,
}

impl TokenLedger {
    /// As the store remembers it.
    #[must_use]
    pub fn new(limiters: &Limiters, account: &Account, limits: TokenLimits) -> Self {
        let (usual, reserve) = parts(limits);
        Self {
            limits,
            usual: limiters.token_limiter(account, "token-requests", usual),
            reserve: reserve.map(|reserve| limiters.token_limiter(account, "token-requests.reserve", reserve)),
        }
    }

    /// How long a token has to last at least, whatever its answer says: so long that the requests which are left reach
    /// until others come back. While there are plenty, there is no bound.
    pub(super) fn shortest_life(&self) -> Duration {
        let Quota { remaining, reset, .. } = self.usual.allowance().route;
        if remaining > self.limits.usual().get() / 4 {
            return Duration::ZERO;
        }
        reset.unwrap_or_default() / (remaining + 1)
    }

    /// What it is held to.
    pub(super) fn limits(&self) -> TokenLimits {
        self.limits
    }

    /// A slot now, or none.
    pub(super) async fn attempt(&self, purpose: Purpose) -> Result<Attempt, Cause> {
        // Zoho blocks all requests, whichever part met the block.
        let blocked = [Some(&self.usual), self.reserve.as_ref()].into_iter().flatten();
        if let Some(retry_after) = blocked.filter_map(|limiter| limiter.locked(clock::now())).max() {
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
    // How long Zoho blocks is said by the answer that tells of it.
    let of = |requests| Threshold { requests, window: limits.window, lock: Duration::ZERO, pace: Pace::Burst };
    (of(limits.usual()), NonZeroU32::new(limits.reserve).map(of))
}

fn throttled(refused: Refused) -> Cause {
    match refused {
        Refused::Saturated { retry_after, .. }
        | Refused::Locked { retry_after }
        | Refused::Full { retry_after, .. } => Cause::TokenThrottled { retry_after },
        Refused::Unrecorded => Cause::StateUnavailable,
        Refused::Closing => Cause::from(Refused::Closing),
    }
}
