//! What a source knows of its account at the moment.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{limits::TokenLimits, rejections::Rejections};
use crate::{
    call::Token,
    problem::{Cause, ScopeEvidence},
    zoho::{account::AccountName, catalogue::RouteId, scope::Scopes},
};

/// After a request that brought no usable answer, the next waits: first this long, then each time so much longer.
/// Otherwise an outage of moments would cost all ten requests, and with them ten minutes. By this growth, eight requests
/// last for five minutes, and no outage is noticed for more than two and a half times as long as it took.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const GROWTH: f64 = 2.5;

/// The first pause while the token there is serves on: there is no hurry.
const FIRST_PAUSE_OF_RENEWALS: Duration = Duration::from_secs(20);

/// Zoho's block was met so often in a row that more would make no difference.
const MOST_FAILURES: u32 = 16;

#[derive(Debug)]
pub(super) struct State {
    pub(super) current: Option<Current>,
    pub(super) generation: u64,
    /// Requests the next token when it is time.
    pub(super) renewal: Option<AbortOnDropHandle<()>>,
    /// The token before the next one is dead.
    pub(super) replacing: bool,
    /// What refused calls say of the token.
    pub(super) rejections: Rejections,
    /// Failed requests in a row, and until when none is made after the last of them.
    pub(super) failures: u32,
    pub(super) pause: Option<Pause>,
    /// Zoho does not take the credentials: it is not asked again until they change.
    pub(super) refused: Option<Cause>,
    /// Until when that holds, where an earlier process was told: a person who starts anew may mean to try anew.
    pub(super) refused_until: Option<Instant>,
    /// Why the last request brought no token.
    pub(super) trouble: Option<Cause>,
    /// The routes that its token lacks a scope for, by what is known of it.
    pub(super) lacking: BTreeMap<RouteId, Cause>,
    /// What the newest token may be used for; `None` before the first, and where Zoho does not say.
    pub(super) granted: Option<Scopes>,
}

#[derive(Debug)]
pub(super) struct Current {
    pub(super) token: Token,
    pub(super) renew_at: Instant,
    pub(super) expires_at: Instant,
}

/// No request is made for a while, for a passing reason.
#[derive(Debug)]
pub(super) struct Pause {
    pub(super) until: Instant,
    cause: Cause,
    /// A token served when it began. Once that has ended, the next request is worth more.
    leisurely: bool,
}

impl State {
    pub(super) fn new(account: &AccountName, limits: TokenLimits) -> Self {
        Self {
            current: None,
            generation: 0,
            renewal: None,
            replacing: false,
            rejections: Rejections::new(account.clone(), limits),
            failures: 0,
            pause: None,
            refused: None,
            refused_until: None,
            trouble: None,
            lacking: BTreeMap::new(),
            granted: None,
        }
    }

    /// The token there is, if it still lives.
    pub(super) fn serving(&self, now: Instant) -> Option<&Current> {
        self.current.as_ref().filter(|current| now < current.expires_at)
    }

    /// Why the credentials are refused, unless that was long ago.
    pub(super) fn refusal(&self, now: Instant) -> Option<&Cause> {
        self.refused.as_ref().filter(|_| self.refused_until.is_none_or(|until| now < until))
    }

    /// Why no request is made just now, if there is a reason.
    pub(super) fn paused(&self, now: Instant) -> Option<Cause> {
        let pause = self.pause.as_ref().filter(|pause| now < pause.until)?;
        if pause.leisurely && self.serving(now).is_none() {
            return None;
        }
        Some(match &pause.cause {
            Cause::TokenThrottled { .. } => Cause::TokenThrottled { retry_after: pause.until - now },
            cause => cause.clone(),
        })
    }

    /// What was granted with a token. Whatever it suffices for is lacking no more, unless it was Zoho who said so.
    pub(super) fn granted_now(&mut self, granted: Option<Scopes>) {
        if let Some(granted) = &granted {
            self.lacking.retain(|_, cause| match cause {
                Cause::ScopeMissing { scopes, evidence: ScopeEvidence::Granted(_) } => !granted.suffice(scopes),
                _ => true,
            });
        }
        self.granted = granted;
    }

    /// A request brought a token.
    pub(super) fn succeeded(&mut self) {
        (self.failures, self.pause, self.trouble, self.replacing) = (0, None, None, false);
        (self.refused, self.refused_until) = (None, None);
    }

    /// A request brought none. `asked`: the accounts server was asked.
    pub(super) fn failed(&mut self, cause: &Cause, asked: bool, limits: TokenLimits, now: Instant) {
        self.trouble = Some(cause.clone());
        let leisurely = self.serving(now).is_some();
        let renew_at = match cause {
            // The old token, if there is one, serves on until it ends.
            Cause::AccountUnauthorised { .. } | Cause::WrongDataCenter { .. } => {
                (self.refused, self.refused_until) = (Some(cause.clone()), None);
                return;
            }
            Cause::UpstreamInvalidResponse(_) | Cause::UpstreamTimeout(_) if asked => {
                self.pause_for(self.growing(leisurely, limits), cause, leisurely, now)
            }
            Cause::TokenThrottled { retry_after } if asked => {
                self.pause_for(self.growing(leisurely, limits).max(*retry_after), cause, leisurely, now)
            }
            Cause::TokenThrottled { retry_after } => now + *retry_after,
            _ => now + FIRST_PAUSE_OF_RENEWALS,
        };
        if let Some(current) = &mut self.current {
            // A renewal that was not due yet is tried when it is.
            current.renew_at = current.renew_at.max(renew_at);
        }
    }

