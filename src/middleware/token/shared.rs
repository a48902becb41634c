//! One token request for all gateways of a namespace.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    grant,
    source::Source,
    turns::{Ending, Next, Pause, Turns},
};
use crate::{
    call::Token,
    os::clock,
    problem::{Cause, UpstreamFault, respond},
};

/// After such a part of the window another gateway tries rejected credentials again: an operator may have corrected
/// something at Zoho, and some requests are always left.
const REJECTIONS_PER_WINDOW: u32 = 5;

impl Source {
    /// Makes one request when it is this gateway's turn, or takes over what another gateway has got meanwhile.
    pub(super) async fn fetch_in_turn(self: &Arc<Self>, turns: &Turns) -> Result<Token, Cause> {
        let Some(credentials) = self.storage.credentials() else { return Err(Cause::StateUnavailable) };
        let mut seen = self.storage.last().map(|kept| kept.sealed);
        loop {
            let has_token = self.state.lock().serving(clock::now()).is_some();
            self.waits_for_others.store(true, Ordering::Relaxed);
            let next = turns.next(&credentials, seen.as_deref(), has_token).await;
            self.waits_for_others.store(false, Ordering::Relaxed);
            match next {
                Ok(Next::Ours(turn)) => {
                    self.state.lock().failures = turn.failures;
                    let outcome = turn.during(self.fetch()).await;
                    turn.end(self.ending(&outcome)).await;
                    return outcome;
                }
                Ok(Next::Kept(kept)) => {
                    let Some(outcome) = self.take_over(&kept) else {
                        seen = Some(kept.sealed);
                        continue;
                    };
                    if outcome.is_ok() {
                        self.state.lock().succeeded();
                        tracing::info!(account = %self.account().name, "took over the access token of another gateway");
                    }
                    self.storage.take_over(kept);
                    return outcome;
                }
                Ok(Next::Paused(pause)) => return Err(self.wait_for(pause)),
                Err(error) => {
                    tracing::warn!(account = %self.account().name, reason = %error, "cannot agree with other gateways on a token request");
                    let mut state = self.state.lock();
                    state.failed(&Cause::StateUnavailable, false, self.ledger.limits(), clock::now());
                    return Err(Cause::StateUnavailable);
                }
            }
        }
    }

    /// What other gateways have to know about the outcome of this gateway's request.
    fn ending(&self, outcome: &Result<Token, Cause>) -> Option<Ending> {
        let now = clock::now();
        let state = self.state.lock();
        let had_token = state.serving(now).is_some();
        let wait = self.ledger.limits().window / REJECTIONS_PER_WINDOW;
        let pause = |left: Duration, cause: &Cause| {
            let throttled = matches!(cause, Cause::TokenThrottled { .. });
            let pause = Pause { left, throttled, reason: respond::for_operators(cause) };
            Some(Ending::pause(pause, state.failures, had_token))
        };
        match outcome {
            Ok(_) => {
                let kept = self.storage.last()?;
                Some(Ending::outcome(&kept.sealed, kept.expires_at.saturating_duration_since(now)))
            }
            Err(Cause::AccountUnauthorised { .. }) if !had_token => {
                Some(Ending::outcome(&self.storage.last()?.sealed, wait))
            }
            Err(cause @ (Cause::AccountUnauthorised { .. } | Cause::WrongDataCenter { .. })) => pause(wait, cause),
            Err(_) => {
                let own = state.pause.as_ref().filter(|pause| now < pause.until)?;
                pause(own.until - now, &own.cause)
            }
        }
    }

    /// Why a caller has no token when it can wait no longer: perhaps this gateway has not asked at all.
    pub(super) fn timed_out(&self, cause: Cause) -> Cause {
        match cause {
            Cause::UpstreamTimeout(fault) if self.waits_for_others.load(Ordering::Relaxed) => {
                let log = "another gateway makes the token request and has not ended it yet".to_owned();
                Cause::UpstreamTimeout(UpstreamFault { log, ..fault })
            }
            cause => cause,
        }
    }

    /// Waits as the gateway does whose request failed.
    fn wait_for(&self, Pause { left, throttled, reason }: Pause) -> Cause {
        let cause = match throttled {
            true => Cause::TokenThrottled { retry_after: left },
            false => grant::invalid(self.server(), format!("the token request of another gateway failed: {reason}")),
        };
        let mut state = self.state.lock();
        state.failed(&cause, false, self.ledger.limits(), clock::now());
        state.waits(left, cause.clone(), clock::now());
        cause
    }
}
