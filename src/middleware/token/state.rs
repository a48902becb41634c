//! The state of one account's token.

use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{
    grant::Granted,
    limits::TokenLimits,
    rejections::Rejections,
    request::jitter,
    scope_status::{ScopeStatus, in_words},
};
use crate::{
    call::Token,
    problem::Cause,
    secret::Secret,
    zoho::{account::AccountName, scope::Scopes},
};

/// A token so close to its end may expire on the way to Zoho and is no longer used.
const LAST_MOMENTS: Duration = Duration::from_secs(10);

/// The pause after a request without a usable answer, and its growth with each further failure. Without a pause, an outage
/// of moments would use all ten requests and cost ten minutes. With it, eight requests last for five minutes, and an outage
/// has effects for at most two and a half times its length.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const GROWTH: f64 = 2.5;

/// The first pause while the present token is still valid, so that there is time.
const FIRST_PAUSE_OF_RENEWALS: Duration = Duration::from_secs(20);

/// More failures in a row do not lengthen the pause any further.
const MOST_FAILURES: u32 = 16;

/// The health of an account's login, for readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenHealth {
    /// No problem is known.
    Good,
    /// The last request failed, or scopes are missing, as the text says; the next request may succeed.
    Degraded(String),
    /// Zoho rejects the credentials, for this reason, until an operator changes something.
    Rejected(String),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) current: Option<Current>,
    /// The number of tokens so far.
    generation: u64,
    /// The task that requests the next token in time.
    pub(super) renewal: Option<AbortOnDropHandle<()>>,
    /// Whether Zoho called the last token dead and no other one was fetched yet.
    pub(super) replacing: bool,
    /// What rejected calls say about the token.
    pub(super) rejections: Rejections,
    /// The number of failed requests in a row.
    pub(super) failures: u32,
    pub(super) pause: Option<Pause>,
    pub(super) bad_credentials: Option<BadCredentials>,
    /// Why the last request failed, and when.
    pub(super) last_error: Option<(Cause, Instant)>,
    pub(super) scopes: ScopeStatus,
}

/// A token and its times.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) token: Token,
    pub(super) granted_at: Instant,
    pub(super) renew_at: Instant,
    pub(super) expires_at: Instant,
}

/// No request is made before a certain time.
#[derive(Debug)]
pub(super) struct Pause {
    pub(super) until: Instant,
    pub(super) cause: Cause,
    /// Whether a token was valid when the pause began. Once that token has expired, the pause ends.
    pub(super) had_token: bool,
}