    /// The ledger has no slot left. When failed requests took them, they are the reason, and the pause lasts until the
    /// next one may be made.
    pub(super) fn spent(&mut self, cause: Cause, now: Instant) -> Cause {
        match (&cause, &mut self.pause) {
            (Cause::TokenThrottled { retry_after }, Some(pause)) if self.failures > 0 => {
                pause.until = now + *retry_after;
                match &pause.cause {
                    Cause::TokenThrottled { .. } => cause,
                    earlier => earlier.clone(),
                }
            }
            _ => cause,
        }
    }

    fn pause_for(&mut self, span: Duration, cause: &Cause, leisurely: bool, now: Instant) -> Instant {
        self.failures = self.failures.saturating_add(1).min(MOST_FAILURES);
        self.pause = Some(Pause { until: now + span, cause: cause.clone(), leisurely });
        now + span
    }

    /// The pause after so many failures. The longest leaves room for others within a window.
    fn growing(&self, leisurely: bool, limits: TokenLimits) -> Duration {
        let first = if leisurely { FIRST_PAUSE_OF_RENEWALS } else { FIRST_PAUSE };
        let growth = GROWTH.powi(i32::try_from(self.failures).unwrap_or(i32::MAX));
        first.mul_f64(growth).min(limits.window / 5)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{os::clock, problem::UpstreamFault};

    const WINDOW: Duration = Duration::from_secs(600);

    fn limits() -> TokenLimits {
        TokenLimits { requests: NonZeroU32::new(10).expect("not zero"), window: WINDOW, reserve: 2 }
    }

    fn nonsense() -> Cause {
        let server = "accounts.zoho.com".to_owned();
        Cause::UpstreamInvalidResponse(UpstreamFault {
            error: "http_protocol_error",
            server,
            log: "status 500".into(),
            proxy: None,
            before_the_call: true,
        })
    }

    fn living(state: &mut State, now: Instant, life: Duration) {
        let token = Token { header: http::HeaderValue::from_static("x"), generation: 1, fresh_until: now };
        state.current = Some(Current { token, renew_at: now, expires_at: now + life });
    }

    /// The moments of the requests in an outage of so long, and of the first after it.
    fn requests_in_an_outage(state: &mut State, begin: Instant, outage: Duration) -> Vec<Duration> {
        let (mut now, mut sent) = (begin, Vec::new());
        loop {
            sent.push(now - begin);
            if now - begin > outage {
                return sent;
            }
            state.failed(&nonsense(), true, limits(), now);
            now = state.pause.as_ref().expect("it failed").until;
        }
    }

    #[test]
    fn no_outage_of_minutes_spends_all_requests_or_is_noticed_for_much_longer() {
        for outage in [0, 1, 5, 20, 60, 120, 240] {
            let outage = Duration::from_secs(outage);
            let sent =
                requests_in_an_outage(&mut State::new(&AccountName::new("main"), limits()), clock::now(), outage);
            assert!(sent.len() <= 8, "{outage:?}: {sent:?}");
            let after = *sent.last().expect("one at least");
            assert!(after <= outage.mul_f64(2.5) + Duration::from_secs(2), "{outage:?}: {sent:?}");
        }
    }

    #[test]
    fn an_outage_at_an_early_renewal_leaves_requests_for_the_end_of_the_token() {
        let (mut state, now) = (State::new(&AccountName::new("main"), limits()), clock::now());
        living(&mut state, now, Duration::from_secs(360));
        let sent = requests_in_an_outage(&mut state, now, Duration::from_secs(360));
        assert!(sent.len() <= 6 && sent[1] >= FIRST_PAUSE_OF_RENEWALS, "{sent:?}");
        let end = now + Duration::from_secs(360);
        assert!(state.paused(end - Duration::from_secs(1)).is_some());
        assert!(state.paused(end).is_none(), "without a token the next request does not wait");
    }

    #[test]
    fn a_failed_renewal_that_was_not_due_changes_nothing_of_when_it_is() {
        let (mut state, now) = (State::new(&AccountName::new("main"), limits()), clock::now());
        living(&mut state, now, WINDOW);
        let due = now + Duration::from_secs(500);
        state.current.as_mut().expect("one").renew_at = due;
        state.failed(&nonsense(), true, limits(), now);
        assert_eq!(state.current.as_ref().expect("it serves on").renew_at, due);
    }

    #[test]
    fn slots_that_an_outage_took_are_told_as_the_outage() {
        let (mut state, now) = (State::new(&AccountName::new("main"), limits()), clock::now());
        let throttled = || Cause::TokenThrottled { retry_after: Duration::from_secs(100) };
        assert!(matches!(state.spent(throttled(), now), Cause::TokenThrottled { .. }), "nothing failed before");
        state.failed(&nonsense(), true, limits(), now);
        assert!(matches!(state.spent(throttled(), now), Cause::UpstreamInvalidResponse(_)));
        assert!(state.paused(now + Duration::from_secs(99)).is_some());
        assert!(state.paused(now + Duration::from_secs(100)).is_none());
    }
}
