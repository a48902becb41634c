//! The token endpoint's own threshold, behind the same ledger as every call.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use crate::{
    account::Account,
    catalogue::{Pace, Threshold},
    clock,
    ledger::{Claim, Line, Lines, Permit, Refused},
    refusal::Cause,
};

use super::grant::BLOCKED;

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
    usual: Arc<Line>,
    /// The same threshold's other part: together they are no more than the whole.
    reserve: Option<Arc<Line>>,
}

impl TokenLedger {
    /// As the store remembers it.
    #[must_use]
    pub fn new(lines: &Lines, account: &Account, limits: TokenLimits) -> Self {
        let (usual, reserve) = parts(limits);
        Self {
            usual: lines.token_line(account, "token-requests", usual),
            reserve: reserve.map(|reserve| lines.token_line(account, "token-requests.reserve", reserve)),
        }
    }

    /// A slot now, or none.
    pub(super) async fn permit(&self, purpose: Purpose) -> Result<Permit, Cause> {
        let refused = match self.usual.permit(Claim::plain(clock::now())).await {
            Ok(permit) => return Ok(permit),
            Err(refused) => refused,
        };
        match (refused, purpose, &self.reserve) {
            // A lock is Zoho's block of all of them.
            (Refused::Saturated { .. } | Refused::Full { .. }, Purpose::Replacement, Some(reserve)) => {
                reserve.permit(Claim::plain(clock::now())).await.map_err(throttled)
            }
            _ => Err(throttled(refused)),
        }
    }
}

fn parts(limits: TokenLimits) -> (Threshold, Option<Threshold>) {
    let of = |requests| Threshold { requests, window: limits.window, lock: BLOCKED, pace: Pace::Burst };
    let usual = NonZeroU32::new(limits.requests.get().saturating_sub(limits.reserve)).unwrap_or(NonZeroU32::MIN);
    (of(usual), NonZeroU32::new(limits.reserve).map(of))
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