/// Zoho rejects the credentials, so no request is made until they change.
#[derive(Debug)]
pub(super) struct BadCredentials {
    pub(super) cause: Cause,
    /// When this process learned of it.
    pub(super) since: Instant,
    /// The end of that rule, if an earlier process found it out: an operator who restarts may have fixed it.
    pub(super) until: Option<Instant>,
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
            bad_credentials: None,
            last_error: None,
            scopes: ScopeStatus::default(),
        }
    }

    /// The present token, if it is still valid.
    pub(super) fn serving(&self, now: Instant) -> Option<&Current> {
        self.current.as_ref().filter(|current| now < current.expires_at)
    }

    /// The age of the present token and the time until it is no longer used, if it is still valid.
    pub(super) fn token_age(&self, now: Instant) -> Option<(Duration, Duration)> {
        let Current { granted_at, expires_at, .. } = self.serving(now)?;
        Some((now.saturating_duration_since(*granted_at), expires_at.saturating_duration_since(now)))
    }

    /// Whether no newer token than that of this generation is in use.
    pub(super) fn is_newest(&self, generation: u64) -> bool {
        self.current.as_ref().is_some_and(|current| current.token.generation == generation)
    }

    /// Why the credentials count as rejected, if they do.
    pub(super) fn bad_credentials(&self, now: Instant) -> Option<&Cause> {
        let bad = self.bad_credentials.as_ref().filter(|bad| bad.until.is_none_or(|until| now < until));
        bad.map(|bad| &bad.cause)
    }

    pub(super) fn health(&self, now: Instant) -> TokenHealth {
        // While a token is valid, calls are sent, whatever is wrong with the credentials.
        if let Some(cause) = self.bad_credentials(now)
            && self.serving(now).is_none()
        {
            return TokenHealth::Rejected(in_words(cause));
        }
        let problems: Vec<_> =
            self.last_error.iter().map(|(cause, _)| in_words(cause)).chain(self.scopes.problems()).collect();
        if problems.is_empty() { TokenHealth::Good } else { TokenHealth::Degraded(problems.join("; ")) }
    }

    /// Why no request is made now, if there is a reason.
    pub(super) fn paused(&self, now: Instant) -> Option<Cause> {
        let pause = self.pause.as_ref().filter(|pause| now < pause.until)?;
        if pause.had_token && self.serving(now).is_none() {
            return None;
        }
        Some(match &pause.cause {
            Cause::TokenThrottled { .. } => Cause::TokenThrottled { retry_after: pause.until - now },
            cause => cause.clone(),
        })
    }

    /// Replaces the token. Returns it and its time of renewal; `None` for a token that does not fit into a header.
    pub(super) fn adopt(&mut self, granted: &Granted) -> Option<(Token, Instant)> {
        let Granted { expires_at, lifetime, .. } = *granted;
        let text = Secret::new(format!("Zoho-oauthtoken {}", granted.access_token.expose()));
        let mut header = HeaderValue::try_from(text.expose()).ok()?;
        header.set_sensitive(true);
        self.generation += 1;
        let before_the_end = |span| expires_at.checked_sub(span).unwrap_or(expires_at);
        let token = Token { header, generation: self.generation, fresh_until: before_the_end(lifetime / 2) };
        // A tenth of the lifetime before the end, and up to half as much earlier, so that the renewals of many accounts
        // that started together spread.
        let renew_at = before_the_end(lifetime / 10 + jitter(lifetime / 20));
        let granted_at = before_the_end(lifetime);
        let expires_at = before_the_end(LAST_MOMENTS.min(lifetime / 20));
        self.current = Some(Current { token: token.clone(), granted_at, renew_at, expires_at });
        // An empty list says nothing, because Zoho grants no token without a scope.
        let scope = granted.scope.as_deref().filter(|scope| !scope.trim().is_empty());
        self.scopes.granted(scope.map(Scopes::parse));
        Some((token, renew_at))
    }

    /// Whether a kept token lasts for a while, and longer than the present one.
    pub(super) fn is_better(&self, granted: &Granted, now: Instant) -> bool {
        let present = self.serving(now).map_or(now, |current| current.expires_at);
        granted.expires_at > present + LAST_MOMENTS.min(granted.lifetime / 20)
    }

    /// Forgets what belongs to the old credentials. Their token stays in use.
    pub(super) fn credentials_changed(&mut self, account: &AccountName, limits: TokenLimits) {
        (self.bad_credentials, self.pause, self.last_error) = (None, None, None);
        self.rejections = Rejections::new(account.clone(), limits);
        // The new login may have other scopes, which its first token tells.
        self.scopes = ScopeStatus::default();
    }

    /// A request brought a token.
    pub(super) fn succeeded(&mut self) {
        (self.failures, self.pause, self.last_error, self.replacing) = (0, None, None, false);
        self.bad_credentials = None;
    }

    /// A request failed. `asked`: whether the accounts server was asked.
    pub(super) fn failed(&mut self, cause: &Cause, asked: bool, limits: TokenLimits, now: Instant) {
        // The state has a check of its own, which also knows when it can be used again.
        if !matches!(cause, Cause::StateUnavailable) {
            self.last_error = Some((cause.clone(), now));
        }
        let had_token = self.serving(now).is_some();
        let renew_at = match cause {
            // The present token, if there is one, stays in use until it expires.
            Cause::AccountUnauthorised { .. } | Cause::WrongDataCenter { .. } => {
                let since = self.bad_credentials.as_ref().map_or(now, |earlier| earlier.since);
                self.bad_credentials = Some(BadCredentials { cause: cause.clone(), since, until: None });
                return;
            }
            Cause::UpstreamInvalidResponse(_) | Cause::UpstreamTimeout(_) if asked => {
                self.pause_for(self.next_pause(had_token, limits), cause, had_token, now)
            }
            Cause::TokenThrottled { retry_after } if asked => {
                self.pause_for(self.next_pause(had_token, limits).max(*retry_after), cause, had_token, now)
            }
            Cause::TokenThrottled { retry_after } => now + *retry_after,
            _ => now + FIRST_PAUSE_OF_RENEWALS,
        };
        if let Some(current) = &mut self.current {
            // A renewal that is due later is tried then.
            current.renew_at = current.renew_at.max(renew_at);
        }
    }

    /// The ledger has no slot for a request. If failed requests used the slots, their failure is the cause, and the pause
    /// lasts until the next slot.
    pub(super) fn no_slot(&mut self, cause: Cause, now: Instant) -> Cause {
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

    /// Another gateway's request failed, so no gateway makes one now.
    pub(super) fn waits(&mut self, span: Duration, cause: Cause, now: Instant) {
        let had_token = self.serving(now).is_some();
        self.pause = Some(Pause { until: now + span, cause, had_token });
    }

    fn pause_for(&mut self, span: Duration, cause: &Cause, had_token: bool, now: Instant) -> Instant {
        self.failures = self.failures.saturating_add(1).min(MOST_FAILURES);
        self.pause = Some(Pause { until: now + span, cause: cause.clone(), had_token });
        now + span
    }

    /// The pause after the failures so far, at most a fifth of a window.
    fn next_pause(&self, had_token: bool, limits: TokenLimits) -> Duration {
        let first = if had_token { FIRST_PAUSE_OF_RENEWALS } else { FIRST_PAUSE };
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

    fn with_token(state: &mut State, now: Instant, life: Duration) {
        let token = Token { header: http::HeaderValue::from_static("x"), generation: 1, fresh_until: now };
        state.current = Some(Current { token, granted_at: now, renew_at: now, expires_at: now + life });
    }

    /// The times of the requests during an outage of this length, and of the first one after it.
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
    fn an_outage_leaves_requests_and_ends_soon() {
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
    fn failed_renewals_leave_requests_for_the_end_of_the_token() {
        let (mut state, now) = (State::new(&AccountName::new("main"), limits()), clock::now());
        with_token(&mut state, now, Duration::from_secs(360));
        let sent = requests_in_an_outage(&mut state, now, Duration::from_secs(360));
        assert!(sent.len() <= 6 && sent[1] >= FIRST_PAUSE_OF_RENEWALS, "{sent:?}");
        let end = now + Duration::from_secs(360);
        assert!(state.paused(end - Duration::from_secs(1)).is_some());
        assert!(state.paused(end).is_none(), "without a token the next request does not wait");
    }

    #[test]
    fn a_failed_early_renewal_does_not_move_the_due_time() {
        let (mut state, now) = (State::new(&AccountName::new("main"), limits()), clock::now());
        with_token(&mut state, now, WINDOW);
        let due = now + Duration::from_secs(500);
        state.current.as_mut().expect("one").renew_at = due;
        state.failed(&nonsense(), true, limits(), now);
        assert_eq!(state.current.as_ref().expect("it serves on").renew_at, due);
    }

    #[test]
    fn an_outage_that_used_the_slots_is_the_cause() {
        let (mut state, now) = (State::new(&AccountName::new("main"), limits()), clock::now());
        let throttled = || Cause::TokenThrottled { retry_after: Duration::from_secs(100) };
        assert!(matches!(state.no_slot(throttled(), now), Cause::TokenThrottled { .. }), "nothing failed before");
        state.failed(&nonsense(), true, limits(), now);
        assert!(matches!(state.no_slot(throttled(), now), Cause::UpstreamInvalidResponse(_)));
        assert!(state.paused(now + Duration::from_secs(99)).is_some());
        assert!(state.paused(now + Duration::from_secs(100)).is_none());
    }
}
